//! Promise: variables have Spin's precedence, a component sees only what its table hands it, and no value is
//! ever printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use common::{Setup, manifest};

const HEAD: &str = r#"
[variables]
one = { default = "default one" }
two = { default = "default two" }
three = { default = "default three" }
hidden = { required = true, secret = true }
[[trigger.http]]
route = "/..."
component = "probe"
"#;
const COMPONENT: &str = r#"
variables = { one = "{{ one }}", two = "{{ two }}", three = "<{{ three }}>", mine = "{{ hidden }}" }
environment = { COLOUR = "green" }
"#;

#[test]
fn command_line_before_environment_before_default() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), "hunter2").unwrap();
    let host = Setup::new(manifest(HEAD, COMPONENT))
        .args("--variable one=given")
        .arg("--variable")
        .arg(format!("hidden=@{}", dir.path().join("secret").display()))
        .env("SPIN_VARIABLE_ONE", "from environment")
        .env("SPIN_VARIABLE_TWO", "from environment")
        .start();
    for (name, status, value) in [
        ("one", 200, "given"),
        ("two", 200, "from environment"),
        ("three", 200, "<default three>"),
        ("mine", 200, "hunter2"),
        ("hidden", 422, "Undefined"),
        ("Bad", 422, "InvalidName"),
    ] {
        let reply = host.get(&format!("/variable?name={name}"));
        assert_eq!(reply.status, status, "{name}");
        assert!(reply.body.contains(value), "{name}: {}", reply.body);
    }
    assert_eq!(host.ok("/environment?name=COLOUR"), "green");
    assert_eq!(host.get("/environment?name=PATH").status, 422, "the host's own environment stays its own");
    assert!(!host.stop().contains("hunter2"));
}

#[test]
fn starts_that_lack_or_mistake_a_variable_fail_and_say_which() {
    for (args, part) in [
        (
            "",
            "variable `hidden`: required and not set; give --variable hidden=... or set SPIN_VARIABLE_HIDDEN",
        ),
        (
            "--variable hidden=hunter2 --variable other=hunter2",
            "variable `other`: given with --variable but not declared",
        ),
        ("--variable hidden=@/does/not/exist", "`/does/not/exist` cannot be read"),
        ("--variable hidden", "NAME=VALUE"),
    ] {
        let (code, said) = Setup::new(manifest(HEAD, COMPONENT)).args(args).fails();
        assert_ne!(code, 0);
        assert!(said.contains(part) && !said.contains("hunter2"), "{args}: {said}");
    }
}
