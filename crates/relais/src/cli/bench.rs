//! `relais bench`: measures a server, its own or a running one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use relais_core::QueueName;
use serde_json::json;

use super::argument::Usage;
use super::submit::INTERRUPTED;
use super::table::Table;
use super::{Connection, show};
use crate::bench::{self, Figures, OwnServer, Plan, Rate, Until, Waiting};
use crate::signals::Signals;

/// Measures how much a server accepts durably, how many tasks it sees from submit to
/// settle, and how long one waits.
///
/// Without --url it starts a server of its own, with a store in a temporary folder that is removed
/// afterwards. RELAIS_URL is not heeded here: no load by accident.
#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(super) struct Bench {
    /// Requests at a time, 1 to 1000
    #[arg(long, short, value_name = "N", default_value_t = 32)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Workers that lease and settle, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=100))]
    workers: u16,
    /// How long each of the three measurements submits, 1 to 60
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=60))]
    seconds: u16,
    /// Ends each measurement after so many tasks instead, up to 1000000; one at a time at most 1000
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=bench::ACCEPTS_MAX))]
    requests: Option<u64>,
    /// Bytes of each input, a JSON text: 2 to 1048576
    #[arg(long, value_name = "N", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=1_048_576))]
    body_bytes: u32,
    /// The queue that everything goes into; nothing else should be in it
    #[arg(long, short, value_name = "NAME", default_value = "relais-bench")]
    queue: QueueName,
    /// Where the store of its own server is, for the disk to be measured
    /// [default: where temporary files go]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Bench {
    pub(super) async fn run(
        self,
        connection: &Connection,
        is_server_named: bool,
    ) -> anyhow::Result<ExitCode> {
        let mut signals = Signals::watch()?;
        if cfg!(debug_assertions) {
            show::note("this is a debug build: its figures say little");
        }
        if is_server_named {
            if self.folder.is_some() {
                let why = "--folder is for a server of its own; it cannot go with --url";
                return Err(Usage::new(why).into());
            }
            let plan = self.plan(connection.client()?);
            let figures = tokio::select! {
                figures = bench::measure(plan) => figures?,
                _ = signals.next() => {
                    show::note("interrupted: what is left in the queue fails within 30 minutes");
                    return Ok(ExitCode::from(INTERRUPTED));
                }
            };
            return self.tell(&figures, &connection.url, None, connection.json);
        }
        let own = tokio::select! {
            own = OwnServer::start(self.folder.as_deref()) => own?,
            _ = signals.next() => return Ok(ExitCode::from(INTERRUPTED)),
        };
        let anonymous = Connection { url: own.url().to_owned(), ..Connection::default() };
        let plan = self.plan(anonymous.client()?);
        let figures = tokio::select! {
            figures = bench::measure(plan) => {
                figures.map_err(|error| error.context(own.last_words()))?
            }
            // Dropping the server kills it.
            _ = signals.next() => return Ok(ExitCode::from(INTERRUPTED)),
        };
        let code = self.tell(&figures, own.url(), Some(own.folder()), connection.json)?;
        own.close().await?;
        Ok(code)
    }

    fn plan(&self, client: relais_client::Client) -> Plan {
        Plan {
            client,
            queue: self.queue.to_string(),
            connections: self.connections.into(),
            workers: self.workers.into(),
            until: self.requests.map_or_else(
                || Until::Elapsed(std::time::Duration::from_secs(self.seconds.into())),
                Until::Tasks,
            ),
            body_bytes: self.body_bytes as usize,
        }
    }

    fn tell(
        &self,
        figures: &Figures,
        url: &str,
        own: Option<&Path>,
        as_json: bool,
    ) -> anyhow::Result<ExitCode> {
        if as_json {
            let mut document = figures.document();
            document["server"] = json!({ "url": url, "own": own.is_some() });
            document["settings"] = json!({
                "connections": self.connections, "workers": self.workers, "queue": self.queue.as_str(),
                "body_bytes": self.body_bytes, "requests": self.requests,
                "seconds": self.requests.is_none().then_some(self.seconds),
                "debug_build": cfg!(debug_assertions),
            });
            show::json(&document)?;
        } else {
            self.table(figures)?;
            show::line("")?;
            show::line(&self.conditions(url, own))?;
        }
        let proof = &figures.proof;
        if proof.missing_count > 0 {
            let some = proof.missing.join(", ");
            bail!("{} accepted tasks are gone: {some}", proof.missing_count);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn table(&self, figures: &Figures) -> anyhow::Result<()> {
        let mut table = Table::new(["MEASURED", "TASKS", "RATE", "P50", "P99", "MAX"]);
        let [under_load, to_202, to_result] = &figures.waiting;
        let none = || [String::new(), String::new(), String::new()];
        let mut row = |name: &str, count: u64, rate: Option<&Rate>, waits: [String; 3]| {
            let [p50, p99, max] = waits;
            let rate = rate.map_or_else(String::new, |rate| format!("{:.0}/s", rate.per_second()));
            table.row([name.to_owned(), count.to_string(), rate, p50, p99, max]);
        };
        let Figures { accepted, settled, cycles, proof, .. } = figures;
        row("accepted (202)", accepted.count, Some(accepted), waits(under_load));
        row("leased and settled", settled.count, Some(settled), none());
        row("whole life cycles", cycles.count, Some(cycles), none());
        row("one: submit to 202", to_202.count(), None, waits(to_202));
        row("one: submit to result", to_result.count(), None, waits(to_result));
        row("found again by id", proof.found(), None, none());
        table.print()
    }

    /// What the figures hold for, in lines that fit a terminal.
    fn conditions(&self, url: &str, own: Option<&Path>) -> String {
        let server = own.map_or_else(
            || format!("server  {url}"),
            |folder| format!("server  its own, each 202 after an fsync in {}", folder.display()),
        );
        let Self { connections, workers, body_bytes, .. } = self;
        format!(
            "{server}\nload    {connections} connections, {workers} workers, inputs of \
             {body_bytes} bytes, tickets, idempotency keys"
        )
    }
}

fn waits(waiting: &Waiting) -> [String; 3] {
    [0.5, 0.99, 1.0].map(|quantile| format!("{:.1} ms", waiting.ms(quantile)))
}

const ABOUT: &str = "\
Three measurements, one after the other: submits alone; submits, leases and settles at once; and one
task at a time, from submit to its 202 and to its result on a stream. The load comes from this
program: on the same machine it takes its share of the processor. Afterwards each 202 that was
counted is looked up by its id; exit status 1 if one is gone.

Against a running server: the queue (relais-bench) must be allowed there, nobody else should work on
it, and the finished tasks stay until their retention of 10 minutes is over. What an interrupted
bench leaves behind fails by itself after 30 minutes.

Examples:
  relais bench --connections 64 --seconds 10
  relais bench --url https://api.example.com --requests 2000 --json";

const _: () = assert!(bench::KEPT_FOR.as_duration().as_secs() == 600, "the help says so");
