//! The story of a request, told in the terminal with the real programs: a slow shop, a worker, and
//! Relais in front of them.
//!
//! Each chapter sends requests as any client would, shows what came back, and checks it: a story
//! that does not come true ends with what was expected, what was found and the last words of the
//! programs. Nothing is simulated, and nothing here reaches into a server: all goes over HTTP, by
//! signals and through the command line. Not here: what Relais does.

mod call;
mod closing;
mod failures;
mod import;
mod invoice;
mod names;
mod page;
mod stage;
mod stock;
mod story;
mod teller;
mod truth;

use std::process::ExitCode;

use story::Story;
use teller::Teller;

use crate::signals::Signals;

/// How the story is told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Ends by itself, instead of staying up for the reader to try things.
    pub(crate) once: bool,
    /// The shop listens on this port, Relais on the next two; free ones unless given.
    pub(crate) port_base: Option<u16>,
}

/// Tells the story.
///
/// # Errors
/// When the programs cannot be started or do not stop as they should. A story that does not come
/// true is told as such, and is a failure without an error.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::watch()?;
    let teller = Teller::for_terminal();
    let mut story = tokio::select! {
        opened = Story::open(options, teller) => opened?,
        _ = signals.next() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let ended = tokio::select! {
        told = story.tell() => Some(told),
        _ = signals.next() => None,
    };
    let code = match ended {
        Some(Ok(())) if options.once => {
            story.tell_end();
            ExitCode::SUCCESS
        }
        Some(Ok(())) => {
            story.tell_end();
            story.tell_what_to_try();
            // Nobody is there to try anything, or to end it, once `relais demo | head` has enough.
            if story.teller.is_heard() {
                signals.next().await;
            }
            ExitCode::SUCCESS
        }
        Some(Err(error)) => {
            story.tell_failure(&error);
            ExitCode::FAILURE
        }
        None => ExitCode::from(INTERRUPTED),
    };
    // A second signal must not wait for programs that drain: dropping the story kills them.
    tokio::select! {
        closed = story.close() => closed.map(|()| code),
        _ = signals.next() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// 128 and the number of SIGINT, as shells say it.
const INTERRUPTED: u8 = 130;
