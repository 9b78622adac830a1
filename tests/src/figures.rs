//! Figures that a test measures on its way, for whoever wants them in a table: `cargo xtask bench` names a file for them.

use std::fs::File;
use std::io::Write as _;

use serde_json::{Value, json};

/// The variable that names the file.
pub const FIGURES_VARIABLE: &str = "KEYWARD_E2E_FIGURES";

/// Adds a line `{"name": ..., "figures": {...}}` to the file, where somebody named one. Units are in the names of the figures.
///
/// # Panics
/// Where it cannot be written.
pub fn note(name: &str, figures: &Value) {
    let Some(path) = std::env::var_os(FIGURES_VARIABLE) else { return };
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    writeln!(file, "{}", json!({ "name": name, "figures": figures })).unwrap();
}
