//! `relais result`: what came out of a task.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use relais_client::TaskResult;

use super::output::OutputFile;
use super::submit::keep;
use super::{Connection, argument, show};

/// Prints the result of a task as it is, byte for byte. Successful only if the task is done and its
/// outcome is no error; what an outcome that is one says is printed as well.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  relais result task_01jdk3v5x8e2rbk0t6q9z4m7ha -o summary.json"
)]
pub(super) struct ResultCommand {
    /// The task
    #[arg(value_name = "ID", value_parser = argument::task_id)]
    id: String,
    /// Where the result goes; it is complete or not there [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ResultCommand {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let client = connection.client()?;
        let file = self.output.as_deref().map(OutputFile::check).transpose()?;
        match client.result(&self.id).await.context("could not read the result")? {
            TaskResult::Ready(answer) => {
                let status = answer.status();
                if status < ERRORS_FROM {
                    keep(*answer, file.as_ref()).await?;
                    return Ok(ExitCode::SUCCESS);
                }
                // An error is not what the file is for.
                keep(*answer, None).await?;
                show::note(&format!("the outcome of {} is an error: status {status}", self.id));
            }
            TaskResult::NotYet { task, .. } => {
                let status = show::clean(&task.status);
                let id = &task.id;
                show::note(&format!("{id} is {status}: relais watch {id}, relais why {id}"));
            }
        }
        Ok(ExitCode::FAILURE)
    }
}

/// What HTTP calls an error.
const ERRORS_FROM: u16 = 400;
