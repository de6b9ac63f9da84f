//! WebSockets on which nothing happens, and then one event; beside nchan's, where it is installed.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::{Effort, KIB_EACH_MAX};
use crate::Bench;
use crate::peers::channel::{Channel, Crowd};
use crate::peers::program::processor_time;
use crate::peers::{nchan, relais};
use crate::report::{Goal, Report, median};

/// Processor time that all idle sockets may have together, hundredths of a core.
const CORE_PERCENT_MAX: f64 = 1.0;
/// Until the last of all has an event.
const LAST_MS_MAX: f64 = 120.0;

/// Whose sockets.
#[derive(Debug, Clone, Copy)]
enum Whose {
    /// Of Relais, which watch nothing.
    Unwatching,
    /// Of Relais, with one watch each, of one task.
    Watching,
    Nchan,
}

impl Whose {
    fn name(self) -> &'static str {
        match self {
            Self::Unwatching => "nothing watched",
            Self::Watching => "one watch each",
            Self::Nchan => "nchan",
        }
    }

    async fn channel(self, bench: &Bench, sockets: usize) -> anyhow::Result<Channel> {
        match self {
            Self::Unwatching => {
                let channel = relais::start(bench, relais::SOCKET).await?;
                Ok(Channel { follow: relais::handshake(), ..channel })
            }
            Self::Watching => relais::start(bench, relais::SOCKET).await,
            Self::Nchan => {
                let folder = bench.folder.join("nchan");
                if folder.exists() {
                    std::fs::remove_dir_all(&folder).context("could not clear the folder")?;
                }
                nchan::start(&folder, nchan::By::WebSocket, sockets).await
            }
        }
    }

    /// Nothing is promised of what others wrote.
    fn goal(self, most: f64) -> Goal {
        match self {
            Self::Unwatching | Self::Watching => Goal::AtMost(most),
            Self::Nchan => Goal::None,
        }
    }
}

/// Measures the memory of an idle socket, the processor time of all, and one event to all.
pub(super) async fn measure(
    bench: &Bench,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut all = vec![Whose::Unwatching, Whose::Watching];
    match nchan::version() {
        Ok(_) => all.push(Whose::Nchan),
        Err(error) => eprintln!("nchan is left out: {error:#}. {}", nchan::INSTALL),
    }
    for whose in all {
        let [mut each, mut core, mut last] = [const { Vec::new() }; 3];
        for _ in 0..bench.runs {
            let found = once(bench, effort, whose).await?;
            each.push(found.kib_each);
            core.push(found.core_percent);
            last.extend(found.last_ms);
        }
        let (name, more) = (whose.name(), json!({ "sockets": effort.sockets }));
        let figures = [
            ("idle sockets: memory each", each, "KiB", KIB_EACH_MAX),
            ("idle sockets: processor time of all", core, "% of a core", CORE_PERCENT_MAX),
            ("idle sockets: then an event to the last", last, "ms", LAST_MS_MAX),
        ];
        for (figure, values, unit, most) in figures.into_iter().filter(|(_, of, ..)| !of.is_empty())
        {
            report.note(
                &format!("{figure}, {name}"),
                median(values),
                unit,
                &whose.goal(most),
                &more,
            );
        }
    }
    Ok(())
}

struct Found {
    kib_each: f64,
    core_percent: f64,
    /// Only where something is watched.
    last_ms: Option<f64>,
}

async fn once(bench: &Bench, effort: &Effort, whose: Whose) -> anyhow::Result<Found> {
    let sockets = effort.sockets as usize;
    let channel = whose.channel(bench, sockets).await?;
    let mut crowd = Crowd::begin(&channel, sockets).await?;
    let watches = !matches!(whose, Whose::Unwatching);
    if watches {
        crowd.tell_first().await?;
    }
    let kib_each = crowd.join_rest().await?;
    let core_percent = load_of(&channel, Duration::from_secs(effort.idle_seconds.max(1))).await?;
    let last_ms = if watches { Some(crowd.tell_all().await?) } else { None };
    drop(crowd);
    channel.server.end().await?;
    Ok(Found { kib_each, core_percent, last_ms })
}

/// How much of a core a server uses while nothing happens.
async fn load_of(channel: &Channel, span: Duration) -> anyhow::Result<f64> {
    let pid = channel.server.pid();
    let (before, began) = (processor_time(pid)?, std::time::Instant::now());
    tokio::time::sleep(span).await;
    let used = processor_time(pid)?.saturating_sub(before);
    Ok(used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0)
}
