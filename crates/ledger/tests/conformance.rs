//! The store in memory keeps every promise that Keyward asks of a store; and the suite notices one that does not.

use keyward_domain::Timestamp;
use keyward_domain::ports::Clock;
use keyward_ledger::conformance;
use keyward_ledger::memory::{Call, Fault, MemoryKv};

type Which = fn(&Call) -> bool;

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(0)
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }

    async fn sleep_ms(&self, _: u64) {}
}

async fn broken(kv: &MemoryKv<Still>) -> Vec<&'static str> {
    let checks = conformance::run(kv, "t:conformance.").await;
    assert!(checks.len() >= 19, "{}", checks.len());
    checks.iter().filter(|check| check.broken.is_some()).map(|check| check.promise).collect()
}

#[tokio::test]
async fn the_store_in_memory_conforms() {
    assert_eq!(broken(&MemoryKv::new(Still)).await, Vec::<&str>::new());
}

#[tokio::test]
async fn the_suite_notices_a_store_that_does_not() {
    let faults: [(&str, Which); 3] = [
        ("reads", |call| matches!(call, Call::Get(_))),
        ("increments", |call| matches!(call, Call::Increment(_))),
        ("batches", |call| matches!(call, Call::SetMany(_))),
    ];
    for (name, which) in faults {
        let kv = MemoryKv::new(Still);
        kv.plan(move |call| if which(call) { Fault::Before } else { Fault::None });
        assert_ne!(broken(&kv).await, Vec::<&str>::new(), "{name}");
    }
}
