//! `relais retry`: runs failed or canceled tasks again.

use std::process::ExitCode;

use clap::Args;
use relais_client::{BulkRequest, Client};

use super::cancel::{bulk, change_all};
use super::tasks::Filter;
use super::{Connection, argument, show};

/// Runs failed or canceled tasks again: those named, or all that fit a filter. A task that is not
/// done is left alone; one that succeeded cannot be retried. A filter leaves out tasks of which
/// nobody knows whether their work was done, unless `--code outcome-unknown` asks for them.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  relais retry task_01jdk3v5x8e2rbk0t6q9z4m7ha --from-start\n  \
                        relais retry --queue imports --status failed"
)]
pub(super) struct Retry {
    /// The tasks
    #[arg(value_name = "ID", value_parser = argument::task_id)]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Failed with this code, such as outcome-unknown
    #[arg(long, value_name = "CODE")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    code: Option<String>,
    /// From the start, not from the latest checkpoint
    #[arg(long, requires = "ids")]
    from_start: bool,
}

impl Retry {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let filter = BulkRequest { code: self.code, ..self.filter.bulk() };
        let chosen = bulk(&self.ids, filter, "--queue, --status, --label, --lane, --code")?;
        let client = connection.client()?;
        if let Some(filter) = chosen {
            return change_all(connection, "retried", filter, async |filter| {
                client.retry_many(filter).await
            })
            .await;
        }
        let mut code = ExitCode::SUCCESS;
        for id in &self.ids {
            if let Err(error) = one(&client, id, self.from_start, connection.json).await {
                show::error(&format!("{id}: {}", show::causes(&error)));
                code = ExitCode::FAILURE;
            }
        }
        Ok(code)
    }
}

async fn one(client: &Client, id: &str, from_start: bool, as_json: bool) -> anyhow::Result<()> {
    let accepted = client.retry(id, from_start).await?;
    if as_json {
        return show::json(&accepted);
    }
    let task = &accepted.task;
    show::line(&format!("{} {} run {}", task.id, show::clean(&task.status), task.run))?;
    if task.run == 1 {
        // Each retry begins another run.
        show::note("nothing was retried: its first run is not over yet");
    }
    // The old ticket may end before the new run does.
    if let Some(ticket) = &accepted.ticket {
        show::note(&format!("ticket: {ticket}"));
    }
    Ok(())
}
