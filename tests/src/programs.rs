//! Where the built programs and components lie, and what to say where they do not. It builds only what belongs to the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names another folder of native programs than `target/release`.
pub const PROGRAMS_VARIABLE: &str = "KEYWARD_E2E_PROGRAMS";

/// The variable that names another manifest than the repository's `spin.toml`.
pub const MANIFEST_VARIABLE: &str = "KEYWARD_E2E_MANIFEST";

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A native program.
///
/// # Panics
/// Where it is not built.
pub fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os(PROGRAMS_VARIABLE).map_or_else(|| target().join("release"), PathBuf::from);
    let path = folder.join(name);
    assert!(
        path.exists(),
        "there is no `{}`; run `cargo xtask build`, or name its folder in {PROGRAMS_VARIABLE}",
        path.display()
    );
    path
}

/// A program that is not ours: in the Python environment that `cargo xtask test --only tools` fills, or else by its name.
pub fn installed(name: &str) -> PathBuf {
    let carried = target().join("python/bin").join(name);
    if carried.exists() { carried } else { name.into() }
}

/// A file of a package of npm's, which `cargo xtask test --only tools` installs.
pub fn npm_file(package: &str, file: &str) -> PathBuf {
    target().join("node").join(package).join("node_modules").join(package).join(file)
}

/// The manifest that Keyward runs from; the host itself says which of its components is not built.
pub fn manifest() -> PathBuf {
    std::env::var_os(MANIFEST_VARIABLE).map_or_else(|| root().join("spin.toml"), PathBuf::from)
}

/// One of Keyward's components, as it was built.
pub fn component(name: &str) -> PathBuf {
    target().join("wasm32-wasip2/wasm").join(format!("{name}.wasm"))
}

/// The folder of compiled components that all tests share.
pub fn compiled_components() -> PathBuf {
    target().join("test-components")
}

/// A component of the tests' own, built now.
///
/// # Panics
/// Where it does not build.
pub fn guest(package: &str) -> PathBuf {
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--profile", "wasm", "--target", "wasm32-wasip2", "-p", package])
        .arg("--target-dir")
        .arg(target())
        .current_dir(root())
        .status()
        .expect("cargo starts");
    assert!(built.success(), "{package} does not build");
    target().join("wasm32-wasip2/wasm").join(format!("{}.wasm", package.replace('-', "_")))
}
