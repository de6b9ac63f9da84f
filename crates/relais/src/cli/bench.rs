//! `relais bench`: measures this machine.

use std::process::ExitCode;

use clap::Args;

/// Not built yet: `cargo xtask bench` in the repository does it.
#[derive(Debug, Args)]
pub(super) struct Bench {}

impl Bench {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("bench is not built yet; in the repository there is `cargo xtask bench`")
    }
}
