//! The report on compliance over HTTP and by the command: a key that is overdue is in it with its owner, and once it is rotated so are
//! the two readings of how long that took.

use keyward_e2e::{Keyward, Request, Value, json};

const HOUR_S: u64 = 3600;

/// What `keyward report` prints.
fn printed(keyward: &Keyward, arguments: &[&str]) -> String {
    let output = keyward.command_at_its_time(&[&["report"], arguments].concat()).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

#[test]
fn an_overdue_key_is_reported_with_its_owner_and_then_how_long_its_rotation_took() {
    let keyward = Keyward::start();
    let policy = keyward.policy("daily", &json!({ "rotate_every_s": 24 * HOUR_S, "grace_s": HOUR_S }));
    let new = json!({ "name": "=shop", "contacts": ["ops@shop.example"], "policy": policy });
    let application = keyward.as_root(Request::post("/v1/applications", &new)).expect(201).text_at("/id");
    let held = keyward.holder(&application, &["orders:read"]);
    let maintain = || keyward.as_root(Request::post("/v1/maintenance/run", &json!({}))).expect(200);
    let report = |query: &str| -> Value {
        keyward.as_root(Request::get(&format!("/v1/reports/compliance{query}"))).expect(200).json()
    };
    maintain();
    assert_eq!(report("")["totals"]["keys"]["fresh"], 2, "root and the key");

    // Offered a quarter of an hour after it was due, and overdue for an hour by hour 26.
    keyward.advance_ms(24 * HOUR_S * 1000 + 15 * 60 * 1000);
    maintain();
    keyward.advance_ms(HOUR_S * 1000 + 45 * 60 * 1000);
    let late = report("");
    assert_eq!(late["totals"]["keys"]["overdue"], 1);
    let overdue = &late["overdue"][0];
    assert_eq!((&overdue["id"], &overdue["application"]["id"]), (&json!(held.id), &json!(application)));
    assert_eq!(overdue["application"]["contacts"], json!(["ops@shop.example"]));
    let about = |figure: &Value, expected_s: u64| {
        let found_s = figure.as_u64().unwrap_or_else(|| panic!("no figure: {figure}"));
        assert!(found_s.abs_diff(expected_s) <= 5, "{found_s} s, not {expected_s} s");
    };
    about(&overdue["overdue_s"], HOUR_S);
    let narrowed = report(&format!("?application={application}"));
    assert_eq!((&narrowed["examined"], &narrowed["overdue"][0]["id"]), (&json!(1), &json!(held.id)));
    let table = printed(&keyward, &[]);
    assert!(table.contains("ops@shop.example") && table.contains("OVERDUE KEY"), "{table}");
    let lines = printed(&keyward, &["--format", "csv", "--overdue"]);
    let line = lines.lines().nth(1).expect("a line for the key");
    assert!(line.starts_with(&format!("{},", held.id)) && line.contains("\"'=shop\""), "no formula: {line}");

    let renew = json!({ "renewal_token": held.renewal });
    keyward.send(Request::post("/v1/self/renew", &renew)).expect(200);
    let rotated = report(&format!("?application={application}&limit=1"));
    let rotations = &rotated["totals"]["rotations"];
    assert_eq!((&rotated["totals"]["keys"]["fresh"], &rotated["overdue"]), (&json!(1), &json!([])));
    about(&rotations["between"]["mean_s"], 26 * HOUR_S);
    about(&rotations["due_to_rotated"]["mean_s"], 2 * HOUR_S);
    about(&rotations["flagged_to_rotated"]["mean_s"], HOUR_S + 45 * 60);
    assert_eq!(rotated["totals"]["audit"], json!({ "changes": 1, "on_record": 1 }));

    // The command says the same, in each of its formats.
    let all: Value = serde_json::from_str(&printed(&keyward, &["--format", "json"])).expect("JSON");
    assert_eq!(all["totals"]["rotations"], *rotations);
    assert!(printed(&keyward, &[]).contains("within the target of 1d"));
    let csv = printed(&keyward, &["--format", "csv"]);
    let columns: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    let totals: Vec<&str> = csv.lines().last().unwrap().split(',').collect();
    assert_eq!((columns.len(), totals[0]), (totals.len(), "all"));
    let column = columns.iter().position(|column| *column == "mean_due_to_rotated_s").expect("a column");
    assert_eq!(totals[column], rotations["due_to_rotated"]["mean_s"].to_string());
    keyward.as_root(Request::get("/v1/reports/compliance?since=yesterday")).expect(400);
}

#[test]
fn credentials_that_somebody_is_to_see_to_are_reported_with_whoever_that_is() {
    let keyward = Keyward::start();
    let policy = keyward.policy("hourly", &json!({ "rotate_every_s": HOUR_S, "grace_s": 0 }));
    let new = json!({ "name": "=shop", "contacts": ["ops@shop.example"], "policy": policy });
    let application = keyward.as_root(Request::post("/v1/applications", &new)).expect(201).text_at("/id");
    let id = keyward.credential(&application, "payments/db");
    keyward.advance_ms(2 * HOUR_S * 1000);
    keyward.as_root(Request::get(&format!("/v1/credentials/{id}/value"))).expect(200);
    keyward.as_root(Request::post("/v1/maintenance/run", &json!({}))).expect(200);
    let report = keyward.as_root(Request::get("/v1/reports/credentials")).expect(200).json();
    assert_eq!(
        (&report["totals"]["states"]["overdue"], &report["totals"]["never_read"]),
        (&json!(1), &json!(0))
    );
    let seen = &report["attention"][0];
    assert_eq!((&seen["id"], &seen["state"]), (&json!(id), &json!("overdue")));
    assert_eq!(seen["application"]["contacts"], json!(["ops@shop.example"]));
    let found = keyward.as_root(Request::get("/v1/credentials?state=overdue")).expect(200).json();
    assert_eq!(found["items"][0]["id"], json!(id));
    keyward.as_root(Request::get("/v1/credentials?state=late")).expect(400);
    let table = printed(&keyward, &["--credentials"]);
    assert!(table.contains("payments/db") && table.contains("ops@shop.example"), "{table}");
    let lines = printed(&keyward, &["--credentials", "--format", "csv", "--overdue"]);
    let line = lines.lines().nth(1).expect("a line for the credential");
    assert!(line.starts_with(&format!("{id},")) && line.contains("\"'=shop\""), "no formula: {line}");
}
