//! Many connections at once, each on a thread of its own that keeps its connection.

use std::net::SocketAddr;

use crate::http::Connection;

/// Connections of every load.
pub const CONNECTIONS: usize = 16;

/// Runs `work` on this many connections at once, and gives what each came to.
///
/// # Panics
/// Where one of them does.
pub fn on_connections<T: Send>(
    address: SocketAddr,
    count: usize,
    work: impl Fn(usize, &mut Connection) -> T + Sync,
) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let run = move |number| work(number, &mut Connection::open(address));
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || run(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a connection's thread")).collect()
    })
}
