//! Whether what lies at the tickets is what the tree has as its leaves, and whether the tree is the one that was signed and seen.

use crate::audit::{Audit, Part};
use crate::frontier::Frontier;
use crate::report::Kind;
use crate::source::{LogSource, Stand};
use keyward_crypto::digest::hex;
use keyward_crypto::tree::{Edge, Hash, TILE_WIDTH, TileId};
use keyward_domain::event::EventId;
use std::collections::{BTreeMap, BTreeSet};

/// Full tiles that the edge of a tree may hold before they are compared.
const TILES_HELD: u64 = 64;

impl<S: LogSource> Audit<'_, S> {
    /// Compares the leaves with the tree; gives its roots at the sizes asked for. `leaves` may go on behind the tree.
    pub(crate) fn tree(
        &mut self,
        stand: &Stand,
        mut leaves: Vec<Option<Hash>>,
        sizes: &BTreeSet<u64>,
        has_tiles: bool,
    ) -> Result<BTreeMap<u64, Hash>, S::Error> {
        let integrated = usize::try_from(stand.size).unwrap_or(usize::MAX);
        let whole: Option<Vec<Hash>> = leaves.iter().take(integrated).copied().collect();
        let holds = whole.is_some_and(|leaves| Some(root_of(&leaves)) == stand.root);
        if has_tiles || !holds {
            self.compare_leaves(stand, &mut leaves)?;
        }
        if has_tiles {
            self.compare_tiles(stand, &leaves)?;
        }
        let mut frontier = Frontier::default();
        let mut roots = BTreeMap::new();
        let mut size = 0_u64;
        let mut note = |size: u64, frontier: &Frontier| {
            if sizes.contains(&size) || size == stand.size {
                roots.insert(size, frontier.root());
            }
        };
        note(0, &frontier);
        for leaf in leaves {
            // A leaf that is gone, and of which the tiles know nothing, has been named; no root goes beyond it.
            let Some(leaf) = leaf else { break };
            frontier.append(leaf);
            size = size.saturating_add(1);
            note(size, &frontier);
        }
        let computed = roots.get(&stand.size);
        if let (Some(root), Some(computed)) = (stand.root, computed)
            && root != *computed
        {
            self.report.find(
                Kind::Tree,
                format!("epoch {}", stand.epoch),
                format!(
                    "the leaves give the root {} at size {}; the log says {}",
                    hex(computed),
                    stand.size,
                    hex(&root)
                ),
            );
        }
        Ok(roots)
    }

    /// Names each leaf that is not what the tree has there, and puts the tree's in its place: what follows is about the rest.
    fn compare_leaves(&mut self, stand: &Stand, leaves: &mut [Option<Hash>]) -> Result<(), S::Error> {
        let tiles = stand.size.div_ceil(TILE_WIDTH);
        let mut found = Vec::new();
        let (source, epoch) = (self.source, stand.epoch);
        let work = |index: u64| {
            let width = stand.size.saturating_sub(index.saturating_mul(TILE_WIDTH)).min(TILE_WIDTH);
            source.tile(epoch, TileId { level: 0, index }, usize::try_from(width).unwrap_or(0))
        };
        crate::parallel::in_order(self.threads, tiles, work, |tile| found.push(tile))?;
        for (index, tile) in (0_u64..).zip(found) {
            let first = index.saturating_mul(TILE_WIDTH);
            let Some(tile) = tile else {
                let what = format!("the tile 0/{index} is missing or too short");
                self.report.find(Kind::Tree, format!("epoch {epoch}"), what);
                continue;
            };
            let from = usize::try_from(first).unwrap_or(usize::MAX);
            for (offset, (leaf, stored)) in (1_u64..).zip(leaves.iter_mut().skip(from).zip(tile)) {
                if leaf.is_some_and(|leaf| leaf != stored) {
                    let id = EventId { epoch, seq: first.saturating_add(offset) };
                    self.broken.insert(id);
                    self.report.find(
                        Kind::Leaf,
                        id,
                        "what lies there is not what the log's tree has at this place",
                    );
                }
                *leaf = Some(stored);
            }
        }
        Ok(())
    }

    /// Compares every tile with what the leaves make of it.
    fn compare_tiles(&mut self, stand: &Stand, leaves: &[Option<Hash>]) -> Result<(), S::Error> {
        let mut edge = Edge::empty();
        for leaf in leaves.iter().take(usize::try_from(stand.size).unwrap_or(usize::MAX)) {
            let Some(leaf) = leaf else { return Ok(()) };
            edge.append(*leaf);
            if edge.size().is_multiple_of(TILE_WIDTH * TILES_HELD) {
                self.compare_changed(stand.epoch, &mut edge)?;
                self.progress.at(Part::Tree, edge.size(), stand.size);
            }
        }
        self.compare_changed(stand.epoch, &mut edge)
    }

    fn compare_changed(&mut self, epoch: u32, edge: &mut Edge) -> Result<(), S::Error> {
        for (id, hashes) in edge.take_changed() {
            // Those of level 0 have been compared leaf by leaf.
            if id.level > 0 && self.source.tile(epoch, id, hashes.len())?.as_ref() != Some(&hashes) {
                let what = format!("the tile {}/{} is not what the leaves make of it", id.level, id.index);
                self.report.find(Kind::Tree, format!("epoch {epoch}"), what);
            }
        }
        Ok(())
    }
}

fn root_of(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.append(*leaf);
    }
    frontier.root()
}
