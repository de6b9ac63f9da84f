//! `relais tasks`: lists tasks, newest first.

use std::process::ExitCode;

use clap::Args;
use relais_client::{ListQuery, Task};

use super::table::Table;
use super::{Connection, show};

/// Lists tasks, newest first, in a table that fits the terminal; with --json one document a line.
#[derive(Debug, Args)]
pub(super) struct Tasks {
    #[command(flatten)]
    filter: Filter,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// All of them, however many
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// Which tasks: all that is given must fit.
#[derive(Debug, Clone, Args)]
pub(super) struct Filter {
    /// Of this queue
    #[arg(long, short, value_name = "NAME")]
    pub(super) queue: Option<String>,
    /// In this status: queued, running, waiting, succeeded, failed, canceled
    #[arg(long, short, value_name = "STATUS")]
    pub(super) status: Option<String>,
    /// With this label
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) label: Option<String>,
    /// Of this lane
    #[arg(long, value_name = "LANE")]
    pub(super) lane: Option<String>,
}

impl Tasks {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let client = connection.client()?;
        let mut left = if self.all { usize::MAX } else { self.limit };
        let mut query = ListQuery {
            queue: self.filter.queue,
            status: self.filter.status,
            label: self.filter.label,
            lane: self.filter.lane,
            ..ListQuery::default()
        };
        let mut table = Table::new(["ID", "QUEUE", "STATUS", "TRY", "CREATED", "DETAIL"]);
        while left > 0 {
            query.limit = u32::try_from(left.min(PAGE)).ok();
            let page = client.list(&query).await?;
            for task in page.items.iter().take(left) {
                if connection.json {
                    show::json(task)?;
                } else {
                    add(&mut table, task);
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

fn add(table: &mut Table, task: &Task) {
    let detail = match (&task.progress, task.position) {
        (Some(progress), _) if !task.terminal => show::progress(progress),
        (_, Some(position)) => format!("{position}. in its queue"),
        _ => show::reason(task),
    };
    // To the second, without the letter in the middle: for people.
    let created = task.created_at.to_string().replacen('T', " ", 1);
    let created = created.split('.').next().unwrap_or_default().to_owned();
    table.row([
        task.id.clone(),
        task.queue.clone(),
        task.status.clone(),
        format!("{}/{}", task.attempt, task.max_attempts),
        created,
        detail,
    ]);
}

/// The largest page of the contract.
const PAGE: usize = 500;
