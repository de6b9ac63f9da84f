//! Where log lines go, and how they look. Always standard error: standard output is for results.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// One document a line.
    Json,
}

/// Starts logging; `RUST_LOG` says what.
pub(crate) fn init(format: Format) {
    init_from(format, "info");
}

/// Starts logging with a filter for where `RUST_LOG` says nothing.
pub(crate) fn init_from(format: Format, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call, in a test, changes nothing.
    let _ = match format {
        Format::Human => lines.with_ansi(is_terminal()).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
}

fn is_terminal() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal()
}
