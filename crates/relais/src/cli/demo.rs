//! `relais demo`: tells the story of a request.

use std::process::ExitCode;

use clap::Args;

/// Not built yet: `cargo xtask demo` in the repository does it.
#[derive(Debug, Args)]
pub(super) struct Demo {}

impl Demo {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("demo is not built yet; in the repository there is `cargo xtask demo`")
    }
}
