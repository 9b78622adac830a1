//! Whether the projected lists are what the events make of them.

use crate::audit::{Audit, Part};
use crate::report::Kind;
use crate::source::{Inventory, Listed, LogSource, Stand};
use keyward_domain::event::EventId;
use keyward_records::projection::Entry;
use std::collections::BTreeSet;

impl<S: LogSource> Audit<'_, S> {
    pub(crate) fn compare_lists(
        &mut self,
        stand: &Stand,
        inventory: Option<&Inventory>,
    ) -> Result<(), S::Error> {
        let mut lists: BTreeSet<String> = self.lists.keys().cloned().collect();
        if let Some(inventory) = inventory {
            lists.extend(inventory.lists.iter().cloned());
        }
        let names: Vec<String> = lists.into_iter().collect();
        let total = u64::try_from(names.len()).unwrap_or(u64::MAX);
        let source = self.source;
        let work = |at: u64| {
            let name = usize::try_from(at).ok().and_then(|at| names.get(at)).map_or("", String::as_str);
            source.list(name).map(|listed| (name, listed))
        };
        let (mut suspects, mut shown, mut done) = (Vec::new(), 0_u64, 0_u64);
        crate::parallel::in_order(self.threads, total, work, |(name, listed)| {
            done = done.saturating_add(1);
            if done.is_multiple_of(64) {
                self.progress.at(Part::Lists, done, total);
            }
            shown = shown.saturating_add(u64::from(!matches!(listed, Listed::NotShown)));
            let expected = self.expected(name);
            if self.difference(stand, &expected, &expected, &listed).is_some() {
                suspects.push((name, listed, expected));
            }
        })?;
        self.report.lists = shown;
        if suspects.is_empty() {
            return Ok(());
        }
        // Whoever writes meanwhile is no fault: what is shown too much has its event by now.
        let newer = self.source.stand(None)?;
        self.read_behind(stand, newer.taken)?;
        for (name, listed, before) in suspects {
            if let Some(what) = self.difference(stand, &self.expected(name), &before, &listed) {
                self.report.find(Kind::Projection, format!("p:{name}"), what);
            }
        }
        Ok(())
    }

    /// What the events read so far make of a list, in the order of the log: a ticket behind the tree may have been read after one that
    /// follows it.
    fn expected(&self, list: &str) -> Vec<Entry> {
        let mut expected = self.lists.get(list).cloned().unwrap_or_default();
        expected.sort_by_key(|entry| entry.event);
        expected
    }

    /// What is wrong with a list, if anything is. It may lack what was not known `before` it was asked for.
    fn difference(
        &self,
        stand: &Stand,
        expected: &[Entry],
        before: &[Entry],
        listed: &Listed,
    ) -> Option<String> {
        let is_new = |entry: &Entry| before.binary_search_by_key(&entry.event, |known| known.event).is_err();
        match listed {
            Listed::NotShown => None,
            Listed::Damaged => Some("the list does not open, or a page of it is missing".to_owned()),
            Listed::Ids(ids) => {
                let mut found = ids.iter().peekable();
                for entry in expected {
                    match found.peek() {
                        Some(id) if **id == entry.id => {
                            found.next();
                        }
                        _ if is_new(entry) => {}
                        Some(id) => return Some(format!("it shows {id} where the log has {}", entry.id)),
                        None => return Some(format!("it does not show {}", entry.id)),
                    }
                }
                found.next().map(|id| format!("it shows {id}, which the log has not"))
            }
            Listed::Entries(entries) => {
                let whole = |entry: &&Entry| !self.broken.contains(&entry.event);
                let integrated = EventId { epoch: stand.epoch, seq: stand.size };
                let mut found = entries.iter().filter(whole);
                for entry in expected.iter().filter(whole) {
                    match found.next() {
                        Some(found) if found == entry => {}
                        Some(found) => {
                            return Some(format!(
                                "it has {} {} where the log has {} {}",
                                found.event, found.id, entry.event, entry.id
                            ));
                        }
                        // Behind the tree, and so behind the lists.
                        None if entry.event > integrated => return None,
                        None => return Some(format!("{} {} is missing in it", entry.event, entry.id)),
                    }
                }
                found
                    .next()
                    .map(|found| format!("it has {} {}, which the log has not", found.event, found.id))
            }
        }
    }
}
