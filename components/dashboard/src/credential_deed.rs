//! What can be done with a credential of the vault and with its versions: have its provider rotate it, take that back, go back to a version,
//! destroy one, retire all. A version is written by the command: a form would carry what it holds.

use crate::applications::is_about_the_form;
use crate::credentials::{PATH, find};
use crate::deeds::{self, Deed, Told};
use crate::fields;
use crate::page::{self, Page};
use crate::parts::{code, name, target, when};
use crate::visit::Visit;
use crate::words;
use keyward_domain::credential_rotation::Phase;
use keyward_domain::event::{Action, Target};
use keyward_domain::scope::administration as scope;
use keyward_domain::{CredentialId, Error, Result, Timestamp};
use keyward_guest::{Form, Response};
use keyward_service::{
    CredentialState, CredentialVersionState, CredentialVersionView, CredentialView, RollBack,
};
use maud::{Markup, html};

/// A deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialDeed {
    Rotate,
    Cancel,
    GoBack,
    Destroy,
    Retire,
}

impl Deed for CredentialDeed {
    const ALL: &'static [Self] = &[Self::Rotate, Self::Cancel, Self::GoBack, Self::Destroy, Self::Retire];

    fn told(self) -> Told {
        match self {
            Self::Rotate => Told::new("rotate", "Rotate", "Have its provider rotate it")
                .done("The rotation has begun: its provider is called within moments."),
            Self::Cancel => Told::new("cancel", "Cancel the rotation", "Take the rotation back")
                .done("The rotation is taken back: its provider is told to undo what it did."),
            Self::GoBack => Told::new("roll-back", "Go back", "Go back to this version")
                .done("The earlier version is the current one again."),
            Self::Destroy => Told::new("destroy", "Destroy", "Destroy the version for good")
                .dangerous()
                .done("What the version held is destroyed, for good."),
            Self::Retire => Told::new("retire", "Retire", "Retire the credential for good")
                .dangerous()
                .done("The credential is retired, and what it held is destroyed, for good."),
        }
    }
}

impl CredentialDeed {
    /// What is done with one version.
    pub(crate) const OF_VERSIONS: [Self; 2] = [Self::GoBack, Self::Destroy];
    /// What is done with the credential as a whole.
    pub(crate) const OF_ALL: [Self; 3] = [Self::Rotate, Self::Cancel, Self::Retire];

    const fn scope(self) -> &'static str {
        match self {
            Self::Rotate | Self::Cancel | Self::GoBack => scope::CREDENTIALS_WRITE,
            Self::Destroy | Self::Retire => scope::CREDENTIALS_DESTROY,
        }
    }

    const fn action(self) -> Action {
        match self {
            Self::Rotate => Action::CredentialRotationBegun,
            Self::Cancel => Action::CredentialRotationCancelled,
            Self::GoBack => Action::CredentialRolledBack,
            Self::Destroy => Action::CredentialDestroyed,
            Self::Retire => Action::CredentialRetired,
        }
    }

    /// Whether it makes sense for a credential, and the version that is meant, as they stand.
    fn fits(self, credential: &CredentialView, version: Option<&CredentialVersionView>) -> bool {
        let is_kept = version.is_some_and(|version| version.state == CredentialVersionState::Kept);
        let rotation = credential.rotation.as_ref();
        let is_needed = rotation.zip(version).is_some_and(|(rotation, version)| {
            rotation.before == version.number || rotation.pending == Some(version.number)
        });
        credential.state != CredentialState::Retired
            && match self {
                Self::Rotate => credential.provider.is_some() && rotation.is_none(),
                Self::Cancel => rotation.is_some_and(|rotation| rotation.cancellable),
                Self::GoBack => {
                    is_kept && rotation.is_none_or(|rotation| rotation.phase == Phase::RollingBack)
                }
                Self::Destroy => is_kept && !is_needed,
                Self::Retire => true,
            }
    }

    /// The same, for a visitor who may do it.
    pub(crate) fn is_open(
        self,
        visit: &Visit<'_>,
        credential: &CredentialView,
        version: Option<&CredentialVersionView>,
    ) -> bool {
        self.fits(credential, version) && visit.may_named(self.scope(), credential)
    }
}

