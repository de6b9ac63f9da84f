//! Where log lines go, and how they look. Always standard error: standard output is for results.

mod lines;

use std::time::Duration;

use clap::ValueEnum;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, registry};

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

/// Starts logging with a filter for where `RUST_LOG` says nothing, or nothing that can be read.
///
/// # Errors
/// See [`init`].
pub(crate) fn init_from(format: Format, default: &str) -> std::io::Result<Log> {
    let log = registry().with(filter(std::env::var("RUST_LOG").ok().as_deref(), default));
    let lines = Lines::to(std::io::stderr(), |lost| {
        tracing::warn!(lost, "log lines were lost: nobody read them in time");
    })?;
    let written = fmt::layer().with_writer(lines.clone());
    // A second call, in a test, changes nothing.
    let _ = match format {
        Format::Human => log.with(written.with_ansi(is_terminal())).try_init(),
        Format::Json => log.with(written.json().flatten_event(true)).try_init(),
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

/// Levels by targets, such as `warn,relais=debug`: the engine of regular expressions that filters by spans and fields
/// would need is a large part of the program, which has no spans.
fn filter(said: Option<&str>, default: &str) -> Targets {
    let filters = said.into_iter().chain([default]).map(str::parse);
    filters.flatten().next().unwrap_or_default()
}

fn is_terminal() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal()
}

/// How long the end of the program waits for its last lines to be read.
const LAST_LINES: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn what_is_logged_is_said_by_targets_and_otherwise_the_default_holds() {
        let is_logged = |said, target| filter(said, "warn").would_enable(target, &Level::DEBUG);
        assert!(!is_logged(None, "relais"));
        assert!(is_logged(Some("debug"), "relais"));
        assert!(is_logged(Some("error,relais::start=debug"), "relais::start"));
        assert!(!is_logged(Some("error,relais::start=debug"), "relais_engine"));
        let unread = filter(Some("relais=loud"), "warn");
        assert!(unread.would_enable("relais", &Level::WARN));
        assert!(!unread.would_enable("relais", &Level::INFO));
    }
}
