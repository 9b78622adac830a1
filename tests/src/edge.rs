//! `deploy/edge` as it stands, on two hosts of the test's: the control plane on the primary, validators on a replica, a long way between
//! the two. The words in capitals of its files are filled in; nothing else is changed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::http::Connection;
use crate::keyward::{Keyward, Running, Setup};
use crate::network::TestHost;
use crate::redis::RedisServer;
use crate::relay::Relay;
use crate::{eventually, programs};

/// The users of both servers, with the words that stand for their passwords. What a test fills in is its own.
const PASSWORDS: [(&str, &str); 3] =
    [("CONTROL-PASSWORD", "control"), ("REPLICATION-PASSWORD", "replication"), ("EDGE-PASSWORD", "edge")];

/// Both regions, running.
pub struct EdgeDeployment {
    /// The control plane.
    pub keyward: Keyward,
    /// The validators of the region.
    validators: Running,
    /// The store of the control plane.
    pub primary: RedisServer,
    /// The store of the region.
    pub replica: RedisServer,
    /// The way from the region to the primary, for replication and for counters.
    pub way: Relay,
    /// Where the region is.
    pub region: Arc<TestHost>,
    _folder: TempDir,
}

impl EdgeDeployment {
    /// Starts all of it; `delay` is that of the way, in each direction.
    ///
    /// # Panics
    /// Where anything does not start.
    pub fn start(delay: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (centre, region) = (Arc::new(TestHost::new()), Arc::new(TestHost::new()));
        let files = Files { folder: folder.path() };

        let users = files.fill("primary.acl", &[]);
        let primary = RedisServer::configured(
            &folder.path().join("primary"),
            &centre,
            &files.fill("primary.conf", &[]),
            &users,
        );
        let way = Relay::start(region.outside(), primary.address(), delay);
        let far = SocketAddr::from((region.outside(), way.port()));
        let replica = RedisServer::configured(
            &folder.path().join("replica"),
            &region,
            &files.fill("replica.conf", &[("PRIMARY 6379", &format!("{} {}", far.ip(), far.port()))]),
            &files.fill("replica.acl", &[]),
        );

        let store = format!(
            "[key_value_store.default]\ntype = \"redis\"\nurl = \"redis://keyward:{}@{}\"\n",
            PASSWORDS[0].1,
            primary.address()
        );
        let keyward = Setup::new().by_command().on_host(&centre).configured(&store).start();

        let stores = files.fill(
            "runtime-config.toml",
            &[("REPLICA:6379", &replica.address().to_string()), ("PRIMARY:6379", &far.to_string())],
        );
        let components = format!("{}/", programs::target().display());
        let manifest = files.fill("spin.toml", &[("../../target/", &components)]);
        let mut host = Command::new(programs::program("keyward-host"));
        host.arg("--from").arg(manifest).arg("--state-dir").arg(folder.path().join("state"));
        host.arg("--runtime-config-file").arg(stores).arg("--cache-dir").arg(programs::compiled_components());
        host.arg("--listen").arg(format!("{}:0", region.address()));
        for name in ["records_keyring", "peppers"] {
            let file = keyward.state_dir().join("variables").join(format!("{name}.json"));
            host.arg("--variable").arg(format!("{name}=@{}", file.display()));
        }
        let validators = Running::start(region.inside(&host), &folder.path().join("region.log"));
        let deployment = Self { keyward, validators, primary, replica, way, region, _folder: folder };
        eventually("replication", || deployment.is_caught_up());
        deployment
    }

    /// A connection to the region's validators.
    pub fn connect(&self) -> Connection {
        Connection::open(self.validators.address)
    }

    /// The first line of what a command of the user that validators have is answered.
    pub fn as_validator(&self, server: &RedisServer, command: &[&str]) -> String {
        server.answer_to("keyward-edge", PASSWORDS[2].1, command)
    }

    /// Cuts the region off from the primary, without a word to either.
    pub fn cut(&self) {
        self.region.cut(self.way.port());
    }

    /// Connects it again.
    pub fn mend(&self) {
        self.region.mend();
    }

    fn is_caught_up(&self) -> bool {
        // A replica that has not caught up answers no read at all.
        self.as_validator(&self.replica, &["EXISTS", "k:0"]).starts_with(':')
    }
}

/// The files of `deploy/edge`, filled in.
struct Files<'a> {
    folder: &'a Path,
}

impl Files<'_> {
    fn fill(&self, name: &str, words: &[(&str, &str)]) -> PathBuf {
        let mut text = std::fs::read_to_string(programs::root().join("deploy/edge").join(name)).unwrap();
        for (word, with) in words.iter().chain(&PASSWORDS) {
            text = text.replace(word, with);
        }
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}
