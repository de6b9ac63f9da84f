//! `relais cancel`: calls tasks off.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use relais_api::task::Status;
use relais_client::{BulkRequest, BulkResponse, Client, Error};

use super::tasks::Filter;
use super::{Connection, show};

/// Cancels tasks: those named, or all that fit a filter. One that is canceled already stays so.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  relais cancel task_01jdk3v5x8e2rbk0t6q9z4m7ha\n  \
                        relais cancel --queue imports --status queued")]
pub(super) struct Cancel {
    /// The tasks
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
}

impl Cancel {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let client = connection.client()?;
        if let Some(filter) = bulk(&self.ids, &self.filter)? {
            return change_all(connection, "canceled", filter, async |filter| {
                client.cancel_many(filter).await
            })
            .await;
        }
        let mut code = ExitCode::SUCCESS;
        for id in &self.ids {
            if let Err(error) = one(&client, id, connection.json).await {
                show::error(&format!("{id}: {error:#}"));
                code = ExitCode::FAILURE;
            }
        }
        Ok(code)
    }
}

async fn one(client: &Client, id: &str, as_json: bool) -> anyhow::Result<()> {
    let task = client.cancel(id).await?;
    if as_json {
        return show::json(&task);
    }
    // A task that was done before stays as it is: that is worth knowing.
    show::line(&format!("{} {}", task.id, show::clean(&task.status)))
}

/// The filter, if tasks are chosen by one.
pub(super) fn bulk(ids: &[String], filter: &Filter) -> anyhow::Result<Option<BulkRequest>> {
    let Filter { queue, status, label, lane } = filter.clone();
    let status = status.map(|word| word.parse::<Status>()).transpose();
    let status = status.map_err(|error| anyhow::anyhow!("--status: {error}"))?;
    let request = BulkRequest { queue, status, label, lane, after: None, limit: None };
    match (ids.is_empty(), request.check().is_ok()) {
        (true, true) => Ok(Some(request)),
        (false, false) => Ok(None),
        (true, false) => bail!("name tasks, or give a filter: --queue, --status, --label, --lane"),
        (false, true) => bail!("give ids or a filter, not both"),
    }
}

/// Calls until all that fits is changed.
pub(super) async fn change_all(
    connection: &Connection,
    word: &str,
    mut filter: BulkRequest,
    call: impl AsyncFn(&BulkRequest) -> Result<BulkResponse, Error>,
) -> anyhow::Result<ExitCode> {
    let mut changed = 0;
    loop {
        let answer = call(&filter).await?;
        changed += answer.changed;
        filter.after = answer.next;
        if filter.after.is_none() {
            break;
        }
    }
    if connection.json {
        show::json(&serde_json::json!({"changed": changed}))?;
    } else {
        show::line(&format!("{changed} {word}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
