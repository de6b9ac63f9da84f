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
    said.and_then(read).or_else(|| read(default)).unwrap_or_default()
}

/// What a text says by levels and targets; `None` where it says nothing, or speaks of spans and fields.
fn read(said: &str) -> Option<Targets> {
    if said.contains('[') {
        return None;
    }
    // An empty part would be a level of its own, which lets errors alone through.
    let parts = said.split(',').map(str::trim).filter(|part| !part.is_empty());
    let parts = parts.collect::<Vec<_>>().join(",");
    if parts.is_empty() { None } else { parts.parse().ok() }
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

    #[test]
    fn an_empty_part_says_nothing_and_one_of_spans_leaves_the_default() {
        for said in ["info,", ",info", "info, ,relais=info", " info "] {
            assert!(filter(Some(said), "warn").would_enable("relais", &Level::INFO), "{said}");
        }
        for said in ["", " , ", "relais[span]=debug", "error,[{task=1}]=debug"] {
            let default = filter(Some(said), "warn");
            assert!(default.would_enable("relais", &Level::WARN), "{said}");
            assert!(!default.would_enable("relais", &Level::INFO), "{said}");
        }
    }
}
