//! One case: what it is made of, and how it is run and compared. The command runs in an empty folder with an empty environment, so
//! that nothing of whoever runs the tests leaks in.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keyward_domain::key::Environment;
use keyward_domain::{KeyId, token};
use serde::Deserialize;

use crate::stub::{Answer, Stub};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// Whether it needs the half that works on this machine.
    #[serde(default)]
    pub host: bool,
    arguments: Vec<String>,
    /// `false`: nobody listens at the URL.
    #[serde(default = "yes")]
    server: bool,
    /// `false`: no `--url`.
    #[serde(default = "yes")]
    url: bool,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Files in the folder that the command runs in, 0600; by default the root key where the command looks for it.
    #[serde(default = "root_key")]
    files: BTreeMap<String, String>,
    #[serde(default)]
    chmod: BTreeMap<String, u32>,
    #[serde(default)]
    answer: Vec<Answer>,
    expect: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    exit: i32,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
    /// For messages that are not ours to word, such as clap's.
    stderr_has: Option<Vec<String>>,
    stdout_has: Option<Vec<String>>,
    /// Files that must be there afterwards with this content and mode 0600; all others must be as before.
    #[serde(default)]
    files: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

fn root_key() -> BTreeMap<String, String> {
    BTreeMap::from([(".keyward/root.key".to_owned(), "{root_token}\n".to_owned())])
}

/// What stands in a case for what no file of the repository should hold, or what differs from run to run.
pub struct Words(Vec<(&'static str, String)>);

impl Words {
    fn new(url: &str, folder: &Path) -> Self {
        let token =
            |prefix, environment, id, secret| token::render(prefix, environment, &[id; 16], 1, &[secret; 32]);
        Self(vec![
            ("{url}", url.to_owned()),
            ("{folder}", folder.display().to_string()),
            ("{root_token}", token("kw", Environment::Live, 1, 11)),
            ("{token}", token("acme", Environment::Live, 2, 22)),
            ("{ticket}", token("kwc", Environment::Live, 3, 33)),
            ("{key}", KeyId::from_bytes([2; 16]).to_string()),
            // As random as a third party's, in one piece nowhere in the repository.
            ("{github_token}", ["ghp", "q7Rt2Zp9Lm4Xc8Vb1Nk6Js3Hd5Gf0YaWe7uI"].join("_")),
            ("{jwks}", crate::stub::signing_keys().jwks()),
            ("{kid}", crate::stub::signing_keys().kid().to_owned()),
        ])
    }

    /// A text of a case with the real words in it.
    pub fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, word)| text.replace(name, word))
    }

    /// A text of the command with the case's words in it.
    fn name(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, word)| text.replace(word.as_str(), name))
    }
}

pub fn run(group: &str, case: &Case) -> Result<(), String> {
    let folder = fresh_folder(group, &case.name);
    let stub = Stub::start();
    let url = if case.server { stub.url().to_owned() } else { closed_port() };
    let words = Words::new(&url, &folder);
    for (name, content) in &case.files {
        write(&folder.join(name), &words.fill(content), case.chmod.get(name).copied().unwrap_or(0o600));
    }

    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    command
        .current_dir(&folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if case.url {
        command.env("KEYWARD_URL", &url);
    }
    command.envs(case.environment.iter().map(|(name, value)| (name, words.fill(value))));
    command.args(case.arguments.iter().map(|argument| words.fill(argument)));
    let served = stub.serve(&case.answer, &words, || {
        let mut child = command.spawn().unwrap();
        // A command that never reads it may have ended before it is written.
        let _ = child.stdin.take().unwrap().write_all(words.fill(&case.stdin).as_bytes());
        child.wait_with_output().unwrap()
    });

    let mut differences = String::new();
    for fault in &served.faults {
        let _ = write!(differences, "\n  {}", words.name(fault));
    }
    let mut compare = |what: &str, seen: &str, expected: &str| {
        if seen != expected {
            let _ = write!(differences, "\n  {what} was:\n{seen}\n  expected:\n{expected}");
        }
    };
    let (stdout, stderr) = (text(&served.output.stdout), text(&served.output.stderr));
    compare(
        "exit code",
        &format!("{:?}", served.output.status.code()),
        &format!("{:?}", Some(case.expect.exit)),
    );
    for (what, seen, whole, parts) in [
        ("stdout", &stdout, &case.expect.stdout, &case.expect.stdout_has),
        ("stderr", &stderr, &case.expect.stderr, &case.expect.stderr_has),
    ] {
        let seen = &words.name(seen);
        match parts {
            None => compare(what, seen, whole),
            Some(parts) => {
                for part in parts.iter().filter(|part| !seen.contains(part.as_str())) {
                    compare(what, seen, &format!("to contain `{part}`"));
                }
            }
        }
        // Whatever a case expects: no output holds a character that acts on a terminal.
        let acts =
            seen.chars().any(|c| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)));
        compare(what, if acts { "acting on a terminal" } else { "" }, "");
    }
    let mut expected_files = case.files.clone();
    expected_files.extend(case.expect.files.clone());
    let mut seen_files = Vec::new();
    list(&folder, &folder, &mut seen_files);
    compare(
        "list of files",
        &seen_files.join("\n"),
        &expected_files.keys().cloned().collect::<Vec<_>>().join("\n"),
    );
    for (name, content) in &expected_files {
        let path = folder.join(name);
        compare(name, &words.name(&std::fs::read_to_string(&path).unwrap_or_default()), content);
        if case.expect.files.contains_key(name) {
            let mode = std::fs::metadata(&path).map_or(0, |file| file.permissions().mode() & 0o777);
            compare("mode", &format!("{mode:o}"), "600");
        }
    }
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn fresh_folder(group: &str, name: &str) -> PathBuf {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(group).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn write(path: &Path, content: &str, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn list(root: &Path, folder: &Path, files: &mut Vec<String>) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(root, &path, files);
        } else {
            files.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
        }
    }
}

/// A URL where nobody listens.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
