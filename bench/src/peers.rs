//! `bench peers`: Relais beside what others wrote, in the same run, with the same load.
//!
//! Followers: nchan and durable-streams. Work: Restate. Each server is started anew for each figure,
//! on loopback and on an empty folder, and they take turns in random order. What is not installed is
//! left out and said. The method is in `bench/README.md`.

pub(crate) mod channel;
mod durable_streams;
pub(crate) mod frames;
pub(crate) mod nchan;
pub(crate) mod program;
pub(crate) mod readers;
pub(crate) mod relais;
mod restate;
mod table;
mod work;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use self::channel::{Channel, Spread};
use self::table::Table;
use self::work::{Figure, Service, Works};
use crate::Bench;
use crate::turns::order;

/// Files that a server or this program has open beside the connections.
const OTHER_FILES: usize = 500;

/// How much is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Effort {
    /// Followers of one channel.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..))]
    followers: u32,
    /// Messages of a burst.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..5_000))]
    burst: u32,
}

/// A server that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Nchan,
    DurableStreams,
    /// Its stream of one task.
    RelaisTask,
    /// Its stream over many tasks, here asked for one.
    RelaisEvents,
    Restate,
    Relais,
}

impl Peer {
    const FOLLOWED: [Self; 4] =
        [Self::Nchan, Self::DurableStreams, Self::RelaisTask, Self::RelaisEvents];
    const WORKING: [Self; 2] = [Self::Restate, Self::Relais];

    /// Its name with its version.
    fn label(self, run: &Run<'_>) -> anyhow::Result<String> {
        let version = match self {
            Self::Nchan => nchan::version()?,
            Self::DurableStreams => durable_streams::version(&run.installed)?,
            Self::Restate => restate::version(&run.installed)?,
            Self::Relais => relais::version(run.bench)?,
            Self::RelaisTask => format!("{} /tasks/{{id}}/events", relais::version(run.bench)?),
            Self::RelaisEvents => format!("{} /events?task=", relais::version(run.bench)?),
        };
        Ok(format!("{} {version}", self.name()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nchan => "nchan",
            Self::DurableStreams => "durable-streams",
            Self::Restate => "Restate",
            Self::RelaisTask | Self::RelaisEvents | Self::Relais => "Relais",
        }
    }

    /// What an acknowledged write survives with the settings here.
    fn durable(self) -> &'static str {
        match self {
            Self::Nchan => "no: memory",
            _ => "yes: fsync",
        }
    }

    /// The line that installs it.
    fn install(self) -> &'static str {
        match self {
            Self::Nchan => nchan::INSTALL,
            Self::DurableStreams => durable_streams::INSTALL,
            Self::Restate => restate::INSTALL,
            Self::RelaisTask | Self::RelaisEvents | Self::Relais => "cargo build --release",
        }
    }

    async fn channel(self, run: &Run<'_>) -> anyhow::Result<Channel> {
        let folder = run.folder(self)?;
        match self {
            Self::Nchan => nchan::start(&folder, nchan::By::Sse, run.followers).await,
            Self::DurableStreams => durable_streams::start(&run.installed, &folder).await,
            Self::RelaisEvents => relais::start(run.bench, "/v1/events?task={id}").await,
            _ => relais::start(run.bench, "/v1/tasks/{id}/events").await,
        }
    }

    async fn works(self, run: &Run<'_>) -> anyhow::Result<Works> {
        let folder = run.folder(self)?;
        let service = Service::start(&run.installed, &folder).await?;
        match self {
            Self::Restate => restate::works(&run.installed, &folder, service).await,
            _ => relais::works(run.bench, service).await,
        }
    }
}

/// What all measurements of this run share.
struct Run<'a> {
    bench: &'a Bench,
    followers: usize,
    burst: usize,
    /// Where `cargo xtask bench peers` installs what others wrote.
    installed: PathBuf,
}

