//! `cargo xtask bench`: the hot path against bare components on the same host, in interleaved rounds.

use clap::Args;

/// How to measure.
#[derive(Args)]
pub struct Options {}

/// `cargo xtask bench`.
pub fn run(_options: Options) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
