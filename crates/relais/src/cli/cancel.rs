//! `relais cancel`: calls tasks off.

use std::process::ExitCode;

use clap::Args;
use relais_client::{BulkRequest, BulkResponse, Client, Error};

use super::argument::Usage;
use super::tasks::Filter;
use super::{Connection, argument, show};

/// Cancels tasks: those named, or all that fit a filter. One that is canceled already stays so.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  relais cancel task_01jdk3v5x8e2rbk0t6q9z4m7ha\n  \
                        relais cancel --queue imports --status queued")]
pub(super) struct Cancel {
    /// The tasks
    #[arg(value_name = "ID", value_parser = argument::task_id)]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
}

impl Cancel {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let chosen = bulk(&self.ids, self.filter.bulk(), "--queue, --status, --label, --lane")?;
        let client = connection.client()?;
        if let Some(filter) = chosen {
            return change_all(connection, "canceled", filter, async |filter| {
                client.cancel_many(filter).await
            })
            .await;
        }
        let mut code = ExitCode::SUCCESS;
        for id in &self.ids {
            if let Err(error) = one(&client, id, connection.json).await {
                show::error(&format!("{id}: {}", show::causes(&error)));
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
/// `filters` are the arguments that make one.
pub(super) fn bulk(
    ids: &[String],
    request: BulkRequest,
    filters: &str,
) -> Result<Option<BulkRequest>, Usage> {
    match (ids.is_empty(), request.check().is_ok()) {
        (true, true) => Ok(Some(request)),
        (false, false) => Ok(None),
        (true, false) => {
            Err(Usage::new(format!("which tasks? give [ID]..., or a filter: {filters}")))
        }
        (false, true) => Err(Usage::new(format!("give [ID]... or a filter ({filters}), not both"))),
    }
}

/// Calls until all that fits is changed.
pub(super) async fn change_all(
    connection: &Connection,
    word: &str,
    mut filter: BulkRequest,
    call: impl AsyncFn(&BulkRequest) -> Result<BulkResponse, Error>,
) -> anyhow::Result<ExitCode> {
    let mut sum = BulkResponse::default();
    loop {
        let answer = call(&filter).await?;
        sum.changed += answer.changed;
        sum.left_out += answer.left_out;
        filter.after = answer.next;
        if filter.after.is_none() {
            break;
        }
    }
    if connection.json {
        show::json(&sum)?;
        return Ok(ExitCode::SUCCESS);
    }
    show::line(&format!("{} {word}", sum.changed))?;
    if sum.left_out > 0 {
        show::note(&format!(
            "{} left out: nobody knows whether their work was done. Look there first, then name \
             them, or give --code outcome-unknown",
            sum.left_out
        ));
    }
    Ok(ExitCode::SUCCESS)
}
