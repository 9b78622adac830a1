//! A PostgreSQL of the bench's own: a cluster that lives as long as a run, on a free port of the loopback interface, with its defaults. It
//! touches no cluster that is on the machine already.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::super::stage::free_address;
use super::peer::{Server, Version, random_word, version_of};
use crate::{programs, steps};

/// The user that it runs as where we are root: it refuses to run as root.
const USER: &str = "postgres";

/// A cluster that runs.
pub struct Postgres {
    server: Server,
    /// Where it listens.
    pub address: SocketAddr,
    /// The password of `postgres`.
    pub password: String,
}

/// Installs it where it is missing.
pub fn install() -> anyhow::Result<Version> {
    if program("postgres").is_err() {
        programs::apt_install(&["postgresql"])?;
    }
    Ok(("PostgreSQL", version_of(Command::new(program("postgres")?).arg("--version"))?))
}

impl Postgres {
    /// Makes a cluster in `folder` and starts it.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let data = folder.join("postgres");
        std::fs::create_dir(&data).with_context(|| format!("cannot make {}", data.display()))?;
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700))?;
        let owner = owner()?;
        if let Some((user, group)) = owner {
            chown(&data, Some(user), Some(group))?;
        }
        let as_owner = |name: &str| {
            let mut command = Command::new(program(name)?);
            // It goes into its own folder, which its user can read.
            command.current_dir("/").arg("-D").arg(&data);
            if let Some((user, group)) = owner {
                command.uid(user).gid(group);
            }
            anyhow::Ok(command)
        };

        let password = random_word()?;
        let password_path = data.with_extension("password");
        File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&password_path)?
            .write_all(password.as_bytes())?;
        if let Some((user, group)) = owner {
            chown(&password_path, Some(user), Some(group))?;
        }
        let mut init = as_owner("initdb")?;
        init.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]);
        init.arg("--pwfile").arg(&password_path).stdin(Stdio::null()).stdout(Stdio::null());
        steps::must(&mut init).with_context(|| {
            format!("no cluster in {} (its user must be able to reach that folder)", data.display())
        })?;
        std::fs::remove_file(&password_path)?;

        let address = free_address()?;
        let mut command = as_owner("postgres")?;
        let port = address.port().to_string();
        command.args(["-h", &address.ip().to_string(), "-p", &port, "-c", "unix_socket_directories="]);
        let mut server = Server::start(command, folder, "postgres", "INT")?;
        let ready = program("pg_isready")?;
        server
            .until("took connections", async || {
                let mut asked = Command::new(&ready);
                asked.args(["--quiet", "-h", &address.ip().to_string(), "-p", &port]);
                asked.status().is_ok_and(|status| status.success())
            })
            .await
            .context("PostgreSQL did not start")?;
        Ok(Self { server, address, password })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}

/// One of its programs, of the newest version that is there. Debian keeps them out of the path.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin").join(name)))
        })
        .filter(|(_, path)| path.exists())
        .collect();
    found.sort();
    found.pop().map(|(_, path)| path).with_context(|| format!("no {name} below /usr/lib/postgresql"))
}

/// User and group that it has to run as: none where we are not root.
fn owner() -> anyhow::Result<Option<(u32, u32)>> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().context("cannot start id")?;
        if !output.status.success() {
            bail!("there is no user {USER}");
        }
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().context("id tells no number")
    };
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    Ok(Some((id(&["-u", USER])?, id(&["-g", USER])?)))
}
