//! Commands of a document, run as a reader would paste them: in order, in one folder, by a shell that stops at the first line that
//! fails.

use std::process::{Command, Stdio};

use crate::keyward::Keyward;
use crate::programs;

/// Where a document's reader has Keyward; a test takes another port, since this one may be in use.
pub const ADDRESS: &str = "http://127.0.0.1:3000";

/// What stands in fences marked `sh` below the heading `## {heading}` of a document of the repository, one text for each fence.
///
/// # Panics
/// Where there is no such document or heading.
pub fn fences(document: &str, heading: &str) -> Vec<String> {
    let text = std::fs::read_to_string(programs::root().join(document)).unwrap();
    let section = text.split("\n## ").find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("{document} has no section `{heading}`"));
    let mut fences = Vec::new();
    let mut open: Option<String> = None;
    for line in section.lines() {
        match (&mut open, line.trim_end()) {
            (None, "```sh") => open = Some(String::new()),
            (Some(_), "```") => fences.extend(open.take()),
            (Some(fence), line) => {
                fence.push_str(line);
                fence.push('\n');
            }
            (None, _) => {}
        }
    }
    fences
}

/// Runs a script in a Keyward's own folder, where `.keyward` is its state directory and `keyward` is found; gives what it wrote to
/// standard output and to standard error.
///
/// # Panics
/// Where a line fails, or a token is shown.
pub fn run(keyward: &Keyward, script: &str) -> (String, String) {
    let link = keyward.folder().join(".keyward");
    if !link.exists() {
        std::os::unix::fs::symlink(keyward.state_dir(), link).unwrap();
    }
    let keyward_program = programs::program("keyward");
    let path = format!("{}:{}", keyward_program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-e", "-u", "-o", "pipefail", "-c", &script.replace(ADDRESS, &keyward.url())])
        .current_dir(keyward.folder())
        .env("PATH", path)
        .env("KEYWARD_URL", keyward.url())
        .env("XDG_CONFIG_HOME", keyward.folder())
        .env("XDG_STATE_HOME", keyward.folder())
        .env_remove("KEYWARD_KEY_FILE")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{script}\n{stdout}{stderr}");
    for shown in [&stdout, &stderr] {
        assert!(!shown.contains("kw_live_"), "a token is shown on the terminal");
    }
    (stdout, stderr)
}
