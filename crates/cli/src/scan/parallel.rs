//! Work on many texts at once, a thread for each core. What comes of it comes in any order.

use std::num::NonZeroUsize;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};

/// Results that wait to be taken.
const WAITING_MAX: usize = 64;

/// Does `work` to each job, as they come, and hands what comes of it to `take`.
pub fn each<J: Send, R: Send>(
    jobs: impl Iterator<Item = J> + Send,
    work: impl Fn(J) -> R + Sync,
    mut take: impl FnMut(R),
) {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (jobs, work) = (&Mutex::new(jobs), &work);
    let (tell, results) = sync_channel(WAITING_MAX);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let tell = tell.clone();
            scope.spawn(move || {
                loop {
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(job) = job else { return };
                    if tell.send(work(job)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        results.into_iter().for_each(&mut take);
    });
}
