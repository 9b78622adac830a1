//! Tiles and their names. A path has one spelling; every other one is refused.

use std::fmt;

use super::{TILE_WIDTH, hashes_at};

/// Where a tile lies. Its hashes are the roots of consecutive complete subtrees of `256^level` leaves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TileId {
    /// From 0, whose hashes are leaf hashes, to 7.
    pub level: u8,
    /// Its place in the level, from 0.
    pub index: u64,
}

/// What lies behind a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TileKind {
    /// The hashes of a tile of this level.
    Level(u8),
    /// The entries that the tile of level 0 with the same index has the leaf hashes of.
    Entries,
}

/// A tile as C2SP tlog-tiles names it in a path, behind the log's prefix and `tile/`: `0/x001/067.p/5`, `entries/x001/067`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TilePath {
    /// Hashes of a level, or entries.
    pub kind: TileKind,
    /// Its place in the level, from 0.
    pub index: u64,
    /// How many hashes or entries are asked for: 1 to 256, where 256 is the full tile.
    pub width: u16,
}

impl TilePath {
    /// Parses a path in its one spelling; `None` for any other text, and for a tile that no tree of 2^64 - 1 leaves has.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once('/')?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Level(level.parse().ok()?),
        };
        let (groups, width) = match rest.split_once(".p/") {
            Some((groups, width)) => (groups, width.parse().ok()?),
            None => (rest, TILE_WIDTH as u16),
        };
        let index = groups.split('/').try_fold(0_u64, |index, group| {
            let group: u64 = group.trim_start_matches('x').parse().ok()?;
            index.checked_mul(1000)?.checked_add(group)
        })?;
        let path = Self { kind, index, width };
        // Written again from what was read: a text with any other spelling is not this path.
        (path.is_within(u64::MAX) && path.to_string() == text).then_some(path)
    }

    /// Whether a tree of `size` leaves has that tile in that width or wider.
    pub fn is_within(&self, size: u64) -> bool {
        let level = match self.kind {
            TileKind::Level(level) => level,
            TileKind::Entries => 0,
        };
        let width = u64::from(self.width);
        (1..=TILE_WIDTH).contains(&width)
            && self
                .index
                .checked_mul(TILE_WIDTH)
                .and_then(|before| before.checked_add(width))
                .is_some_and(|end| end <= hashes_at(level, size))
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Level(level) => write!(f, "{level}/")?,
            TileKind::Entries => f.write_str("entries/")?,
        }
        let mut group = 1_u64;
        while self.index / group >= 1000 {
            group = group.saturating_mul(1000);
        }
        while group > 1 {
            write!(f, "x{:03}/", self.index / group % 1000)?;
            group /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if u64::from(self.width) == TILE_WIDTH { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}
