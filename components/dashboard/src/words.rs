//! The words of the pages: what an action is called, how long ago something was, how long something takes. Plain English, no store, no
//! markup.

use keyward_domain::Timestamp;
use keyward_domain::event::{Action, Actor, ActorKind};

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 60 * MINUTE_S;
const DAY_S: i64 = 24 * HOUR_S;

/// How long a span is, in its largest unit: "3 days".
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (count, unit) = if seconds < MINUTE_S {
        (seconds, "second")
    } else if seconds < HOUR_S {
        (seconds / MINUTE_S, "minute")
    } else if seconds < DAY_S {
        (seconds / HOUR_S, "hour")
    } else {
        (seconds / DAY_S, "day")
    };
    counted(u64::try_from(count).unwrap_or_default(), unit)
}

/// When something was, or will be, as seen from now: "3 days ago", "in 2 hours".
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.unix_ms().saturating_sub(now.unix_ms()) / 1000;
    match seconds {
        -4..=4 => "just now".to_owned(),
        5.. => format!("in {}", span(seconds)),
        _ => format!("{} ago", span(-seconds)),
    }
}

/// A time for people, to the second: `2026-01-31 08:00:00 UTC`.
pub(crate) fn utc(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} UTC", text.get(..19).unwrap_or(&text).replace('T', " "))
}

/// So many of something: "1 key", "2 keys", "1,024 keys".
pub(crate) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(count))
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Who did something.
pub(crate) fn actor(actor: &Actor) -> &str {
    match (actor.kind, &actor.principal) {
        (_, Some(principal)) => principal,
        (ActorKind::Admin, None) => "an administrator",
        (ActorKind::Holder, None) => "the holder",
        (ActorKind::Workload, None) => "a service",
        (ActorKind::Anonymous, None) => "nobody known",
        (ActorKind::System, None) => "Keyward",
    }
}

