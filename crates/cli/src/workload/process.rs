//! The process of a service: started with its environment, told of signals, ended with patience.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use keyward_crypto::Zeroizing;
use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Failure, Result};

/// How often it is looked whether the process has ended.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What of our own environment the service does not inherit: where its credentials come from is not its business.
const OURS: &str = "KEYWARD_";

/// A service that runs.
pub struct Service {
    child: Child,
}

impl Service {
    /// Starts it with these variables beside those of our own environment.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &[OsString], variables: &[(String, Zeroizing<String>)]) -> Result<Self> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| Failure::command_line("no command was given"))?;
        let mut command = Command::new(program);
        command.args(arguments);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(OURS)) {
            command.env_remove(name);
        }
        command.envs(variables.iter().map(|(name, value)| (name, value.as_str())));
        let child = command.spawn().map_err(|error| {
            Failure::command_line(format!("`{}` cannot be started: {error}", program.to_string_lossy()))
        })?;
        Ok(Self { child })
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// This machine does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(|error| Failure::system("process", error))
    }

    /// Sends it a signal; one that has ended is sent none.
    ///
    /// # Errors
    /// As [`Service::ended`].
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // Not waited for yet, so that its number is still its own.
        if self.ended()?.is_none()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
        Ok(())
    }

    /// Asks it to end, and ends it where it has not within `grace`.
    ///
    /// # Errors
    /// As [`Service::ended`].
    pub fn stop(&mut self, grace: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let begun = Instant::now();
        while begun.elapsed() < grace {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = self.child.kill();
        self.child.wait().map_err(|error| Failure::system("process", error))
    }
}

/// The exit code that a shell gives for an end.
pub fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// A signal by its name, with or without `SIG`.
///
/// # Errors
/// What would be one.
pub fn signal(name: &str) -> Result<Signal, String> {
    Ok(match name.trim_start_matches("SIG") {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "TERM" => Signal::TERM,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        _ => return Err("expected HUP, INT, TERM, USR1 or USR2".to_owned()),
    })
}
