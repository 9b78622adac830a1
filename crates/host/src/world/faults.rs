//! Store faults on order, and the count of store calls. A plan is a list of rules; the first that matches a
//! call decides over it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::store::StoreError;

/// Calls kept for `GET /calls?trace=1`.
const TRACE_CALLS_MAX: usize = 10_000;
/// What a process killed on order answers its parent: as after SIGKILL.
const KILLED_EXIT_CODE: i32 = 137;

/// A store call's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Op {
    Get,
    Exists,
    Set,
    Delete,
    GetKeys,
    GetMany,
    SetMany,
    DeleteMany,
    Increment,
    Swap,
}

/// One rule of a plan, as `POST /faults` takes it. What is left out matches everything.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    op: Option<Op>,
    /// A key, `*` standing for any text; one matching key of a batch is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The first matching call that it hits, from 1.
    #[serde(default = "one")]
    nth: u64,
    /// How many calls it hits; without it, all that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    effect: Effect,
    /// With `delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    /// With `delay`, `stall`, `kill`: before or after the store has applied the call.
    #[serde(default)]
    when: When,
    /// Calls that matched so far; an answer's field.
    #[serde(default)]
    matched: u64,
}

fn one() -> u64 {
    1
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Effect {
    /// An error; nothing is applied.
    FailBefore,
    /// An error although it was applied.
    FailAfter,
    Delay,
    /// Applied twice; the answer is the second's.
    Repeat,
    /// Waits until the plan is withdrawn.
    Stall,
    /// The process ends at once.
    Kill,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum When {
    #[default]
    Before,
    After,
}

/// The plan in force and the calls seen.
pub(crate) struct Faults {
    state: Mutex<State>,
    withdrawn: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    counts: BTreeMap<String, BTreeMap<Op, u64>>,
    trace: VecDeque<Call>,
}

#[derive(Clone, Debug, Serialize)]
struct Call {
    component: String,
    store: String,
    op: Op,
    keys: Vec<String>,
}

/// What is left to do to a call that may go ahead.
pub(crate) struct Plan {
    pub(crate) repeats: u32,
    after: After,
}

enum After {
    Nothing,
    Fail,
    Delay(Duration),
    Stall(watch::Receiver<()>),
    Kill,
}

impl Default for Faults {
    fn default() -> Self {
        Self { state: Mutex::default(), withdrawn: watch::Sender::new(()) }
    }
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and does to it what is due before the store sees it.
    pub(crate) async fn before(
        &self,
        component: &str,
        store: &str,
        op: Op,
        keys: &[&str],
    ) -> Result<Plan, StoreError> {
        let mut withdrawn = self.withdrawn.subscribe();
        let hit = self.state().record(component, store, op, keys);
        let mut plan = Plan { repeats: 0, after: After::Nothing };
        let Some((effect, when, delay)) = hit else { return Ok(plan) };
        match (effect, when) {
            (Effect::FailBefore, _) => return Err(injected()),
            (Effect::FailAfter, _) => plan.after = After::Fail,
            (Effect::Repeat, _) => plan.repeats = 1,
            (Effect::Delay, When::Before) => tokio::time::sleep(delay).await,
            (Effect::Delay, When::After) => plan.after = After::Delay(delay),
            (Effect::Stall, When::Before) => drop(withdrawn.changed().await),
            (Effect::Stall, When::After) => plan.after = After::Stall(withdrawn),
            (Effect::Kill, When::Before) => std::process::exit(KILLED_EXIT_CODE),
            (Effect::Kill, When::After) => plan.after = After::Kill,
        }
        Ok(plan)
    }

    /// Adds rules to the plan.
    pub(crate) fn add(&self, rules: Vec<Rule>) {
        self.state().rules.extend(rules.into_iter().map(|rule| Rule { matched: 0, ..rule }));
    }

    pub(crate) fn rules(&self) -> Vec<Rule> {
        self.state().rules.clone()
    }

    /// Withdraws the plan; what stalls goes on.
    pub(crate) fn clear(&self) {
        self.state().rules.clear();
        self.withdrawn.send_replace(());
    }

    /// Calls by store and operation, their sum, and on demand the latest calls one by one.
    pub(crate) fn calls(&self, trace: bool) -> serde_json::Value {
        let state = self.state();
        let total: u64 = state.counts.values().flat_map(BTreeMap::values).sum();
        let mut answer = serde_json::json!({ "total": total, "stores": state.counts });
        if let (true, Some(fields)) = (trace, answer.as_object_mut()) {
            fields.insert("trace".into(), serde_json::json!(state.trace));
        }
        answer
    }

    pub(crate) fn reset_calls(&self) {
        let mut state = self.state();
        state.counts.clear();
        state.trace.clear();
    }
}

impl State {
    fn record(
        &mut self,
        component: &str,
        store: &str,
        op: Op,
        keys: &[&str],
    ) -> Option<(Effect, When, Duration)> {
        *self.counts.entry(store.to_owned()).or_default().entry(op).or_default() += 1;
        if self.trace.len() == TRACE_CALLS_MAX {
            self.trace.pop_front();
        }
        self.trace.push_back(Call {
            component: component.to_owned(),
            store: store.to_owned(),
            op,
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        });
        for rule in &mut self.rules {
            if rule.matches(component, store, op, keys) {
                rule.matched += 1;
                let hits = rule.count.map_or(u64::MAX, |count| rule.nth.saturating_add(count));
                if rule.matched >= rule.nth && rule.matched < hits {
                    return Some((rule.effect, rule.when, Duration::from_millis(rule.ms.unwrap_or(0))));
                }
            }
        }
        None
    }
}

impl Rule {
    fn matches(&self, component: &str, store: &str, op: Op, keys: &[&str]) -> bool {
        self.store.as_deref().is_none_or(|own| own == store)
            && self.component.as_deref().is_none_or(|own| own == component)
            && self.op.is_none_or(|own| own == op)
            && self.key.as_deref().is_none_or(|own| keys.iter().any(|key| glob(own, key)))
    }
}

impl Plan {
    /// Does what is due after the store has applied the call.
    pub(crate) async fn after(self) -> Result<(), StoreError> {
        match self.after {
            After::Nothing => Ok(()),
            After::Fail => Err(injected()),
            After::Delay(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
            After::Stall(mut withdrawn) => {
                let _ = withdrawn.changed().await;
                Ok(())
            }
            After::Kill => std::process::exit(KILLED_EXIT_CODE),
        }
    }
}

fn injected() -> StoreError {
    StoreError::new("a fault on order")
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| rest.get(at..).is_some_and(|r| glob(tail, r)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nth_and_count_pick_the_calls_that_are_hit() {
        let faults = Faults::default();
        let rules = r#"[{"op":"get","key":"m:*","nth":2,"count":2,"effect":"fail_before"}]"#;
        faults.add(serde_json::from_str(rules).unwrap());
        let mut outcomes = Vec::new();
        for key in ["m:1", "k:1", "m:2", "m:3", "m:4"] {
            outcomes.push(faults.before("c", "default", Op::Get, &[key]).await.is_ok());
        }
        assert_eq!(outcomes, [true, true, false, false, true]);
        assert_eq!(faults.calls(false)["stores"]["default"]["get"], 5);
    }

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("*b*", "abc", true),
            ("ab", "abc", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_misspelt_rule_is_refused() {
        assert!(serde_json::from_str::<Vec<Rule>>(r#"[{"kye":"m:*","effect":"repeat"}]"#).is_err());
    }
}
