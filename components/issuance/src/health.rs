//! `/healthz` and `/readyz`: whether the process answers, and whether its store can carry Keyward.

use keyward_control::Plane;
use keyward_domain::Result;
use keyward_domain::ports::Clock;
use keyward_guest::Response;
use keyward_ledger::StoreKind;
use keyward_service::{Alive, Ready};
use std::cell::Cell;

/// How long a probe of the store is believed, in milliseconds: readiness is asked often, by anybody, and a probe writes.
const BELIEVED_MS: u64 = 5_000;

thread_local! {
    static PROBED: Cell<Option<(u64, StoreKind)>> = const { Cell::new(None) };
}

pub(crate) fn alive() -> Result<Response> {
    Response::json(200, &Alive::now())
}

pub(crate) async fn ready(plane: &Plane) -> Result<Response> {
    let now_ms = plane.clock().monotonic_ms();
    let believed = PROBED.get().filter(|(at_ms, _)| now_ms.saturating_sub(*at_ms) < BELIEVED_MS);
    let kind = match believed {
        Some((_, kind)) => kind,
        None => {
            plane.ask_witness().await;
            plane.service().ledger().hold_counter().await?;
            let kind = plane.service().ledger().probe().await?;
            PROBED.set(Some((now_ms, kind)));
            kind
        }
    };
    Response::json(200, &Ready::on(kind))
}
