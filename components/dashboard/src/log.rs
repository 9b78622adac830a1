//! How the log stands: how far it is, whether what was signed of it last holds, and whether its witness agrees. What is wrong with it is
//! told apart, since that stands first on the overview.

use crate::parts::{Shape, Tone, badge, code, when};
use crate::visit::Visit;
use crate::words;
use keyward_domain::event::{Action, Target};
use keyward_domain::scope::administration as scope;
use keyward_domain::{Result, Timestamp};
use keyward_service::{CheckpointState, Finding, LogState, Witnessed};
use maud::{Markup, html};

/// Maintenance signs what is new once a minute. Where events have waited for longer than this, in seconds, it may not run.
const SIGNED_WITHIN_S: i64 = 10 * 60;

/// How it stands; none where this visitor may not see.
pub(crate) async fn look(visit: &Visit<'_>) -> Result<Option<LogState>> {
    if !visit.may_everywhere(scope::AUDIT_READ) {
        return Ok(None);
    }
    let looked = visit
        .look(Action::AuditRead, Target::default(), async |service, attempt| service.log_state(attempt).await)
        .await;
    looked.map(Some)
}

/// What is wrong with it.
pub(crate) fn wrong(state: Option<&LogState>) -> Vec<Markup> {
    let Some(state) = state else { return Vec::new() };
    let mut wrong = Vec::new();
    match state.witness {
        Witnessed::Contradicts(_) => wrong.push(html! {
            (frozen()) " The store is older than what its witness saw: administration changes nothing until the newer store is back, or "
            (code("keyward audit new-epoch")) " was run on this one"
        }),
        Witnessed::Silent => wrong.push(html! {
            (badge(Tone::Bad, Shape::Square, "Witness silent")) " Its store does not answer: nothing but revocations and a freeze is let through"
        }),
        Witnessed::Nobody | Witnessed::Agrees(_) => {}
    }
    let found = state.checkpoint.as_ref().and_then(|last| fault(last.finding));
    if let Some(fault) = found {
        wrong.push(html! { (does_not_hold()) " The log: " (fault) ". " (code("keyward audit verify")) " names what is damaged" });
    }
    wrong
}

/// All of it.
pub(crate) fn section(state: &LogState, now: Timestamp) -> Markup {
    let LogState { head, checkpoint, witness } = state;
    let waiting = head.taken.saturating_sub(head.size);
    html! {
        dl class="facts" {
            dt { "Events" } dd {
                (words::grouped(head.taken))
                @if head.epoch > 1 { ", epoch " (head.epoch) }
                @if waiting > 0 { ", of which the tree does not reach " (words::grouped(waiting)) " yet" }
            }
            dt { "Checkpoint" } dd { (checked(checkpoint.as_ref(), head.epoch, head.taken, now)) }
            @if let Some(last) = checkpoint {
                dt { "Signed" } dd {
                    (words::counted(last.size, "event")) ", " (when(last.at, now)) ", by " (code(&last.origin))
                }
            }
            dt { "Witness" } dd { (witnessed(*witness)) }
            dt { "Root" } dd { (code(&head.root)) }
        }
        p class="soft small" { "Checked by this page, against the store and the keys that it runs on. Whoever trusts neither runs " (code("keyward audit verify")) "." }
    }
}

/// What came of checking the last checkpoint.
fn checked(last: Option<&CheckpointState>, epoch: u32, taken: u64, now: Timestamp) -> Markup {
    let Some(last) = last else {
        return html! { (badge(Tone::Warn, Shape::Ring, "Not signed yet")) " Maintenance signs what is new once a minute." };
    };
    if let Some(fault) = fault(last.finding) {
        return html! { (does_not_hold()) " " (fault) "." };
    }
    let behind = if last.epoch == epoch { taken.saturating_sub(last.size) } else { taken };
    let is_late = behind > 0 && now > last.at.plus_s(SIGNED_WITHIN_S);
    html! {
        (badge(Tone::Good, Shape::Disc, "Verified")) " "
        @if is_late { (badge(Tone::Warn, Shape::Diamond, &behind_by(behind))) " Does maintenance run?" }
        @else if behind > 0 { (badge(Tone::Info, Shape::Half, &behind_by(behind))) }
    }
}

fn behind_by(count: u64) -> String {
    format!("Behind by {}", words::grouped(count))
}

fn does_not_hold() -> Markup {
    badge(Tone::Bad, Shape::Cross, "Does not verify")
}

fn frozen() -> Markup {
    badge(Tone::Bad, Shape::Square, "FROZEN")
}

/// What is wrong with the last checkpoint, where something is.
const fn fault(finding: Finding) -> Option<&'static str> {
    match finding {
        Finding::Holds => None,
        Finding::Gone => Some("its last checkpoint is gone"),
        Finding::NotAuthentic => Some("no key of the log signed its last checkpoint"),
        Finding::OtherLog => {
            Some("its last checkpoint was signed for another log than the one that lies here")
        }
    }
}

fn witnessed(witness: Witnessed) -> Markup {
    match witness {
        Witnessed::Nobody => {
            html! { span class="soft" { "none: nothing outside this store remembers how far the log was" } }
        }
        Witnessed::Silent => html! { (badge(Tone::Bad, Shape::Square, "Silent")) },
        Witnessed::Agrees(seen) => html! {
            (badge(Tone::Good, Shape::Disc, "Agrees")) " " span class="soft" { "saw " (words::counted(seen.taken, "event")) @if seen.epoch > 1 { " of epoch " (seen.epoch) } }
        },
        Witnessed::Contradicts(seen) => html! {
            (frozen()) " it saw " (words::counted(seen.taken, "event")) " of epoch " (seen.epoch) ", and this store is not the one"
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn last(finding: Finding) -> CheckpointState {
        CheckpointState {
            epoch: 1,
            size: 8,
            at: NOW.plus_s(-60),
            origin: "log.example/1".to_owned(),
            finding,
        }
    }

    #[test]
    fn it_is_said_whether_the_last_checkpoint_holds_and_how_far_behind_it_is() {
        let told = |last: Option<&CheckpointState>, taken: u64, now: Timestamp| {
            checked(last, 1, taken, now).into_string()
        };
        let holds = last(Finding::Holds);
        assert!(told(None, 8, NOW).contains("Not signed yet"));
        let whole = told(Some(&holds), 8, NOW.plus_s(3600));
        assert!(whole.contains("Verified") && !whole.contains("Behind"), "{whole}");
        let behind = told(Some(&holds), 1_010, NOW);
        assert!(
            behind.contains("Verified")
                && behind.contains("Behind by 1,002")
                && !behind.contains("maintenance"),
            "{behind}"
        );
        assert!(told(Some(&holds), 9, NOW.plus_s(3600)).contains("Does maintenance run?"));
        for finding in [Finding::Gone, Finding::NotAuthentic, Finding::OtherLog] {
            let told = told(Some(&last(finding)), 8, NOW);
            assert!(told.contains("Does not verify") && !told.contains("Verified"), "{told}");
        }
    }
}
