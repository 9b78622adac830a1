//! Hosts of a test's own on this machine, each in a network namespace behind a link of its own, so that a link can be cut as a network cuts
//! it. It needs root. Taken away when dropped.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

/// Hosts of this process so far.
static HOSTS: AtomicU8 = AtomicU8::new(0);
/// Addresses of a link: itself, both ends, and the broadcast.
const ADDRESSES_EACH: u8 = 4;
/// The table of the packet filter that cuts.
const TABLE: &str = "cut";

/// A host.
pub struct TestHost {
    namespace: String,
    address: Ipv4Addr,
    outside: Ipv4Addr,
}

impl TestHost {
    /// Makes a host and connects it. Its link lies in 198.18.0.0/15, which is set apart for tests (RFC 2544).
    ///
    /// # Panics
    /// Where this is not root, or a program is missing; `cargo xtask test --only tools` installs them.
    pub fn new() -> Self {
        let process = std::process::id();
        let number = HOSTS.fetch_add(1, Ordering::Relaxed);
        let first = number.checked_mul(ADDRESSES_EACH).expect("no more than 64 hosts");
        let end = |place| Ipv4Addr::new(198, 18, process.to_le_bytes()[0], first + place);
        let host =
            Self { namespace: format!("keyward-{process}-{number}"), outside: end(1), address: end(2) };
        let (namespace, link) = (host.namespace.as_str(), format!("kw{process}.{number}"));
        ip(&format!("netns add {namespace}"));
        ip(&format!("link add {link} type veth peer name uplink netns {namespace}"));
        ip(&format!("addr add {}/30 dev {link}", host.outside));
        ip(&format!("link set {link} up"));
        ip(&format!("-n {namespace} addr add {}/30 dev uplink", host.address));
        ip(&format!("-n {namespace} link set uplink up"));
        ip(&format!("-n {namespace} link set lo up"));
        host
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The address of this end of its link: what it reaches the test by.
    pub fn outside(&self) -> Ipv4Addr {
        self.outside
    }

    /// The same command, to be run there.
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.namespace]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }

    /// Drops every packet between it and this port of the test, without a word to either side.
    pub fn cut(&self, port: u16) {
        self.filter(&format!(
            "table inet {TABLE} {{
                 chain in {{ type filter hook input priority 0; tcp sport {port} drop; }}
                 chain out {{ type filter hook output priority 0; tcp dport {port} drop; }}
             }}"
        ));
    }

    /// Undoes [`TestHost::cut`].
    pub fn mend(&self) {
        self.filter(&format!("delete table inet {TABLE}"));
    }

    fn filter(&self, rules: &str) {
        let mut nft = Command::new("nft");
        nft.arg(rules);
        must(self.inside(&nft));
    }
}

impl Default for TestHost {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        // Its end of the link goes with it, and the other end with that.
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).stdin(Stdio::null()).status();
    }
}

fn ip(arguments: &str) {
    let mut ip = Command::new("ip");
    ip.args(arguments.split(' '));
    must(ip);
}

fn must(mut command: Command) {
    let output = command.stdin(Stdio::null()).output().expect("`cargo xtask test --only tools` installs it");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
