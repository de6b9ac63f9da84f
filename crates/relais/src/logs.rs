//! Where log lines go, and how they look. Always standard error: standard output is for results.

mod lines;

use std::time::Duration;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use self::lines::Lines;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// One document a line.
    Json,
}

/// The log while the program runs. Dropped, it waits a moment for the last lines.
#[must_use = "the last lines are lost without it"]
pub(crate) struct Log {
    lines: Lines,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines.flush(LAST_LINES);
    }
}

/// Starts logging; `RUST_LOG` says what.
///
/// # Errors
/// When there is no thread for it.
pub(crate) fn init(format: Format) -> std::io::Result<Log> {
    init_from(format, "info")
}

/// Starts logging with a filter for where `RUST_LOG` says nothing.
///
/// # Errors
/// See [`init`].
pub(crate) fn init_from(format: Format, default: &str) -> std::io::Result<Log> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = Lines::to(std::io::stderr(), |lost| {
        tracing::warn!(lost, "log lines were lost: nobody read them in time");
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines.clone());
    // A second call, in a test, changes nothing.
    let _ = match format {
        Format::Human => log.with_ansi(is_terminal()).try_init(),
        Format::Json => log.json().flatten_event(true).try_init(),
    };
    // A panic says its words on standard error, which may be a pipe that nobody reads.
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!("a bug: {}", panic.to_string().replace('\n', " "));
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            tracing::error!("the bug was at {backtrace}");
        }
    }));
    Ok(Log { lines })
}

fn is_terminal() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal()
}

/// How long the end of the program waits for its last lines to be read.
const LAST_LINES: Duration = Duration::from_secs(1);
