//! A policy: how often keys rotate, how long versions overlap, and what becomes of a key that does not keep to it.

use crate::credential::{LEASE_S_DEFAULT, OUTAGE_S_DEFAULT};
use crate::error::FieldError;
use crate::event::EventId;
use crate::id::PolicyId;
use crate::key::Key;
use crate::rotation::GRACE_S_MAX;
use crate::timestamp::{Timestamp, millis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The shortest time between two rotations, in seconds: five minutes.
///
/// The number of a version has two digits of base62 in a token, so a key has at most 3843 of them: rotated as often as this, it has
/// used them up in 13 days and is to be issued anew. At an hour that is 160 days, at a day ten years.
pub const ROTATE_EVERY_S_MIN: u32 = 5 * 60;
/// The longest time that a policy can name, in seconds: ten years, as for the life of a key.
pub const TERM_S_MAX: u32 = 315_360_000;
/// The shortest life that a policy can bound keys by, in seconds.
pub const LIFETIME_S_MIN: u32 = 60;
/// The shortest time for which a credential that was read is gone on with before it is asked for again, in seconds.
pub const LEASE_S_MIN: u32 = 5;
/// The longest, in seconds: a day.
pub const LEASE_S_MAX: u32 = DAY_S;
/// The longest time for which one is gone on with while Keyward cannot be asked, in seconds: thirty days.
pub const OUTAGE_S_MAX: u32 = 30 * DAY_S;
/// The shortest time without use that is told, in seconds: when a key was used last is known by the hour.
pub const IDLE_AFTER_S_MIN: u32 = 3600;

const DAY_S: u32 = 24 * 3600;

/// What becomes of a key whose renewal token was used twice, beside the alarm: somebody else has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnRenewalReuse {
    /// No renewal token of it works any more; its versions go on until an admin decides.
    #[default]
    Stop,
    /// The same, and every version dies at once, as in an incident.
    Incident,
}

/// What becomes of a key that breaks its policy, beside the warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBreach {
    /// Nothing more.
    #[default]
    Warn,
    /// Its life ends.
    Retire,
}

/// What becomes of a key whose token was found where anybody can read it, beside the alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnLeak {
    /// It is revoked, for good.
    #[default]
    Revoke,
    /// Every version of it dies at once and a successor is offered, as in an incident.
    Rotate,
}

impl OnRenewalReuse {
    /// `stop` or `incident`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Incident => "incident",
        }
    }
}

impl OnBreach {
    /// `warn` or `retire`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Retire => "retire",
        }
    }
}

impl OnLeak {
    /// `revoke` or `rotate`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoke => "revoke",
            Self::Rotate => "rotate",
        }
    }
}

/// The terms of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PolicyTerms)]
pub struct Terms {
    /// How long after a version was claimed its successor is due, in seconds; never where it is null.
    #[schema(required = true)]
    pub rotate_every_s: Option<u32>,
    /// How long a version goes on after its successor was claimed, in seconds.
    pub grace_s: u32,
    /// The longest life of a key that is issued, in seconds; without bound where it is null.
    #[schema(required = true)]
    pub lifetime_s_max: Option<u32>,
    /// How long a key may go unused before that is told, in seconds; never told where it is null.
    #[schema(required = true)]
    pub idle_after_s: Option<u32>,
    /// Whether whoever claims a version is given a renewal token with it.
    pub self_renewal: bool,
    /// What a renewal token does that is used twice.
    pub on_renewal_reuse: OnRenewalReuse,
    /// What becomes of a key that breaks its policy.
    pub on_breach: OnBreach,
    /// What becomes of a key whose token was found where anybody can read it.
    #[serde(default)]
    #[schema(required = true)]
    pub on_leak: OnLeak,
    /// How long whoever read a credential goes on with it before asking again, in seconds.
    #[serde(default = "lease_s_default")]
    #[schema(required = true)]
    pub lease_s: u32,
    /// How long whoever read a credential goes on with it while Keyward cannot be asked, in seconds.
    #[serde(default = "outage_s_default")]
    #[schema(required = true)]
    pub outage_s: u32,
}

