//! What every store must do to carry Keyward: one suite for memory, SQLite, Redis, and for each of them through a component.

use crate::batch::{Batch, KvWrite};
use keyward_records::{KvCount, KvRead, StoreError};

/// One promise of a store, and what was seen of it.
pub struct Check {
    /// The promise.
    pub promise: &'static str,
    /// What was seen instead; `None` where it held.
    pub broken: Option<String>,
}

/// Runs the suite under store keys that start with `prefix`, which nothing else uses: `[a-z0-9:.-]`.
pub async fn run<K: KvRead + KvCount + KvWrite>(kv: &K, prefix: &str) -> Vec<Check> {
    let name = |suffix: &str| format!("{prefix}{suffix}");
    let mut checks = Vec::new();
    let mut check =
        |promise, result: Result<(), String>| checks.push(Check { promise, broken: result.err() });

    check("an absent key reads as absent", expect(kv.get(&name("absent")).await, &None));

    let batch = Batch::new(vec![
        (name("a"), b"1".to_vec()),
        (name("b"), vec![0, 255, 10, 13]),
        (name("empty"), Vec::new()),
    ]);
    check("a batch is acknowledged", expect(kv.set_many(&batch).await, &()));
    check("each entry of a batch is read back", expect(kv.get(&name("a")).await, &Some(b"1".to_vec())));
    check("values are bytes, not text", expect(kv.get(&name("b")).await, &Some(vec![0, 255, 10, 13])));
    check("an empty value is not an absent one", expect(kv.get(&name("empty")).await, &Some(Vec::new())));

    let again = Batch::new(vec![(name("a"), b"2".to_vec())]);
    check("a batch overwrites", expect(kv.set_many(&again).await, &()));
    check("the last write is read", expect(kv.get(&name("a")).await, &Some(b"2".to_vec())));

    let large = vec![7u8; 512 * 1024];
    let batch = Batch::new(vec![(name("large"), large.clone())]);
    check("half a mebibyte is written", expect(kv.set_many(&batch).await, &()));
    check(
        "half a mebibyte is read back whole",
        match kv.get(&name("large")).await {
            Ok(Some(value)) if value == large => Ok(()),
            Ok(value) => Err(format!("{:?} bytes", value.map(|value| value.len()))),
            Err(StoreError) => Err("an error".to_owned()),
        },
    );

    let many =
        Batch::new((0..500u32).map(|n| (name(&format!("many.{n}")), n.to_be_bytes().to_vec())).collect());
    check("500 entries are written together", expect(kv.set_many(&many).await, &()));
    check("the first of 500 is there", expect(kv.get(&name("many.0")).await, &Some(vec![0, 0, 0, 0])));
    check("the last of 500 is there", expect(kv.get(&name("many.499")).await, &Some(vec![0, 0, 1, 243])));

    let counter = name("counter");
    check("a new counter starts at 0", expect(kv.increment(&counter, 0).await, &0));
    check("a counter gives the new value", expect(kv.increment(&counter, 1).await, &1));
    check("a counter takes any step", expect(kv.increment(&counter, 41).await, &42));
    check("a counter is read by a step of 0", expect(kv.increment(&counter, 0).await, &42));
    check("a counter goes down", expect(kv.increment(&counter, -2).await, &40));

    let contested = name("contested");
    let tickets = futures::future::join_all((0..64).map(|_| kv.increment(&contested, 1))).await;
    let mut tickets: Vec<i64> = tickets.into_iter().flatten().collect();
    tickets.sort_unstable();
    check(
        "64 increments at once give 64 tickets",
        if tickets == (1..=64).collect::<Vec<i64>>() { Ok(()) } else { Err(format!("{tickets:?}")) },
    );

    let read_after_write = async {
        for n in 0..50u8 {
            kv.set_many(&Batch::new(vec![(name("seen"), vec![n])])).await?;
            if kv.get(&name("seen")).await? != Some(vec![n]) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    check("whoever reads after an acknowledged write sees it", expect(read_after_write.await, &true));
    checks
}

fn expect<T: PartialEq + std::fmt::Debug>(found: Result<T, StoreError>, expected: &T) -> Result<(), String> {
    match found {
        Ok(found) if found == *expected => Ok(()),
        Ok(found) => Err(format!("{found:?} instead of {expected:?}")),
        Err(StoreError) => Err(format!("an error instead of {expected:?}")),
    }
}
