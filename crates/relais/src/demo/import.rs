//! A long import, with a worker and Relais itself killed in the middle.

use std::time::{Duration, Instant};

use bytes::Bytes;
use relais_api::event::{AttemptCause, AttemptFailedData};
use relais_client::{Event, Follow, Progress};
use serde_json::Value;

use super::call::Call;
use super::story::{ImportLinks, Story};
use super::teller::{thousands, time};
use super::truth::{ensure, ensure_same, ensure_same_json, within};

pub(super) const TITLE: (&str, &str) = (
    "A long import, killed twice",
    "A file of products, taken by a worker: a plain program that writes progress and checkpoints. \
     In the middle the worker is killed, then Relais itself, both by kill -9. Nothing is lost.",
);

pub(super) async fn tell(story: &mut Story) -> anyhow::Result<String> {
    let (csv, uninterrupted) = file(story).await?;
    let url = format!("{}/imports", story.stage.door());
    let call = Call::post_file(url, FILE, "text/csv", csv);
    let (handed, accepted) = story.hand_in("IMPORT", &call).await?;
    story.teller.fact(&format!("the file is safe after {}", time(accepted.took)));
    let task = &handed.accepted.task;
    story.import = Some(ImportLinks { id: task.id.clone(), watch: task.links.this.clone() });

    story.show(&Call::events(&task.links.events));
    story.teller.begin_bar(LINES);
    let follow = handed.client.follow(&task.id, 0);
    let mut import = Import::new(task.created_at.as_ms());
    import.follow(story, follow).await?;
    story.teller.end_bar();
    import.judge(story)?;

    let answer = story.collect(&handed.location, &["content-type"]).await?;
    ensure(answer.status() == 200, "200 OK, the worker's result", &answer)?;
    let mut result: Value = answer.json()?;
    let resumed_at = result.as_object_mut().and_then(|members| members.remove("resumed_at"));
    let resumed_at = resumed_at.and_then(|line| line.as_u64()).unwrap_or(0);
    let is_checkpoint = resumed_at > 0 && resumed_at.is_multiple_of(CHECKPOINT_LINES);
    ensure(is_checkpoint, "resumed_at, the line of a checkpoint", &answer)?;
    ensure_same_json("the result", &result, &uninterrupted)?;
    let count = |name: &str| thousands(result[name].as_u64().unwrap_or(0));
    story.teller.fact(&format!(
        "{} lines, {} imported, {} bad: the very result of an import that nobody kills",
        count("lines"),
        count("imported"),
        count("rejected"),
    ));
    for bad in result["bad_lines"].as_array().into_iter().flatten().take(3) {
        let reason = bad["reason"].as_str().unwrap_or_default();
        story.teller.quiet(&format!("line {}: {reason}", bad["line"]));
    }
    let resumed_at = thousands(resumed_at);
    story.teller.fact(&format!("resumed at line {resumed_at}, its checkpoint: not from the start"));
    Ok(format!("{} lines, two kills, resumed at {resumed_at}", count("lines")))
}

/// The file, and the result of its import when nothing happens.
async fn file(story: &Story) -> anyhow::Result<(Bytes, Value)> {
    let lines = LINES.to_string();
    let args = ["sample", "--lines", &lines, "--bad-every", BAD_EVERY];
    let csv = story.stage.run_shop(&args, b"").await?;
    story.stage.lay_out(FILE, &csv)?;
    story.teller.command(&format!("shop sample --lines {LINES} --bad-every {BAD_EVERY} > {FILE}"));
    story.teller.quiet(&format!("{} bytes", thousands(csv.len() as u64)));
    let result = story.stage.run_shop(&["import", "--delay-us", "0"], &csv).await?;
    Ok((csv.into(), serde_json::from_slice(&result)?))
}

/// The import as its follower sees it, and what is done to it.
#[derive(Debug)]
struct Import {
    begun_ms: i64,
    /// The number of the latest event.
    seq: u64,
    /// Lines done when the worker was killed.
    worker_killed_at: Option<u64>,
    /// Lines done at the first report of the attempt after that.
    went_on_at: Option<u64>,
    /// The number of the latest event seen before Relais was killed.
    relais_killed_after: Option<u64>,
    /// Whether the follower saw the log go on after that.
    is_followed_again: bool,
    crashes: u32,
    has_succeeded: bool,
}

