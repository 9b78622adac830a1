//! The log as C2SP clients read it over HTTP, by implementations that are not ours: checkpoints are opened by `signed_note`, tiles read
//! and proofs checked by `tlog_tiles`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_e2e::{Keyward, Request, Value, json};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::tlog::{Hash, check_record, check_tree, prove_record, record_hash, tree_hash};
use tlog_tiles::{Checkpoint, Tile, TileHashReader, TileReader};

/// More events than a tile has leaves.
const CHANGES: usize = 300;

struct Log<'k>(&'k Keyward);

impl Log<'_> {
    fn get(&self, path: &str) -> keyward_e2e::Reply {
        self.0.as_root(Request::get(&format!("/v1/audit/{path}"))).expect(200)
    }

    /// The newest checkpoint, signed by a key that the log says is its own.
    fn checkpoint(&self) -> Checkpoint {
        self.0.as_root(Request::post("/v1/maintenance/run", &json!({}))).expect(200);
        let keys = self.get("head").json()["keys"].as_array().unwrap().clone();
        let verifiers = keys.iter().map(|key| {
            let verifier = StandardVerifier::new(key.as_str().unwrap()).expect("a verifier key");
            Box::new(verifier) as Box<dyn signed_note::Verifier>
        });
        let note = self.get("checkpoint");
        let note = Note::from_bytes(&note.body).expect("a note");
        let (verified, _) = note.verify(&VerifierList::new(verifiers.collect())).expect("signed by the log");
        assert_eq!(verified.len(), keys.len());
        Checkpoint::from_bytes(note.text()).expect("a checkpoint")
    }

    /// What a proof route answers: the root that it leads to, and its hashes.
    fn proof(&self, query: &str) -> (Value, Vec<Hash>) {
        let proof = self.get(&format!("proof/{query}")).json();
        let hashes = proof["hashes"].as_array().unwrap().iter().map(hash).collect();
        (proof, hashes)
    }
}

fn hash(base64: &Value) -> Hash {
    Hash(STANDARD.decode(base64.as_str().unwrap()).unwrap().try_into().expect("32 bytes"))
}

impl TileReader for Log<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::tlog::Error> {
        // The path of tlog-tiles is that of Go's checksum database without the height.
        Ok(tiles.iter().map(|tile| self.get(&tile.path().replacen("tile/8/", "tile/", 1)).body).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// The entries of a bundle: each behind its length in two bytes (C2SP tlog-tiles).
fn entries(mut bundle: &[u8]) -> Vec<&[u8]> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at(u16::from_be_bytes(*length).into());
        entries.push(entry);
        bundle = rest;
    }
    entries
}

#[test]
fn is_what_implementations_of_others_expect() {
    let keyward = Keyward::start();
    let log = Log(&keyward);
    let old = log.checkpoint();
    let mut receipts = Vec::new();
    for n in 0..CHANGES {
        let made =
            keyward.as_root(Request::post("/v1/applications", &json!({ "name": format!("shop {n}") })));
        receipts.push(made.expect(201).field("keyward-receipt").unwrap().to_owned());
    }
    let new = log.checkpoint();
    assert!(new.size() >= old.size() + CHANGES as u64 && new.origin() == old.origin());

    // The tiles make up the tree that was signed.
    let reader = TileHashReader::new(new.size(), *new.hash(), &log);
    assert_eq!(tree_hash(new.size(), &reader).unwrap(), *new.hash());
    assert_eq!(tree_hash(old.size(), &reader).unwrap(), *old.hash());

    // What was signed before is the beginning of it.
    let (_, hashes) = log.proof(&format!("consistency?from={}&size={}", old.size(), new.size()));
    check_tree(&hashes, new.size(), *new.hash(), old.size(), *old.hash()).expect("consistent");

    // Whoever holds a receipt finds its leaf in it, by the proof of the route and by one of their own out of the tiles.
    for receipt in receipts.iter().step_by(37).chain(receipts.last()) {
        let (event, leaf) = receipt.split_once(";leaf=:").unwrap();
        let (event, leaf) = (event.trim_matches('"'), hash(&leaf.trim_end_matches(':').into()));
        let index = event.rsplit('_').next().unwrap().parse::<u64>().unwrap() - 1;
        let (proof, hashes) = log.proof(&format!("inclusion?event={event}&size={}", new.size()));
        assert_eq!(hash(&proof["root"]), *new.hash());
        check_record(&hashes, new.size(), *new.hash(), index, leaf).expect("included");
        assert_eq!(prove_record(new.size(), index, &reader).unwrap(), hashes);
    }

    // The events themselves are what the leaves are made of.
    let first = log.get("tile/entries/000").body;
    let leaves = log.get("tile/0/000").body;
    let leaves: Vec<&[u8]> = leaves.chunks(32).collect();
    let entries = entries(&first);
    assert_eq!((entries.len(), leaves.len()), (256, 256));
    assert!(entries.iter().zip(leaves).all(|(entry, leaf)| record_hash(entry).0 == leaf));
}
