//! Whether the log is signed by who should sign it, and is the one that was seen before.

use crate::audit::{Audit, Part};
use crate::report::Kind;
use crate::source::{LogSource, Stand};
use crate::witness::{Seen, WitnessError, check_note, keys_of};
use keyward_crypto::digest::hex;
use keyward_crypto::note::{NoteError, VerifierKey, open};
use keyward_crypto::tree::Hash;
use std::collections::BTreeMap;

impl<S: LogSource> Audit<'_, S> {
    /// The checkpoint that the log shows for its head.
    pub(crate) fn checkpoint(&mut self, stand: &Stand, roots: &BTreeMap<u64, Hash>) {
        let place = format!("epoch {}", stand.epoch);
        if let Some(expected) = &self.trust.origin
            && *expected != stand.origin
        {
            let what =
                format!("the log calls itself `{}`; the one seen before is `{expected}`", stand.origin);
            self.report.find(Kind::Checkpoint, &place, what);
        }
        let Some(note) = &stand.checkpoint else {
            if stand.size > 0 {
                let what = format!("{place}: no checkpoint was signed at size {} yet", stand.size);
                self.report.remarks.push(what);
            }
            return;
        };
        match check_note(note, &self.trust.keys, &stand.origin, stand.epoch) {
            Err(error) => self.report.find(Kind::Checkpoint, &place, error.to_string()),
            Ok(checkpoint) => {
                let root = roots.get(&checkpoint.size);
                if checkpoint.size != stand.size || root.is_some_and(|root| *root != checkpoint.root) {
                    let what = format!(
                        "the signed checkpoint is of size {} with root {}; the log has size {} with root {}",
                        checkpoint.size,
                        hex(&checkpoint.root),
                        stand.size,
                        roots.get(&stand.size).map_or_else(|| "unknown".to_owned(), |root| hex(root)),
                    );
                    self.report.find(Kind::Checkpoint, &place, what);
                }
            }
        }
    }

    /// The checkpoints that lie in the store, of one epoch: each says what the leaves give at its size.
    pub(crate) fn stored_checkpoints(
        &mut self,
        stand: &Stand,
        notes: &[(u64, String)],
        roots: &BTreeMap<u64, Hash>,
    ) -> Result<(), S::Error> {
        let keys = keys_of(&self.trust.keys, &stand.origin, stand.epoch);
        let mut done = 0_u64;
        let total = u64::try_from(notes.len()).unwrap_or(u64::MAX);
        let mut found = Vec::new();
        let (place, epoch) = (format!("epoch {}", stand.epoch), stand.epoch);
        let work = |at: u64| {
            Ok(usize::try_from(at)
                .ok()
                .and_then(|at| notes.get(at))
                .map(|(size, note)| opened(*size, note, &keys)))
        };
        crate::parallel::in_order(self.threads, total, work, |opened| {
            done = done.saturating_add(1);
            if done.is_multiple_of(256) {
                self.progress.at(Part::Checkpoints, done, total);
            }
            match opened {
                Some(Ok((size, root))) => match roots.get(&size) {
                    Some(computed) if *computed == root => {}
                    Some(computed) => found.push(format!(
                        "a checkpoint of size {size} was signed with root {}; the leaves give {}",
                        hex(&root),
                        hex(computed)
                    )),
                    None => found
                        .push(format!("a checkpoint of size {size} was signed; the log ends before that")),
                },
                // By a key that was retired since: it says nothing any more.
                Some(Err((_, WitnessError::Note(NoteError::NotSigned { .. })))) => {}
                Some(Err((size, error))) => {
                    found.push(format!("the checkpoint `cp:{epoch}.{size}`: {error}"))
                }
                None => {}
            }
        })?;
        for what in found {
            self.report.find(Kind::Checkpoint, &place, what);
        }
        Ok(())
    }

    /// What was seen before, held against the log of now. `current` is the epoch in which tickets are taken.
    pub(crate) fn seen(&mut self, stand: &Stand, roots: &BTreeMap<u64, Hash>) {
        let seen: Vec<Seen> =
            self.trust.seen.iter().filter(|seen| seen.epoch == stand.epoch).cloned().collect();
        let place = format!("epoch {}", stand.epoch);
        for seen in seen {
            match roots.get(&seen.size) {
                None => self.report.find(
                    Kind::Witness,
                    &place,
                    format!(
                        "the log had {} entries when it was seen last and has {} now: its tail was cut, or the store rolled back",
                        seen.size, stand.size
                    ),
                ),
                Some(root) if *root != seen.root => self.report.find(
                    Kind::Witness,
                    &place,
                    format!(
                        "the first {} entries are not the ones that were seen: their root was {} and is {}; the log was made anew",
                        seen.size,
                        hex(&seen.root),
                        hex(root)
                    ),
                ),
                Some(_) => {}
            }
            if stand.taken < seen.taken {
                let what = format!(
                    "{} tickets had been taken when the log was seen last, and the counter says {}: it was lowered, or the store rolled back",
                    seen.taken, stand.taken
                );
                self.report.find(Kind::Counter, &place, what);
            }
        }
    }
}

/// Size and root of a stored checkpoint; one by a key that is not known says nothing.
fn opened(size: u64, note: &str, keys: &[VerifierKey]) -> Result<(u64, Hash), (u64, WitnessError)> {
    match open(note, keys) {
        Ok(checkpoint) if checkpoint.size == size => Ok((size, checkpoint.root)),
        Ok(checkpoint) => Err((
            size,
            WitnessError::Origin {
                found: format!("size {}", checkpoint.size),
                expected: format!("size {size}"),
            },
        )),
        Err(error) => Err((size, WitnessError::Note(error))),
    }
}
