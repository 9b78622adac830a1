//! The tree against Certificate Transparency's reference tree, and against `tlog_tiles`, an implementation that shares no code
//! with this one. Expensive trees are built once and shared.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use tlog_tiles::{HashReader, Tile};

use super::*;
use crate::digest::{hex, leaf_hash, sha256};

/// Beyond one full tile of level 1, 65,536 leaves.
const LEAVES: u64 = 66_100;

type Tiles = BTreeMap<TileId, Vec<Hash>>;

/// Every node that the other implementation stores, in its order.
struct Stored(Vec<tlog_tiles::Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|at| self.0[*at as usize]).collect())
    }
}

/// One log in both implementations.
struct Log {
    theirs: Stored,
    tiles: Tiles,
}

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let mut log = Log { theirs: Stored(Vec::new()), tiles: Tiles::new() };
    let mut edge = Edge::empty();
    for index in 0..LEAVES {
        let leaf = leaf(index);
        let stored =
            tlog_tiles::stored_hashes_for_record_hash(index, tlog_tiles::Hash(leaf), &log.theirs).unwrap();
        log.theirs.0.extend(stored);
        edge.append(leaf);
        // Now and then, so that what changed is sometimes one tile and sometimes several.
        if index % 300 == 0 || index == LEAVES - 1 {
            log.tiles.extend(edge.take_changed());
        }
    }
    log
});

fn leaf(index: u64) -> Hash {
    leaf_hash(format!("event {index}").as_bytes())
}

/// The root as the other implementation has it.
fn root(size: u64) -> Hash {
    tlog_tiles::tree_hash(size, &LOG.theirs).unwrap().0
}

/// Sizes around what matters to tiles, and any other.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![1..=600_u64, 65_500..=65_600_u64, 1..=LEAVES, (1..=258_u64).prop_map(|tile| tile * 256)]
}

/// The tiles as they were at a size, none of them a hash longer.
fn tiles_at(size: u64, ids: impl IntoIterator<Item = TileId>) -> Tiles {
    ids.into_iter()
        .map(|id| {
            let width = hashes_at(id.level, size) - id.index * TILE_WIDTH;
            (id, LOG.tiles[&id][..width.min(TILE_WIDTH) as usize].to_vec())
        })
        .collect()
}

/// The proof, out of tiles as they were and out of tiles as they are now.
fn prove(plan: &Plan, size: u64) -> Vec<Hash> {
    let tiles = tiles_at(size, plan.tiles());
    let proof = plan.hashes(&tiles).unwrap();
    assert_eq!(plan.hashes(&LOG.tiles), Some(proof.clone()), "tiles that have grown");
    for id in tiles.keys() {
        let mut fewer = tiles.clone();
        fewer.remove(id);
        assert_eq!(plan.hashes(&fewer), None, "{id:?} was not needed");
    }
    for level in 0..=u8::MAX {
        assert!(tiles.keys().filter(|id| id.level == level).count() <= 2);
    }
    proof
}

fn theirs(proof: &[Hash]) -> Vec<tlog_tiles::Hash> {
    proof.iter().map(|hash| tlog_tiles::Hash(*hash)).collect()
}

fn ours(proof: &[tlog_tiles::Hash]) -> Vec<Hash> {
    proof.iter().map(|hash| hash.0).collect()
}

/// Every way to damage a proof a little: a bit of each hash, one less at either end, one more, two swapped.
fn damaged(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all: Vec<Vec<Hash>> = (0..proof.len())
        .map(|at| {
            let mut other = proof.to_vec();
            other[at][at % 32] ^= 1 << (at % 8);
            other
        })
        .collect();
    all.push([proof, &[[0; 32]]].concat());
    if let [first, middle @ .., last] = proof {
        all.push([middle, &[*last]].concat());
        all.push([&[*first], middle].concat());
        all.push([&[*last], middle, &[*first]].concat());
    }
    all.push([proof, proof].concat());
    all.retain(|other| other != proof);
    all
}

