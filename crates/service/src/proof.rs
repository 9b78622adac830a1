//! What an auditor needs who trusts nobody here: the signed checkpoint, tiles, the sealed entries themselves, proofs, and digests of
//! the state to hold against the log.

use crate::attempt::Attempt;
use crate::service::Service;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyward_crypto::digest::hex;
use keyward_crypto::tree::{TILE_WIDTH, TileId, TileKind, TilePath};
use keyward_domain::event::EventId;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::scope::administration as scope;
use keyward_domain::{Code, Error, Result};
use keyward_ledger::{KvWrite, Proof};
use keyward_records::{KvCount, KvRead, names};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Batches of events that are integrated before a checkpoint is given.
const INTEGRATE_ROUNDS: u32 = 8;
/// Records whose digest one call asks for at most.
pub const STATE_RECORDS_MAX: usize = 256;
/// A proof, as it is answered. Hashes are base64, as in checkpoints.
#[derive(Serialize, ToSchema)]
#[schema(as = Proof)]
pub struct ProofView {
    /// The epoch whose tree it is about.
    pub epoch: u32,
    /// For inclusion the leaf's index from 0, for consistency the size of the smaller tree.
    pub from: u64,
    /// The size of the tree that it leads to.
    pub size: u64,
    /// The root of that tree.
    #[schema(pattern = "^[0-9A-Za-z+/]{43}=$")]
    pub root: String,
    /// The nodes, in the order of RFC 6962 section 2.1.
    #[schema(max_items = 128)]
    pub hashes: Vec<String>,
}

impl From<Proof> for ProofView {
    fn from(proof: Proof) -> Self {
        let Proof { epoch, from, size, root, hashes } = proof;
        let hashes = hashes.iter().map(|hash| STANDARD.encode(hash)).collect();
        Self { epoch, from, size, root: STANDARD.encode(root), hashes }
    }
}

/// How an epoch's log stands, beside what its checkpoint says.
#[derive(Serialize, ToSchema)]
#[schema(as = LogHead)]
pub struct HeadView {
    /// Which epoch.
    #[schema(minimum = 1)]
    pub epoch: u32,
    /// Entries in its tree.
    pub size: u64,
    /// The root at that size.
    #[schema(pattern = "^[0-9A-Za-z+/]{43}=$")]
    pub root: String,
    /// Tickets taken: those beyond `size` are not in the tree yet.
    pub taken: u64,
    /// Tickets that were voided last and whose event, should it come to light, has not been reported yet.
    #[schema(max_items = 64)]
    pub voids: Vec<u64>,
    /// The version of `audit_keyring` that new events are sealed under.
    pub ring_version: u32,
    /// The public keys that sign checkpoints of this epoch, as C2SP signed-note writes them.
    #[schema(max_items = 64)]
    pub keys: Vec<String>,
}

/// Which records' digests are asked for.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateQuery {
    /// The version of `audit_keyring` whose digests are wanted: the one that the event is sealed under which wrote the records.
    #[schema(format = Int64, maximum = 4_294_967_295_i64)]
    pub ring_version: u32,
    /// Store keys, as events name them.
    #[schema(max_items = 256)]
    pub records: Vec<String>,
}

/// The digests of records as they lie in the store now.
#[derive(Serialize, ToSchema)]
pub struct StateDigests {
    /// In the order asked for.
    pub items: Vec<StateDigest>,
}

/// The digest of one record.
#[derive(Serialize, ToSchema)]
pub struct StateDigest {
    /// The store key.
    pub record: String,
    /// Its keyed digest, lowercase hex; none where there is no such record.
    #[schema(required = true)]
    pub digest: Option<String>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// The signed checkpoint of an epoch's log, brought up to date first where it is the current one.
    ///
    /// # Errors
    /// A missing scope, no such epoch; where the store does not answer.
    pub async fn audit_checkpoint(&self, attempt: &Attempt, epoch: Option<u32>) -> Result<String> {
        attempt.caller.require(scope::AUDIT_READ)?;
        self.ledger.integrate(INTEGRATE_ROUNDS).await?;
        self.ledger.checkpoint(epoch).await
    }

    /// How an epoch's log stands.
    ///
    /// # Errors
    /// A missing scope, no such epoch; where the store does not answer.
    pub async fn audit_head(&self, attempt: &Attempt, epoch: Option<u32>) -> Result<HeadView> {
        attempt.caller.require(scope::AUDIT_READ)?;
        let head = self.ledger.head_of(epoch).await?;
        let last = self.ledger.last_ticket().await?;
        Ok(HeadView {
            epoch: head.epoch,
            size: head.size,
            root: STANDARD.encode(head.root),
            // A closed epoch ended with its tree.
            taken: if last.epoch == head.epoch { last.seq } else { head.size },
            voids: head.voids,
            ring_version: self.rings.audit.active_version(),
            keys: self.rings.log.as_ref().map(|keys| keys.verifier_keys(head.epoch)).unwrap_or_default(),
        })
    }

