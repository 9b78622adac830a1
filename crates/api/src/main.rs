//! Prints the document: `cargo xtask openapi` makes the snapshot of it.

fn main() -> Result<(), serde_json::Error> {
    print!("{}", keyward_api::snapshot()?);
    Ok(())
}
