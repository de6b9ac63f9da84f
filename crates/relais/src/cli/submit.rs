//! `relais submit`: hands in a task, and waits for it if asked to.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use relais_client::{
    Accepted, Answer, Client, Deadline, RawJson, Span, SubmitOptions, SubmitRequest, Task,
    TaskResult, Time,
};
use relais_core::{LaneKey, QueueName, limits};

use super::argument::Usage;
use super::output::OutputFile;
use super::watch::Bar;
use super::{Connection, argument, show};

/// Hands in a file as the input of a task and prints the task's id.
///
/// Repeated after a lost answer it does not make a second task: it carries an idempotency key. With
/// --wait it follows the task, prints its result on standard output and is successful only if the
/// task is.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  relais submit oui.csv --queue imports --wait --output summary.json\n  \
                        echo '{\"order\": 1}' | relais submit - --queue orders --label order=A-1"
)]
pub(super) struct Submit {
    /// The input; `-` is standard input
    file: PathBuf,
    /// The queue: 1 to 64 of a-z, 0-9, - and _
    #[arg(long, short, value_name = "NAME")]
    queue: QueueName,
    /// Follows the task until it is done, then prints its result
    #[arg(long, short)]
    wait: bool,
    /// Where the result goes with --wait; it is complete or not there [default: standard output]
    #[arg(long, short, value_name = "FILE", requires = "wait")]
    output: Option<PathBuf>,
    /// The media type of the input, such as text/csv [default: by the
    /// file's name, or JSON if it is]
    #[arg(long, value_name = "TYPE", value_parser = argument::media_type)]
    content_type: Option<String>,
    /// The lane, up to 128 bytes, such as a customer's id
    #[arg(long, value_name = "LANE")]
    lane: Option<LaneKey>,
    /// Not before this long from now, such as 30s or 1h30m
    #[arg(long, value_name = "DURATION", conflicts_with = "run_at")]
    delay: Option<Span>,
    /// Not before this moment, such as 2026-11-22T10:00:05Z
    #[arg(long, value_name = "TIME")]
    run_at: Option<Time>,
    /// When it must be done: a moment, or a duration such as 2h
    #[arg(long, value_name = "WHEN")]
    deadline: Option<Deadline>,
    /// From -10 to 10, higher first [default: 0]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(-10..=10))]
    priority: Option<i32>,
    /// A name and a value of your own, such as order=A-1; up to 16
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = argument::label)]
    labels: Vec<(String, String)>,
    /// How long the task is kept once it is done, such as 7d
    #[arg(long, value_name = "DURATION")]
    retention: Option<Span>,
    /// A key of your own: the same key and the same task never run twice [default: a new one]
    #[arg(long, value_name = "KEY", value_parser = argument::idempotency_key)]
    idempotency_key: Option<String>,
}

