//! Builds what runs: the host and the command natively, every component to Wasm.
//! Wasmtime is built in the release profile alone, and never by anything else in here.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::metadata::Workspace;
use crate::steps::{self, Journal, Outcome};
use crate::table::Table;

/// What the components are built for: WASI 0.2 is the linker's; the SDK speaks WASI P3 on top of it.
pub const WASM_TARGET: &str = "wasm32-wasip2";

/// The packages that `release` holds. Always chosen together, tests included: cargo unifies the features of shared
/// dependencies over the packages that are chosen, and for the host alone it would build wasmtime a second time.
pub const NATIVE_PACKAGES: [&str; 4] = ["keyward-host", "keyward-cli", "keyward-e2e", "bench-loader"];

/// The components that make up Keyward, as `spin.toml` names them.
pub const COMPONENTS: [&str; 9] = [
    "issuance",
    "validation",
    "revocation",
    "rotation",
    "audit",
    "delivery",
    "vault",
    "dashboard",
    "scheduler",
];

/// The bare components that the bench measures against.
pub const BENCH_COMPONENTS: [&str; 2] = ["bench-hello", "bench-three-read"];

/// Where cargo leaves the component of `package`.
pub fn wasm_path(package: &str) -> PathBuf {
    steps::target_dir().join(WASM_TARGET).join("wasm").join(format!("{}.wasm", package.replace('-', "_")))
}

/// Where cargo leaves a native program.
pub fn program_path(name: &str) -> PathBuf {
    steps::target_dir().join("release").join(name)
}

/// Bytes of the component of `package`, once built.
pub fn wasm_size_bytes(package: &str) -> anyhow::Result<u64> {
    let path = wasm_path(package);
    Ok(std::fs::metadata(&path).with_context(|| format!("no component at {}", path.display()))?.len())
}

/// Installs the Wasm target unless it is there.
pub fn wasm_target() -> anyhow::Result<()> {
    let sysroot =
        Command::new("rustc").args(["--print", "sysroot"]).output().context("cannot start `rustc`")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    if sysroot.join("lib/rustlib").join(WASM_TARGET).join("lib").is_dir() {
        return Ok(());
    }
    steps::must(steps::command("rustup").args(["target", "add", WASM_TARGET]))
        .with_context(|| format!("Rust's target {WASM_TARGET} is not installed and could not be added"))
}

/// Builds `packages` to Wasm, one at a time, as `spin build` does: built together, one component's features would
/// leak into another's dependencies.
pub fn components(journal: &mut Journal, packages: &[&str]) -> anyhow::Result<()> {
    if journal.step("wasm target", wasm_target) != Outcome::Passed {
        return journal.close();
    }
    let mut failed = Vec::new();
    for package in packages {
        let built = journal.step(&format!("build {package}.wasm"), || {
            steps::must(&mut steps::cargo([
                "build",
                "--profile",
                "wasm",
                "--target",
                WASM_TARGET,
                "-p",
                package,
            ]))
        });
        if built != Outcome::Passed {
            failed.push(*package);
        }
    }
    // What failed before is no reason not to go on with what was built.
    if failed.is_empty() { Ok(()) } else { bail!("not built: {}", failed.join(", ")) }
}

/// Builds the native programs.
pub fn native(journal: &mut Journal) -> anyhow::Result<()> {
    journal.step("build host and command", || steps::must(&mut on_native("build")));
    journal.close()
}

/// A cargo command on the native packages, in the profile that they are built in.
pub fn on_native(cargo_command: &str) -> Command {
    let mut cargo = steps::cargo([cargo_command, "--release"]);
    for package in NATIVE_PACKAGES {
        cargo.args(["-p", package]);
    }
    cargo
}

/// All of it, without the closing table.
pub fn everything(journal: &mut Journal) -> anyhow::Result<()> {
    every_component(journal)?;
    native(journal)
}

/// Keyward's components.
pub fn every_component(journal: &mut Journal) -> anyhow::Result<()> {
    // A component that nobody builds would be missed only when its route is called.
    let workspace = Workspace::load()?;
    for member in workspace
        .members()
        .filter(|member| member.folder.parent().is_some_and(|up| up.ends_with("components")))
    {
        let known =
            COMPONENTS.contains(&member.name.as_str()) || BENCH_COMPONENTS.contains(&member.name.as_str());
        if !known {
            bail!("component `{}` is in no list of xtask/src/build.rs", member.name);
        }
    }
    components(journal, &COMPONENTS)
}

/// The sizes of `packages`, as a table.
pub fn sizes(packages: &[&str]) -> anyhow::Result<Table> {
    let mut table = Table::new(&["component", "KB", "file"]);
    for package in packages {
        let path = wasm_path(package);
        let shown = path.strip_prefix(steps::root()).unwrap_or(&path).display().to_string();
        table.row([(*package).to_owned(), format!("{:.1}", kilobytes(wasm_size_bytes(package)?)), shown]);
    }
    Ok(table)
}

/// Bytes as thousands of bytes.
pub fn kilobytes(bytes: u64) -> f64 {
    bytes as f64 / 1000.0
}

/// `cargo xtask build`.
pub fn run() -> anyhow::Result<()> {
    let mut journal = Journal::default();
    let built = everything(&mut journal);
    eprint!("{}", journal.summary());
    built?;
    print!("{}", sizes(&COMPONENTS)?.render());
    Ok(())
}
