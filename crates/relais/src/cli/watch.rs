//! `relais watch`: the events of tasks as they happen; and how events look to people.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use relais_api::event::{AttemptFailedData, FailedData, RequeuedData, StartedData};
use relais_client::{Client, Event, Progress};
use tokio::sync::mpsc;

use super::submit::INTERRUPTED;
use super::{Connection, argument, show};

/// Prints the events of tasks, one a line, until all are done. Lost connections and restarts of the
/// server are ridden out. Successful only if all tasks are.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// The tasks
    #[arg(required = true, value_name = "ID", value_parser = argument::task_id)]
    ids: Vec<String>,
    /// Begins after the event of this number [default: 0, at the start]
    #[arg(long, value_name = "SEQ", default_value_t = 0, hide_default_value = true)]
    after: u64,
}

impl Watch {
    pub(super) async fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let client = connection.client()?;
        let (events, mut arrived) = mpsc::channel(EVENTS_WAITING_MAX);
        let mut following = tokio::task::JoinSet::new();
        for id in &self.ids {
            following.spawn(follow(client.clone(), id.clone(), self.after, events.clone()));
        }
        drop(events);
        loop {
            tokio::select! {
                event = arrived.recv() => match event {
                    Some(event) if connection.json => show::json(&event)?,
                    Some(event) => show::line(&line(&event))?,
                    None => break,
                },
                _ = tokio::signal::ctrl_c() => {
                    let ids = self.ids.join(" ");
                    show::note(&format!("it goes on without you: relais watch {ids}"));
                    return Ok(ExitCode::from(INTERRUPTED));
                }
            }
        }
        let mut all_succeeded = true;
        while let Some(succeeded) = following.join_next().await {
            all_succeeded &= succeeded??;
        }
        Ok(if all_succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn follow(
    client: Client,
    id: String,
    after: u64,
    events: mpsc::Sender<Event>,
) -> anyhow::Result<bool> {
    match client.task(&id).await {
        // A server that is away may come back; whoever mistyped its address
        // should not wait in silence.
        Err(error) if error.is_transient() => show::note(&format!("{error}; trying on")),
        asked => drop(asked.with_context(|| format!("could not follow {id}"))?),
    }
    let mut follow = client.follow(&id, after);
    while let Some(event) = follow.next().await.with_context(|| format!("could not follow {id}"))? {
        if events.send(event).await.is_err() {
            return Ok(false);
        }
    }
    Ok(client.task(&id).await?.succeeded())
}

/// An event as a line: `2026-11-22T10:00:05.000Z task_… 4 progressed 40% line 12,000`.
pub(super) fn line(event: &Event) -> String {
    let what = words(event);
    let gap = if what.is_empty() { "" } else { " " };
    let Event { at, task, seq, kind, .. } = event;
    format!("{at} {} {seq} {}{gap}{what}", show::clean(task), show::clean(kind))
}

/// What an event says beyond its name. Data that this program does not know is shown as it came.
fn words(event: &Event) -> String {
    let data = &event.data;
    let attempt = event.attempt.map_or_else(String::new, |attempt| format!("attempt {attempt}"));
    match event.kind.as_str() {
        "progressed" => {
            data.read::<Progress>().map(|data| show::progress(&data)).unwrap_or_default()
        }
        "started" => {
            let worker = data.read::<StartedData>().ok().and_then(|data| data.worker);
            let by =
                worker.map_or_else(String::new, |worker| format!(" by {}", show::clean(&worker)));
            format!("{attempt}{by}")
        }
        "attempt_failed" => {
            let Ok(data) = data.read::<AttemptFailedData>() else { return attempt };
            let why = data.problem.map_or_else(String::new, |problem| {
                let detail = problem.detail.unwrap_or(problem.title);
                format!(": {}: {}", problem.code, show::clean(&detail))
            });
            let again = data.run_at.map_or_else(String::new, |at| format!("; again at {at}"));
            format!("{attempt} ({}){why}{again}", data.cause)
        }
        "requeued" => data
            .read::<RequeuedData>()
            .map(|data| format!("{} run {}", data.reason, data.run))
            .unwrap_or_default(),
        "failed" => data
            .read::<FailedData>()
            .map(|FailedData { problem, .. }| {
                let detail = problem.detail.unwrap_or(problem.title);
                format!("{}: {}", problem.code, show::clean(&detail))
            })
            .unwrap_or_default(),
        "accepted" | "succeeded" | "canceled" => String::new(),
        _ if data.as_str() == "{}" => String::new(),
        _ => show::clean(data.as_str()),
    }
}

/// How far one task has come, drawn on a terminal; elsewhere a line for each turn of events.
pub(super) struct Bar {
    bar: ProgressBar,
    is_shown: bool,
}

impl Bar {
    pub(super) fn start() -> Self {
        let style = ProgressStyle::with_template(
            "{spinner} [{elapsed}] [{bar:20}] {percent:>3}% {wide_msg}",
        );
        let bar = ProgressBar::new(STEPS);
        bar.set_style(style.expect("the template is right").progress_chars("=> "));
        let is_shown = !bar.is_hidden();
        if is_shown {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, is_shown }
    }

    pub(super) fn take(&mut self, event: &Event) {
        if event.kind != "progressed" {
            if !self.is_shown {
                show::note(&line(event));
            } else if event.kind != "output" {
                // Of that, the latest words of progress say more.
                self.bar.set_message(show::clean(&event.kind));
            }
            return;
        }
        let Ok(progress) = event.data.read::<Progress>() else { return };
        #[expect(clippy::cast_precision_loss, reason = "a bar has no such precision")]
        let by_count = progress
            .done
            .zip(progress.total)
            .map(|(done, total)| if total == 0 { 0.0 } else { done as f64 * 100.0 / total as f64 });
        if let Some(percent) = progress.percent.or(by_count) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped before"
            )]
            self.bar.set_position((percent.clamp(0.0, 100.0) * (STEPS as f64 / 100.0)) as u64);
        }
        if let Some(message) = &progress.message {
            self.bar.set_message(show::clean(message));
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A bar of a thousand steps moves smoothly.
const STEPS: u64 = 1000;
/// Events between the connections and the screen.
const EVENTS_WAITING_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &str) -> String {
        let event: Event = serde_json::from_str(&format!(
            r#"{{"task":"task_1","seq":4,"type":"{kind}","at":"2026-11-22T10:00:05Z","attempt":2,"data":{data}}}"#
        ))
        .unwrap();
        line(&event).strip_prefix("2026-11-22T10:00:05.000Z task_1 4 ").unwrap().to_owned()
    }

    #[test]
    fn an_event_is_a_line_whatever_it_holds() {
        let progress = r#"{"percent": 40, "message": "line\u001b[2J 12,000"}"#;
        assert_eq!(event("progressed", progress), "progressed 40% line [2J 12,000");
        assert_eq!(event("progressed", r#"{"done": 3, "total": 9}"#), "progressed 3/9");
        assert_eq!(event("started", r#"{"worker": "w-1"}"#), "started attempt 2 by w-1");
        let failed = r#"{"cause": "timeout", "run_at": "2026-11-22T10:01:00Z",
                         "problem": {"code": "upstream-timeout", "title": "late"}}"#;
        assert_eq!(
            event("attempt_failed", failed),
            "attempt_failed attempt 2 (timeout): upstream-timeout: late; again at 2026-11-22T10:01:00.000Z"
        );
        assert_eq!(event("succeeded", r#"{"result": [1]}"#), "succeeded");
        assert_eq!(event("rerouted", r#"{"to": "b"}"#), r#"rerouted {"to": "b"}"#);
        assert_eq!(event("attempt_failed", "7"), "attempt_failed attempt 2");
    }
}
