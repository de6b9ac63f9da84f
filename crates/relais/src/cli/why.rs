//! `relais why`: what a task waits for, or why it failed.

use std::process::ExitCode;

use clap::Args;
use relais_api::task::Status;
use relais_api::{Why, codes};
use relais_client::Task;

use super::{Connection, argument, show};

/// Says what a task waits for, the most decisive first; when it will probably be done; and what
/// went wrong with it before. Of one that failed: why, why nothing follows, and what to do.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  relais why task_01jdk3v5x8e2rbk0t6q9z4m7ha")]
pub(super) struct WhyCommand {
    /// The task
    #[arg(value_name = "ID", value_parser = argument::task_id)]
    id: String,
}

impl WhyCommand {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let client = connection.client()?;
        let why = client.why(&self.id).await?;
        if connection.json {
            show::json(&why)?;
        } else {
            show::line(&text(&why))?;
            if why.status == Status::Failed {
                show::line(&failure(&client.task(&self.id).await?))?;
            } else if why.status == Status::Canceled {
                show::line(&canceled(&client.task(&self.id).await?))?;
            }
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
    if let Some(at) = &why.abandon_at {
        lines.push(format!(
            "  canceled at {at} unless somebody comes back: all who waited have left"
        ));
    }
    if let Some(last) = &why.last_failure {
        let problem = show::problem(&last.problem);
        lines.push(format!("  attempt {} failed at {}: {problem}", last.attempt, last.at));
    }
    lines.join("\n")
}

/// Whether somebody called a task off, or its caller went away.
fn canceled(task: &Task) -> String {
    let said = task.message.as_ref().and_then(|message| message.0.get("en"));
    let said = said.map(|said| show::clean(said)).unwrap_or_default();
    format!("  {said}\n  if it is wanted after all: {}", again(task))
}

/// How its work is done once more. A cancel erases the credentials of a request that had any, and it is not
/// run again without them.
fn again(task: &Task) -> String {
    match &task.links.retry {
        Some(_) => format!("relais retry {}", task.id),
        None => "send the request again; this task takes no retry".to_owned(),
    }
}

/// Why a run failed, why no attempt follows, and what a person can do.
fn failure(task: &Task) -> String {
    let mut lines = vec![format!("  {}", show::reason(task))];
    let is_not_tried_again = "nothing follows: a failure of this kind is not tried again by itself";
    lines.push(match (task.failures, task.max_attempts) {
        // It ended otherwise than by a failed attempt: a stop, a deadline, a holder that vanished.
        (0, _) => format!("  {is_not_tried_again}"),
        (failures, max) if failures < max => {
            format!("  {is_not_tried_again} ({failures} of {max} attempts failed)")
        }
        (_, 1) => "  nothing follows: there is one attempt, and it failed".to_owned(),
        (_, max) => format!("  nothing follows: all {max} attempts failed"),
    });
    let code = task.problem.as_ref().map(|problem| problem.code.as_str());
    if code == Some(codes::OUTCOME_UNKNOWN.code) {
        lines.push("  first look in the other system whether the work was done".to_owned());
        lines.push(format!("  only if it was not: {}", again(task)));
    } else {
        lines.push(format!("  its answer, if there is one: relais result {}", task.id));
        lines.push(format!("  once the cause is gone: {}", again(task)));
    }
    // A problem of a worker's own may have no page.
    if let Some(problem) = task.problem.as_ref().filter(|problem| problem.type_uri != "about:blank")
    {
        lines.push(format!("  more of it: {}", show::clean(&problem.type_uri)));
    }
    lines.join("\n")
}
