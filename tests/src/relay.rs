//! A long way: what comes in on one side leaves on the other a while later, in both directions, or not at all while it is stalled; cut,
//! it closes whatever connection there is and takes no other.
//! It carries bytes and knows nothing of what they say.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Bytes taken at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A relay; it takes connections for as long as the process lives.
pub struct Relay {
    port: u16,
    gate: Arc<Gate>,
    line: Arc<Line>,
}

/// The connections that there are, and whether there may be any.
#[derive(Default)]
struct Line {
    is_cut: AtomicBool,
    near: Mutex<Vec<TcpStream>>,
}

/// Closed while nothing leaves.
#[derive(Default)]
struct Gate {
    is_closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let closed = self.is_closed.lock().unwrap();
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
    }

    fn set(&self, is_closed: bool) {
        *self.is_closed.lock().unwrap() = is_closed;
        self.opened.notify_all();
    }
}

impl Relay {
    /// A relay from a free port here to there, with this delay for each direction.
    pub fn start(here: impl Into<IpAddr>, there: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind((here.into(), 0)).unwrap();
        let (port, gate) = (listener.local_addr().unwrap().port(), Arc::new(Gate::default()));
        let line = Arc::new(Line::default());
        let (held, kept) = (Arc::clone(&gate), Arc::clone(&line));
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let gate = Arc::clone(&held);
                if kept.is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                kept.near.lock().unwrap().push(near.try_clone().unwrap());
                // Whoever cannot be reached is told so by a connection that closes.
                std::thread::spawn(move || {
                    if let Ok(far) = TcpStream::connect(there) {
                        carry_both(&near, &far, delay, &gate);
                    }
                });
            }
        });
        Self { port, gate, line }
    }

    /// Closes every connection, and each that comes.
    pub fn cut(&self) {
        self.line.is_cut.store(true, Ordering::SeqCst);
        for near in self.line.near.lock().unwrap().drain(..) {
            let _ = near.shutdown(Shutdown::Both);
        }
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.line.is_cut.store(false, Ordering::SeqCst);
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Holds back whatever is on its way.
    pub fn stall(&self) {
        self.gate.set(true);
    }

    /// Lets it go.
    pub fn resume(&self) {
        self.gate.set(false);
    }
}

fn carry_both(near: &TcpStream, far: &TcpStream, delay: Duration, gate: &Arc<Gate>) {
    for (from, to) in [(near, far), (far, near)] {
        let (from, to, gate) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(gate));
        to.set_nodelay(true).unwrap();
        let (taken, arriving) = mpsc::channel();
        std::thread::spawn(move || take(from, &taken));
        std::thread::spawn(move || deliver(&arriving, to, delay, &gate));
    }
}

/// Reads until the end, noting when what came.
fn take(mut from: TcpStream, taken: &mpsc::Sender<(Instant, Vec<u8>)>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        if taken.send((Instant::now(), chunk[..length].to_vec())).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Read);
}

/// Writes what came when its time is there. The end arrives like everything else.
fn deliver(arriving: &mpsc::Receiver<(Instant, Vec<u8>)>, mut to: TcpStream, delay: Duration, gate: &Gate) {
    while let Ok((came, bytes)) = arriving.recv() {
        std::thread::sleep((came + delay).saturating_duration_since(Instant::now()));
        gate.pass();
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