    /// A tile or a bundle of entries, as C2SP tlog-tiles has them.
    ///
    /// # Errors
    /// A missing scope, a tile beyond the tree; where the store does not answer.
    pub async fn audit_tile(
        &self,
        attempt: &Attempt,
        epoch: Option<u32>,
        path: &TilePath,
    ) -> Result<Vec<u8>> {
        attempt.caller.require(scope::AUDIT_READ)?;
        let head = self.ledger.head_of(epoch).await?;
        if !path.is_within(head.size) {
            return Err(Error::not_found("tile"));
        }
        let width = usize::from(path.width);
        match path.kind {
            TileKind::Level(level) => {
                let tile = self.ledger.tile(head.epoch, TileId { level, index: path.index }).await?;
                let hashes = tile.as_deref().and_then(|hashes| hashes.get(..width));
                Ok(hashes.ok_or_else(|| Error::damaged("the log's tree"))?.concat())
            }
            TileKind::Entries => {
                let first = path.index * TILE_WIDTH + 1;
                let ids =
                    (first..first + u64::from(path.width)).map(|seq| EventId { epoch: head.epoch, seq });
                let entries = futures::future::join_all(ids.map(|id| self.sealed_entry(id))).await;
                let mut bundle = Vec::new();
                for entry in entries {
                    let entry = entry?;
                    // C2SP: each entry is led by its length as a big-endian u16.
                    let length = u16::try_from(entry.len()).map_err(|_| Error::damaged("an audit event"))?;
                    bundle.extend_from_slice(&length.to_be_bytes());
                    bundle.extend_from_slice(&entry);
                }
                Ok(bundle)
            }
        }
    }

    /// What the tree has as the leaf of a ticket: the void where there is one, else the event, sealed.
    async fn sealed_entry(&self, id: EventId) -> Result<Vec<u8>> {
        let (event_key, void_key) = (names::event(id), names::void(id));
        let (event, void) = futures::join!(self.kv.get(&event_key), self.kv.get(&void_key));
        // An entry that is gone is told as an empty one: whoever verifies names its place.
        Ok(void?.or(event?).unwrap_or_default())
    }

    /// What the tree has as the leaf of an event, sealed: what its proof begins with.
    ///
    /// # Errors
    /// A missing scope; where the store does not answer.
    pub async fn audit_entry(&self, attempt: &Attempt, event: EventId) -> Result<Vec<u8>> {
        attempt.caller.require(scope::AUDIT_READ)?;
        self.sealed_entry(event).await
    }

    /// Proof that an event is in the log.
    ///
    /// # Errors
    /// A missing scope, an event or size beyond the tree; where the store does not answer.
    pub async fn audit_inclusion(
        &self,
        attempt: &Attempt,
        event: EventId,
        size: Option<u64>,
    ) -> Result<ProofView> {
        attempt.caller.require(scope::AUDIT_READ)?;
        if size.is_none() {
            self.ledger.integrate(INTEGRATE_ROUNDS).await?;
        }
        self.ledger.inclusion(event, size).await.map(ProofView::from)
    }

    /// Proof that the log of `from` entries is the beginning of the one of `size` entries.
    ///
    /// # Errors
    /// A missing scope, sizes beyond the tree; where the store does not answer.
    pub async fn audit_consistency(
        &self,
        attempt: &Attempt,
        epoch: Option<u32>,
        from: u64,
        size: Option<u64>,
    ) -> Result<ProofView> {
        attempt.caller.require(scope::AUDIT_READ)?;
        let epoch = self.ledger.head_of(epoch).await?.epoch;
        self.ledger.consistency(epoch, from, size).await.map(ProofView::from)
    }

    /// The keyed digests of records as they lie there now, to be held against the ones that events name.
    ///
    /// # Errors
    /// A missing scope, too many records, a name that is no record of state; where the store does not answer.
    pub async fn audit_state(&self, attempt: &Attempt, query: &StateQuery) -> Result<StateDigests> {
        attempt.caller.require(scope::AUDIT_READ)?;
        if query.records.len() > STATE_RECORDS_MAX {
            return Err(Error::field("records", "are too many", format!("at most {STATE_RECORDS_MAX}")));
        }
        if !query.records.iter().all(|record| names::is_state(record)) {
            return Err(Error::field(
                "records",
                "has a name that is no record of state",
                "names as events have them under `writes`",
            ));
        }
        let reads = query.records.iter().map(|record| self.kv.get(record));
        let values = futures::future::join_all(reads).await;
        let items = query.records.iter().zip(values).map(|(record, value)| {
            let digest = value?.map(|value| self.digest(query.ring_version, record, &value)).transpose()?;
            Ok(StateDigest { record: record.clone(), digest })
        });
        Ok(StateDigests { items: items.collect::<Result<_>>()? })
    }

    fn digest(&self, ring_version: u32, record: &str, value: &[u8]) -> Result<String> {
        let digest = self.rings.audit.keyed_digest_under(ring_version, record, value);
        digest
            .map(|digest| hex(&digest))
            .map_err(|error| Error::new(Code::RingVersionUnknown, error.to_string()))
    }
}
