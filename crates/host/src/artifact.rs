//! Compiled components kept on disk, so that a second start compiles nothing. The one place that takes machine
//! code from a file: what stands there must have been written by this host for this engine, owned by this
//! user, unchanged since.

use std::hash::{Hash, Hasher};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of the digest that ends each file.
const DIGEST_BYTES: usize = 32;

/// Loads the component `wasm` from the cache in `dir`, or compiles it and puts it there. A cache that cannot be
/// written costs time at the next start, nothing else.
pub(crate) fn load_or_compile(
    engine: &Engine,
    dir: Option<&Path>,
    wasm: &[u8],
) -> wasmtime::Result<Component> {
    let Some(dir) = dir else { return Component::new(engine, wasm) };
    let path = dir.join(format!("{}.cwasm", name(engine, wasm)));
    if let Some(component) = read(&path).and_then(|code| deserialize(engine, &code).ok()) {
        return Ok(component);
    }
    let code = engine.precompile_component(wasm)?;
    let _ = write(dir, &path, &code);
    deserialize(engine, &code)
}

/// The component's content and everything of the engine that its machine code depends on.
fn name(engine: &Engine, wasm: &[u8]) -> String {
    struct Digester(Sha256);
    impl Hasher for Digester {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut digester = Digester(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut digester);
    digester.0.update(Sha256::digest(wasm));
    digester.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The code in `path`, if the file is this user's alone and whole.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut file = std::fs::File::open(path).ok()?;
    let meta = file.metadata().ok()?;
    let own = std::fs::metadata("/proc/self").map_or(meta.uid(), |me| me.uid());
    if meta.uid() != own || meta.mode() & 0o022 != 0 {
        return None;
    }
    let mut code = Vec::new();
    file.read_to_end(&mut code).ok()?;
    let body = code.len().checked_sub(DIGEST_BYTES)?;
    let digest = code.split_off(body);
    (Sha256::digest(&code).as_slice() == digest).then_some(code)
}

fn write(dir: &Path, path: &PathBuf, code: &[u8]) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(code)?;
    file.write_all(&Sha256::digest(code))?;
    // Whole or not at all, whoever else starts at the same time.
    std::fs::rename(&temporary, path)
}

#[allow(
    unsafe_code,
    reason = "taking compiled code is unsafe by nature; `read` admits only whole files of this user's own, and the engine checks its version and settings"
)]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` came out of `precompile_component` of an engine with the same compatibility hash: either
    // just now, or through a file named by that hash, unchanged by its digest, and writable by this user alone.
    unsafe { Component::deserialize(engine, code) }
}
