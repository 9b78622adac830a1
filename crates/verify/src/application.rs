//! What validation must know of an application, held in the instance for at most 250 ms counted from the start of the read.

use keyward_crypto::Sealer;
use keyward_domain::application::{Application, Status};
use keyward_domain::limit::Limit;
use keyward_domain::ports::Clock;
use keyward_domain::{ApplicationId, Result};
use keyward_records::{KvRead, names, open};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How long what was read may be used, in milliseconds: the whole of what an application's revocation waits beyond one key's.
const HELD_MS: u64 = 250;
/// Applications and generations held at once; a full cache is emptied, since refilling costs two reads each.
const ENTRIES_MAX: usize = 1024;

/// How the application of a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// With the limits that its keys share.
    Active(Rc<[Limit]>),
    Suspended,
    /// The generation was killed.
    Killed,
    /// No record, or one that does not open.
    Absent,
}

/// The instance's memory of applications. It holds nothing of any request and nothing of any key.
#[derive(Default)]
pub(crate) struct ApplicationCache {
    held: RefCell<BTreeMap<(ApplicationId, u32), (u64, Standing)>>,
}

impl ApplicationCache {
    pub(crate) async fn standing<K: KvRead, C: Clock>(
        &self,
        kv: &K,
        sealer: &Sealer,
        clock: &C,
        application: ApplicationId,
        generation: u32,
    ) -> Result<Standing> {
        let started_ms = clock.monotonic_ms();
        if let Some((read_ms, standing)) = self.held.borrow().get(&(application, generation))
            && started_ms.saturating_sub(*read_ms) < HELD_MS
        {
            return Ok(standing.clone());
        }
        let standing = read(kv, sealer, application, generation).await?;
        let mut held = self.held.borrow_mut();
        if held.len() >= ENTRIES_MAX {
            held.clear();
        }
        held.insert((application, generation), (started_ms, standing.clone()));
        Ok(standing)
    }
}

async fn read<K: KvRead>(kv: &K, sealer: &Sealer, id: ApplicationId, generation: u32) -> Result<Standing> {
    let (record_key, kill_key) = (names::application(id), names::generation_kill(id, generation));
    let (record, kill) = futures::join!(kv.get(&record_key), kv.get(&kill_key));
    let (record, kill) = (record?, kill?);
    if kill.is_some() {
        return Ok(Standing::Killed);
    }
    let Some(record) = record else { return Ok(Standing::Absent) };
    match open::<Application>(sealer, &record_key, &record) {
        Ok(application) if application.status == Status::Active => {
            Ok(Standing::Active(application.limits.into()))
        }
        Ok(_) => Ok(Standing::Suspended),
        Err(error) if error.is_unavailable() => Err(error.into_error("an application")),
        Err(_) => Ok(Standing::Absent),
    }
}
