//! The right edge of a tree: all that appending to it and hashing it need, whatever its size.

use std::collections::BTreeMap;

use super::{Hash, LEVELS, TILE_WIDTH, TileId, hashes_at, root_of};

/// The right edge of a tree: the last tile of each level, as far as it is partial. Appending costs one node hash a leaf on
/// average and at most 255 for each level, the root at most 255 for each level.
#[derive(Clone, Debug)]
pub struct Edge {
    levels: [Partial; LEVELS],
    filled: Vec<(TileId, Vec<Hash>)>,
}

/// The last tile of a level: 0 to 255 hashes.
#[derive(Clone, Debug)]
struct Partial {
    hashes: Vec<Hash>,
    changed: bool,
}

impl Partial {
    const EMPTY: Self = Self { hashes: Vec::new(), changed: false };
}

impl Edge {
    /// The edge of the empty tree.
    pub const fn empty() -> Self {
        Self { levels: [Partial::EMPTY; LEVELS], filled: Vec::new() }
    }

    /// The partial tiles that must be read to resume a tree of `size` leaves, lowest level first, and how many hashes of each
    /// count.
    pub fn tiles(size: u64) -> Vec<(TileId, usize)> {
        (0..LEVELS as u8)
            .map(|level| {
                let hashes = hashes_at(level, size);
                (TileId { level, index: hashes / TILE_WIDTH }, (hashes % TILE_WIDTH) as usize)
            })
            .filter(|(_, width)| *width > 0)
            .collect()
    }

    /// The edge of the tree of `size` leaves out of its tiles, see [`Edge::tiles`]. `None` where one is missing or has too few
    /// hashes; what it has beyond, having grown since, is left out.
    ///
    /// Nothing is verified: compare [`Edge::root`] with a checkpoint that is.
    pub fn resume(size: u64, tiles: &BTreeMap<TileId, Vec<Hash>>) -> Option<Self> {
        let mut edge = Self::empty();
        for (id, width) in Self::tiles(size) {
            let partial = edge.levels.get_mut(usize::from(id.level))?;
            partial.hashes = tiles.get(&id)?.get(..width)?.to_vec();
        }
        Some(edge)
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        let digits = self.levels.iter().rev();
        digits.fold(0, |size, partial| size * TILE_WIDTH + partial.hashes.len() as u64)
    }

    /// The root, `MTH` of RFC 6962 section 2.1.
    pub fn root(&self) -> Hash {
        // What lies below a level is less than one subtree of it, so it is the last leaf of a tree over the level's hashes.
        let below = self.levels.iter().fold(None, |below: Option<Hash>, partial| {
            let row: Vec<Hash> = partial.hashes.iter().copied().chain(below).collect();
            (!row.is_empty()).then(|| root_of(&row))
        });
        below.unwrap_or_else(|| root_of(&[]))
    }

    /// Appends a leaf, given by its hash.
    pub fn append(&mut self, leaf: Hash) {
        let index = self.size();
        let mut hash = leaf;
        for (level, partial) in (0_u8..).zip(&mut self.levels) {
            partial.hashes.push(hash);
            partial.changed = true;
            if (partial.hashes.len() as u64) < TILE_WIDTH {
                return;
            }
            let full = std::mem::replace(partial, Partial::EMPTY).hashes;
            hash = root_of(&full);
            self.filled.push((TileId { level, index: hashes_at(level, index) / TILE_WIDTH }, full));
        }
    }

    /// Every tile that changed since the last call, in its current content, in the order of their ids; then forgets which.
    pub fn take_changed(&mut self) -> Vec<(TileId, Vec<Hash>)> {
        let mut changed = std::mem::take(&mut self.filled);
        for (id, _) in Self::tiles(self.size()) {
            if let Some(partial) = self.levels.get_mut(usize::from(id.level))
                && std::mem::take(&mut partial.changed)
            {
                changed.push((id, partial.hashes.clone()));
            }
        }
        changed.sort_unstable_by_key(|(id, _)| *id);
        changed
    }
}
