//! Signed checkpoints of the log: made where this process holds the log's keys, and held against the log where it does not.
//!
//! They lie plain in the store and prove themselves. None is signed over a tree that does not lead to the sealed head, or beside
//! another of the same size.

use crate::batch::{Batch, KvWrite};
use crate::ledger::Ledger;
use keyward_crypto::note::{VerifierKey, open};
use keyward_crypto::tree::{Plan, verify_consistency};
use keyward_domain::error::Blame;
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Code, Error, Result};
use keyward_records::projection::Head;
use keyward_records::{KvCount, KvRead, Signed, names};

/// The checkpoint that was signed last, and what came of holding it against the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastCheckpoint {
    /// Which one it is.
    pub signed: Signed,
    /// The name of the log that signed it.
    pub origin: String,
    /// What came of it.
    pub finding: Finding,
}

/// What came of holding a checkpoint against the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// A key of the log signed it, and its tree and the one at the head begin alike.
    Holds,
    /// It does not lie where it was put.
    Gone,
    /// No key of the log signed what lies there.
    NotAuthentic,
    /// It is signed, but the log is not the one that it was signed for.
    OtherLog,
}

/// A checkpoint that was just signed.
struct Fresh {
    note: String,
    /// What is written for it: the note itself, and that it is the last one.
    entries: Vec<(String, Vec<u8>)>,
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Ledger<'_, K, C, R> {
    /// The signed checkpoint of an epoch's tree as far as it is integrated. Made now where whoever integrated could not sign.
    ///
    /// # Errors
    /// [`Code::Misconfigured`] where this process cannot sign and nobody did; where the store does not answer.
    pub async fn checkpoint(&self, epoch: Option<u32>) -> Result<String> {
        let head = self.head_of(epoch).await?;
        if let Some(stored) = self.stored_checkpoint(&head).await? {
            return Ok(stored);
        }
        self.hold_tree(&head).await?;
        self.edge(&head).await?;
        let Fresh { note, entries } = self.sign_tree(&head)?.ok_or_else(|| {
            Error::new(
                Code::Misconfigured,
                "variable `log_keys` is missing; expected what `keyward init` made",
            )
        })?;
        self.kv.set_many(&Batch::new(entries)).await?;
        Ok(note)
    }

    /// Signs the tree as far as it is integrated, where nobody has and this process can: whoever integrated it may hold no key.
    ///
    /// # Errors
    /// Where the store does not answer, or the tree is damaged.
    pub async fn sign(&self) -> Result<()> {
        match &self.rings.log {
            Some(_) => self.checkpoint(None).await.map(drop),
            None => Ok(()),
        }
    }

    /// The checkpoint of a tree that is about to be written, for the same batch; nothing where this process has no key to sign with.
    pub(crate) async fn new_checkpoint(&self, head: &Head) -> Result<Vec<(String, Vec<u8>)>> {
        match self.stored_checkpoint(head).await? {
            Some(_) => Ok(Vec::new()),
            None => Ok(self.sign_tree(head)?.map(|fresh| fresh.entries).unwrap_or_default()),
        }
    }

    /// Signs a tree; nothing where this process has no key to sign with.
    fn sign_tree(&self, head: &Head) -> Result<Option<Fresh>> {
        let Some(keys) = &self.rings.log else { return Ok(None) };
        let note = keys.sign(head.epoch, head.size, &head.root);
        let signed = Signed {
            epoch: head.epoch,
            size: head.size,
            at: self.clock.now(),
            keys: keys.verifier_keys(head.epoch),
        };
        let stored = (names::checkpoint(head.epoch, head.size), note.clone().into_bytes());
        Ok(Some(Fresh { note, entries: vec![stored, self.sealed(&signed)?] }))
    }

    /// What was signed for a tree of this size before. Another root under the same size is a log that was rewritten: nothing is
    /// signed beside it.
    async fn stored_checkpoint(&self, head: &Head) -> Result<Option<String>> {
        let store_key = names::checkpoint(head.epoch, head.size);
        let (Some(keys), Some(value)) = (&self.rings.log, self.kv.get(&store_key).await?) else {
            return Ok(None);
        };
        let known = verifiers(&keys.verifier_keys(head.epoch))?;
        let note = String::from_utf8(value).map_err(|_| Error::damaged("a checkpoint"))?;
        match open(&note, &known) {
            Ok(checkpoint) if checkpoint.size == head.size && checkpoint.root == head.root => Ok(Some(note)),
            Ok(_) => {
                Err(Error::damaged("the log: another tree of the same size was signed before, and this one"))
            }
            // Signed by a key that is retired, or by nobody: it says nothing, and is replaced.
            Err(_) => Ok(None),
        }
    }

    /// The checkpoint that was signed last, held against the log as it lies here; `None` where none was. The keys are those that
    /// the sealed record of it names: whoever holds store and rings can forge all of it, and a witness alone would tell.
    ///
    /// # Errors
    /// Where the store does not answer, or which checkpoint it is cannot be read.
    pub async fn last_checkpoint(&self) -> Result<Option<LastCheckpoint>> {
        let Some(signed) = self.read().signed().await? else { return Ok(None) };
        let keys = verifiers(&signed.keys)?;
        let origin = keys.first().map(|key| key.name().to_owned()).unwrap_or_default();
        let finding = match self.hold_checkpoint(&signed, &origin, &keys).await {
            Err(error) if error.code.blame() == Blame::Integrity => Finding::OtherLog,
            finding => finding?,
        };
        Ok(Some(LastCheckpoint { signed, origin, finding }))
    }

    async fn hold_checkpoint(&self, signed: &Signed, origin: &str, keys: &[VerifierKey]) -> Result<Finding> {
        let Some(value) = self.kv.get(&names::checkpoint(signed.epoch, signed.size)).await? else {
            return Ok(Finding::Gone);
        };
        let opened = String::from_utf8(value).ok().and_then(|note| open(&note, keys).ok());
        let Some(checkpoint) = opened else { return Ok(Finding::NotAuthentic) };
        if checkpoint.origin != origin || checkpoint.size != signed.size {
            return Ok(Finding::OtherLog);
        }
        let head = self.head_of(Some(signed.epoch)).await?;
        // A head that a batch which came late took back is behind what was signed, and catches up.
        let here = (head.size, head.root);
        let there = (checkpoint.size, checkpoint.root);
        let ((old, old_root), (new, new_root)) = if here.0 < there.0 { (here, there) } else { (there, here) };
        // Every log begins with the empty one.
        let begins_alike = match Plan::consistency(old, new) {
            Some(plan) => {
                let hashes = self.hashes(signed.epoch, &plan).await?;
                verify_consistency(old, &old_root, new, &new_root, &hashes)
            }
            None => old == 0,
        };
        Ok(if begins_alike { Finding::Holds } else { Finding::OtherLog })
    }
}

fn verifiers(keys: &[String]) -> Result<Vec<VerifierKey>> {
    keys.iter()
        .map(|key| VerifierKey::parse(key).map_err(|_| Error::internal("a key of the log does not verify")))
        .collect()
}
