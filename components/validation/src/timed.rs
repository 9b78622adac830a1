//! How long the store takes for the reads of a request: from the first until all that went out with it are answered. It changes nothing
//! of what is read. A look at the clock is a call of the platform's, which costs more than the MAC of a token, so one request in eight is timed.

use keyward_domain::ports::Clock;
use keyward_records::{KvRead, StoreError};
use std::cell::Cell;

/// A store whose first reads, those that go out at the same time, are timed.
pub(crate) struct Timed<K, C> {
    kv: K,
    clock: C,
    state: Cell<State>,
}

#[derive(Clone, Copy)]
enum State {
    /// Not one of those that are timed.
    Untimed,
    Idle,
    Reading {
        since_us: u64,
        open: u32,
    },
    Done {
        took_us: u64,
    },
}

/// Of how many requests of an instance one is timed.
const TIMED_EACH: u32 = 8;

thread_local! {
    static REQUESTS: Cell<u32> = const { Cell::new(0) };
}

impl<K, C: Clock> Timed<K, C> {
    /// The store for one request.
    pub(crate) const fn new(kv: K, clock: C, is_timed: bool) -> Self {
        Self { kv, clock, state: Cell::new(if is_timed { State::Idle } else { State::Untimed }) }
    }

    /// The store for the next request of this instance.
    pub(crate) fn next(kv: K, clock: C) -> Self {
        let number = REQUESTS.replace(REQUESTS.get().wrapping_add(1));
        Self::new(kv, clock, number.is_multiple_of(TIMED_EACH))
    }

    /// How long those reads took, in microseconds; nothing where they are not timed, there was none, or one is not answered yet.
    pub(crate) fn reads_us(&self) -> Option<u64> {
        match self.state.get() {
            State::Done { took_us } => Some(took_us),
            _ => None,
        }
    }

    fn began(&self) {
        self.state.set(match self.state.get() {
            State::Idle => State::Reading { since_us: self.clock.monotonic_us(), open: 1 },
            State::Reading { since_us, open } => State::Reading { since_us, open: open + 1 },
            State::Untimed | State::Done { .. } => return,
        });
    }

    fn answered(&self) {
        self.state.set(match self.state.get() {
            State::Reading { since_us, open: 0 | 1 } => {
                State::Done { took_us: self.clock.monotonic_us().saturating_sub(since_us) }
            }
            State::Reading { since_us, open } => State::Reading { since_us, open: open - 1 },
            State::Untimed | State::Idle | State::Done { .. } => return,
        });
    }
}

impl<K: KvRead, C: Clock> KvRead for Timed<K, C> {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.began();
        let answer = self.kv.get(key).await;
        self.answered();
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_domain::Timestamp;

    /// Each look at it is a millisecond later.
    #[derive(Default)]
    struct Ticking(Cell<u64>);

    impl Clock for Ticking {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_ms(0)
        }
        fn monotonic_ms(&self) -> u64 {
            self.0.replace(self.0.get() + 1)
        }
        async fn sleep_ms(&self, _: u64) {}
    }

    /// Answers at the second time of asking, so that reads overlap.
    struct Slow;

    impl KvRead for Slow {
        async fn get(&self, _: &str) -> Result<Option<Vec<u8>>, StoreError> {
            let mut was_asked = false;
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                match std::mem::replace(&mut was_asked, true) {
                    true => std::task::Poll::Ready(Err(StoreError)),
                    false => std::task::Poll::Pending,
                }
            })
            .await
        }
    }

    #[test]
    fn the_reads_that_go_out_together_are_timed_once() {
        let kv = Timed::new(Slow, Ticking::default(), true);
        assert_eq!(kv.reads_us(), None);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let (mut one, mut other) = (std::pin::pin!(kv.get("a")), std::pin::pin!(kv.get("b")));
        for _ in 0..2 {
            assert_eq!(kv.reads_us(), None);
            let _ = one.as_mut().poll(&mut context);
            let _ = other.as_mut().poll(&mut context);
        }
        assert_eq!(kv.reads_us(), Some(1_000), "two looks at the clock");
        let mut later = std::pin::pin!(kv.get("c"));
        let _ = later.as_mut().poll(&mut context);
        let _ = later.as_mut().poll(&mut context);
        assert_eq!(kv.reads_us(), Some(1_000), "what is read after them is another matter");
    }
}