/// Says what a deed will do, and asks.
pub(crate) async fn ask(visit: &Visit<'_>, id: CredentialId, path: &str) -> Result<Response> {
    let deed = CredentialDeed::of(path)?;
    let query = visit.incoming.query()?;
    query.only(&["version"])?;
    let number = number(query.one("version")?)?;
    let credential = find(visit, id).await?;
    form_of(visit, deed, &credential, number, &Form::default(), None)
}

fn form_of(
    visit: &Visit<'_>,
    deed: CredentialDeed,
    credential: &CredentialView,
    number: Option<u32>,
    form: &Form,
    error: Option<&Error>,
) -> Result<Response> {
    let here = format!("{PATH}/{}", credential.id);
    let version = version(deed, credential, number)?;
    let Told { path, label, .. } = deed.told();
    let body = html! {
        @if let Some(error) = error { (page::problem(error)) }
        @if deed.fits(credential, version) {
            div class="confirm" {
                ul class="consequences" { (consequences(deed, credential, version, visit.now)) }
                (visit.form_to(&format!("{here}/{path}"), &html! {
                    @if let Some(version) = version { input type="hidden" name="version" value=(version.number); }
                    (fields::reason(form.text("reason")))
                    (deeds::buttons(deed, &here))
                }))
            }
        } @else {
            p { "As the credential stands now, there is nothing to do here." }
            p { a href=(here) { "Back to the credential" } }
        }
    };
    let title = match version {
        Some(version) => format!("{label}: {}, version {}", credential.name, version.number),
        None => format!("{label}: {}", credential.name),
    };
    let status = error.map_or(200, |error| error.code.status());
    Ok(Page::new(PATH, title, body)
        .below("Credentials", target(PATH, &[("application", &credential.application.to_string())]))
        .below(credential.name.clone(), here)
        .show_as(visit, status))
}

/// In plain words what will happen, to whom, and when.
fn consequences(
    deed: CredentialDeed,
    credential: &CredentialView,
    version: Option<&CredentialVersionView>,
    now: Timestamp,
) -> Markup {
    let CredentialView { current, lease_s, .. } = credential;
    let kept = credential.versions.iter().filter(|version| version.destroyed_at.is_none()).count();
    let meant = html! { @if let Some(version) = version { "version " (version.number) ", written " (when(version.written_at, now)) } };
    html! {
        @match deed {
            CredentialDeed::Rotate => {
                li { "Its provider is asked for a new secret, to have the third party accept it, and to try it. Until then version " (current) " stays the current one." }
                li { "Then the new version takes its place: services that wait for it hear of it within moments, the others after the " (words::span(i64::from(*lease_s))) " that they may go on without asking." }
                li { "Only after that its provider is asked to end version " (current) " at the third party. Where a step does not succeed, all is taken back." }
            }
            CredentialDeed::Cancel => {
                @if let Some(rotation) = &credential.rotation {
                    li { "Version " (rotation.before) " is the current one, at once." }
                    @if let Some(pending) = rotation.pending { li { "What version " (pending) " holds is overwritten, for good, once its provider has taken back what it did." } }
                }
                li { "Its policy begins no other rotation for a day." }
            }
            CredentialDeed::GoBack => {
                li { "Whoever fetches " strong { (name(&credential.name)) } " is handed " (meant) ", in the place of version " (current) ": services that wait for the next version within moments, the others after the " (words::span(i64::from(*lease_s))) " that they may go on without asking." }
                li { "Version " (current) " keeps what it holds, and can be gone back to." }
                li { "Whether the third party still takes the earlier one is not known here." }
            }
            CredentialDeed::Destroy => {
                li { strong { "What " (meant) " holds is overwritten, for good." } " Nobody can read it or go back to it any more." }
                li { "Version " (current) " is the current one and stays as it is. Only a service that names the destroyed one notices." }
                li { "The third party hears nothing of it: what still works there is to be ended there." }
            }
            CredentialDeed::Retire => {
                li { strong { "What " (words::counted(u64::try_from(kept).unwrap_or(u64::MAX), "version")) " of it " (if kept == 1 { "holds" } else { "hold" }) " is overwritten, for good." } " This cannot be undone." }
                li { "Whoever fetches it is refused from the next read on: " (code("keyward agent")) " removes its files, and whatever needs it stops working." }
                li { "Its name is free for another credential. The third party hears nothing of it: what still works there is to be ended there." }
            }
        }
    }
}

