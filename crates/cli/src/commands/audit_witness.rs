//! `keyward audit witness`: looks at a log from outside, and takes a new head only where a known key signed it and a proof shows that
//! the one before is its beginning.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyward_auditor::{Seen, Witness, check_note};
use keyward_crypto::note::VerifierKey;
use keyward_crypto::tree::{Hash, verify_consistency};
use keyward_domain::error::Blame;
use serde::Deserialize;

use super::Run;
use super::audit_http::{Claimed, HttpSource};
use super::audit_verify::{WitnessFile, trusted, verifier_keys};
use crate::arguments::{AuditWitness, Global};
use crate::client::{Call, Client};
use crate::failure::{Ending, Failure, Result};
use crate::terminal::Terminal;

/// A proof as the server answers it.
#[derive(Deserialize)]
struct Proof {
    hashes: Vec<String>,
}

/// Looks at one log.
pub struct Watch {
    client: Client,
    file: WitnessFile,
    witness: Witness,
    log_keys: crate::arguments::SeenBefore,
}

impl Run<'_> {
    pub(super) fn witness_once(&self, options: &AuditWitness) -> Result<Ending> {
        let mut watch = Watch::start(self.global, options, self.terminal)?;
        watch.look()?;
        if self.global.json {
            let json =
                serde_json::to_string(watch.witness()).map_err(|error| Failure::system("JSON", error))?;
            self.terminal.print(&crate::escape::shown_json(&json))?;
        } else {
            self.terminal.print(&crate::escape::shown(&watch.said()))?;
        }
        Ok(Ending::Done)
    }
}

impl Watch {
    /// A watch of the log behind the server that the arguments name, from what was seen of it before.
    ///
    /// # Errors
    /// The server cannot be reached, or the file cannot be read.
    pub fn start(global: &Global, options: &AuditWitness, terminal: &Terminal) -> Result<Self> {
        let client = Client::with_credential(global, terminal)?;
        // A file that is there says which log it is about, so that it is served while that one does not answer.
        let named = options.seen.file.as_ref().map(|_| WitnessFile::of(&options.seen, "")).transpose()?;
        let (file, witness) = match named.map(|file| file.read().map(|seen| (file, seen))).transpose()? {
            Some((file, Some(witness))) => (file, witness),
            _ => {
                let origin = HttpSource::new(&client, None).claimed(None)?.origin;
                let file = WitnessFile::of(&options.seen, &origin)?;
                let witness = file.read()?.unwrap_or_else(|| Witness::new(origin));
                (file, witness)
            }
        };
        let log_keys = crate::arguments::SeenBefore { file: None, log_keys: options.seen.log_keys.clone() };
        Ok(Self { client, file, witness, log_keys })
    }

    /// What was seen so far.
    pub const fn witness(&self) -> &Witness {
        &self.witness
    }

    /// The last head, for a person.
    pub fn said(&self) -> String {
        let last = self.witness.epochs.last();
        let size = last.map_or(0, |seen| seen.size);
        format!("{}: {size} entries seen, kept in `{}`", self.witness.origin, self.file.path().display())
    }

    /// Looks once, and keeps what was seen.
    ///
    /// # Errors
    /// The server cannot be reached; of [`Blame::Integrity`] where the log is not the one seen before: then nothing is kept.
    pub fn look(&mut self) -> Result<()> {
        let source = HttpSource::new(&self.client, None);
        let claimed = source.claimed(None)?;
        if claimed.origin != self.witness.origin {
            let what = format!(
                "it calls itself `{}`; the one seen before is `{}`",
                claimed.origin, self.witness.origin
            );
            return Err(refused(what));
        }
        let newest = self.witness.epochs.last().map_or(1, |seen| seen.epoch);
        if claimed.epoch < newest {
            return Err(refused(format!(
                "it is in epoch {}, and was in epoch {newest}: it was rolled back",
                claimed.epoch
            )));
        }
        let offered = verifier_keys(&source.head(claimed.epoch)?.keys)?;
        let keys = trusted(&self.log_keys, Some(&self.witness), &offered)?;
        let mut next = self.witness.clone();
        for epoch in 1..claimed.epoch {
            self.take(&source.claimed(Some(epoch))?, &keys, &mut next)?;
        }
        let note = self.take(&claimed, &keys, &mut next)?;
        let known: Vec<VerifierKey> = keys.into_iter().chain(offered).collect();
        next.pin(&note, &keyward_auditor::keys_of(&known, &claimed.origin, claimed.epoch));
        if next != self.witness {
            self.file.write(&next)?;
            self.witness = next;
        }
        Ok(())
    }

    /// Takes one epoch's checkpoint where it holds.
    fn take(&self, claimed: &Claimed, keys: &[VerifierKey], next: &mut Witness) -> Result<String> {
        let checkpoint = check_note(&claimed.note, keys, &self.witness.origin, claimed.epoch)
            .map_err(|fault| refused(fault.to_string()))?;
        if let Some(seen) = self.witness.of(claimed.epoch) {
            let (size, root) = (checkpoint.size, &checkpoint.root);
            if size < seen.size {
                return Err(refused(format!(
                    "it has {size} entries, and had {}: its tail was cut, or it was rolled back",
                    seen.size
                )));
            }
            let proof = if seen.size == 0 || size == seen.size {
                Vec::new()
            } else {
                self.proof(claimed.epoch, seen.size, size)?
            };
            if !verify_consistency(seen.size, &seen.root, size, root, &proof) {
                return Err(refused(format!(
                    "nothing proves that its first {} entries are the ones that were seen: it was made anew",
                    seen.size
                )));
            }
        }
        let (size, root) = (checkpoint.size, checkpoint.root);
        next.see(Seen { epoch: claimed.epoch, size, root, taken: size, note: Some(claimed.note.clone()) });
        Ok(claimed.note.clone())
    }

    fn proof(&self, epoch: u32, from: u64, size: u64) -> Result<Vec<Hash>> {
        let call = Call::get("/v1/audit/proof/consistency")
            .query("from", Some(from))
            .query("size", Some(size))
            .query("epoch", Some(epoch));
        let answer = self.client.call(&call)?;
        let proof: Proof = answer.read()?;
        let hash = |text: &String| STANDARD.decode(text).ok()?.try_into().ok();
        let hashes: Option<Vec<Hash>> = proof.hashes.iter().map(hash).collect();
        hashes.ok_or_else(|| Failure::not_keyward(&answer, "its proof has a node that is no hash"))
    }
}

fn refused(what: impl Into<String>) -> Failure {
    Failure::new(Blame::Integrity, "The log is not the one that was seen", what)
}
