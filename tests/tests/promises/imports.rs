//! Ten thousand keys and credentials of elsewhere move in by the command, though it and the server are killed on the way: nothing twice,
//! nothing lost; partners pass with the tokens that they have; and what was secret is on no disk and in no output.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use keyward_e2e::admin::revoke;
use keyward_e2e::{Keyward, Request, Setup, Value, json};
use sha2::{Digest as _, Sha256, Sha512};

const CANARY: &str = "canary-4c1f77d2";
/// Of each of five formats.
const CREDENTIALS: usize = 1_000;
/// As SHA-256, as SHA-512 and plain.
const KEYS: [usize; 3] = [2_000, 1_500, 1_500];
/// Of each form, tokens that are tried afterwards.
const TRIED: usize = 20;

/// A token as another system made it.
fn token(n: usize) -> String {
    let random: String =
        Sha256::digest(format!("seed {n}")).iter().take(12).map(|b| format!("{b:02x}")).collect();
    format!("{CANARY}_{n}_{random}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file of the move, readable by its owner alone.
fn write(keyward: &Keyward, name: &str, text: &str) {
    let path = keyward.folder().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Five formats, each with as many credentials; all of their values have the canary in them.
fn write_credentials(keyward: &Keyward) -> Vec<&'static str> {
    let (mut env, mut yaml) = ("# the shop's\n".to_owned(), "yaml:\n".to_owned());
    let (mut nested, mut vault) = (serde_json::Map::new(), Vec::new());
    let mut aws = "Access key ID,Secret access key\r\n".to_owned();
    for n in 0..CREDENTIALS {
        let secret = format!("{CANARY}-{n}");
        writeln!(env, "ENV_{n}='{secret} $x # y'").unwrap();
        writeln!(yaml, "  n{n}: \"{secret}\\n\"").unwrap();
        nested.insert(format!("n{n}"), json!({ "username": "shop", "password": secret }));
        vault.push(json!({ "path": format!("vault/n{n}"), "data": { "data": { "a": secret, "b": n }, "metadata": {} } }));
        write!(aws, "AKIA{n:08},{secret}\r\n").unwrap();
    }
    write(keyward, ".env", &env);
    write(keyward, "nested.json", &json!({ "json": nested }).to_string());
    write(keyward, "tree.yaml", &yaml);
    write(keyward, "vault.json", &json!(vault).to_string());
    write(keyward, "accessKeys.csv", &aws);
    vec![".env", "nested.json", "tree.yaml", "vault.json", "accessKeys.csv"]
}

/// A table with each form of a token.
fn write_keys(keyward: &Keyward) {
    let mut csv = "digest,token,name,scopes,tags\n".to_owned();
    for n in 0..KEYS.iter().sum() {
        let token = token(n);
        let (digest, plain) = match n {
            n if n < KEYS[0] => (format!("sha256:{}", hex(&Sha256::digest(&token))), String::new()),
            n if n < KEYS[0] + KEYS[1] => (hex(&Sha512::digest(&token)), String::new()),
            _ => (String::new(), token),
        };
        writeln!(csv, "{digest},{plain},partner {n},orders:read orders:write,moved").unwrap();
    }
    write(keyward, "keys.csv", &csv);
}

/// The command, with what it says kept in a file.
fn start(keyward: &Keyward, arguments: &[&str], run: &str) -> Child {
    let file = |name: &str| std::fs::File::create(keyward.folder().join(format!("{run}.{name}"))).unwrap();
    let mut command = keyward.command(arguments);
    command.current_dir(keyward.folder()).stdout(Stdio::from(file("out"))).stderr(Stdio::from(file("err")));
    command.spawn().unwrap()
}

/// What a run that came to its end said, as JSON.
fn ended(keyward: &Keyward, mut child: Child, run: &str, exit_code: i32) -> Value {
    let status = child.wait().unwrap();
    let text = |name: &str| std::fs::read_to_string(keyward.folder().join(format!("{run}.{name}"))).unwrap();
    assert_eq!(status.code(), Some(exit_code), "{run}: {}", text("err"));
    serde_json::from_str(&text("out")).unwrap_or_else(|_| panic!("{run}: {}", text("err")))
}

/// Waits until so many records are there that begin so.
fn wait_for(keyward: &Keyward, prefix: &str, count: usize) {
    let begun = Instant::now();
    while keyward.store_keys(prefix).len() < count {
        assert!(begun.elapsed() < Duration::from_secs(60), "{prefix}: {count} did not come about");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn sum(report: &Value, outcomes: &[&str]) -> usize {
    outcomes.iter().map(|outcome| usize::try_from(report[outcome].as_u64().unwrap()).unwrap()).sum()
}

/// Runs an import that is killed when a third is there, then loses its server when two thirds are, and then comes to its end.
fn import_through_deaths(
    keyward: &mut Keyward,
    arguments: &[&str],
    prefix: &str,
    per_item: usize,
    all: usize,
) -> Value {
    let before = keyward.store_keys(prefix).len();
    let mut child = start(keyward, arguments, "killed");
    wait_for(keyward, prefix, before + per_item * all / 3);
    child.kill().unwrap();
    child.wait().unwrap();
    let there = (keyward.store_keys(prefix).len() - before) / per_item;
    assert!(there < all, "it was killed on its way");

    let child = start(keyward, arguments, "orphaned");
    wait_for(keyward, prefix, before + per_item * all * 2 / 3);
    keyward.kill();
    let report = ended(keyward, child, "orphaned", 5);
    assert!(
        sum(&report, &["existing"]) > 0 && sum(&report, &["unknown", "not_sent"]) > 0,
        "{}",
        report["imported"]
    );
    keyward.restart_after_end();

    let child = start(keyward, arguments, "resumed");
    let report = ended(keyward, child, "resumed", 0);
    assert_eq!(sum(&report, &["imported", "existing"]), all);
    assert!(sum(&report, &["existing"]) >= all / 3 && sum(&report, &["imported"]) > 0);
    assert_eq!(keyward.store_keys(prefix).len() - before, per_item * all, "nothing twice, nothing lost");
    // Once more, it has nothing to do.
    let child = start(keyward, arguments, "again");
    let again = ended(keyward, child, "again", 0);
    assert_eq!((sum(&again, &["imported"]), sum(&again, &["existing"])), (0, all));
    report
}

/// How many events say that this was done.
fn done(keyward: &Keyward, action: &str) -> usize {
    let events = keyward.events(&format!("action={action}"));
    events.iter().filter(|event| event["outcome"] == "done").count()
}

#[test]
fn ten_thousand_move_in_through_deaths() {
    let mut keyward = Setup::new().start();
    let application = keyward.application("shop");
    let files = write_credentials(&keyward);
    write_keys(&keyward);

    let mut arguments = vec!["--json", "import", "credentials", "--app", &application];
    arguments.extend(&files);
    let all = CREDENTIALS * files.len();
    // A record, and the value of its first version.
    import_through_deaths(&mut keyward, &arguments, "j:", 2, all);
    assert_eq!(done(&keyward, "credential.create"), all, "an event for each");
    for (name, pointer, expected) in [
        ("env_7", "/value/value", format!("{CANARY}-7 $x # y")),
        ("json/n7", "/value/password", format!("{CANARY}-7")),
        ("yaml/n7", "/value/value", format!("{CANARY}-7\n")),
        ("vault/n7", "/value/value", format!("{{\"a\":\"{CANARY}-7\",\"b\":7}}")),
        ("akia00000007", "/value/password", format!("{CANARY}-7")),
    ] {
        let query = format!("/v1/credentials/value?application={application}&name={name}");
        assert_eq!(keyward.as_root(Request::get(&query)).expect(200).text_at(pointer), expected, "{name}");
    }

    let arguments = ["--json", "import", "keys", "keys.csv", "--app", &application];
    let all = KEYS.iter().sum();
    let report = import_through_deaths(&mut keyward, &arguments, "m:", 1, all);
    let ids: Vec<&str> =
        report["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    let starts = [0, KEYS[0], KEYS[0] + KEYS[1]];
    for start in starts {
        for (n, id) in ids.iter().enumerate().skip(start).take(TRIED) {
            let asked = Request::get("/v1/authorize?scope=orders:read").bearer(&token(n));
            let reply = keyward.send(asked);
            assert_eq!((reply.status, reply.field("keyward-key-id")), (204, Some(*id)), "token {n}");
        }
        keyward.as_root(revoke(ids[start])).expect(200);
        assert_eq!(keyward.authorizes(&token(start)), 401, "a revoked one");
    }
    assert_eq!(keyward.authorizes(&token(all)), 401, "one that nobody imported");
    // A revoked one is not brought back.
    let child = start(&keyward, &arguments, "after");
    assert_eq!(sum(&ended(&keyward, child, "after", 0), &["existing"]), all);
    assert_eq!(keyward.authorizes(&token(0)), 401);

    // Nowhere but in the files that it came from.
    let written = [keyward.state_dir(), keyward.folder().to_path_buf()];
    let came_from: Vec<PathBuf> =
        files.iter().copied().chain(["keys.csv"]).map(|name| keyward.folder().join(name)).collect();
    let mut looked_at = 0;
    for entry in written.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).flatten() {
        let path = entry.path();
        if path.is_file() && !came_from.contains(&path) {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()), "{}", path.display());
            looked_at += 1;
        }
    }
    assert!(looked_at > 10, "{looked_at} files");
    assert!(!keyward.log().contains(CANARY));
}
