//! What can be done with a key.

use crate::claim;
use crate::deeds::{self, Deed, Told};
use crate::fields::{self, HOUR_S, Line, span_s};
use crate::key::{find, use_of};
use crate::keys::{PATH, passes};
use crate::page::Page;
use crate::parts::when_by_the_hour;
use crate::visit::Visit;
use crate::words;
use keyward_domain::event::{Action, Target};
use keyward_domain::rotation::{Mode, Phase};
use keyward_domain::scope::administration as scope;
use keyward_domain::standing::State;
use keyward_domain::{Code, Error, KeyId, Result, Timestamp};
use keyward_guest::Response;
use keyward_service::{KeyChange, KeyView, RotateKey, UsageView};
use maud::{Markup, html};

/// A deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyDeed {
    Rotate,
    Finish,
    Cancel,
    Claim,
    Disable,
    Enable,
    Incident,
    Revoke,
}

impl Deed for KeyDeed {
    const ALL: &'static [Self] = &[
        Self::Rotate,
        Self::Finish,
        Self::Cancel,
        Self::Claim,
        Self::Disable,
        Self::Enable,
        Self::Incident,
        Self::Revoke,
    ];

    fn told(self) -> Told {
        match self {
            Self::Rotate => Told::new("rotate", "Rotate", "Offer a successor"),
            Self::Finish => Told::new("finish", "End the overlap", "End the overlap now")
                .done("The overlap is ended: the newest version alone passes."),
            Self::Cancel => Told::new("cancel", "Take the offer back", "Take the offer back")
                .done("The offer is taken back: nothing changes for whoever uses the key."),
            Self::Claim => Told::new("claim", "Reissue the claim", "Make a new claim"),
            Self::Disable => Told::new("disable", "Disable", "Disable the key")
                .done("The key is disabled: it is refused until it is enabled."),
            Self::Enable => {
                Told::new("enable", "Enable", "Enable the key").done("The key is enabled: it passes again.")
            }
            Self::Incident => {
                Told::new("incident", "Rotate in an incident", "End every version and offer a successor")
                    .dangerous()
            }
            Self::Revoke => Told::new("revoke", "Revoke", "Revoke for good")
                .dangerous()
                .done("The key is revoked, for good."),
        }
    }
}

impl KeyDeed {
    /// What it takes.
    pub(crate) const fn scope(self) -> &'static str {
        match self {
            Self::Rotate | Self::Finish | Self::Cancel | Self::Incident => scope::KEYS_ROTATE,
            Self::Claim | Self::Disable | Self::Enable => scope::KEYS_WRITE,
            Self::Revoke => scope::KEYS_REVOKE,
        }
    }

    const fn action(self) -> Action {
        match self {
            Self::Rotate | Self::Incident => Action::KeyRotated,
            Self::Finish => Action::RotationFinished,
            Self::Cancel => Action::RotationCancelled,
            Self::Claim => Action::ClaimReissued,
            Self::Disable | Self::Enable => Action::KeyChanged,
            Self::Revoke => Action::KeyRevoked,
        }
    }

    /// Whether it makes sense for a key as it stands. The use case decides; this only keeps out of the way what it would refuse.
    pub(crate) fn fits(self, key: &KeyView, now: Timestamp) -> bool {
        let lives = !matches!(key.state, State::Revoked | State::Expired);
        let phase = key.rotation.state;
        lives
            && match self {
                Self::Rotate => key.state != State::Unclaimed && phase == Phase::Stable,
                Self::Incident => key.state != State::Unclaimed,
                Self::Finish => phase == Phase::Overlapping,
                Self::Cancel => phase == Phase::Offered && key.rotation.mode == Some(Mode::Scheduled),
                Self::Claim => key.claim.is_some() && key.expires_at.is_none_or(|end| end > now),
                Self::Disable => !key.disabled,
                Self::Enable => key.disabled,
                Self::Revoke => true,
            }
    }
}

