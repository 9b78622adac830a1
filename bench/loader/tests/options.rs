//! What makes no sense is refused before anything is opened.

use std::process::Command;

#[test]
fn no_more_keys_are_due_than_there_are() {
    let mut loader = Command::new(env!("CARGO_BIN_EXE_bench-loader"));
    loader.args(["--state-dir", "/nowhere", "--application", "app_0000000000000000000001"]);
    loader.args(["--keys", "1", "--due", "2", "--tokens", "/nowhere/tokens"]);
    let output = loader.output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--due 2 is more than --keys 1"));
}
