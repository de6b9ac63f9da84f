//! `relais why`: what a task waits for.

use std::process::ExitCode;

use clap::Args;
use relais_api::Why;

use super::{Connection, argument, show};

/// Says what a task waits for, the most decisive first; when it will probably be done; and what went
/// wrong with it before.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  relais why task_01jdk3v5x8e2rbk0t6q9z4m7ha")]
pub(super) struct WhyCommand {
    /// The task
    #[arg(value_name = "ID", value_parser = argument::task_id)]
    id: String,
}

impl WhyCommand {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let why = connection.client()?.why(&self.id).await?;
        if connection.json {
            show::json(&why)?;
        } else {
            show::line(&text(&why))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(why: &Why) -> String {
    let mut lines = vec![format!("{} {}", why.task, why.status)];
    for waiting in &why.waiting_for {
        let until = waiting.until.map(|until| format!(" (until {until})")).unwrap_or_default();
        lines.push(format!("  {}: {}{until}", waiting.reason, show::clean(&waiting.detail)));
    }
    if let Some(eta) = &why.eta {
        lines.push(format!("  probably done at {}, or by {}", eta.p50, eta.p90));
    }
    if let Some(last) = &why.last_failure {
        let problem = show::problem(&last.problem);
        lines.push(format!("  attempt {} failed at {}: {problem}", last.attempt, last.at));
    }
    lines.join("\n")
}
