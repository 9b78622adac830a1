//! What the clock starts: once a tick the work that is due from time to time. Each tick is a fresh instance, ticks may overlap, and
//! none is made up for: so a tick is idempotent, and `POST /v1/maintenance/run` does the same.
//!
//! INVARIANT: no request reaches this component, and it imports nothing of WASI 0.3, which the cron trigger does not link.

use keyward_control::Tick;

mod cron {
    #![allow(
        missing_docs,
        unsafe_code,
        clippy::all,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::allow_attributes_without_reason,
        reason = "generated out of wit/cron/cron.wit"
    )]
    spin_sdk::wit_bindgen::generate!({
        path: "../../wit/cron",
        world: "ticking",
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        generate_all,
    });

    struct Scheduler;

    export!(Scheduler);

    impl Guest for Scheduler {
        async fn handle_cron_event(_: Metadata) -> Result<(), Error> {
            super::run().await.map_err(Error::Other)
        }
    }
}

/// One tick; what failed, in words fit for a log.
async fn run() -> Result<(), String> {
    let done = async { Tick::open().await?.maintain().await };
    done.await.map(drop).map_err(|error| {
        // A runtime may keep a component's error to itself; what it prints is in the log everywhere.
        eprintln!("maintenance: {error}");
        error.to_string()
    })
}