impl Submit {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let client = connection.client()?;
        let request = self.request()?;
        let file = self.output.as_deref().map(OutputFile::check).transpose()?;
        let options = SubmitOptions { idempotency_key: self.idempotency_key.clone() };
        let accepted = client.submit_as(&request, &options).await;
        let accepted =
            accepted.with_context(|| format!("could not submit to the queue {}", self.queue))?;
        self.tell(&accepted, connection)?;
        if !self.wait {
            return Ok(ExitCode::SUCCESS);
        }
        let client = client.following(&accepted);
        tokio::select! {
            code = collect(&client, &accepted.task.id, file.as_ref(), connection.json) => code,
            _ = tokio::signal::ctrl_c() => {
                show::note(&format!("it goes on without you: relais watch {}", accepted.task.id));
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    }

    /// The labels; one that is there twice would lose one of its values in silence.
    fn labels(&self) -> Result<BTreeMap<String, String>, Usage> {
        let labels: BTreeMap<_, _> = self.labels.iter().cloned().collect();
        let why = if labels.len() < self.labels.len() {
            "a name is there twice".to_owned()
        } else if labels.len() > limits::LABELS_MAX {
            format!("there are {} of at most {}", labels.len(), limits::LABELS_MAX)
        } else {
            return Ok(labels);
        };
        Err(Usage::value("--label <NAME=VALUE>", why))
    }

    fn request(&self) -> anyhow::Result<SubmitRequest> {
        let labels = self.labels()?;
        let bytes = read(&self.file)?;
        let content_type = self.content_type.clone().or_else(|| by_name(&self.file));
        let mut request = SubmitRequest {
            queue: self.queue.to_string(),
            lane: self.lane.as_ref().map(ToString::to_string),
            priority: self.priority,
            run_at: self.run_at,
            delay: self.delay,
            deadline: self.deadline,
            labels,
            retention: self.retention,
            ..SubmitRequest::default()
        };
        if content_type.as_deref().is_none_or(|kind| kind == JSON) {
            let text = String::from_utf8(bytes.clone()).ok();
            let json = text.and_then(|text| RawJson::parse(text).ok());
            // JSON travels without the white space around it: then these bytes would not come back.
            let exact = json.filter(|json| json.as_bytes() == bytes.as_slice());
            if let Some(json) = exact {
                request.input = Some(json);
                return Ok(request);
            }
        }
        let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok();
        let guess = || if is_json() { JSON } else { "application/octet-stream" }.to_owned();
        request.content_type = Some(content_type.unwrap_or_else(guess));
        request.input_base64 = Some(STANDARD.encode(&bytes));
        Ok(request)
    }

    /// Says what came of it before anything can go wrong: an id that is
    /// lost is a task that is lost.
    fn tell(&self, accepted: &Accepted, connection: &Connection) -> anyhow::Result<()> {
        let id = &accepted.task.id;
        if self.wait {
            show::note(&format!("task: {id}"));
        } else if connection.json {
            show::json(accepted)?;
        } else {
            show::line(id)?;
        }
        if accepted.replayed {
            show::note("this task had been accepted before, under the same key");
        }
        if (!connection.json || self.wait)
            && let Some(ticket) = &accepted.ticket
        {
            show::note(&format!("ticket: {ticket}"));
            if connection.key.is_none() {
                // The link has the ticket in it: a browser shows the page of the task.
                show::note(&format!("in a browser: {}", accepted.task.links.this));
            }
        }
        Ok(())
    }
}

/// Follows a task to its end, and prints its result.
async fn collect(
    client: &Client,
    id: &str,
    file: Option<&OutputFile>,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let mut bar = Bar::start();
    let mut follow = client.follow(id, 0);
    while let Some(event) = follow.next().await.context("could not follow the task")? {
        bar.take(&event);
    }
    bar.finish();
    let task = client.wait(id).await?;
    if !task.succeeded() {
        if as_json {
            show::json(&task)?;
        }
        show::note(&ending(&task));
        return Ok(ExitCode::FAILURE);
    }
    match client.result(id).await.context("could not read the result")? {
        TaskResult::Ready(answer) => keep(*answer, file).await?,
        TaskResult::NotYet { .. } => bail!("the task was retried by hand in the meantime"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes an answer into the file, or to standard output.
pub(super) async fn keep(mut answer: Answer, file: Option<&OutputFile>) -> anyhow::Result<()> {
    if let Some(file) = file {
        return file.keep(answer).await;
    }
    let mut ends_a_line = true;
    while let Some(piece) = answer.chunk().await? {
        show::bytes(&piece)?;
        ends_a_line = piece.last().map_or(ends_a_line, |last| *last == b'\n');
    }
    if !ends_a_line && std::io::stdout().is_terminal() {
        // Only to people: what comes next stands on a line of its own.
        show::bytes(b"\n")?;
    }
    Ok(())
}

/// How a task that did not succeed ended.
pub(super) fn ending(task: &Task) -> String {
    let reason = show::reason(task);
    let gap = if reason.is_empty() { "" } else { ": " };
    format!("{} {}{gap}{reason}", task.id, show::clean(&task.status))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let limit = limits::REQUEST_BODY_BYTES_MAX;
    let mut bytes = Vec::new();
    let taken = if path == Path::new("-") {
        if std::io::stdin().is_terminal() {
            show::note("the input is what you type; Ctrl-D on a new line ends it");
        }
        std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
    };
    taken.with_context(|| format!("could not read {}", path.display()))?;
    if bytes.len() as u64 > limit {
        bail!("{} has more than {limit} bytes, the most a server takes", path.display());
    }
    Ok(bytes)
}

fn by_name(path: &Path) -> Option<String> {
    let kind = match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "json" => JSON,
        "csv" => "text/csv",
        "txt" => "text/plain",
        "xml" => "application/xml",
        "html" => "text/html",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "ndjson" | "jsonl" => "application/x-ndjson",
        _ => return None,
    };
    Some(kind.to_owned())
}

const JSON: &str = "application/json";
/// 128 and the number of SIGINT, as shells say it.
pub(super) const INTERRUPTED: u8 = 130;