/// Does it.
pub(crate) async fn act(visit: &Visit<'_>, id: CredentialId, path: &str) -> Result<Response> {
    let deed = CredentialDeed::of(path)?;
    let form = visit.form();
    let (number, reason) = (number(form.given("version"))?, form.text("reason"));
    let done = visit
        .change(deed.action(), Target::credential(Some(id)), async |service, attempt| {
            match deed {
                CredentialDeed::Rotate => {
                    // Pressed twice: what was asked for is so already.
                    if service.credential(attempt, id).await?.rotation.is_some() {
                        return Ok(());
                    }
                    service.rotate_credential(attempt, id, reason).await.map(drop)
                }
                CredentialDeed::Cancel => {
                    service.cancel_credential_rotation(attempt, id, reason).await.map(drop)
                }
                CredentialDeed::GoBack => {
                    let version = number.ok_or_else(none_named)?;
                    // Pressed twice: what was asked for is so already.
                    if service.credential(attempt, id).await?.current == version {
                        return Ok(());
                    }
                    let asked = RollBack { version, reason: reason.to_owned() };
                    service.roll_credential_back(attempt, id, &asked).await.map(drop)
                }
                CredentialDeed::Destroy => {
                    let version = number.ok_or_else(none_named)?;
                    service.destroy_credential_version(attempt, id, version, reason).await.map(drop)
                }
                CredentialDeed::Retire => service.retire_credential(attempt, id, reason).await.map(drop),
            }
        })
        .await;
    match done {
        Ok(()) => Ok(Response::see_other(&format!("{PATH}/{id}?done={path}"))),
        Err(error) if is_about_the_form(&error) => {
            form_of(visit, deed, &find(visit, id).await?, number, form, Some(&error))
        }
        Err(error) => Err(error),
    }
}

/// The number of a version, where one is named.
fn number(text: Option<&str>) -> Result<Option<u32>> {
    let not_one = |_| Error::parameter("version", "is not valid", "the number of a version");
    text.map(str::parse).transpose().map_err(not_one)
}

/// The version that a deed is about; none where it is about all.
fn version(
    deed: CredentialDeed,
    credential: &CredentialView,
    number: Option<u32>,
) -> Result<Option<&CredentialVersionView>> {
    if !CredentialDeed::OF_VERSIONS.contains(&deed) {
        return Ok(None);
    }
    let number = number.ok_or_else(none_named)?;
    let found = credential.versions.iter().find(|version| version.number == number);
    found.map(Some).ok_or_else(|| Error::not_found("version of the credential"))
}

fn none_named() -> Error {
    Error::parameter("version", "is missing", "the number of a version")
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_domain::Code;

    #[test]
    fn each_deed_has_a_path_of_its_own() {
        deeds::check_paths::<CredentialDeed>();
        for deed in CredentialDeed::ALL {
            let is_of_all = CredentialDeed::OF_ALL.contains(deed);
            assert_ne!(CredentialDeed::OF_VERSIONS.contains(deed), is_of_all, "of one or of all: {deed:?}");
        }
    }

    #[test]
    fn a_version_is_named_by_its_number() {
        assert_eq!(number(None), Ok(None));
        assert_eq!(number(Some("2")), Ok(Some(2)));
        for bad in ["", "-1", "two", "4294967296"] {
            assert_eq!(number(Some(bad)).map_err(|error| error.code), Err(Code::InvalidParameter), "{bad}");
        }
    }
}
