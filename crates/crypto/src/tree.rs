//! The Merkle tree of RFC 6962 section 2.1 over leaf hashes, kept in tiles as C2SP tlog-tiles cuts them (height 8).
//! Pure computation: it says which tiles to read and what to write, and reads and writes nothing itself. It never sees an
//! entry, only its `digest::leaf_hash`.

mod edge;
mod proof;
mod tile;

use crate::digest::{node_hash, sha256};

pub use edge::Edge;
pub use proof::{Plan, verify_consistency, verify_inclusion};
pub use tile::{TileId, TileKind, TilePath};

/// A SHA-256 hash of a leaf, a node or a root.
pub type Hash = [u8; 32];

/// How many hashes a full tile has: 2^8, the one height that C2SP tlog-tiles knows.
pub const TILE_WIDTH: u64 = 256;

/// Levels of tiles that a tree of up to 2^64 - 1 leaves has: 64 levels of hashes, 8 to a tile.
const LEVELS: usize = 8;

/// How many complete subtrees of `256^level` leaves a tree of `size` leaves has, which is how many hashes all its tiles of that
/// level hold together.
fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level).saturating_mul(8)).unwrap_or(0)
}

/// Where a tree of `leaves` leaves parts: the largest power of two smaller than that. Asked of 2 and more.
fn split(leaves: u64) -> u64 {
    1 << leaves.saturating_sub(1).checked_ilog2().unwrap_or(0)
}

/// `MTH` of RFC 6962 section 2.1 over what is already hashed; of nothing, SHA-256 of nothing.
fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => sha256(b""),
        [one] => *one,
        more => {
            // At most a tile and one hash more, which any `usize` holds.
            let (left, right) = more.split_at(split(more.len() as u64) as usize);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

#[cfg(test)]
mod tests;