impl Run<'_> {
    /// An empty folder for a server.
    fn folder(&self, peer: Peer) -> anyhow::Result<PathBuf> {
        let folder = self.bench.folder.join(format!("{peer:?}"));
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("could not clear a folder")?;
        }
        Ok(folder)
    }

    /// Those of `peers` that are installed, with their labels; of the others the table says how
    /// they would be.
    fn found(&self, peers: &[Peer], table: &mut Table) -> Vec<(Peer, String)> {
        let mut found = Vec::new();
        for &peer in peers {
            match peer.label(self) {
                Ok(label) => found.push((peer, label)),
                Err(error) => {
                    table
                        .remark(&format!("{} is left out: {error:#}. To install it:", peer.name()));
                    table.remark(&format!("  {}", peer.install()));
                }
            }
        }
        found
    }
}

/// Measures all that is installed and makes the table.
///
/// # Errors
/// Where this machine does not allow so many connections. A server that fails is a remark.
pub(crate) async fn measure(bench: &Bench, effort: &Effort, this: &Path) -> anyhow::Result<String> {
    let installed = this.parent().and_then(Path::parent).context("no target folder")?.join("peers");
    let (followers, burst) = (effort.followers as usize, effort.burst as usize);
    let run = Run { bench, followers, burst, installed };
    let mut table = Table::default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    table.remark(&format!("Medians of {} runs in random order; {cores} cores.", bench.runs));
    if bench.wants("followers") {
        room_for(followers)?;
        table.remark(&format!(
            "Followers: {followers} of one channel; SSE, HTTP/1.1, 200-byte JSON;"
        ));
        table.remark(&format!("  a burst is {burst} messages, each sent when the last was taken."));
        follow(&run, &mut table).await;
    }
    if bench.wants("work") {
        let seconds = bench.span.as_secs();
        table.remark(&format!(
            "Work: closed loop of {seconds} s, 200-byte JSON. Restate as it comes"
        ));
        table.remark("  (a node, 24 partitions, log-server.rocksdb-disable-wal-fsync = false).");
        work(&run, &mut table).await;
    }
    Ok(table.text())
}

async fn follow(run: &Run<'_>, table: &mut Table) {
    let found = run.found(&Peer::FOLLOWED, table);
    for turn in 0..run.bench.runs {
        for (peer, label) in order(turn, found.len()).into_iter().map(|at| &found[at]) {
            eprintln!("{label}: {} followers", run.followers);
            let measured = async {
                let channel = peer.channel(run).await?;
                let spread = channel::measure(&channel, run.followers, run.burst).await?;
                channel.server.end().await?;
                Ok::<_, anyhow::Error>(spread)
            };
            match measured.await {
                Ok(Spread { kib_each, last_ms, per_second }) => {
                    for (figure, value) in [
                        ("memory of a follower, KiB", kib_each),
                        ("one message to all, ms", last_ms),
                        ("deliveries in a burst, /s", per_second),
                    ] {
                        table.note(figure, label, peer.durable(), value);
                    }
                }
                Err(error) => table.remark(&format!("{label} failed: {error:#}")),
            }
        }
    }
}

async fn work(run: &Run<'_>, table: &mut Table) {
    let found = run.found(&Peer::WORKING, table);
    if found.len() < Peer::WORKING.len() {
        return;
    }
    for figure in Figure::ALL {
        let name = format!("{}, /s", figure.name());
        for turn in 0..run.bench.runs {
            for (peer, label) in order(turn, found.len()).into_iter().map(|at| &found[at]) {
                if *peer == Peer::Restate && !figure.is_of_both() {
                    continue;
                }
                eprintln!("{label}: {name}");
                let measured = async {
                    let works = peer.works(run).await?;
                    let value = figure.measure(&works, run.bench.span).await?;
                    works.server.end().await?;
                    Ok::<_, anyhow::Error>(value)
                };
                match measured.await {
                    Ok(value) => table.note(&name, label, peer.durable(), value),
                    Err(error) => table.remark(&format!("{label} failed: {error:#}")),
                }
            }
        }
    }
}

/// Whether this process, and the servers it starts, may open enough files.
pub(crate) fn room_for(followers: usize) -> anyhow::Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|rest| rest.split_whitespace().next()?.parse::<usize>().ok());
    let needed = followers + OTHER_FILES;
    ensure!(
        soft.is_none_or(|soft| soft >= needed),
        "{followers} followers need more open files: run `ulimit -n {needed}` first, or take fewer \
         with --followers"
    );
    Ok(())
}
