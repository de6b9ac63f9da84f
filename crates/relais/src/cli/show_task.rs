//! `relais show`: one task, for people.

use std::process::ExitCode;

use clap::Args;
use relais_client::Task;

use super::tasks::{labels_of, request_of};
use super::{Connection, argument, show};

/// Shows one task: what was asked, where it stands, what went wrong. With
/// --json its whole document.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  relais show task_01jdk3v5x8e2rbk0t6q9z4m7ha")]
pub(super) struct ShowTask {
    /// The task
    #[arg(value_name = "ID", value_parser = argument::task_id)]
    id: String,
}

impl ShowTask {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let task = connection.client()?.task(&self.id).await?;
        if connection.json {
            show::json(&task)?;
        } else {
            show::line(&text(&task))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line for each thing that there is to say.
fn text(task: &Task) -> String {
    let text = |text: Option<String>| text.unwrap_or_default();
    let last = task.last_failure.as_ref().map(|last| {
        format!("attempt {} at {}: {}", last.attempt, last.at, show::problem(&last.problem))
    });
    let eta = task.eta.as_ref().map(|eta| format!("{}, or by {}", eta.p50, eta.p90));
    let lines = [
        ("task", task.id.clone()),
        ("status", show::clean(&task.status)),
        ("problem", text(task.problem.as_ref().map(show::problem))),
        ("last failure", text(last)),
        ("request", request_of(task)),
        ("queue", show::clean(&task.queue)),
        ("lane", text(task.lane.as_deref().map(show::clean))),
        ("labels", labels_of(task)),
        ("priority", if task.priority == 0 { String::new() } else { task.priority.to_string() }),
        ("attempt", format!("{} of run {}", task.attempt, task.run)),
        ("failures", format!("{} of {}", task.failures, task.max_attempts)),
        ("progress", text(task.progress.as_ref().map(show::progress))),
        ("position", text(task.position.map(|position| position.to_string()))),
        ("expected", text(eta)),
        ("created", task.created_at.to_string()),
        ("runs at", text(task.run_at.map(|at| at.to_string()))),
        ("updated", task.updated_at.to_string()),
        ("deadline", text(task.deadline.map(|at| at.to_string()))),
        ("abandoned at", text(task.abandon_at.map(|at| at.to_string()))),
        ("erased at", text(task.expires_at.map(|at| at.to_string()))),
        ("result", text(task.resource_location.clone())),
    ];
    let told = lines.iter().filter(|(_, value)| !value.is_empty());
    let told = told.map(|(name, value)| format!("{name:<13} {value}"));
    told.collect::<Vec<_>>().join("\n")
}