#[test]
fn the_reference_tree_of_certificate_transparency() {
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let published = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut edge = Edge::empty();
    let mut roots = vec![edge.root()];
    for entry in entries {
        edge.append(leaf_hash(entry));
        roots.push(edge.root());
    }
    assert_eq!(roots.iter().map(|root| hex(root)).collect::<Vec<_>>(), published);

    let tiles: Tiles = edge.take_changed().into_iter().collect();
    let text = |plan: Option<Plan>| -> Vec<String> {
        plan.unwrap().hashes(&tiles).unwrap().iter().map(|hash| hex(hash)).collect()
    };
    let pair = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
    let second = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
    let fifth = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
    let last_pair = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
    let last_four = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
    // The published proofs count leaves from 1.
    assert_eq!(text(Plan::inclusion(0, 8)), [second, pair, last_four]);
    assert_eq!(text(Plan::inclusion(5, 8)), [fifth, last_pair, published[4]]);
    assert_eq!(text(Plan::inclusion(2, 3)), [published[2]]);
    assert_eq!(text(Plan::inclusion(1, 5)), [published[1], pair, fifth]);
    assert_eq!(text(Plan::consistency(1, 1)), [""; 0]);
    assert_eq!(text(Plan::consistency(1, 8)), [second, pair, last_four]);
    assert_eq!(
        text(Plan::consistency(6, 8)),
        ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a", last_pair, published[4]]
    );
    assert_eq!(text(Plan::consistency(2, 5)), [pair, fifth]);
}

#[test]
fn roots_are_those_of_the_other_implementation() {
    let grow = |first: u64, last: u64| {
        let mut edge = Edge::resume(first, &LOG.tiles).unwrap();
        for size in first..=last {
            assert_eq!((edge.size(), edge.root()), (size, root(size)));
            edge.append(leaf(size));
        }
    };
    grow(0, 600);
    grow(65_500, LEAVES - 1);
}

#[test]
fn every_proof_of_every_small_tree_verifies_on_both_sides() {
    for size in 1..=70 {
        for index in 0..size {
            check_inclusion(index, size);
            check_consistency(index + 1, size);
        }
    }
}

fn check_inclusion(index: u64, size: u64) {
    let proof = prove(&Plan::inclusion(index, size).unwrap(), size);
    assert_eq!(proof, ours(&tlog_tiles::prove_record(size, index, &LOG.theirs).unwrap()));
    let [leaf_theirs, root_theirs] = [leaf(index), root(size)].map(tlog_tiles::Hash);
    assert!(tlog_tiles::check_record(&theirs(&proof), size, root_theirs, index, leaf_theirs).is_ok());

    let verify =
        |index, size, proof: &[Hash]| verify_inclusion(&leaf(index), index, size, proof, &root(size));
    assert!(verify(index, size, &proof), "leaf {index} of {size}");
    for other in damaged(&proof) {
        assert!(!verify(index, size, &other), "leaf {index} of {size}: {} hashes", other.len());
    }
    assert!(!verify_inclusion(&leaf(index + 1), index, size, &proof, &root(size)), "another leaf");
    assert!(!verify_inclusion(&leaf(index), index, size, &proof, &root(size - 1)), "another root");
    for (other_index, other_size) in [(index ^ 1, size), (size, size), (index + size, size), (u64::MAX, size)]
    {
        assert!(
            !verify_inclusion(&leaf(index), other_index, other_size, &proof, &root(size)),
            "leaf {index} of {size} as {other_index} of {other_size}"
        );
    }
}

