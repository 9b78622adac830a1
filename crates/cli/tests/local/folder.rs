//! A folder of a test's own, and the command run in it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use keyward_crypto::digest::{hex, sha256};
use serde_json::Value;

/// An empty folder of this name.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("local").join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The same with a state in `.keyward`.
    pub fn with_state(name: &str) -> Self {
        let folder = Self::new(name);
        folder.json("init", 0);
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_keyward"))
            .current_dir(&self.0)
            .env_clear()
            .stdin(Stdio::null())
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Runs the words of `line` and gives both outputs; no secret of the state in `.keyward` is in them.
    pub fn says(&self, line: &str, exit_code: i32) -> (String, String) {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let output = self.run(&arguments);
        let (stdout, stderr) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(exit_code), "keyward {line}: {stdout}{stderr}");
        assert!(!stdout.contains("kw_live_") && !stderr.contains("kw_live_"), "keyward {line}");
        for secret in self.ring_keys() {
            assert!(!stdout.contains(&secret) && !stderr.contains(&secret), "keyward {line} shows a key");
        }
        (stdout, stderr)
    }

    /// Runs the words of `line` with `--json`.
    pub fn json(&self, line: &str, exit_code: i32) -> Value {
        let (stdout, _) = self.says(&format!("--json {line}"), exit_code);
        serde_json::from_str(&stdout).unwrap()
    }

    /// Every key of every ring in `.keyward`.
    pub fn ring_keys(&self) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.path(".keyward/variables")) else { return Vec::new() };
        let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        let keys = texts.flat_map(|text| {
            text.split('"').filter(|word| word.len() == 43).map(str::to_owned).collect::<Vec<_>>()
        });
        keys.collect()
    }

    /// Every file and folder below it, with its mode.
    pub fn modes(&self) -> BTreeMap<String, u32> {
        let mut found = BTreeMap::new();
        modes(&self.0, &self.0, &mut found);
        found
    }

    /// Every file below it with the digest of its content.
    pub fn contents(&self) -> BTreeMap<String, String> {
        let names = self.modes().into_keys().filter(|name| self.path(name).is_file());
        let digest = |name: &str| hex(&sha256(&std::fs::read(self.path(name)).unwrap()));
        names.map(|name| (name.clone(), digest(&name))).collect()
    }
}

fn modes(root: &Path, folder: &Path, found: &mut BTreeMap<String, u32>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = std::fs::metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        found.insert(name, data.permissions().mode() & 0o777);
        if data.is_dir() {
            modes(root, &path, found);
        }
    }
}