const fn lease_s_default() -> u32 {
    LEASE_S_DEFAULT
}

const fn outage_s_default() -> u32 {
    OUTAGE_S_DEFAULT
}

impl Terms {
    /// What holds where nobody chose a policy: DESIGN's 90 days and 7 days.
    pub const DEFAULT: Self = Self {
        rotate_every_s: Some(90 * DAY_S),
        grace_s: 7 * DAY_S,
        lifetime_s_max: None,
        idle_after_s: None,
        self_renewal: true,
        on_renewal_reuse: OnRenewalReuse::Stop,
        on_breach: OnBreach::Warn,
        on_leak: OnLeak::Revoke,
        lease_s: LEASE_S_DEFAULT,
        outage_s: OUTAGE_S_DEFAULT,
    };

    /// What is wrong with them, field by field.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut bound = |field: &str, value: Option<u32>, min: u32, expected: &str| match value {
            Some(value) if value < min => errors.push(FieldError::new(field, "is too short", expected)),
            Some(value) if value > TERM_S_MAX => {
                errors.push(FieldError::new(field, "is more than ten years", expected));
            }
            _ => {}
        };
        let interval = "300 to 315360000 seconds, or null for never";
        bound("rotate_every_s", self.rotate_every_s, ROTATE_EVERY_S_MIN, interval);
        let life = "60 to 315360000 seconds, or null for a life without bound";
        bound("lifetime_s_max", self.lifetime_s_max, LIFETIME_S_MIN, life);
        let idle = "3600 to 315360000 seconds, or null for never";
        bound("idle_after_s", self.idle_after_s, IDLE_AFTER_S_MIN, idle);
        if !(LEASE_S_MIN..=LEASE_S_MAX).contains(&self.lease_s) {
            errors.push(FieldError::new("lease_s", "is out of range", "5 to 86400 seconds"));
        }
        if self.outage_s > OUTAGE_S_MAX {
            errors.push(FieldError::new("outage_s", "is more than thirty days", "0 to 2592000 seconds"));
        }
        if self.grace_s > GRACE_S_MAX {
            errors.push(FieldError::new("grace_s", "is more than ninety days", "0 to 7776000 seconds"));
        } else if self.rotate_every_s.is_some_and(|every_s| self.grace_s > every_s) {
            // Otherwise the next successor would be due while the last but one still goes on.
            errors.push(FieldError::new(
                "grace_s",
                format!("is {} seconds, longer than the interval", self.grace_s),
                "at most `rotate_every_s`",
            ));
        }
        errors
    }

    /// Each of them as an event tells it.
    pub fn facts(&self) -> [String; 10] {
        let seconds =
            |name: &str, value: Option<u32>| value.map_or(format!("{name} none"), |s| format!("{name} {s}"));
        [
            seconds("rotate_every_s", self.rotate_every_s),
            seconds("grace_s", Some(self.grace_s)),
            seconds("lifetime_s_max", self.lifetime_s_max),
            seconds("idle_after_s", self.idle_after_s),
            format!("self_renewal {}", self.self_renewal),
            format!("on_renewal_reuse {}", self.on_renewal_reuse.as_str()),
            format!("on_breach {}", self.on_breach.as_str()),
            format!("on_leak {}", self.on_leak.as_str()),
            seconds("lease_s", Some(self.lease_s)),
            seconds("outage_s", Some(self.outage_s)),
        ]
    }

    /// When the successor of a key's newest version is due; `None` where it never is, or nothing was claimed yet.
    pub fn due_at(&self, key: &Key) -> Option<Timestamp> {
        let every_s = self.rotate_every_s?;
        Some(key.newest()?.claimed_at.plus_s(i64::from(every_s)))
    }
}

