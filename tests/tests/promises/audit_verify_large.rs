//! A log of 100,000 events is checked in under a minute, over HTTP and in the store. Ignored: making the log takes minutes; run it with
//! `--ignored`.

use std::time::{Duration, Instant};

use keyward_e2e::admin::{Issued, claim, new_key, revoke};
use keyward_e2e::load::{CONNECTIONS, on_connections};
use keyward_e2e::{Keyward, Request};

const EVENTS: usize = 100_000;
const TIME_MAX: Duration = Duration::from_secs(60);

#[test]
#[ignore = "makes a log of 100,000 events first"]
fn a_hundred_thousand_events_in_under_a_minute() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let started = Instant::now();
    on_connections(keyward.address(), CONNECTIONS, |_, connection| {
        for _ in 0..EVENTS / 3 / CONNECTIONS + 1 {
            let issue = Request::post("/v1/keys", &new_key(&application, &["a:b"])).bearer(keyward.root());
            let issued = Issued::of(&connection.exchange(&issue).expect(201));
            connection.exchange(&claim(&issued.ticket)).expect(200);
            connection.exchange(&revoke(&issued.id).bearer(keyward.root())).expect(200);
        }
    });
    println!("made in {:?}", started.elapsed());
    // The first integrates what nobody looked at so far; that is the server's work, not the check's.
    let integrated = Instant::now();
    let mut look = keyward.command(&["audit", "witness", "--once", "--file"]);
    assert!(look.arg(keyward.folder().join("once.json")).status().unwrap().success());
    println!("integrated in {:?}", integrated.elapsed());
    let state = keyward.state_dir();
    for (what, more) in
        [("over HTTP", Vec::new()), ("in the store", vec!["--state-dir", state.to_str().unwrap()])]
    {
        let started = Instant::now();
        let mut command = keyward.command(&["audit", "verify", "--witness"]);
        let output = command.arg(keyward.folder().join("witness.json")).args(more).output().unwrap();
        let took = started.elapsed();
        println!("{what}: {took:?}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(took < TIME_MAX, "{what}: {took:?}");
    }
}
