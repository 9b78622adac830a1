//! Whether the state is what the log says: each record lies there as the last event that wrote it left it, and none lies there that no
//! event wrote.

use crate::audit::{Audit, LOOKS_AGAIN_MAX, Part};
use crate::report::Kind;
use crate::source::{DIGESTS_MAX, Inventory, LogSource, Stand};
use keyward_crypto::digest::unhex;
use keyward_crypto::tree::Hash;
use keyward_domain::event::{Event, EventId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What one event left of a record.
#[derive(Debug, Clone, Copy)]
struct Write {
    event: EventId,
    /// Under which version of the ring the digest is; unknown where the source does not show it.
    ring_version: Option<u32>,
    digest: Hash,
    late: bool,
}

/// What the log says of each record.
#[derive(Debug, Default)]
pub(crate) struct Records(HashMap<String, Vec<Write>>);

impl Records {
    pub(crate) fn wrote(&mut self, id: EventId, event: &Event, ring_version: Option<u32>, late: bool) {
        for write in &event.writes {
            let Some(digest) = unhex(&write.digest) else { continue };
            let write_of = Write { event: id, ring_version, digest, late };
            match self.0.get_mut(&write.record) {
                // In the order of the log: a ticket behind the tree may have been read after one that follows it.
                Some(writes) => writes.insert(writes.partition_point(|known| known.event <= id), write_of),
                None => {
                    self.0.insert(write.record.clone(), vec![write_of]);
                }
            }
        }
    }

    /// The versions of the ring under which a record's digest may be asked for, the likeliest first.
    fn versions(&self, record: &str, shown: &[u32]) -> Vec<u32> {
        let writes = self.0.get(record).map_or(&[][..], Vec::as_slice);
        let mut versions = Vec::new();
        for write in writes.iter().rev() {
            let candidates = write.ring_version.map_or_else(|| shown.to_vec(), |version| vec![version]);
            for version in candidates {
                if !versions.contains(&version) {
                    versions.push(version);
                }
            }
        }
        versions
    }

    /// The last event that is known to have written a record, but for those that came late.
    fn last(&self, record: &str) -> Option<EventId> {
        let writes = self.0.get(record)?;
        writes.iter().rev().find(|write| !write.late).map(|write| write.event)
    }

    /// Whether a record was rightly as this write left it, at a moment when it had been written by `since`.
    fn is_right(record: &str, writes: &[Write], at: usize, since: Option<EventId>) -> bool {
        let Some(write) = writes.get(at) else { return false };
        // What comes late lands on whatever was written meanwhile.
        if write.late {
            return true;
        }
        match record.get(..2) {
            // Whoever kills waits for nobody: of several at once any may have landed last. But the birth is over after the first.
            Some("k:" | "s:") if at > 0 => true,
            Some("x:") => true,
            _ => {
                since.is_some_and(|since| write.event >= since)
                    || writes.iter().skip(at.saturating_add(1)).all(|later| later.late)
            }
        }
    }

    fn judged(&self, record: &str, version: u32, digest: Option<Hash>, since: Option<EventId>) -> Found {
        let Some(digest) = digest else { return Found::Gone };
        let writes = self.0.get(record).map_or(&[][..], Vec::as_slice);
        // The newest first: a record may have been written unchanged.
        let as_of = writes.iter().enumerate().rev().find(|(_, write)| {
            write.digest == digest && write.ring_version.is_none_or(|known| known == version)
        });
        match as_of {
            Some((at, _)) if Self::is_right(record, writes, at, since) => Found::Right,
            Some((_, write)) => Found::Changed { as_of: Some(write.event) },
            None => Found::Changed { as_of: None },
        }
    }
}

/// How a record was found.
#[derive(Clone, Copy)]
enum Found {
    Right,
    Gone,
    Changed { as_of: Option<EventId> },
}

/// A record that is not as the events read so far say.
struct Suspect {
    found: Found,
    /// The last event that was known to have written it before it was looked at.
    since: Option<EventId>,
    /// Its digests then, each with the version that it is under.
    digests: Vec<(u32, Option<Hash>)>,
}

impl<S: LogSource> Audit<'_, S> {
    pub(crate) fn compare_state(
        &mut self,
        stand: &Stand,
        inventory: Option<&Inventory>,
    ) -> Result<(), S::Error> {
        let mut suspects: BTreeSet<String> = self.records.0.keys().cloned().collect();
        if let Some(inventory) = inventory {
            suspects.extend(inventory.records.iter().cloned());
        }
        self.report.records = u64::try_from(suspects.len()).unwrap_or(u64::MAX);
        let mut stand = stand.clone();
        let mut looks = 0;
        loop {
            let mut wrong = self.compare(&suspects, &stand)?;
            looks += 1;
            if !wrong.is_empty() {
                // Whoever writes meanwhile is no fault: what was seen was written with an event that is there by now.
                let newer = self.source.stand(None)?;
                self.read_behind(&stand, newer.taken)?;
                stand.taken = newer.taken;
                wrong.retain(|record, suspect| !self.is_explained(record, suspect));
            }
            if wrong.is_empty() || looks > LOOKS_AGAIN_MAX {
                for (record, suspect) in wrong {
                    self.name(&record, suspect.found);
                }
                return Ok(());
            }
            suspects = wrong.into_keys().collect();
        }
    }

    /// Whether the events read since explain what was seen of a record.
    fn is_explained(&self, record: &str, suspect: &Suspect) -> bool {
        let judged = |(version, digest): &(u32, Option<Hash>)| {
            self.records.judged(record, *version, *digest, suspect.since)
        };
        suspect.digests.iter().any(|seen| matches!(judged(seen), Found::Right))
    }

    /// Those of `suspects` that are not as the events read so far say.
    fn compare(
        &mut self,
        suspects: &BTreeSet<String>,
        stand: &Stand,
    ) -> Result<BTreeMap<String, Suspect>, S::Error> {
        let mut rounds: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        let mut wrong: BTreeMap<String, Suspect> = BTreeMap::new();
        let mut others: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for record in suspects {
            let mut versions = self.records.versions(record, &stand.ring_versions).into_iter();
            match versions.next() {
                None => {
                    let found = Found::Changed { as_of: None };
                    wrong.insert(record.clone(), Suspect { found, since: None, digests: Vec::new() });
                }
                Some(version) => {
                    rounds.entry(version).or_default().push(record.clone());
                    others.insert(record.clone(), versions.collect());
                }
            }
        }
        let total = u64::try_from(suspects.len()).unwrap_or(u64::MAX);
        let mut done = 0_u64;
        // Round by round: what the likeliest version does not explain is asked for under the next.
        while !rounds.is_empty() {
            let mut next: BTreeMap<u32, Vec<String>> = BTreeMap::new();
            for (version, records) in rounds {
                let chunks: Vec<&[String]> = records.chunks(DIGESTS_MAX).collect();
                let source = self.source;
                let work = |at: u64| {
                    let chunk =
                        usize::try_from(at).ok().and_then(|at| chunks.get(at)).copied().unwrap_or_default();
                    source.digests(version, chunk).map(|digests| (chunk, digests))
                };
                let count = u64::try_from(chunks.len()).unwrap_or(u64::MAX);
                crate::parallel::in_order(self.threads, count, work, |(chunk, digests)| {
                    done = done.saturating_add(u64::try_from(chunk.len()).unwrap_or(0));
                    self.progress.at(Part::State, done.min(total), total);
                    for (record, digest) in chunk.iter().zip(digests) {
                        let since = self.records.last(record);
                        let found = self.records.judged(record, version, digest, None);
                        if matches!(found, Found::Right) {
                            wrong.remove(record);
                            continue;
                        }
                        let suspect = wrong.entry(record.clone()).or_insert_with(|| Suspect {
                            found,
                            since,
                            digests: Vec::new(),
                        });
                        suspect.digests.push((version, digest));
                        // An older write that it was recognised by says more than none.
                        if matches!(suspect.found, Found::Changed { as_of: None }) {
                            suspect.found = found;
                        }
                        if let Some(version) = others.get_mut(record).and_then(take_first) {
                            next.entry(version).or_default().push(record.clone());
                        }
                    }
                })?;
            }
            rounds = next;
        }
        Ok(wrong)
    }

    fn name(&mut self, record: &str, found: Found) {
        let last = self.records.0.get(record).and_then(|writes| writes.last()).map(|write| write.event);
        let what = match (found, last) {
            (_, None) => "it lies there, and no event that can be read wrote it".to_owned(),
            (Found::Right, _) => return,
            (Found::Gone, Some(last)) => format!("{last} wrote it, and it is gone"),
            (Found::Changed { as_of: Some(older) }, Some(last)) => {
                format!("it lies there as {older} left it, and {last} wrote it since")
            }
            (Found::Changed { as_of: None }, Some(last)) => {
                format!("it is not as {last} left it, nor as any event before did")
            }
        };
        self.report.find(Kind::State, record, what);
    }
}

fn take_first(versions: &mut Vec<u32>) -> Option<u32> {
    if versions.is_empty() { None } else { Some(versions.remove(0)) }
}
