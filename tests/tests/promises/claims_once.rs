//! A claim has one winner: raced by ten, one has the token, nine are refused, and one alarm says so. What is over stays over.

use keyward_e2e::admin::{Issued, claim};
use keyward_e2e::load::on_connections;
use keyward_e2e::{Keyward, Request, Setup, json};

const RACERS: usize = 10;
const ROUNDS: usize = 5;

#[test]
fn raced_by_ten_on_sqlite() {
    raced(&Keyward::start());
}

#[test]
fn raced_by_ten_on_redis() {
    raced(&Setup::new().on_redis().start());
}

fn raced(keyward: &Keyward) {
    let application = keyward.application("orders");
    for round in 0..ROUNDS {
        let issued = keyward.issue(&application, &["orders:read"]);
        let replies = on_connections(keyward.address(), RACERS, |_, connection| {
            connection.exchange(&claim(&issued.ticket))
        });
        let tokens: Vec<String> =
            replies.iter().filter(|reply| reply.status == 200).map(|reply| reply.text_at("/token")).collect();
        assert_eq!(
            tokens.len(),
            1,
            "round {round}: {:?}",
            replies.iter().map(|reply| reply.status).collect::<Vec<_>>()
        );
        let refused =
            replies.iter().filter(|reply| reply.status == 410 && reply.json()["code"] == "claim-taken");
        assert_eq!(refused.count(), RACERS - 1, "round {round}");
        assert_eq!(keyward.authorizes(&tokens[0]), 204);

        let events = keyward.events(&format!("key={}", issued.id));
        let count = |action: &str| events.iter().filter(|event| event["action"] == action).count();
        assert_eq!((count("claim.take"), count("claim.replay")), (1, 1), "round {round}: {events:?}");
        let alarm = events.iter().find(|event| event["action"] == "claim.replay").unwrap();
        assert_eq!(alarm["outcome"], "alarm");
        let key = keyward.as_root(Request::get(&format!("/v1/keys/{}", issued.id))).expect(200).json();
        assert_eq!(key["versions"].as_array().unwrap().len(), 1, "no secret was minted twice");
    }
}

#[test]
fn a_claim_ends_with_its_time_or_its_successor() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let state = |issued: &Issued| {
        keyward.send(Request::get(&format!("/v1/claims/{}", issued.claim))).expect(200).text_at("/state")
    };
    let reissue = |issued: &Issued| {
        keyward.as_root(Request::post(&format!("/v1/keys/{}/claims", issued.id), &json!({})))
    };
    let gone = |issued: &Issued| {
        assert_eq!(keyward.send(claim(&issued.ticket)).expect(410).json()["code"], "claim-gone");
    };

    let late = keyward.issue(&application, &["orders:read"]);
    let replaced = keyward.issue(&application, &["orders:read"]);
    let successor = Issued::of(&reissue(&replaced).expect(201));
    assert_eq!(
        (state(&late), state(&replaced), state(&successor)),
        ("open".into(), "void".into(), "open".into())
    );
    gone(&replaced);
    let holder = keyward.claim(&successor);
    assert_eq!((holder.id.as_str(), keyward.authorizes(&holder.token)), (replaced.id.as_str(), 204));
    assert_eq!(state(&successor), "taken");
    assert_eq!(reissue(&replaced).expect(409).json()["code"], "state-conflict");

    keyward.advance_ms(15 * 60 * 1000);
    assert_eq!(state(&late), "expired");
    gone(&late);
    let again = Issued::of(&reissue(&late).expect(201));
    assert_eq!(keyward.authorizes(&keyward.claim(&again).token), 204);

    let unknown =
        keyward_domain::token::render("kwc", keyward_domain::key::Environment::Live, &[1; 16], 1, &[2; 32]);
    keyward.send(claim(&unknown)).expect(404);
}

#[test]
fn a_lost_answer_can_be_had_again_for_a_minute() {
    let keyward = Keyward::start();
    let application = keyward.application("orders");
    let issued = keyward.issue(&application, &["orders:read"]);
    let take = |name: &str| keyward.send(claim(&issued.ticket).field("idempotency-key", name));
    let first = take("once").expect(200);
    let again = take("once").expect(200);
    assert_eq!((again.field("idempotency-replayed"), &again.body), (Some("true"), &first.body));
    take("another").expect(410);
    keyward.advance_ms(60_000);
    let over = take("once").expect(410);
    assert_eq!(over.json()["code"], "claim-taken");
}
