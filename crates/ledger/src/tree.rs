//! The Merkle tree over the log (RFC 6962), in the tiles of C2SP tlog-tiles.
//!
//! Tiles lie plain in the store: they hold hashes of ciphertexts and prove themselves. What may be believed of them is the root in the
//! sealed head, and what leads to it.

use crate::batch::KvWrite;
use crate::ledger::Ledger;
use keyward_crypto::tree::{Edge, Hash, Plan, TileId};
use keyward_domain::event::EventId;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Error, Result};
use keyward_records::projection::Head;
use keyward_records::{KvCount, KvRead, names};
use std::collections::BTreeMap;

/// The bytes of one hash in a tile.
const HASH_BYTES: usize = 32;

/// Proof that a leaf is in a tree, or that one tree is the beginning of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The epoch whose tree it is.
    pub epoch: u32,
    /// The leaf's index from 0; for consistency the size of the smaller tree.
    pub from: u64,
    /// The size of the tree that it leads to.
    pub size: u64,
    /// The root of that tree.
    pub root: Hash,
    /// The nodes, as RFC 6962 section 2.1 orders them.
    pub hashes: Vec<Hash>,
}

/// A tile as it lies in the store.
pub(crate) fn tile_value(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// A tile's hashes, as many as are stored. `None` where there is none.
    ///
    /// # Errors
    /// Where the store does not answer or the value is no tile.
    pub async fn tile(&self, epoch: u32, tile: TileId) -> Result<Option<Vec<Hash>>> {
        let Some(value) = self.kv.get(&names::tile(epoch, tile)).await? else { return Ok(None) };
        let (hashes, rest) = value.as_chunks::<HASH_BYTES>();
        if rest.is_empty() { Ok(Some(hashes.to_vec())) } else { Err(tree_damaged()) }
    }

    async fn tiles(
        &self,
        epoch: u32,
        tiles: impl IntoIterator<Item = TileId>,
    ) -> Result<BTreeMap<TileId, Vec<Hash>>> {
        let reads = tiles.into_iter().map(async |id| Ok((id, self.tile(epoch, id).await?)));
        let found: Vec<(TileId, Option<Vec<Hash>>)> =
            futures::future::join_all(reads).await.into_iter().collect::<Result<_>>()?;
        Ok(found.into_iter().filter_map(|(id, hashes)| Some((id, hashes?))).collect())
    }

    /// The right edge of the tree at `head`, where its tiles lead to the head's root. Nothing is ever appended to, or signed over,
    /// tiles that do not.
    pub(crate) async fn edge(&self, head: &Head) -> Result<Edge> {
        let tiles = self.tiles(head.epoch, Edge::tiles(head.size).into_iter().map(|(id, _)| id)).await?;
        let edge = Edge::resume(head.size, &tiles).ok_or_else(tree_damaged)?;
        if edge.root() == head.root { Ok(edge) } else { Err(tree_damaged()) }
    }

    pub(crate) async fn hashes(&self, epoch: u32, plan: &Plan) -> Result<Vec<Hash>> {
        let tiles = self.tiles(epoch, plan.tiles()).await?;
        plan.hashes(&tiles).ok_or_else(tree_damaged)
    }

    /// The root of an epoch's tree at `size`, out of its tiles.
    ///
    /// # Errors
    /// Where the store does not answer or tiles are missing.
    pub async fn root_at(&self, epoch: u32, size: u64) -> Result<Hash> {
        if size == 0 {
            return Ok(Edge::empty().root());
        }
        let hashes = self.hashes(epoch, &Plan::root(size)).await?;
        hashes.first().copied().ok_or_else(tree_damaged)
    }

    /// The head of an epoch's log: of the current one as far as it is integrated.
    ///
    /// # Errors
    /// No such epoch; where the store does not answer.
    pub async fn head_of(&self, epoch: Option<u32>) -> Result<Head> {
        let head = self.read().head().await?;
        match epoch {
            Some(epoch) if epoch != head.epoch => {
                let epochs = self.read().epochs().await?;
                let closed = epochs.closed.into_iter().map(|closed| closed.head);
                closed.into_iter().find(|head| head.epoch == epoch).ok_or_else(|| Error::not_found("epoch"))
            }
            _ => Ok(head),
        }
    }

    /// Proves that the leaf of ticket `id` is in the tree of `size` leaves (of all that are integrated where it is `None`).
    ///
    /// # Errors
    /// A ticket or size beyond the tree; where the store does not answer or tiles are missing.
    pub async fn inclusion(&self, id: EventId, size: Option<u64>) -> Result<Proof> {
        let size = self.size_within(id.epoch, size).await?;
        let from = id.seq.saturating_sub(1);
        let plan = Plan::inclusion(from, size)
            .ok_or_else(|| Error::parameter("event", "is not in that tree", "an event that it holds"))?;
        let (hashes, root) = (self.hashes(id.epoch, &plan).await?, self.root_at(id.epoch, size).await?);
        Ok(Proof { epoch: id.epoch, from, size, root, hashes })
    }

    /// Proves that the tree of `from` leaves is the beginning of the one of `size` leaves.
    ///
    /// # Errors
    /// Sizes beyond the tree or in the wrong order; where the store does not answer or tiles are missing.
    pub async fn consistency(&self, epoch: u32, from: u64, size: Option<u64>) -> Result<Proof> {
        let size = self.size_within(epoch, size).await?;
        let plan = Plan::consistency(from, size)
            .ok_or_else(|| Error::parameter("from", "is no smaller tree", "1 to the size of the tree"))?;
        let (hashes, root) = (self.hashes(epoch, &plan).await?, self.root_at(epoch, size).await?);
        Ok(Proof { epoch, from, size, root, hashes })
    }

    async fn size_within(&self, epoch: u32, size: Option<u64>) -> Result<u64> {
        let head = self.head_of(Some(epoch)).await?;
        match size {
            None => Ok(head.size),
            Some(size) if size <= head.size => Ok(size),
            Some(_) => Err(Error::parameter(
                "size",
                "is beyond the tree",
                &format!("at most {}, what is integrated", head.size),
            )),
        }
    }
}

fn tree_damaged() -> Error {
    Error::damaged("the log's tree")
}
