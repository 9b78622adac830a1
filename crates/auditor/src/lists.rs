//! Whether the projected lists are what the events make of them.

use crate::audit::{Audit, LOOKS_AGAIN_MAX, Part};
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
        let mut looks = 0;
        let mut stand = stand.clone();
        loop {
            let names: Vec<String> = lists.into_iter().collect();
            let total = u64::try_from(names.len()).unwrap_or(u64::MAX);
            let (mut wrong, mut shown) = (Vec::new(), 0_u64);
            let source = self.source;
            let work = |at: u64| {
                let name = usize::try_from(at).ok().and_then(|at| names.get(at)).map_or("", String::as_str);
                source.list(name).map(|listed| (name, listed))
            };
            let mut done = 0_u64;
            crate::parallel::in_order(self.threads, total, work, |(name, listed)| {
                done = done.saturating_add(1);
                if done.is_multiple_of(64) {
                    self.progress.at(Part::Lists, done, total);
                }
                shown = shown.saturating_add(u64::from(!matches!(listed, Listed::NotShown)));
                let mut expected = self.lists.get(name).cloned().unwrap_or_default();
                // A ticket behind the tree may have been read before one that lies before it.
                expected.sort_by_key(|entry| entry.event);
                if let Some(what) = self.difference(&stand, &expected, listed) {
                    wrong.push((name.to_owned(), what));
                }
            })?;
            looks += 1;
            if looks == 1 {
                self.report.lists = shown;
            }
            if wrong.is_empty() || looks > LOOKS_AGAIN_MAX {
                for (name, what) in wrong {
                    self.report.find(Kind::Projection, format!("p:{name}"), what);
                }
                return Ok(());
            }
            lists = wrong.into_iter().map(|(name, _)| name).collect();
            let newer = self.source.stand(None)?;
            if newer.taken == stand.taken {
                looks = LOOKS_AGAIN_MAX;
            }
            self.read_behind(&stand, newer.taken)?;
            stand.taken = newer.taken;
        }
    }

    fn difference(&self, stand: &Stand, expected: &[Entry], listed: Listed) -> Option<String> {
        match listed {
            Listed::NotShown => None,
            Listed::Damaged => Some("the list does not open, or a page of it is missing".to_owned()),
            Listed::Ids(ids) => {
                let expected: Vec<&str> = expected.iter().map(|entry| entry.id.as_str()).collect();
                let mut pairs = expected.iter().zip(&ids);
                if let Some((expected, found)) = pairs.find(|(expected, found)| **expected != found.as_str())
                {
                    return Some(format!("it shows {found} where the log has {expected}"));
                }
                (expected.len() != ids.len())
                    .then(|| format!("it shows {} things where the log has {}", ids.len(), expected.len()))
            }
            Listed::Entries(entries) => {
                let whole = |entry: &&Entry| !self.broken.contains(&entry.event);
                let integrated = EventId { epoch: stand.epoch, seq: stand.size };
                let mut found = entries.iter().filter(whole);
                for expected in expected.iter().filter(whole) {
                    match found.next() {
                        Some(found) if found == expected => {}
                        Some(found) => {
                            return Some(format!(
                                "it has {} {} where the log has {} {}",
                                found.event, found.id, expected.event, expected.id
                            ));
                        }
                        // Behind the tree, and so behind the lists.
                        None if expected.event > integrated => return None,
                        None => return Some(format!("{} {} is missing in it", expected.event, expected.id)),
                    }
                }
                found
                    .next()
                    .map(|found| format!("it has {} {}, which the log has not", found.event, found.id))
            }
        }
    }
}
