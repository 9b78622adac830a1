//! The cron trigger: a fresh instance per tick, errors only logged, no catching up on what was missed.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use cron::Schedule;
use tokio::sync::{Semaphore, watch};

use crate::app::App;
use crate::bindings::cron::CronPre;
use crate::bindings::cron::spin::cron::cron_types::Metadata;
use crate::guest::{ComponentConfig, Environment, GuestState};
use crate::http::worker::reason;

/// A clock set back by more than this was wrong before: its schedule begins anew.
const STEP_BACK_MAX: chrono::TimeDelta = chrono::TimeDelta::hours(1);

/// One `[[trigger.cron]]`, ready to tick.
pub(crate) struct CronComponent {
    pub(crate) config: Arc<ComponentConfig>,
    pub(crate) pre: CronPre<GuestState>,
    pub(crate) schedule: Schedule,
    pub(crate) running: Arc<Semaphore>,
}

/// Six fields (second first) or seven (year last), in UTC.
pub(crate) fn parse_schedule(expression: &str) -> Result<Schedule, String> {
    let fields = expression.split_whitespace().count();
    if fields != 6 && fields != 7 {
        return Err(format!(
            "`{expression}` has {fields} fields; six or seven are needed: sec min hour dom mon dow [year], as in \"0 */5 * * * *\""
        ));
    }
    Schedule::from_str(expression).map_err(|e| format!("`{expression}` is no cron expression: {e}"))
}

/// How a tick ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Tick {
    Done,
    Failed(&'static str),
}

impl CronComponent {
    /// Runs one tick to its end.
    pub(crate) async fn tick(&self, env: &Arc<Environment>) -> Tick {
        let id = &self.config.id;
        let Ok(_permit) = self.running.clone().try_acquire_owned() else {
            env.log.warn(Some(id), "a tick was skipped: too many of this trigger are still running");
            return Tick::Failed("skipped");
        };
        let timestamp = env.clock.wall().as_secs();
        let run = async {
            let mut store = GuestState::new_store(env, &self.config);
            let instance = self.pre.instantiate_async(&mut store).await?;
            store
                .run_concurrent(async |accessor| {
                    instance.call_handle_cron_event(accessor, Metadata { timestamp }).await
                })
                .await?
        };
        match tokio::time::timeout(env.limits.cron_time_max, run).await {
            Ok(Ok(Ok(()))) => return Tick::Done,
            // The guest's own words stay unsaid.
            Ok(Ok(Err(_))) => env.log.error(Some(id), "a tick ended with an error of the component"),
            Ok(Err(error)) => env.log.error(Some(id), &format!("a tick failed: {}", reason(&error))),
            Err(_) => env.log.error(Some(id), "a tick was given up: the time bound is met"),
        }
        Tick::Failed("failed")
    }
}

/// Ticks every trigger by its schedule until the host stops.
pub(crate) fn start(app: &Arc<App>, stopping: &watch::Receiver<bool>) -> Vec<tokio::task::JoinHandle<()>> {
    (0..app.cron.len()).map(|place| tokio::spawn(run(app.clone(), place, stopping.clone()))).collect()
}

async fn run(app: Arc<App>, place: usize, mut stopping: watch::Receiver<bool>) {
    let Some(trigger) = app.cron.get(place) else { return };
    let clock = app.env.clock.clone();
    let mut ticks = tokio::task::JoinSet::new();
    // Each time is looked for after the one before and after now: what was missed is not caught up on, and a
    // clock that steps back a little repeats nothing.
    let mut last = now(&clock.wall());
    loop {
        let here = now(&clock.wall());
        let from = if last - here > STEP_BACK_MAX { here } else { last.max(here) };
        let Some(next) = trigger.schedule.after(&from).next() else { break };
        let due = Duration::from_secs(u64::try_from(next.timestamp()).unwrap_or(0));
        tokio::select! {
            () = clock.sleep_until_wall(due) => {}
            _ = stopping.wait_for(|stopping| *stopping) => break,
        }
        last = next;
        let app = app.clone();
        ticks.spawn(async move {
            if let Some(trigger) = app.cron.get(place) {
                trigger.tick(&app.env).await;
            }
        });
        while ticks.try_join_next().is_some() {}
    }
    // Ticks under way may end; the stop that waits for this has its own bound.
    while ticks.join_next().await.is_some() {}
}

fn now(wall: &Duration) -> DateTime<Utc> {
    i64::try_from(wall.as_secs())
        .ok()
        .and_then(|s| DateTime::from_timestamp(s, 0))
        .unwrap_or(DateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for (expression, right) in [
            ("0 */5 * * * *", true),
            ("* * * * * * 2030", true),
            ("*/5 * * * *", false),
            ("61 * * * * *", false),
            ("", false),
        ] {
            assert_eq!(parse_schedule(expression).is_ok(), right, "{expression}");
        }
    }
}
