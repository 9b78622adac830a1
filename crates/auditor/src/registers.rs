//! Whether the registers of keys are what events say of how their keys stand, and whether what is counted in them is what lies in them.

use crate::audit::{Audit, LOOKS_AGAIN_MAX};
use crate::report::Kind;
use crate::source::{Inventory, LogSource, Register, Registered, Stand};
use keyward_domain::event::EventId;
use keyward_domain::standing::Standing;
use keyward_domain::{ApplicationId, KeyId};
use keyward_ledger::Told;
use keyward_records::register::{Counts, ROWS, Row, SUMS, Tally};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a register is by a place of the log, and what it may be by what came since.
#[derive(Default)]
struct Expected {
    /// Its keys, in the order in which the log told of them first.
    keys: Vec<KeyId>,
    /// How many of them there were by that place.
    sure: usize,
    /// The last generation that was ended by that place, and by now.
    ended: (u32, u32),
}

/// How a key stands by a place of the log and by each event since.
struct Stands {
    row: Row,
    since: Vec<Standing>,
}

impl<S: LogSource> Audit<'_, S> {
    pub(crate) fn compare_registers(
        &mut self,
        stand: &Stand,
        inventory: Option<&Inventory>,
    ) -> Result<(), S::Error> {
        let mut stand = stand.clone();
        let mut suspects: Option<BTreeMap<String, String>> = None;
        for look in 0..=LOOKS_AGAIN_MAX {
            if look > 0 {
                // Whoever writes meanwhile is no fault: what is shown too much has its event by now.
                let newer = self.source.stand(None)?;
                self.read_behind(&stand, newer.taken)?;
                stand.taken = newer.taken;
            }
            let found = self.broken_registers(&stand, inventory)?;
            // What is wrong each time is wrong.
            let still = match suspects.take() {
                None => found,
                Some(before) => found.into_iter().filter(|(place, _)| before.contains_key(place)).collect(),
            };
            if still.is_empty() {
                return Ok(());
            }
            suspects = Some(still);
        }
        for (place, what) in suspects.into_iter().flatten() {
            self.report.find(Kind::Projection, place, what);
        }
        Ok(())
    }

    /// What is wrong with registers as they are now, by their names.
    fn broken_registers(
        &mut self,
        stand: &Stand,
        inventory: Option<&Inventory>,
    ) -> Result<BTreeMap<String, String>, S::Error> {
        // Of an event that cannot be read nobody knows what it told.
        let is_told = self.broken.is_empty() && self.unknown == 0;
        let (expected, keys) = self.expected_registers(EventId { epoch: stand.epoch, seq: stand.size });
        let mut broken = BTreeMap::new();
        let Some(totals) = self.source.register_totals()? else {
            return Ok(broken);
        };
        let mut applications: BTreeSet<ApplicationId> = expected.keys().copied().collect();
        applications.extend(totals.iter().map(|(application, _)| *application));
        applications.extend(inventory.iter().flat_map(|inventory| inventory.registers.iter().copied()));
        let totals: BTreeMap<ApplicationId, Counts> = totals.into_iter().collect();
        let nothing = Expected::default();
        let mut shown = 0_u64;
        for application in applications {
            let expected = expected.get(&application).unwrap_or(&nothing);
            let what = match self.source.register(application)? {
                Registered::Absent if expected.sure == 0 && !totals.contains_key(&application) => None,
                Registered::Absent => Some("it is not there".to_owned()),
                Registered::Damaged => Some("it does not open, or a part of it is missing".to_owned()),
                Registered::Whole(register) => {
                    shown = shown.saturating_add(1);
                    miscounted(&register, totals.get(&application))
                        .or_else(|| is_told.then(|| wrong(&register, expected, &keys)).flatten())
                }
            };
            if let Some(what) = what {
                broken.insert(keyward_records::names::register(application), what);
            }
        }
        self.report.registers = shown;
        Ok(broken)
    }

    /// What the events read so far make of registers, by this place of the log and since.
    fn expected_registers(
        &mut self,
        through: EventId,
    ) -> (BTreeMap<ApplicationId, Expected>, HashMap<KeyId, Stands>) {
        // In the order of the log: a ticket behind the tree may have been read after one that follows it.
        self.told.sort_by_key(|(event, _)| *event);
        let mut expected: BTreeMap<ApplicationId, Expected> = BTreeMap::new();
        let mut keys: HashMap<KeyId, Stands> = HashMap::new();
        for (event, told) in &self.told {
            let is_sure = *event <= through;
            match *told {
                Told::Ended { application, generation } => {
                    let (sure, now) = &mut expected.entry(application).or_default().ended;
                    *now = generation.max(*now);
                    if is_sure {
                        *sure = *now;
                    }
                }
                Told::Stands { key, standing, issued } => match (keys.get_mut(&key), issued) {
                    (Some(known), _) if is_sure => known.row.tell(standing),
                    (Some(known), _) => known.since.push(standing),
                    (None, Some((application, generation))) => {
                        let row = Row { key, generation, standing };
                        keys.insert(key, Stands { row, since: Vec::new() });
                        let expected = expected.entry(application).or_default();
                        expected.keys.push(key);
                        if is_sure {
                            expected.sure = expected.keys.len();
                        }
                    }
                    (None, None) => {}
                },
            }
        }
        (expected, keys)
    }
}

