//! `relais queues`: shows queues, pauses and resumes them.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use relais_client::{Client, Queue};
use relais_core::QueueName;
use serde_json::json;

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
            if queue.paused { "paused" } else { "open" }.to_owned(),
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
    show::line(&serde_json::to_string_pretty(queue)?)
}
