//! Work on several threads whose results are taken in order, a bounded number of them at a time.

use std::sync::Mutex;

/// Pieces of work that each thread does before results are taken.
const PIECES_EACH: u64 = 4;

/// Does pieces `0..count` on `threads` threads and hands what they come to over in order. Stops at the first error.
///
/// # Errors
/// What a piece failed with.
pub(crate) fn in_order<T: Send, E: Send>(
    threads: usize,
    count: u64,
    work: impl Fn(u64) -> Result<T, E> + Sync,
    mut take: impl FnMut(T),
) -> Result<(), E> {
    let threads_u64 = u64::try_from(threads.max(1)).unwrap_or(1);
    let mut start = 0;
    while start < count {
        let end = count.min(start.saturating_add(threads_u64.saturating_mul(PIECES_EACH)));
        let pieces = Mutex::new(start..end);
        let mut done: Vec<(u64, Result<T, E>)> = std::thread::scope(|scope| {
            let run = || {
                let mut done = Vec::new();
                while let Some(piece) = pieces.lock().ok().and_then(|mut pieces| pieces.next()) {
                    done.push((piece, work(piece)));
                }
                done
            };
            let others: Vec<_> = (1..threads_u64).map(|_| scope.spawn(run)).collect();
            let mut all = run();
            for other in others {
                match other.join() {
                    Ok(done) => all.extend(done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            all
        });
        done.sort_by_key(|(piece, _)| *piece);
        for (_, outcome) in done {
            take(outcome?);
        }
        start = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_an_error_ends_it() {
        let mut taken = Vec::new();
        in_order(3, 100, Ok::<u64, ()>, |piece| taken.push(piece)).unwrap();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        let failed = in_order(3, 100, |piece| if piece == 50 { Err(piece) } else { Ok(piece) }, |_| ());
        assert_eq!(failed, Err(50));
    }
}