/// Terms to start from, by the regime that they were made with in mind. What a preset sets is all that it is: no text of these regimes
/// names these figures, and having them makes nobody compliant with anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = PolicyPresetName)]
pub enum Preset {
    /// SOC 2, the Trust Services Criteria.
    Soc2,
    /// HIPAA, the Security Rule.
    Hipaa,
    /// The GDPR.
    Gdpr,
    /// PCI DSS.
    Pci,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] = [Self::Soc2, Self::Hipaa, Self::Gdpr, Self::Pci];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Soc2 => "soc2",
            Self::Hipaa => "hipaa",
            Self::Gdpr => "gdpr",
            Self::Pci => "pci",
        }
    }

    /// What it sets, and why.
    pub const fn why(self) -> &'static str {
        match self {
            Self::Soc2 => {
                "Sets a rotation each quarter, a life of one year and a warning after a quarter without use, so that reviews of access \
                 (CC6.1 to CC6.3 of the Trust Services Criteria) find no credential that nobody looked at for longer."
            }
            Self::Hipaa => {
                "Sets a rotation every 60 days, a short overlap and the end of every version where a renewal token is used twice, since the \
                 Security Rule (45 CFR 164.308 and 164.312) names no interval and asks to limit what one lost credential opens."
            }
            Self::Gdpr => {
                "Sets a life of one year and the end of keys that break it, and a warning after a month without use, so that access to \
                 personal data does not outlast its purpose (Articles 5 and 32)."
            }
            Self::Pci => {
                "Sets a rotation each quarter, a short overlap and a warning after a quarter without use, for the periodic change of \
                 credentials of applications and the removal of inactive ones that PCI DSS 4 asks for (8.2.6 and 8.6.3)."
            }
        }
    }

    /// What it sets.
    pub const fn terms(self) -> Terms {
        let quarterly = Terms {
            rotate_every_s: Some(90 * DAY_S),
            grace_s: 7 * DAY_S,
            lifetime_s_max: Some(365 * DAY_S),
            idle_after_s: Some(90 * DAY_S),
            ..Terms::DEFAULT
        };
        match self {
            Self::Soc2 => quarterly,
            Self::Hipaa => Terms {
                rotate_every_s: Some(60 * DAY_S),
                grace_s: 3 * DAY_S,
                idle_after_s: Some(30 * DAY_S),
                on_renewal_reuse: OnRenewalReuse::Incident,
                ..quarterly
            },
            Self::Gdpr => Terms { idle_after_s: Some(30 * DAY_S), on_breach: OnBreach::Retire, ..quarterly },
            Self::Pci => {
                Terms { grace_s: 3 * DAY_S, on_renewal_reuse: OnRenewalReuse::Incident, ..quarterly }
            }
        }
    }
}

/// A policy with a name: the record `g:{id}`. One that was retired is given to nobody any more; whoever has it keeps its terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its id.
    pub id: PolicyId,
    /// What people call it; unique among policies that are not retired.
    pub name: String,
    /// What it is for, in words; may be empty.
    pub description: String,
    /// What it says.
    pub terms: Terms,
    /// When it was created.
    #[serde(with = "millis")]
    pub created_at: Timestamp,
    /// When it was given up.
    #[serde(default, with = "millis::option")]
    pub retired_at: Option<Timestamp>,
    /// Counts the writes of this record: 1 at birth.
    pub revision: u64,
    /// The event that wrote this record.
    pub event: EventId,
}