/// What is wrong with a register by itself: each count is held against what lies below it.
fn miscounted(register: &Register, total: Option<&Counts>) -> Option<String> {
    let Register { head, sums, pages } = register;
    let ended = head.ended;
    let tallies: Vec<Tally> = pages.iter().map(|rows| Tally::of_rows(rows, ended)).collect();
    let chunk = |each: u64| usize::try_from(each).unwrap_or(usize::MAX);
    for (number, page) in pages.iter().enumerate() {
        let full = chunk(ROWS);
        let is_last = number.saturating_add(1) == pages.len();
        if page.len() > full || (page.len() < full && !is_last) {
            return Some(format!("its page {number} has {} rows", page.len()));
        }
    }
    let counted: Vec<&Tally> = sums.iter().flatten().collect();
    let all = tallies.len().max(counted.len());
    for page in 0..all {
        let (lies, counted) = (tallies.get(page), counted.get(page));
        let counts = |tally: Option<&Tally>| tally.map(|tally| tally.counts(ended)).unwrap_or_default();
        if counts(lies) != counts(counted.copied()) {
            return Some(format!("the sums of its page {page} are not those of the page's rows"));
        }
    }
    let by_record = tallies.chunks(chunk(SUMS)).map(|some| Tally::of_tallies(some, ended).counts(ended));
    let by_record: Vec<Counts> = by_record.collect();
    let in_head: Vec<Counts> = head.sums.iter().map(|tally| tally.counts(ended)).collect();
    if by_record != in_head {
        return Some("the sums in its head are not those of its pages".to_owned());
    }
    if total != Some(&head.counts()) {
        return Some("its total is not what it counts".to_owned());
    }
    None
}

/// What is wrong with a register by the log.
fn wrong(register: &Register, expected: &Expected, keys: &HashMap<KeyId, Stands>) -> Option<String> {
    let rows: Vec<&Row> = register.pages.iter().flatten().collect();
    let ended = register.head.ended;
    if rows.len() < expected.sure || rows.len() > expected.keys.len() {
        return Some(format!("it has {} keys where the log has {}", rows.len(), expected.sure));
    }
    if ended < expected.ended.0 || ended > expected.ended.1 {
        return Some(format!(
            "its generations up to {ended} have ended, and those up to {} where the log is asked",
            expected.ended.0
        ));
    }
    for (row, key) in rows.into_iter().zip(&expected.keys) {
        if row.key != *key {
            return Some(format!("it has {} where the log has {key}", row.key));
        }
        let Some(known) = keys.get(key) else { continue };
        let is_right = row.generation == known.row.generation
            && (row.standing == known.row.standing || known.since.contains(&row.standing));
        if !is_right {
            let stands = known.row.standing;
            return Some(format!("in it {key} is {}, and the log says {stands}", row.standing));
        }
    }
    None
}