/// Says what a deed will do, and asks.
pub(crate) async fn ask(visit: &Visit<'_>, id: KeyId, path: &str) -> Result<Response> {
    let deed = KeyDeed::of(path)?;
    let used = use_of(visit, id).await?;
    let key = find(visit, id).await?;
    let here = format!("{PATH}/{id}/{path}");
    let body = if deed.fits(&key, visit.now) {
        html! {
            div class="confirm" {
                (consequences(deed, &key, &used, visit.now))
                (visit.form_to(&here, &html! {
                    (fields_of(deed))
                    (deeds::buttons(deed, &format!("{PATH}/{id}")))
                }))
            }
        }
    } else {
        html! {
            p { "As the key stands now, there is nothing to do here." }
            p { a href=(format!("{PATH}/{id}")) { "Back to the key" } }
        }
    };
    let page = Page::new(PATH, format!("{}: {}", deed.told().label, key.name), body)
        .below("Keys", crate::parts::target(PATH, &[("application", &key.application.to_string())]))
        .below(key.name.clone(), format!("{PATH}/{id}"));
    Ok(page.show(visit))
}

/// In plain words what will happen, to whom, and when.
fn consequences(deed: KeyDeed, key: &KeyView, used: &UsageView, now: Timestamp) -> Markup {
    let passing: Vec<_> = key.versions.iter().filter(|version| passes(version.state)).collect();
    let count = u64::try_from(passing.len()).unwrap_or_default();
    let requests = used.outcomes.accepted().saturating_add(used.outcomes.refused());
    let last = key.versions.iter().filter_map(|version| version.last_used_at).max();
    let in_use = html! {
        @match last {
            Some(at) => { "It was last used " (when_by_the_hour(at, now)) ", and carried " (words::counted(requests, "request")) " in the last 24 hours." }
            None => "No use of it is known.",
        }
    };
    let old = passing.first().filter(|_| passing.len() > 1);
    let old_use = old.and_then(|old| used.versions.iter().find(|counted| counted.version == old.version));
    let old_requests = old_use.map_or(0, |counted| counted.outcomes.accepted());
    html! {
        ul class="consequences" {
            @match deed {
                KeyDeed::Rotate => {
                    li { "You get a link for whoever uses the key. Until they take it, nothing changes for them." }
                    li { "From then on both versions pass until the grace is over; then the new one alone." }
                    li { (in_use) }
                }
                KeyDeed::Incident => {
                    li { strong { (words::counted(count, "version")) " end at once" } ": the very next request with one of them is refused. This cannot be undone." }
                    li { "You get a link for a successor. Until it is taken, nobody can use the key." }
                    li { "Renewal tokens of the key work no longer." }
                    li { (in_use) }
                }
                KeyDeed::Finish => {
                    li { strong { "The older version ends at once" } "; the newest goes on." }
                    li {
                        @if old_requests > 0 { strong { "The older version still carried " (words::counted(old_requests, "request")) " in the last 24 hours." } " Whoever sends them will be refused." }
                        @else { "The older version carried no request in the last 24 hours." }
                    }
                }
                KeyDeed::Cancel => {
                    li { "The link that was handed out works no longer. The version in use goes on." }
                }
                KeyDeed::Claim => {
                    li { "You get a new link. The one before works no longer." }
                    li { "Whoever opens the new one within 15 minutes has the secret minted, and it is shown to them alone." }
                }
                KeyDeed::Disable => {
                    li { "Every request with the key is refused, from the next one on, until somebody enables it." }
                    li { (in_use) }
                }
                KeyDeed::Enable => { li { (words::counted(count, "version")) " of it " (if count == 1 { "passes" } else { "pass" }) " again, from the next request on." } }
                KeyDeed::Revoke => {
                    li { strong { (words::counted(count, "version")) " end, for good" } ". This cannot be undone: whoever needs a key again is issued a new one." }
                    li { "The very next request with it is refused; at a replica as soon as it has heard of it." }
                    li { (in_use) }
                }
            }
        }
    }
}