const _: () = assert!(Terms::DEFAULT.grace_s <= GRACE_S_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(terms: &Terms) -> Vec<String> {
        terms.check().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn what_is_set_without_a_choice_is_within_the_bounds() {
        assert_eq!(fields(&Terms::DEFAULT), [""; 0]);
        for preset in Preset::ALL {
            assert_eq!(fields(&preset.terms()), [""; 0], "{preset:?}");
            assert_eq!(serde_json::to_value(preset).unwrap(), preset.as_str());
            let claims = ["compliant", "complies", "certif"];
            assert!(preset.why().starts_with("Sets a "), "{preset:?}");
            assert!(claims.iter().all(|claim| !preset.why().contains(claim)), "{preset:?}");
        }
    }

    #[test]
    fn each_bound_is_the_last_value_that_is_taken() {
        let base = Terms { grace_s: 0, ..Terms::DEFAULT };
        type Change = fn(&mut Terms, u32);
        let with = |change: Change, value: u32| {
            let mut terms = base.clone();
            change(&mut terms, value);
            fields(&terms)
        };
        let rows: [(&str, Change, u32, u32); 6] = [
            ("rotate_every_s", |terms, value| terms.rotate_every_s = Some(value), 300, 315_360_000),
            ("lifetime_s_max", |terms, value| terms.lifetime_s_max = Some(value), 60, 315_360_000),
            ("idle_after_s", |terms, value| terms.idle_after_s = Some(value), 3600, 315_360_000),
            ("grace_s", |terms, value| terms.grace_s = value, 0, 7_776_000),
            ("lease_s", |terms, value| terms.lease_s = value, 5, 86_400),
            ("outage_s", |terms, value| terms.outage_s = value, 0, 2_592_000),
        ];
        for (field, change, min, max) in rows {
            assert_eq!([with(change, min), with(change, max)], [[""; 0], [""; 0]], "{field}");
            assert_eq!(with(change, max + 1), [field]);
            if min > 0 {
                assert_eq!(with(change, min - 1), [field]);
            }
        }
        let short = Terms { rotate_every_s: Some(300), grace_s: 301, ..Terms::DEFAULT };
        assert_eq!(fields(&short), ["grace_s"]);
        assert_eq!(fields(&Terms { grace_s: 300, ..short.clone() }), [""; 0]);
        assert_eq!(
            fields(&Terms { rotate_every_s: None, ..short }),
            [""; 0],
            "no interval to be longer than"
        );
    }

    #[test]
    fn presets_are_what_their_words_say() {
        let rows = [
            (Preset::Soc2, [90, 7, 365, 90], OnRenewalReuse::Stop, OnBreach::Warn),
            (Preset::Hipaa, [60, 3, 365, 30], OnRenewalReuse::Incident, OnBreach::Warn),
            (Preset::Gdpr, [90, 7, 365, 30], OnRenewalReuse::Stop, OnBreach::Retire),
            (Preset::Pci, [90, 3, 365, 90], OnRenewalReuse::Incident, OnBreach::Warn),
        ];
        for (preset, days, on_renewal_reuse, on_breach) in rows {
            let [rotate_every_s, grace_s, lifetime_s_max, idle_after_s] =
                days.map(|days: u32| days * 24 * 3600);
            let expected = Terms {
                rotate_every_s: Some(rotate_every_s),
                grace_s,
                lifetime_s_max: Some(lifetime_s_max),
                idle_after_s: Some(idle_after_s),
                self_renewal: true,
                on_renewal_reuse,
                on_breach,
                on_leak: OnLeak::Revoke,
                lease_s: LEASE_S_DEFAULT,
                outage_s: OUTAGE_S_DEFAULT,
            };
            assert_eq!(preset.terms(), expected, "{preset:?}");
        }
        assert_eq!((Terms::DEFAULT.rotate_every_s, Terms::DEFAULT.grace_s), (Some(7_776_000), 604_800));
    }

    #[test]
    fn an_event_tells_each_term() {
        let expected = [
            "rotate_every_s 5184000",
            "grace_s 259200",
            "lifetime_s_max 31536000",
            "idle_after_s 2592000",
            "self_renewal true",
            "on_renewal_reuse incident",
            "on_breach warn",
            "on_leak revoke",
            "lease_s 300",
            "outage_s 3600",
        ];
        assert_eq!(Preset::Hipaa.terms().facts(), expected);
        let retiring = Terms { rotate_every_s: None, on_breach: OnBreach::Retire, ..Terms::DEFAULT };
        let [interval, .., reuse, breach, leak, _, _] = Terms { on_leak: OnLeak::Rotate, ..retiring }.facts();
        assert_eq!([&*interval, &*reuse], ["rotate_every_s none", "on_renewal_reuse stop"]);
        assert_eq!([&*breach, &*leak], ["on_breach retire", "on_leak rotate"]);
    }
}