/// What an action is called.
pub(crate) const fn action(action: Action) -> &'static str {
    match action {
        Action::ApplicationCreated => "Application created",
        Action::ApplicationChanged => "Application changed",
        Action::ApplicationSuspended => "Application suspended",
        Action::ApplicationResumed => "Application resumed",
        Action::ApplicationRevoked => "All keys of an application revoked",
        Action::KeyIssued => "Key issued",
        Action::KeyImported => "Key imported",
        Action::KeyChanged => "Key changed",
        Action::KeyRevoked => "Key revoked",
        Action::KeyReported => "Key revoked by whoever held its token",
        Action::KeyLeaked => "Key leaked",
        Action::KeyLookedUp => "Token looked up",
        Action::KeyRotated => "Successor offered",
        Action::VersionsKilled => "Versions ended in an incident",
        Action::RotationFinished => "Overlap ended",
        Action::RotationCancelled => "Offer of a successor taken back",
        Action::KeyRenewed => "Key renewed by its holder",
        Action::RenewalReplayed => "Renewal token used twice",
        Action::KeyOffered => "Successor offered on schedule",
        Action::RotationUnclaimed => "Successor still not claimed",
        Action::KeyExpiring => "Key is about to expire",
        Action::KeyIdle => "Key is idle",
        Action::KeyExpired => "Key expired",
        Action::PolicyBroken => "Policy broken",
        Action::KeyRetired => "Key ended for breaking its policy",
        Action::KeyStanding => "Standing of keys noted",
        Action::KeyForgotten => "Secrets of a dead key given up",
        Action::DuePassed => "Due work already done",
        Action::ClaimTaken => "Key claimed",
        Action::ClaimReissued => "Claim reissued",
        Action::ClaimReplayed => "Claim presented twice",
        Action::CredentialCreated => "Credential created",
        Action::CredentialChanged => "Credential changed",
        Action::CredentialWritten => "New version of a credential",
        Action::CredentialRead => "Credential read",
        Action::CredentialRolledBack => "Credential rolled back",
        Action::CredentialDestroyed => "Versions of a credential destroyed",
        Action::CredentialRetired => "Credential retired",
        Action::CredentialProviderSet => "Provider of a credential set",
        Action::CredentialProviderRemoved => "Provider of a credential removed",
        Action::CredentialRotationBegun => "Rotation of a credential begun",
        Action::CredentialProviderCalled => "Provider of a credential called",
        Action::CredentialRotationAdvanced => "Step of a credential's rotation done",
        Action::CredentialRotationDelayed => "Step of a credential's rotation failed, tried again",
        Action::CredentialPromoted => "Rotated version of a credential current",
        Action::CredentialRotationFinished => "Rotation of a credential finished",
        Action::CredentialRotationFailed => "Rotation of a credential failed",
        Action::CredentialRotationCancelled => "Rotation of a credential cancelled",
        Action::CredentialRotationUndone => "Rotation of a credential undone",
        Action::CredentialRotationsRun => "Rotations of credentials asked for",
        Action::CredentialRotationDue => "Credential due for rotation",
        Action::CredentialExpiring => "Credential about to end",
        Action::CredentialExpired => "Credential ended",
        Action::CredentialListed => "Credentials looked at",
        Action::RoleCreated => "Role created",
        Action::RoleChanged => "Role changed",
        Action::RoleRetired => "Role retired",
        Action::WebhookCreated => "Webhook created",
        Action::WebhookChanged => "Webhook changed",
        Action::WebhookSecretRotated => "Secret of a webhook replaced",
        Action::WebhookTested => "Webhook tested",
        Action::WebhookRetired => "Webhook retired",
        Action::WebhookReplayed => "Dead letters tried anew",
        Action::WebhookDropped => "Dead letters dropped",
        Action::PolicyCreated => "Policy created",
        Action::PolicyChanged => "Policy changed",
        Action::PolicyRetired => "Policy retired",
        Action::AnonymousRefused => "Bad credentials refused",
        Action::AnonymousLockedOut => "Source of bad credentials told to wait",
        Action::IssuingFrozen => "Issuing frozen",
        Action::IssuingThawed => "Issuing thawed",
        Action::SessionOpened => "Signed in to the dashboard",
        Action::SessionClosed => "Signed out of the dashboard",
        Action::ApplicationRead => "Look at applications",
        Action::KeyRead => "Look at keys",
        Action::RoleRead => "Look at roles",
        Action::WebhookRead => "Look at webhooks",
        Action::PolicyRead => "Look at policies",
        Action::AuditRead => "Look at the log",
        Action::IssuingRead => "Look at the state of issuing",
        Action::AuditShredded => "Personal data shredded",
        Action::EventLate => "Event came late",
        Action::EpochOpened => "Epoch opened after a roll-back",
        Action::RingResealed => "Records sealed anew",
        Action::RingRead => "Look at the rings",
        Action::MetricsRead => "Metrics read",
        Action::MaintenanceRun => "Maintenance run",
        Action::DeliveryRun => "Delivery run",
        Action::Initialised => "Keyward initialised",
        Action::RootRecovered => "Root key recovered",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_say_them() {
        let now = Timestamp::from_unix_ms(1_800_000_000_000);
        for (after_s, expected) in [
            (0, "just now"),
            (-4, "just now"),
            (-5, "5 seconds ago"),
            (-60, "1 minute ago"),
            (-7_199, "1 hour ago"),
            (-86_400, "1 day ago"),
            (-86_400 * 1_500, "1,500 days ago"),
            (59, "in 59 seconds"),
            (900, "in 15 minutes"),
        ] {
            assert_eq!(relative(now.plus_s(after_s), now), expected);
        }
        assert_eq!(utc(now), "2027-01-15 08:00:00 UTC");
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!((counted(1, "key"), counted(0, "key")), ("1 key".to_owned(), "0 keys".to_owned()));
    }
}
