//! `relais demo`: tells the story of a request.

use std::process::ExitCode;

use clap::Args;

use crate::demo::{self, Options};

/// Tells the story of a request in the terminal, with a slow shop and a worker: tickets, progress,
/// kills, retries.
#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(super) struct Demo {
    /// Ends by itself after the story
    #[arg(long)]
    once: bool,
    /// The shop listens on this port, Relais on the next two [default: free ones]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=65533))]
    port_base: Option<u16>,
}

impl Demo {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        demo::run(Options { once: self.once, port_base: self.port_base }).await
    }
}

const ABOUT: &str = "\
Starts the example shop, Relais in front of it and a worker, on free ports of this machine and
in a temporary folder, sends requests, and kills the worker and Relais in the middle. Each step
is checked: a story that does not come true ends with exit status 1. Afterwards everything stays
up until Ctrl-C, with command lines to try.

Needs the program shop beside this one; `cargo xtask demo` in the repository builds both.";
