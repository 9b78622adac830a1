//! The calls of an import: as many items in one as the server takes, several calls in flight, until all is sent, one fails, or somebody
//! stops it. Each call is one commit, so what was answered is done, and what was not is found by the next run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use keyward_crypto::Zeroizing;
use keyward_domain::credential::{BODY_BYTES_MAX, IMPORTED_AT_ONCE_MAX};
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::item::{Item, State};
use crate::answers::{Imported, ImportedItem};
use crate::client::{Call, Client};
use crate::failure::{Failure, Result};
use crate::progress::Progress;

/// Calls in flight. The server writes one commit after the other; a few keep it from waiting for us.
const IN_FLIGHT: usize = 4;

/// What a call sends of credentials at most, in bytes: what the server takes, without what stands around them.
const CREDENTIALS_BYTES_MAX: usize = BODY_BYTES_MAX - 8 * 1024;

/// What one kind of import sends.
pub struct Sending {
    /// Where to.
    pub route: &'static str,
    /// The member of the body that has the items, and of the answer.
    pub list: &'static str,
    /// The other members of the body.
    pub head: Map<String, Value>,
    /// Items in one call at most.
    pub count_max: usize,
    /// Bytes of all items of one call at most, unless one alone has more.
    pub bytes_max: usize,
}

/// The items of one call, by their places among all.
struct Pack {
    places: Vec<usize>,
    bodies: Vec<Zeroizing<String>>,
}

/// The body of a call.
struct Body<'a> {
    sending: &'a Sending,
    items: Vec<&'a RawValue>,
}

impl serde::Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.sending.head {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry(self.sending.list, &self.items)?;
        map.end()
    }
}

impl Sending {
    /// Credentials, with these other members in the body.
    pub const fn credentials(head: Map<String, Value>) -> Self {
        Self {
            route: "/v1/credentials/import",
            list: "credentials",
            head,
            count_max: IMPORTED_AT_ONCE_MAX,
            bytes_max: CREDENTIALS_BYTES_MAX,
        }
    }

    /// Sends what is ready, and puts the answers beside it. `stop` ends it after the calls that are in flight.
    ///
    /// # Errors
    /// The first call that failed; what was answered before and beside it stands in the items.
    pub fn send(&self, client: &Client, items: &mut [Item], stop: &AtomicBool) -> Result<()> {
        let all = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let packs = Mutex::new(self.packs(items).into_iter());
        let mut progress = Progress::new("Importing:");
        let mut failed = None;
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..IN_FLIGHT {
                let (sender, packs) = (sender.clone(), &packs);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let next = packs.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(pack) = next else { return };
                        let answered = self.call(client, &pack);
                        let has_failed = answered.is_err();
                        if sender.send((pack.places, answered)).is_err() || has_failed {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let mut done = 0_u64;
            for (places, answered) in receiver {
                match answered {
                    Ok(answers) => {
                        for (place, answer) in places.into_iter().zip(answers) {
                            if let Some(item) = items.get_mut(place) {
                                item.state = State::Answered(answer);
                                done = done.saturating_add(1);
                            }
                        }
                        progress.at(done, all);
                    }
                    Err(failure) => {
                        stop.store(true, Ordering::Relaxed);
                        failed.get_or_insert(failure);
                    }
                }
            }
        });
        for place in packs.into_inner().unwrap_or_else(PoisonError::into_inner).flat_map(|pack| pack.places) {
            if let Some(item) = items.get_mut(place) {
                item.state = State::NotSent;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// What is ready in packs that the server takes, in order.
    fn packs(&self, items: &mut [Item]) -> Vec<Pack> {
        let mut packs: Vec<Pack> = Vec::new();
        let mut bytes = 0_usize;
        for (place, item) in items.iter_mut().enumerate() {
            let State::Ready(body) = &mut item.state else { continue };
            let body = std::mem::take(body);
            item.state = State::Sent;
            bytes = bytes.saturating_add(body.len());
            match packs.last_mut() {
                Some(pack) if pack.places.len() < self.count_max && bytes <= self.bytes_max => {
                    pack.places.push(place);
                    pack.bodies.push(body);
                }
                _ => {
                    bytes = body.len();
                    packs.push(Pack { places: vec![place], bodies: vec![body] });
                }
            }
        }
        packs
    }

    fn call(&self, client: &Client, pack: &Pack) -> Result<Vec<ImportedItem>> {
        let items = pack.bodies.iter().map(|body| serde_json::from_str(body));
        let items =
            items.collect::<serde_json::Result<_>>().map_err(|error| Failure::system("JSON", error))?;
        // A key of its own for each call and run: a digest of what is sent would say something of it, and a run made again is to learn how
        // things stand then.
        let call = Call::post(self.route, &Body { sending: self, items })?.creating()?;
        let answer = client.call(&call)?;
        let read: Imported = answer.read()?;
        if read.items.len() != pack.places.len() {
            return Err(Failure::not_keyward(&answer, "it does not tell of each that was sent"));
        }
        Ok(read.items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::source::Place;

    #[test]
    fn calls_are_packed_by_count_and_by_size() {
        let sending = Sending { route: "/", list: "items", head: Map::new(), count_max: 3, bytes_max: 10 };
        let lengths = [2, 2, 2, 2, 9, 1, 1, 30, 1];
        let mut items: Vec<Item> = lengths
            .iter()
            .map(|length| Item {
                file: "f".into(),
                place: Place { line: 1, column: 1 },
                name: String::new(),
                identity: String::new(),
                weak: None,
                state: State::Ready(Zeroizing::new("x".repeat(*length))),
            })
            .collect();
        items.insert(
            1,
            Item {
                file: "f".into(),
                place: Place { line: 1, column: 1 },
                name: String::new(),
                identity: String::new(),
                weak: None,
                state: State::LeftOut(String::new()),
            },
        );
        let packed: Vec<Vec<usize>> = sending.packs(&mut items).into_iter().map(|pack| pack.places).collect();
        assert_eq!(packed, [vec![0, 2, 3], vec![4], vec![5, 6], vec![7], vec![8], vec![9]]);
        assert!(items.iter().all(|item| !matches!(item.state, State::Ready(_))));
    }
}
