//! Secrets that lie in a tree are found by `keyward scan`, asked about, ended and moved into the vault, and what read them goes on; no event,
//! log or output has one.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use keyward_e2e::{Keyward, Request, Setup};

fn github_token() -> String {
    ["ghp", "q7Rt2Zp9Lm4Xc8Vb1Nk6Js3Hd5Gf0YaWe7uI"].join("_")
}

struct Ran {
    code: Option<i32>,
    said: String,
}

fn ran(output: &Output) -> Ran {
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    Ran { code: output.status.code(), said: said.concat() }
}

#[test]
fn they_are_found_ended_and_kept() {
    let keyward = Setup::new().by_command().start();
    let application = keyward.application("shop");
    let (leaked, other) = (keyward.holder(&application, &[]), keyward.holder(&application, &[]));
    let service = keyward.holder(&application, &["credentials:read@shop/*"]);
    let folder = keyward.folder().join("service");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    write("main.py", format!("TOKEN = '{}'\n", leaked.token));
    write("job.py", format!("TOKEN = '{}'\n", other.token));
    write(".env", format!("GITHUB_TOKEN='{}'\n", github_token()));
    std::fs::set_permissions(folder.join(".env"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let secrets = [leaked.token.clone(), other.token.clone(), github_token()];
    let scan = |more: &[&str]| {
        let scanned =
            keyward.command(&[&["scan", "service"], more].concat()).current_dir(keyward.folder()).output();
        let scanned = ran(&scanned.unwrap());
        assert!(!secrets.iter().any(|secret| scanned.said.contains(secret.as_str())), "{}", scanned.said);
        scanned
    };

    let checked = scan(&["--check"]);
    assert_eq!(checked.code, Some(1), "{}", checked.said);
    assert_eq!(checked.said.matches("live, active").count(), 2, "{}", checked.said);
    assert_eq!(keyward.authorizes(&leaked.token), 204, "to ask ends nothing");

    // One is reported by whoever found it, the other one revoked by an admin.
    write("job.py", String::new());
    assert_eq!(scan(&["--report", "--yes", "--own"]).code, Some(0));
    assert_eq!((keyward.authorizes(&leaked.token), keyward.authorizes(&other.token)), (401, 204));
    write("job.py", format!("TOKEN = '{}'\n", other.token));
    assert_eq!(scan(&["--revoke", "--reason", "it was in the tree", "--yes", "--own"]).code, Some(0));
    assert_eq!(keyward.authorizes(&other.token), 401);

    let import = ["--import", "--app", &application, "--prefix", "shop/", "--replace"];
    let looked = scan(&[&import as &[&str], &["--dry-run"]].concat());
    assert_eq!((looked.code, looked.said.contains("would be replaced")), (Some(1), true), "{}", looked.said);
    let kept = scan(&[&import as &[&str], &["--yes", "--check"]].concat());
    assert_eq!(kept.code, Some(0), "nothing is left that passes: {}", kept.said);
    let env = folder.join(".env");
    assert_eq!(std::fs::read_to_string(&env).unwrap(), "GITHUB_TOKEN=\"${GITHUB_TOKEN}\"\n");
    assert_eq!(std::fs::metadata(&env).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(
        scan(&["--check"]).said.matches("github").count(),
        0,
        "and what stands there now is no secret"
    );

    // What read it reads it from where it is now.
    write("token", format!("{}\n", service.token));
    let arguments =
        ["exec", "--key-file", "token", "--map", "GITHUB_TOKEN=shop/github_token", "--", "sh", "-c"];
    let script = ". ./.env; printf %s \"$GITHUB_TOKEN\"";
    let mut exec = keyward.command(&[&arguments as &[&str], &[script]].concat());
    let started = exec.env_remove("KEYWARD_KEY_FILE").current_dir(&folder).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&started.stdout), github_token(), "{}", ran(&started).said);

    // Once more, as where the first one was cut off: nothing twice.
    write(".env", format!("GITHUB_TOKEN='{}'\n", github_token()));
    let again = scan(&[&import as &[&str], &["--yes", "--check"]].concat());
    assert!(again.said.contains("is in the vault already"), "{}", again.said);
    nothing_is_told(&keyward, &secrets);
}

/// No event and no line of the log has one of these.
fn nothing_is_told(keyward: &Keyward, secrets: &[String]) {
    let events = keyward.as_root(Request::get("/v1/audit/events?limit=100")).expect(200).text();
    for told in [events, keyward.log()] {
        assert!(!secrets.iter().any(|secret| told.contains(secret.as_str())));
    }
}
