//! `relais work`: makes any program a worker.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use relais_api::Span;
use relais_client::Worker;
use relais_core::{QueueName, limits};
use tokio::signal::unix::{SignalKind, signal};

use super::{Connection, argument, show};
use crate::exec::Exec;
use crate::logs;

/// Runs a program for each task of a queue, until SIGTERM or SIGINT.
#[derive(Debug, Args)]
#[command(after_help = CONTRACT)]
pub(super) struct Work {
    /// The queue: 1 to 64 of a-z, 0-9, - and _
    #[arg(long, short, value_name = "NAME")]
    queue: QueueName,
    /// The program, as a command line of /bin/sh, such as ./import.sh
    #[arg(long, value_name = "COMMAND")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    exec: String,
    /// How many tasks at a time, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// The worker's name, shown to operators, up to 128 bytes [default: none]
    #[arg(long, value_name = "NAME", value_parser = argument::worker_name)]
    name: Option<String>,
    /// The media type of results, such as text/csv [default: JSON or text if they are, else bytes]
    #[arg(long, value_name = "TYPE", value_parser = argument::media_type)]
    result_type: Option<String>,
    /// How long running programs may go on once this one is told to stop
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    drain: Span,
}

impl Work {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let _log = logs::init_from(logs::Format::Human, "warn")?;
        let exec = Exec {
            command: self.exec,
            content_type: self.result_type,
            result_bytes_max: limits::RESULT_BODY_BYTES_MAX,
        };
        let mut worker = Worker::new(connection.client()?, self.queue.as_str())
            .concurrency(usize::from(self.concurrency))
            .drain_for(self.drain.as_duration())
            .stop_grace(STOP_GRACE);
        if let Some(name) = self.name {
            worker = worker.name(name);
        }
        let mut terminate = signal(SignalKind::terminate()).context("could not watch signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("could not watch signals")?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            show::note("stopping: nothing new is leased, what runs may end");
        };
        show::note(&format!("working on queue {} of {}", self.queue, connection.url));
        let ended = worker.run(exec, stop).await?;
        show::note(&format!(
            "stopped: {} succeeded, {} failed, {} given back, {} canceled meanwhile, {} whose lease \
             was lost",
            ended.succeeded, ended.failed, ended.released, ended.canceled, ended.dropped
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// Longer than a program has to stop before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(20);

const CONTRACT: &str = "\
What the program gets and gives:
  standard input    the input of the task, byte for byte
  standard output   the result, up to the limit of the server (relais limits)
  standard error    passed on; its last line explains a failure
  exit status       0 succeeded; 100 failed for good; anything else, 75 included, failed and is
                    tried again as the queue's policy says
  descriptor 3      reports, one JSON document a line:
                      {\"progress\": {\"percent\": 40, \"done\": 2, \"total\": 5, \"message\": \"line 2\"}}
                      {\"checkpoint\": ANY}   where a later attempt resumes, up to 64 KiB
                      {\"output\": ANY}       an event for the followers, up to 64 KiB
  environment       RELAIS_TASK, RELAIS_QUEUE, RELAIS_ATTEMPT, RELAIS_RUN, RELAIS_LABELS (JSON), and
                    if there is one RELAIS_LANE, RELAIS_CONTENT_TYPE, RELAIS_CHECKPOINT (JSON),
                    RELAIS_DEADLINE; of a task that a route took also RELAIS_METHOD, RELAIS_PATH,
                    RELAIS_QUERY, RELAIS_PARAM_NAME for each name in the route's path, and
                    RELAIS_HEADER_X_NAME for each field x-name, but for credentials and names with _
The exit status counts even if a child that the program leaves behind holds its output open: two
seconds later the pipes are closed. Relais sends the heartbeats. When the task is canceled, or the worker has to stop, the program and all
that it started get SIGTERM, and SIGKILL 10 s later.

Example: relais work --queue imports --concurrency 4 --exec 'shop import'";