fn check_consistency(old: u64, new: u64) {
    let proof = prove(&Plan::consistency(old, new).unwrap(), new);
    assert_eq!(proof, ours(&tlog_tiles::prove_tree(new, old, &LOG.theirs).unwrap()));
    let [new_theirs, old_theirs] = [root(new), root(old)].map(tlog_tiles::Hash);
    assert!(tlog_tiles::check_tree(&theirs(&proof), new, new_theirs, old, old_theirs).is_ok());

    assert!(verify_consistency(old, &root(old), new, &root(new), &proof), "{old} to {new}");
    for other in damaged(&proof) {
        assert!(!verify_consistency(old, &root(old), new, &root(new), &other), "{old} to {new}: damaged");
    }
    assert!(!verify_consistency(old, &root(old - 1), new, &root(new), &proof), "another old root");
    assert!(!verify_consistency(old, &root(old), new, &root(new - 1), &proof), "another new root");
    if old < new {
        assert!(!verify_consistency(new, &root(new), old, &root(old), &proof), "backwards");
        assert!(!verify_consistency(old, &root(new), new, &root(new), &proof), "the new root twice");
        assert!(!verify_consistency(new, &root(old), new, &root(new), &[]), "two roots of one size");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn proofs_are_those_of_the_other_implementation(size in size(), part in any::<prop::sample::Index>()) {
        let index = part.index(size as usize) as u64;
        check_inclusion(index, size);
        check_inclusion(size - 1, size);
        check_consistency(index + 1, size);
        let [root_again] = prove(&Plan::root(size), size)[..] else { panic!("not one hash") };
        prop_assert_eq!(root_again, root(size));
    }

    #[test]
    fn a_resumed_edge_goes_on_as_if_it_had_never_stopped(size in size(), more in 0..700_u64) {
        let more = more.min(LEAVES - size);
        let wanted = Edge::tiles(size);
        let tiles = tiles_at(size, wanted.iter().map(|(id, _)| *id));
        for (id, width) in &wanted {
            prop_assert_eq!(tiles[id].len(), *width);
            let mut short = tiles.clone();
            short.get_mut(id).unwrap().pop();
            prop_assert!(Edge::resume(size, &short).is_none());
            short.remove(id);
            prop_assert!(Edge::resume(size, &short).is_none());
        }
        let mut edge = Edge::resume(size, &tiles).unwrap();
        prop_assert_eq!((edge.size(), edge.root()), (size, root(size)));
        prop_assert_eq!(Edge::resume(size, &LOG.tiles).unwrap().root(), root(size));
        prop_assert!(edge.take_changed().is_empty());

        (size..size + more).for_each(|index| edge.append(leaf(index)));
        prop_assert_eq!((edge.size(), edge.root()), (size + more, root(size + more)));

        // What changed is what the other implementation would publish, hash for hash.
        let mut want: Vec<_> = Tile::new_tiles(8, size, size + more)
            .into_iter()
            .map(|tile| {
                let bytes = tile.read_data(&LOG.theirs).unwrap();
                let id = TileId { level: tile.level(), index: tile.level_index() };
                (id, bytes.as_chunks::<32>().0.to_vec())
            })
            .collect();
        want.sort_unstable();
        prop_assert_eq!(edge.take_changed(), want);
        prop_assert!(edge.take_changed().is_empty());
    }

    #[test]
    fn paths_are_those_of_the_other_implementation(
        level in 0..6_u8,
        index in prop_oneof![0..3000_u64, 0..1_u64 << 16],
        width in 1..=256_u16,
        entries: bool,
    ) {
        let level = if entries { 0 } else { level };
        let mut tile = Tile::new(8, level, index, u32::from(width), false);
        let kind = if entries { TileKind::Entries } else { TileKind::Level(level) };
        let path = TilePath { kind, index, width };
        if entries {
            tile.set_is_data();
        }
        // They put the height in front, and call entries data.
        let want = tile.path().replacen("tile/8/", "", 1).replacen("data/", "entries/", 1);
        prop_assert_eq!(path.to_string(), want);
        prop_assert_eq!(TilePath::parse(&path.to_string()), Some(path));
    }

    #[test]
    fn no_text_has_two_spellings(text in "([0-9]{1,3}|entries)/(x?[0-9]{1,4}/){0,3}[0-9]{1,4}(\\.p/[0-9]{1,3})?") {
        if let Some(path) = TilePath::parse(&text) {
            prop_assert_eq!(path.to_string(), text);
        }
    }
}

#[test]
fn paths_have_one_spelling() {
    let index = 1_234_067;
    for (text, path) in [
        ("0/000", TilePath { kind: TileKind::Level(0), index: 0, width: 256 }),
        ("2/x001/x234/067", TilePath { kind: TileKind::Level(2), index, width: 256 }),
        ("7/000.p/255", TilePath { kind: TileKind::Level(7), index: 0, width: 255 }),
        ("entries/x001/x234/067.p/5", TilePath { kind: TileKind::Entries, index, width: 5 }),
        ("entries/x001/000", TilePath { kind: TileKind::Entries, index: 1000, width: 256 }),
    ] {
        assert_eq!(TilePath::parse(text), Some(path));
        assert_eq!(path.to_string(), text);
    }
    for text in [
        "",
        "/",
        "0",
        "0/",
        "/000",
        "0/0",
        "0/00",
        "0/0000",
        "0/x000",
        "0/x000/001",
        "0/001/001",
        "0/x001/x001",
        "0/xx001/001",
        "0/X001/001",
        "0/1000",
        "0/x001//001",
        "0/000/",
        "/0/000",
        "00/000",
        "+0/000",
        "0/+00",
        "-1/000",
        "8/000",
        "63/000",
        "256/000",
        "0/000.p/0",
        "0/000.p/01",
        "0/000.p/256",
        "0/000.p/+1",
        "0/000.p/",
        "0/000.p",
        "0/000.p/1.p/1",
        "0/000.p/70000",
        "Entries/000",
        "entries",
        "data/000",
        "0/000 ",
        " 0/000",
        "0/000?",
        "0/٠٠٠",
        "7/000",
        "7/001.p/1",
        "0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(TilePath::parse(text), None, "{text:?}");
    }
}

#[test]
fn a_tile_is_within_a_tree_that_is_large_enough() {
    let least_sizes = [
        ("0/000.p/1", 1),
        ("0/000", 256),
        ("entries/001.p/3", 259),
        ("1/000.p/2", 512),
        ("2/000.p/1", 65_536),
    ];
    for (text, least) in least_sizes {
        let path = TilePath::parse(text).unwrap();
        assert!(path.is_within(least) && path.is_within(least + 1) && !path.is_within(least - 1), "{text}");
    }
}

#[test]
fn what_no_tree_has_has_no_proof() {
    assert!(Plan::inclusion(0, 0).is_none());
    assert!(Plan::inclusion(5, 5).is_none());
    assert!(Plan::consistency(0, 5).is_none());
    assert!(Plan::consistency(6, 5).is_none());
    assert!(Plan::root(0).tiles().is_empty());
    assert_eq!(Plan::root(0).hashes(&Tiles::new()), Some(vec![sha256(b"")]));
    assert!(!verify_inclusion(&leaf(0), 0, 0, &[], &leaf(0)));

    let (empty, one) = (sha256(b""), root(1));
    assert!(verify_consistency(0, &empty, 0, &empty, &[]));
    assert!(verify_consistency(0, &empty, 1, &one, &[]));
    assert!(!verify_consistency(0, &empty, 1, &one, &[one]));
    assert!(!verify_consistency(0, &one, 1, &one, &[]));
    assert!(!verify_consistency(0, &empty, 0, &one, &[]));
    assert!(!verify_consistency(1, &one, 0, &empty, &[]));
}

/// The largest sizes that the types allow end neither in an overflow nor in a long loop.
#[test]
fn the_largest_sizes_are_sizes() {
    let max = u64::MAX;
    assert!(Plan::inclusion(max - 1, max).unwrap().tiles().len() <= 16);
    assert!(Plan::consistency(max - 1, max).unwrap().tiles().len() <= 16);
    assert_eq!(Plan::root(max).tiles(), Edge::tiles(max).into_iter().map(|(id, _)| id).collect());
    assert!(!verify_inclusion(&leaf(0), max - 1, max, &[leaf(1); 64], &leaf(2)));
    assert!(!verify_consistency(max - 1, &leaf(0), max, &leaf(1), &[leaf(2); 64]));
    let tiles = Edge::tiles(max).into_iter().map(|(id, width)| (id, vec![leaf(0); width])).collect();
    assert_eq!(Edge::resume(max, &tiles).unwrap().size(), max);
}
