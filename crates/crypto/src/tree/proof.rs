//! Inclusion and consistency proofs, RFC 6962 sections 2.1.1 and 2.1.2: what to read for one, the proof, and its verification.
//! A proof and its verification walk the same path, so that what must be hashed with what is said once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{Hash, TILE_WIDTH, TileId, root_of, split};
use crate::digest::node_hash;

/// What to read for a proof, and the proof out of it. It reads the tiles of the tree that the proof is for, in the width that
/// they have there, or as they have grown since; no more than two for each level.
#[derive(Clone, Debug)]
pub struct Plan {
    nodes: Vec<Node>,
}

/// A node of the tree, by the leaves below it.
type Node = Range<u64>;

/// A node that hangs beside the path from the root down to another one.
struct Sibling {
    node: Node,
    is_left: bool,
}

/// Hashes out of one tile; the node over them is one of a complete subtree.
struct Piece {
    tile: TileId,
    hashes: Range<usize>,
}

impl Plan {
    /// The inclusion proof of leaf `index` in the tree of `size` leaves. `None` where `index >= size`.
    pub fn inclusion(index: u64, size: u64) -> Option<Self> {
        (index < size).then(|| Self {
            nodes: inclusion_path(index, size).into_iter().map(|sibling| sibling.node).collect(),
        })
    }

    /// The consistency proof from the tree of `old` leaves to that of `new`. `None` where `old > new`, and where `old` is 0:
    /// what was empty is the beginning of every tree.
    pub fn consistency(old: u64, new: u64) -> Option<Self> {
        (1..=new).contains(&old).then(|| {
            let (node, path) = consistency_path(old, new);
            let known = node.start == 0;
            let first = (!known).then_some(node);
            Self { nodes: first.into_iter().chain(path.into_iter().map(|sibling| sibling.node)).collect() }
        })
    }

    /// The root of the tree of `size` leaves, as the only hash.
    pub fn root(size: u64) -> Self {
        Self { nodes: std::iter::once(0..size).collect() }
    }

    /// The tiles to read.
    pub fn tiles(&self) -> BTreeSet<TileId> {
        self.nodes.iter().flat_map(pieces).map(|piece| piece.tile).collect()
    }

    /// The proof. `None` where a tile is missing or has too few hashes; it may have more.
    ///
    /// Nothing is verified: a proof out of wrong tiles is a wrong proof.
    pub fn hashes(&self, tiles: &BTreeMap<TileId, Vec<Hash>>) -> Option<Vec<Hash>> {
        self.nodes.iter().map(|node| node_from(tiles, node)).collect()
    }
}

/// Whether `proof` shows that `leaf` (a leaf hash) is at `index` in the tree of `size` leaves with that root.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let path = inclusion_path(index, size);
    path.len() == proof.len() && climb(*leaf, path.iter().zip(proof)) == *root
}

/// Whether `proof` shows that the tree of `new` leaves is that of `old` leaves with others appended.
///
/// From the empty tree (`old` of 0 with its root) to any other the right proof is the empty one.
pub fn verify_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> bool {
    if old > new {
        return false;
    }
    if old == 0 {
        let empty = root_of(&[]);
        return proof.is_empty() && *old_root == empty && (new > 0 || *new_root == empty);
    }
    let (node, path) = consistency_path(old, new);
    let (first, proof) = if node.start == 0 {
        (old_root, proof)
    } else if let Some((first, rest)) = proof.split_first() {
        (first, rest)
    } else {
        return false;
    };
    let pairs = || path.iter().zip(proof);
    // What hangs on the right came after the old tree.
    let old_pairs = pairs().filter(|(sibling, _)| sibling.is_left);
    path.len() == proof.len() && climb(*first, old_pairs) == *old_root && climb(*first, pairs()) == *new_root
}

/// `PATH` of RFC 6962 section 2.1.1, leaf first. For `index < size`.
fn inclusion_path(index: u64, size: u64) -> Vec<Sibling> {
    descend(size, index, |_| false).1
}

/// `SUBPROOF` of RFC 6962 section 2.1.2: the last node that both trees have, and the path from it up. Where it begins at the
/// first leaf it is the whole old tree, whose root needs no proof. For `1 <= old <= new`.
fn consistency_path(old: u64, new: u64) -> (Node, Vec<Sibling>) {
    descend(new, old.saturating_sub(1), |node| node.end == old)
}

/// Goes from the root towards leaf `target`, which the tree has, until `done` or there; gives the node found and what hangs beside
/// the way, lowest first.
fn descend(size: u64, target: u64, done: impl Fn(&Node) -> bool) -> (Node, Vec<Sibling>) {
    let mut node = 0..size;
    let mut path = Vec::new();
    while leaves(&node) > 1 && !done(&node) {
        let middle = node.start.saturating_add(split(leaves(&node)));
        let (left, right) = (node.start..middle, middle..node.end);
        let is_left = target >= middle;
        let (next, sibling) = if is_left { (right, left) } else { (left, right) };
        path.push(Sibling { node: sibling, is_left });
        node = next;
    }
    path.reverse();
    (node, path)
}

fn leaves(node: &Node) -> u64 {
    node.end.saturating_sub(node.start)
}

/// The root above `node`, out of what hangs beside the way up.
fn climb<'a>(node: Hash, path: impl Iterator<Item = (&'a Sibling, &'a Hash)>) -> Hash {
    path.fold(
        node,
        |node, (sibling, hash)| {
            if sibling.is_left { node_hash(hash, &node) } else { node_hash(&node, hash) }
        },
    )
}

/// A node as complete subtrees, the largest first: one for each bit of its size.
fn pieces(node: &Node) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut start = node.start;
    // A node begins at a multiple of a power of two that its size does not exceed, so every subtree lies within one tile.
    while let Some(height) = node.end.saturating_sub(start).checked_ilog2() {
        let level = (height / 8) as u8;
        let first = start >> (8 * u32::from(level));
        let from = (first % TILE_WIDTH) as usize;
        pieces.push(Piece {
            tile: TileId { level, index: first / TILE_WIDTH },
            hashes: from..from + (1 << (height % 8)),
        });
        start = start.saturating_add(1 << height);
    }
    pieces
}

fn node_from(tiles: &BTreeMap<TileId, Vec<Hash>>, node: &Node) -> Option<Hash> {
    let mut hash: Option<Hash> = None;
    for piece in pieces(node).into_iter().rev() {
        let left = root_of(tiles.get(&piece.tile)?.get(piece.hashes)?);
        hash = Some(hash.map_or(left, |right| node_hash(&left, &right)));
    }
    Some(hash.unwrap_or_else(|| root_of(&[])))
}
