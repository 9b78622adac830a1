//! The process dies at any call of the store, in the middle of several requests; what comes back finds nothing acknowledged lost,
//! nothing revoked alive, and a log without unexplained holes. A failure names its seed and its call.

use crate::history::{History, check_projections, check_state, integrate_all};
use crate::world::{Do, SeededRng, World, survive};
use futures::future::join_all;
use keyward_ledger::memory::Fault;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// Seeds that failed once stay here.
const SEEDS_KEPT: [u64; 2] = [1, 2];
/// Groups of requests before the end of a history, and requests at once in a group.
const GROUPS: usize = 4;
const AT_ONCE: usize = 3;
/// Every how many calls a history is made to crash; each seed starts at another call, so that together they meet all.
const STRIDE: usize = 3;

/// Requests that run at the same time and whose outcome is the same in whatever order: nothing beside an application's
/// revocation, and at most one edit of a key.
fn choose_group(history: &mut History, rng: &SeededRng) -> Vec<Do> {
    let mut edited = BTreeSet::new();
    let mut group: Vec<Do> = Vec::new();
    for _ in 0..AT_ONCE {
        match history.choose(rng) {
            what @ Do::RevokeApplication(..) => return vec![what],
            Do::ChangeKey(key, ..)
            | Do::Rotate(key, _)
            | Do::FinishRotation(key, _)
            | Do::CancelRotation(key, _)
            | Do::Reissue(key)
                if !edited.insert(key) => {}
            Do::ChangeApplication(..)
                if group.iter().any(|what| matches!(what, Do::ChangeApplication(..))) => {}
            what => group.push(what),
        }
    }
    group
}

async fn run_group(world: &World, history: &mut History, rng: &SeededRng) {
    let group = choose_group(history, rng);
    // The callers were let in before.
    let mut callers = Vec::new();
    for what in &group {
        callers.push(match what {
            Do::TakeClaim(_) | Do::Report(_) | Do::Renew(_) => Some(world.holder(None)),
            _ => survive(world.try_caller(&world.root, None)).await.flatten(),
        });
    }
    let service = world.service();
    let work = group.iter().zip(callers).map(async |(what, caller)| match caller {
        Some(caller) => survive(crate::world::perform(&service, caller, what)).await,
        None => None,
    });
    let ended = join_all(work).await;
    for (what, ended) in group.iter().zip(&ended) {
        history.note(what, ended);
    }
}

/// Runs one history that crashes at call `nth`; whether there was such a call.
async fn crash_at(seed: u64, nth: usize, fault: Fault) -> bool {
    let world = World::new(seed).await;
    let rng = SeededRng::new(seed ^ 0xc4a5_4e55);
    let mut history = History::default();
    run_group(&world, &mut history, &rng).await;
    run_group(&world, &mut history, &rng).await;
    let seen = Rc::new(Cell::new(0));
    let counter = Rc::clone(&seen);
    world.kv.plan(move |_| {
        counter.set(counter.get() + 1);
        match counter.get().cmp(&(nth + 1)) {
            std::cmp::Ordering::Less => Fault::None,
            std::cmp::Ordering::Equal => fault,
            // The process is gone, and all that it was doing.
            std::cmp::Ordering::Greater => Fault::Crash,
        }
    });
    for _ in 0..GROUPS {
        run_group(&world, &mut history, &rng).await;
        if seen.get() > nth {
            break;
        }
    }
    let crashed = seen.get() > nth;
    // Another process on the same store.
    world.heal();
    history.check_acknowledged(&world, seed).await;
    check_state(&world, seed).await;
    for _ in 0..2 {
        run_group(&world, &mut history, &rng).await;
    }
    history.check_acknowledged(&world, seed).await;
    check_state(&world, seed).await;
    integrate_all(&world, seed).await;
    check_projections(&world, seed).await;
    crashed
}

#[tokio::test(start_paused = true)]
async fn nothing_acknowledged_is_lost_and_nothing_revoked_comes_back() {
    for seed in SEEDS_KEPT.into_iter().chain(100..104) {
        let start = usize::try_from(seed).unwrap() % STRIDE;
        for nth in (start..).step_by(STRIDE) {
            // Shown where it fails.
            eprintln!("seed {seed}, call {nth}");
            let mut crashed = false;
            for fault in [Fault::Crash, Fault::CrashAfter] {
                crashed |= crash_at(seed, nth, fault).await;
            }
            if !crashed {
                break;
            }
        }
    }
}