impl Import {
    const fn new(begun_ms: i64) -> Self {
        Self {
            begun_ms,
            seq: 0,
            worker_killed_at: None,
            went_on_at: None,
            relais_killed_after: None,
            is_followed_again: false,
            crashes: 0,
            has_succeeded: false,
        }
    }

    async fn follow(&mut self, story: &mut Story, mut follow: Follow) -> anyhow::Result<()> {
        let what = "the next event of the import";
        while let Some(event) = within(EVENT_MAX, what, follow.next()).await?? {
            let is_next = event.seq > self.seq;
            ensure(is_next, format!("an event after {}, none twice", self.seq), event.seq)?;
            self.seq = event.seq;
            if self.relais_killed_after.is_some_and(|seq| event.seq > seq) {
                self.is_followed_again = true;
            }
            match event.kind.as_str() {
                "progressed" => self.progressed(story, &event).await?,
                kind => {
                    story.teller.event(&event, self.begun_ms);
                    self.has_succeeded |= kind == "succeeded";
                    if kind == "attempt_failed" {
                        let data: AttemptFailedData = event.data.read()?;
                        ensure_same("why the attempt failed", &data.cause, &AttemptCause::Crash)?;
                        self.crashes += 1;
                    }
                }
            }
        }
        Ok(())
    }

    async fn progressed(&mut self, story: &mut Story, event: &Event) -> anyhow::Result<()> {
        let progress: Progress = event.data.read()?;
        let (done, total) = (progress.done.unwrap_or(0), progress.total.unwrap_or(LINES));
        let message = progress.message.unwrap_or_default();
        story.teller.progress(done, total, &message);
        match self.worker_killed_at {
            None if done >= LINES * 3 / 10 => {
                self.worker_killed_at = Some(done);
                kill_worker(story, done).await
            }
            Some(_) if self.crashes > 0 => {
                self.went_on_at.get_or_insert(done);
                if self.relais_killed_after.is_none() && done >= LINES * 6 / 10 {
                    self.relais_killed_after = Some(self.seq);
                    return kill_relais(story, done).await;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether all came as it had to.
    fn judge(&self, story: &Story) -> anyhow::Result<()> {
        ensure(self.has_succeeded, "succeeded", format_args!("{self:?}"))?;
        ensure(self.crashes >= 1, "attempt_failed: crash", format_args!("{self:?}"))?;
        let went_on = self.went_on_at.is_some_and(|line| line >= CHECKPOINT_LINES);
        ensure(went_on, "an attempt that goes on at a checkpoint", format_args!("{self:?}"))?;
        let was_seen = self.relais_killed_after.is_some() && self.is_followed_again;
        ensure(was_seen, "events before and after the kill of Relais", format_args!("{self:?}"))?;
        story.teller.fact("one log over both kills, its events in order and none twice");
        if self.crashes == 1 {
            story.teller.fact("the worker outlived Relais: its attempt just went on");
        }
        Ok(())
    }
}

async fn kill_worker(story: &mut Story, done: u64) -> anyhow::Result<()> {
    let pid = story.stage.kill_worker().await?;
    story.teller.blow(&format!("kill -9 {pid}: the worker, after line {}", thousands(done)));
    let name = story.stage.start_worker().await?;
    story.teller.prose(&format!("{name} starts; the dead one's lease ends within 3 s"));
    Ok(())
}

async fn kill_relais(story: &mut Story, done: u64) -> anyhow::Result<()> {
    let pid = story.stage.kill_relais().await?;
    let killed = Instant::now();
    story.teller.blow(&format!("kill -9 {pid}: Relais, after line {}", thousands(done)));
    story.stage.start_relais().await?;
    let away = time(killed.elapsed());
    story.teller.prose(&format!("Relais is back after {away}, on the same file"));
    Ok(())
}

const FILE: &str = "products.csv";
const LINES: u64 = 20_000;
const BAD_EVERY: &str = "500";
/// Lines between two checkpoints of the worker.
const CHECKPOINT_LINES: u64 = 1_000;
/// How long the next event may take: a lease, a retry's delay and a start, with time to spare.
const EVENT_MAX: Duration = Duration::from_secs(20);
