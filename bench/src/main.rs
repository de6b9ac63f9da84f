//! `cargo xtask bench`: measures Relais, each figure beside a bare server in the same run;
//! `cargo xtask bench peers` measures what others wrote beside it.
//!
//! Prints one JSON line per measurement, then a table. The method is in `bench/README.md`.

mod accept;
mod bare;
mod cycles;
mod followers;
mod http;
mod large;
mod latency;
mod live;
mod peers;
mod process;
mod report;
mod turns;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::json;

use crate::bare::Bare;
use crate::process::Relais;
use crate::report::{Goal, Report};

/// What the stripped program may have (README).
const PROGRAM_MB_MAX: f64 = 20.0;

/// Measures Relais beside a bare server.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Runs per figure; the median counts.
    #[arg(long, global = true, default_value_t = 3)]
    runs: usize,
    /// Seconds per run.
    #[arg(long, global = true, default_value_t = 5)]
    seconds: u64,
    /// Only measurements whose name contains this.
    #[arg(long, global = true)]
    only: Option<String>,
    /// The program to measure; by default the one beside this program.
    #[arg(long, global = true)]
    relais: Option<PathBuf>,
    /// Another program, such as the build before: both are measured in turns, in random order, so that
    /// both see the same machine; the table tells both medians and their ratio.
    #[arg(long, value_name = "PROGRAM")]
    beside: Option<PathBuf>,
    /// Where the database lies while it is measured; by default a temporary folder on this disk.
    #[arg(long, global = true)]
    folder: Option<PathBuf>,
    /// Also write the table to this file.
    #[arg(long, global = true)]
    table: Option<PathBuf>,
    /// Finished tasks in the file of the large measurement; a quarter as many are queued.
    #[arg(long, default_value_t = 2_000_000)]
    large: u64,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The ceiling: a bare axum server that parses the same JSON and answers 202.
    Bare,
    /// Measures nchan, durable-streams and Restate beside Relais, those of them that are installed.
    Peers(peers::Effort),
    /// Measures answers while they come: delays, memory, and who comes back after a restart.
    Live(live::Effort),
    /// Measures who watches: idle WebSockets, an event to all of them, and how soon settles are seen.
    Watch(watch::Effort),
}

/// What is measured together.
#[derive(Debug, Clone, Copy)]
enum Measure {
    Accept,
    Cycles,
    Door,
    Latency,
    Followers,
    Large,
}

impl Measure {
    const ALL: [Self; 6] =
        [Self::Accept, Self::Cycles, Self::Door, Self::Latency, Self::Followers, Self::Large];

    async fn run(self, bench: &Bench, bare: &Bare, report: &mut Report) -> anyhow::Result<()> {
        match self {
            Self::Accept => accept::measure(bench, bare, report).await,
            Self::Cycles => cycles::measure(bench, report).await,
            Self::Door => cycles::measure_door(bench, bare, report).await,
            Self::Latency => latency::measure(bench, bare, report).await,
            Self::Followers => followers::measure(bench, report).await,
            Self::Large => large::measure(bench, report).await,
        }
    }
}

/// What every measurement needs.
#[derive(Clone)]
pub(crate) struct Bench {
    relais: PathBuf,
    folder: PathBuf,
    runs: usize,
    span: Duration,
    large: u64,
    only: Option<String>,
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }

    /// Notes how large the program is: it promises to be less than this, and is built too seldom for a
    /// test to say so.
    fn note_size(&self, report: &mut Report) -> anyhow::Result<()> {
        if self.wants("size of the program") {
            let program = std::fs::metadata(&self.relais).context("could not find the program")?;
            let (mb, most) = (program.len() as f64 / 1e6, Goal::AtMost(PROGRAM_MB_MAX));
            report.note("size of the program", mb, "MB", &most, &json!({}));
        }
        Ok(())
    }

    /// A fresh Relais on an empty file.
    async fn fresh(&self, name: &str, more: &str) -> anyhow::Result<Relais> {
        let folder = self.folder.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("could not clear the folder")?;
        }
        Relais::start(&self.relais, &folder, more).await
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if matches!(arguments.part, Some(Part::Bare)) {
        return bare::serve().await;
    }
    // Whoever stops the bench stops what it started: dropping a server's process ends it.
    tokio::select! {
        measured = measure(arguments) => measured,
        stopped = told_to_stop() => stopped,
    }
}

async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let this = std::env::current_exe().context("could not find this program")?;
    let relais = match arguments.relais {
        Some(path) => path,
        None => this.with_file_name("relais"),
    };
    let temporary = tempfile::tempdir_in(".").context("could not make a folder")?;
    let folder = arguments.folder.unwrap_or_else(|| temporary.path().to_owned());
    let bench = Bench {
        relais,
        // Servers read it from folders of their own.
        folder: std::path::absolute(folder).context("could not name the folder")?,
        runs: arguments.runs.max(1),
        span: Duration::from_secs(arguments.seconds.max(1)),
        large: arguments.large,
        only: arguments.only,
    };
    let table = match (arguments.part, arguments.beside) {
        (Some(Part::Peers(effort)), _) => peers::measure(&bench, &effort, &this).await?,
        (Some(Part::Live(effort)), _) => live::measure(&bench, &effort).await?,
        (Some(Part::Watch(effort)), _) => watch::measure(&bench, &effort).await?,
        (_, Some(other)) => turns::measure(&bench, &other, &Bare::start(&this).await?).await?,
        (_, None) => {
            let bare = Bare::start(&this).await?;
            let mut report = Report::default();
            bench.note_size(&mut report)?;
            for measure in Measure::ALL {
                measure.run(&bench, &bare, &mut report).await?;
            }
            report.table()
        }
    };
    println!("{table}");
    if let Some(path) = arguments.table {
        std::fs::write(path, table).context("could not write the table")?;
    }
    Ok(())
}

/// Waits for Ctrl-C, or for the signal that ends a program.
async fn told_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut end = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt?,
        _ = end.recv() => {}
    }
    anyhow::bail!("stopped")
}
