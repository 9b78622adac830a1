//! A folder to scan, and secrets to plant in it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use keyward_domain::key::Environment;
use keyward_domain::token;
use serde_json::Value;

pub struct Place {
    folder: PathBuf,
}

impl Place {
    pub fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scan").join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn chmod(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        let ran = Command::new("git")
            .args(arguments)
            .current_dir(&self.folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "Somebody")))
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "a@example.com")))
            .output()
            .unwrap();
        assert!(ran.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    }

    /// Commits all that is there; gives the commit's id.
    pub fn commit(&self, at: &str) -> String {
        self.git(&["add", "-A", "-f"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "x", "--date", at]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn scan(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_keyward"))
            .arg("scan")
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .output()
            .unwrap()
    }

    /// What it found, as `(rule, path, line, column)`; it must end with this exit code.
    #[track_caller]
    pub fn finds(&self, arguments: &[&str], exit: i32) -> Vec<(String, String, u64, u64)> {
        let report = self.report(arguments, exit);
        let findings = report["findings"].as_array().unwrap().iter();
        let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
        findings
            .map(|one| {
                let (line, column) = (one["line"].as_u64().unwrap(), one["column"].as_u64().unwrap());
                (text(one, "rule"), text(one, "path"), line, column)
            })
            .collect()
    }

    #[track_caller]
    pub fn report(&self, arguments: &[&str], exit: i32) -> Value {
        let ran = self.scan(&[&["--format", "json"], arguments].concat());
        let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(exit), "{stderr}");
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|fault| panic!("{fault}: {stderr}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What `finds` gives for one finding.
pub fn finding(rule: &str, path: &str, line: u64, column: u64) -> (String, String, u64, u64) {
    (rule.to_owned(), path.to_owned(), line, column)
}

pub fn minted(prefix: &str, fill: u8) -> String {
    token::render(prefix, Environment::Live, &[fill; 16], 2, &[fill ^ 0x5a; 32])
}

/// Letters and digits as random as a secret's.
pub fn noise(length: usize, seed: usize) -> String {
    let letters = b"q7Rt2Zp9Lm4Xc8Vb1Nk6Js3Hd5Gf0Ya";
    (0..length).map(|at| char::from(letters[(at * 7 + at / 31 + seed * 5) % letters.len()])).collect()
}

pub fn github_token(seed: usize) -> String {
    format!("ghp_{}", noise(36, seed))
}
