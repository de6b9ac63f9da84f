//! `relais tasks`: lists tasks, newest first.

use std::process::ExitCode;

use clap::Args;
use relais_api::task::Status;
use relais_client::{BulkRequest, ListQuery, Task};
use relais_core::{LaneKey, QueueName, Timestamp};

use super::table::Table;
use super::{Connection, argument, show};
use crate::start;

/// Lists tasks, newest first, in a table that fits the terminal, without columns that are empty;
/// with --json one document a line.
#[derive(Debug, Args)]
pub(super) struct Tasks {
    #[command(flatten)]
    filter: Filter,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// All of them, however many
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// Which tasks: all that is given must fit.
#[derive(Debug, Clone, Args)]
pub(super) struct Filter {
    /// Of this queue
    #[arg(long, short, value_name = "NAME")]
    pub(super) queue: Option<QueueName>,
    /// In this status: queued, running, waiting, succeeded, failed, canceled
    #[arg(long, short, value_name = "STATUS")]
    pub(super) status: Option<Status>,
    /// With this label
    #[arg(long, value_name = "NAME=VALUE", value_parser = argument::label)]
    pub(super) label: Option<(String, String)>,
    /// Of this lane
    #[arg(long, value_name = "LANE")]
    pub(super) lane: Option<LaneKey>,
}

impl Filter {
    /// The label as it is sent.
    pub(super) fn label(&self) -> Option<String> {
        self.label.as_ref().map(|(name, value)| format!("{name}={value}"))
    }

    /// The same, for a call that changes many tasks.
    pub(super) fn bulk(&self) -> BulkRequest {
        BulkRequest {
            queue: self.queue.as_ref().map(ToString::to_string),
            status: self.status,
            label: self.label(),
            lane: self.lane.as_ref().map(ToString::to_string),
            ..BulkRequest::default()
        }
    }
}

impl Tasks {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let client = connection.client()?;
        let mut left = if self.all { usize::MAX } else { usize::try_from(self.limit)? };
        let mut query = ListQuery {
            label: self.filter.label(),
            queue: self.filter.queue.map(|queue| queue.to_string()),
            status: self.filter.status.map(|status| status.to_string()),
            lane: self.filter.lane.map(|lane| lane.to_string()),
            ..ListQuery::default()
        };
        let mut table = Table::new([
            "ID", "STATUS", "FAILED", "AGE", "QUEUE", "REQUEST", "LANE", "LABELS", "DETAIL",
        ]);
        let now = start::now();
        while left > 0 {
            query.limit = u32::try_from(left.min(PAGE)).ok();
            let page = client.list(&query).await?;
            for task in page.items.iter().take(left) {
                if connection.json {
                    show::json(task)?;
                } else {
                    add(&mut table, task, now);
                }
            }
            left = left.saturating_sub(page.items.len());
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        if !connection.json {
            table.print()?;
            if query.after.is_some() {
                show::note("there are more: --limit, --all");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn add(table: &mut Table, task: &Task, now: Timestamp) {
    let waits_after_failure = task.status == "queued" && task.last_failure.is_some();
    let detail = match (&task.progress, task.position) {
        _ if waits_after_failure => show::reason(task),
        (Some(progress), _) if !task.terminal => show::progress(progress),
        (_, Some(position)) => format!("{position}. in its queue"),
        _ => show::reason(task),
    };
    table.row([
        task.id.clone(),
        task.status.clone(),
        format!("{}/{}", task.failures, task.max_attempts),
        show::age(now.since(Timestamp::from_ms(task.created_at.as_ms()))),
        task.queue.clone(),
        request_of(task),
        task.lane.clone().unwrap_or_default(),
        labels_of(task),
        detail,
    ]);
}

/// What was asked, in one line.
pub(super) fn request_of(task: &Task) -> String {
    let request = task.request.as_ref();
    let line = request.map(|request| format!("{} {}", request.method, request.path));
    show::clean(&line.unwrap_or_default())
}

/// Names and values of the client's own, in one line.
pub(super) fn labels_of(task: &Task) -> String {
    let labels = task.labels.iter().map(|(name, value)| format!("{name}={value}"));
    show::clean(&labels.collect::<Vec<_>>().join(", "))
}

/// The largest page of the contract.
const PAGE: usize = 500;
