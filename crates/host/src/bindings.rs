//! The Rust side of the WIT in `wit/`: generated, so nothing is written here by hand but the options.

/// What guests import from this host beyond WASI.
pub mod imports {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "imports",
        imports: {
            "spin:key-value/key-value.[drop]store": trappable,
            "spin:key-value/key-value": async | store | trappable,
            "spin:variables/variables": async | store | trappable,
            "wasi:keyvalue/store.[drop]bucket": trappable,
            "wasi:keyvalue/atomics.[drop]cas": trappable,
            default: async | trappable,
        },
        with: {
            "spin:key-value/key-value.store": crate::keyvalue::OpenStore,
            "wasi:keyvalue/store.bucket": crate::keyvalue::OpenStore,
            "wasi:keyvalue/atomics.cas": crate::keyvalue::Cas,
        },
    });
}

/// What the cron trigger calls in a guest.
pub mod cron {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "cron",
        exports: { default: async | store },
    });
}
