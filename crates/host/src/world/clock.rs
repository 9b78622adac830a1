//! The guests' time: the machine's, or one that tests move. Host bounds (timeouts, idle times) never use it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

/// Longest sleep on the wall clock before it is looked at again, since it may be set meanwhile.
const WALL_STEP: Duration = Duration::from_secs(30);

pub(crate) struct Clock {
    begin: Instant,
    moved: Option<Moved>,
}

struct Moved {
    frozen: bool,
    offsets: Mutex<Offsets>,
    changed: watch::Sender<()>,
}

#[derive(Clone, Copy)]
struct Offsets {
    mono_ns: u64,
    /// Wall time minus monotonic time; setting the wall clock changes this alone.
    wall_ns: i128,
}

/// A clock's state, as `GET /clock` shows it.
pub(crate) struct Reading {
    pub(crate) mode: &'static str,
    pub(crate) unix_ms: u64,
    pub(crate) mono_ms: u64,
}

impl Clock {
    pub(crate) fn real() -> Self {
        Self { begin: Instant::now(), moved: None }
    }

    pub(crate) fn virtual_from(start_s: u64, frozen: bool) -> Self {
        let offsets = Mutex::new(Offsets { mono_ns: 0, wall_ns: i128::from(start_s) * 1_000_000_000 });
        Self {
            begin: Instant::now(),
            moved: Some(Moved { frozen, offsets, changed: watch::Sender::new(()) }),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        self.moved.is_some()
    }

    fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Nanoseconds since the host began; never steps back.
    pub(crate) fn mono_ns(&self) -> u64 {
        match &self.moved {
            None => self.elapsed_ns(),
            Some(moved) => {
                let flown = if moved.frozen { 0 } else { self.elapsed_ns() };
                moved.offsets().mono_ns.saturating_add(flown)
            }
        }
    }

    /// Time since 1970.
    pub(crate) fn wall(&self) -> Duration {
        match &self.moved {
            None => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            Some(moved) => {
                let flown = if moved.frozen { 0 } else { self.elapsed_ns() };
                let offsets = moved.offsets();
                let ns = i128::from(offsets.mono_ns) + i128::from(flown) + offsets.wall_ns;
                Duration::from_nanos(u64::try_from(ns.max(0)).unwrap_or(u64::MAX))
            }
        }
    }

    pub(crate) fn read(&self) -> Reading {
        Reading {
            mode: match &self.moved {
                None => "real",
                Some(moved) if moved.frozen => "frozen",
                Some(_) => "flow",
            },
            unix_ms: u64::try_from(self.wall().as_millis()).unwrap_or(u64::MAX),
            mono_ms: self.mono_ns() / 1_000_000,
        }
    }

    /// Moves both clocks on. Says whether there was a virtual clock to move.
    pub(crate) fn advance(&self, by: Duration) -> bool {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.change(|offsets| offsets.mono_ns = offsets.mono_ns.saturating_add(by))
    }

    /// Sets the wall clock, back if need be; the monotonic clock and sleepers notice nothing.
    pub(crate) fn set_wall(&self, unix_ms: u64) -> bool {
        let wanted = i128::from(unix_ms) * 1_000_000;
        let mono = i128::from(self.mono_ns());
        self.change(|offsets| offsets.wall_ns = wanted - mono)
    }

    fn change(&self, change: impl FnOnce(&mut Offsets)) -> bool {
        let Some(moved) = &self.moved else { return false };
        change(&mut moved.offsets.lock().unwrap_or_else(PoisonError::into_inner));
        moved.changed.send_replace(());
        true
    }

    /// Sleeps until the monotonic clock shows `mark`.
    pub(crate) async fn sleep_until(&self, mark_ns: u64) {
        self.sleep_while(|clock| {
            mark_ns.checked_sub(clock.mono_ns()).filter(|ns| *ns > 0).map(Duration::from_nanos)
        })
        .await;
    }

    /// Sleeps until the wall clock shows `time`.
    pub(crate) async fn sleep_until_wall(&self, time: Duration) {
        self.sleep_while(|clock| {
            time.checked_sub(clock.wall()).filter(|left| !left.is_zero()).map(|left| left.min(WALL_STEP))
        })
        .await;
    }

    async fn sleep_while(&self, left: impl Fn(&Self) -> Option<Duration>) {
        // Subscribed before looking: a change in between is then not missed.
        let mut changes = self.moved.as_ref().map(|moved| moved.changed.subscribe());
        while let Some(left) = left(self) {
            match (&self.moved, &mut changes) {
                (Some(moved), Some(changes)) if moved.frozen => drop(changes.changed().await),
                (Some(_), Some(changes)) => drop(tokio::time::timeout(left, changes.changed()).await),
                _ => tokio::time::sleep(left).await,
            }
        }
    }
}

impl Moved {
    fn offsets(&self) -> Offsets {
        *self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frozen_clock_moves_on_order_alone_and_wakes_its_sleepers() {
        let clock = std::sync::Arc::new(Clock::virtual_from(1_000, true));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(3_600_000_000_000).await }
        });
        tokio::task::yield_now().await;
        assert_eq!((clock.mono_ns(), clock.wall().as_secs()), (0, 1_000));
        clock.advance(Duration::from_secs(3_599));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.set_wall(5_000);
        assert_eq!(
            (clock.mono_ns(), clock.wall().as_secs()),
            (3_599_000_000_000, 5),
            "the wall clock alone steps back"
        );
        clock.advance(Duration::from_secs(1));
        sleeper.await.unwrap();
        assert_eq!(clock.wall().as_secs(), 6);
    }
}