fn fields_of(deed: KeyDeed) -> Markup {
    // Something to start from, so that in an incident nobody is held up by a field.
    let reason = match deed {
        KeyDeed::Rotate => "it is time",
        KeyDeed::Incident => "a secret may be in the wrong hands",
        KeyDeed::Finish => "everybody uses the newest version",
        KeyDeed::Cancel => "no successor is needed",
        KeyDeed::Revoke => "revoked from the dashboard",
        KeyDeed::Claim | KeyDeed::Disable | KeyDeed::Enable => "",
    };
    html! {
        @if deed == KeyDeed::Rotate {
            (Line { name: "grace_h", label: "Grace, in hours", value: "", hint: "How long the version in use goes on once its successor was claimed, at most 2160. What the key's policy says, if you leave it empty.", is_needed: false }.show())
        }
        @if !reason.is_empty() {
            (fields::reason(reason))
        }
    }
}

/// Does it.
pub(crate) async fn act(visit: &Visit<'_>, id: KeyId, path: &str) -> Result<Response> {
    let deed = KeyDeed::of(path)?;
    let form = visit.form();
    let reason = form.text("reason");
    let result = visit
        .change(deed.action(), Target::key(Some(id)), async |service, attempt| match deed {
            KeyDeed::Rotate | KeyDeed::Incident => {
                let asked = rotation(deed, reason, form.given("grace_h"))?;
                service.rotate_key(attempt, id, &asked).await.map(Some)
            }
            KeyDeed::Claim => service.reissue_claim(attempt, id).await.map(Some),
            KeyDeed::Finish => service.finish_rotation(attempt, id, reason).await.map(|_| None),
            KeyDeed::Cancel => service.cancel_rotation(attempt, id, reason).await.map(|_| None),
            KeyDeed::Revoke => service.revoke_key(attempt, id, reason).await.map(|_| None),
            KeyDeed::Disable | KeyDeed::Enable => {
                let change = KeyChange { disabled: Some(deed == KeyDeed::Disable), ..KeyChange::default() };
                service.change_key(attempt, id, change, None).await.map(|_| None)
            }
        })
        .await;
    match result {
        // A secret is nowhere but in the answer to what was posted: not in an address, and not in the store.
        Ok(Some(handed)) => claim::page(visit, &handed),
        Ok(None) => Ok(Response::see_other(&format!("{PATH}/{id}?done={path}"))),
        // Pressed twice: what was asked for is so already.
        Err(error) if error.code == Code::StateConflict && is_done(visit, id, deed).await => {
            Ok(Response::see_other(&format!("{PATH}/{id}?done={path}")))
        }
        Err(error) => Err(error),
    }
}

async fn is_done(visit: &Visit<'_>, id: KeyId, deed: KeyDeed) -> bool {
    matches!(deed, KeyDeed::Finish | KeyDeed::Cancel)
        && find(visit, id).await.is_ok_and(|key| key.rotation.state == Phase::Stable)
}

/// A rotation as the API takes it.
fn rotation(deed: KeyDeed, reason: &str, grace_h: Option<&str>) -> Result<RotateKey> {
    let mode = if deed == KeyDeed::Incident { Mode::Incident } else { Mode::Scheduled };
    let too_long = |_| Error::field("grace_h", "is too long", "0 to 2160 hours");
    let grace_s = span_s("grace_h", grace_h.unwrap_or_default(), HOUR_S)?;
    let grace_s = grace_s.map(u32::try_from).transpose().map_err(too_long)?;
    Ok(RotateKey { reason: reason.to_owned(), mode, grace_s, version: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_what_the_api_takes() {
        let asked = rotation(KeyDeed::Rotate, "why", Some("48")).expect("hours");
        assert_eq!(
            (asked.mode, asked.grace_s, asked.version, &*asked.reason),
            (Mode::Scheduled, Some(172_800), None, "why")
        );
        let asked = rotation(KeyDeed::Incident, "why", None).expect("none");
        assert_eq!((asked.mode, asked.grace_s), (Mode::Incident, None));
        for bad in ["x", "-1", "1.5", "4294967295"] {
            assert_eq!(
                rotation(KeyDeed::Rotate, "why", Some(bad)).map(|_| ()).map_err(|e| e.code),
                Err(Code::InvalidField)
            );
        }
    }

    #[test]
    fn each_deed_has_a_path_of_its_own() {
        deeds::check_paths::<KeyDeed>();
    }
}
