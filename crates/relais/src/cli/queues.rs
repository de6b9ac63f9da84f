//! `relais queues`: shows queues, pauses and resumes them.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use relais_client::{Client, Queue};
use relais_core::QueueName;
use serde_json::{Value, json};

use super::table::Table;
use super::{Connection, show};

/// Shows queues, or pauses and resumes one. Without a subcommand: all queues in a table.
#[derive(Debug, Args)]
pub(super) struct Queues {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows one queue: its policy, its tasks, how long they take
    Show {
        /// The queue
        name: QueueName,
    },
    /// Lets no attempt of a queue start; its tasks are still accepted (scope admin)
    Pause {
        /// The queue
        name: QueueName,
    },
    /// Lets the attempts of a queue start again (scope admin)
    Resume {
        /// The queue
        name: QueueName,
    },
}

impl Queues {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let client = connection.client()?;
        match self.action {
            None => list(&client, connection.json).await?,
            Some(Action::Show { name }) => {
                one(&client.queue(name.as_str()).await?, connection.json)?
            }
            Some(Action::Pause { name }) => {
                client.pause(name.as_str()).await?;
                changed(&name, true, connection.json)?;
            }
            Some(Action::Resume { name }) => {
                client.resume(name.as_str()).await?;
                changed(&name, false, connection.json)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn changed(name: &QueueName, is_paused: bool, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return show::json(&json!({"name": name.as_str(), "paused": is_paused}));
    }
    show::line(&format!("{name} {}", if is_paused { "is paused" } else { "goes on" }))
}

async fn list(client: &Client, as_json: bool) -> anyhow::Result<()> {
    let queues = match client.queues().await {
        // A server that does not list its queues answers for each by name.
        Err(error) if error.status() == Some(404) => {
            bail!("{error}; name a queue: relais queues show NAME")
        }
        queues => queues?,
    };
    if as_json {
        return show::json(&queues);
    }
    let mut table = Table::new([
        "QUEUE",
        "STATE",
        "QUEUED",
        "LATER",
        "RUNNING",
        "WAITING",
        "SUCCEEDED",
        "FAILED",
        "CANCELED",
        "DONE/S",
    ]);
    for queue in queues {
        let counts = queue.counts;
        let done = queue.throughput.map(|throughput| format!("{:.1}", throughput.finished_per_s));
        table.row([
            queue.name.clone(),
            state(&queue).to_owned(),
            counts.queued.to_string(),
            counts.scheduled.to_string(),
            counts.running.to_string(),
            counts.waiting.to_string(),
            counts.succeeded.to_string(),
            counts.failed.to_string(),
            counts.canceled.to_string(),
            done.unwrap_or_default(),
        ]);
    }
    table.print()
}

fn one(queue: &Queue, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return show::json(queue);
    }
    show::line(&text(queue)?)
}

/// A line for each thing that there is to say.
fn text(queue: &Queue) -> anyhow::Result<String> {
    let mut lines = vec![
        ("queue".to_owned(), queue.name.clone()),
        ("state".to_owned(), state(queue).to_owned()),
    ];
    let by = if queue.defined_in_file { "the file" } else { "default, or by PUT" };
    add("tasks", &serde_json::to_value(queue.counts)?, &mut lines);
    add("throughput", &serde_json::to_value(queue.throughput)?, &mut lines);
    add("latency", &serde_json::to_value(queue.latency)?, &mut lines);
    lines.push(("policy by".to_owned(), by.to_owned()));
    add("policy", &serde_json::to_value(&queue.policy)?, &mut lines);
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = lines.iter().map(|(name, value)| format!("{name:<width$}  {}", show::clean(value)));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// A line for each member, called by the names on the way to it.
fn add(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            members
                .iter()
                .for_each(|(member, value)| add(&format!("{name} {member}"), value, lines));
        }
        Value::String(text) => lines.push((name.to_owned(), text.clone())),
        other => lines.push((name.to_owned(), other.to_string())),
    }
}

const fn state(queue: &Queue) -> &'static str {
    if queue.paused { "paused" } else { "open" }
}
