//! Clients that all come back at once after the server was killed and started again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use memchr::memmem;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use super::Effort;
use super::reader::Reader;
use crate::Bench;
use crate::accept::task_json;
use crate::http::{Connection, get, post};
use crate::process::Relais;
use crate::report::{Goal, Report, median};

/// How soon all must have resumed, seconds from when the server is ready.
const RESUMED_S_MAX: f64 = 15.0;
/// Clients of one task.
const PER_TASK: usize = 100;
/// The number of the last event of each task before the restart: behind `accepted` and `started`.
const BEFORE: u64 = 5;
/// How long a client waits before it tries again, while nobody answers.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How many connect at once before the restart; after it all do.
const CONNECTING: usize = 64;
/// How long all of it may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures how long it takes from the server's start until the last client has what happened since.
pub(super) async fn measure(
    bench: &Bench,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut resumed = Vec::new();
    for run in 0..bench.runs {
        let folder = bench.folder.join(format!("live-restart-{run}"));
        let measured = once(&bench.relais, &folder, effort.clients);
        resumed.push(tokio::time::timeout(PATIENCE, measured).await.context("not in time")??);
    }
    let goal = Goal::AtMost(RESUMED_S_MAX);
    let more =
        json!({ "clients": effort.clients, "per_task": PER_TASK, "transport": "SSE, HTTP/1.1" });
    report.note("live, restart: all clients resumed", median(resumed), "s", &goal, &more);
    Ok(())
}

async fn once(program: &Path, folder: &Path, clients: usize) -> anyhow::Result<f64> {
    // The same address after the restart; and leases that outlast it.
    let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let relais = Relais::start_at(program, folder, &listen, "lease = \"10m\"").await?;
    let leases = lease(&listen, clients.div_ceil(PER_TASK)).await?;
    let gates = Arc::new(Semaphore::new(CONNECTING));
    let (told, mut seen) = mpsc::channel(1024);
    let all = (0..clients).map(|number| {
        let path = format!("/v1/tasks/{}/events", leases[number / PER_TASK].task);
        let client = Client { address: listen.clone(), path, last: 0, rest: Vec::new() };
        tokio::spawn(client.follow(gates.clone(), told.clone()))
    });
    let all: Vec<_> = all.collect();
    drop(told);
    for event in 3..=BEFORE {
        tell(&listen, &leases, event).await?;
    }
    wait_for(&mut seen, clients).await?;
    relais.kill().await?;
    let relais = Relais::start_again(program, folder).await?;
    let began = Instant::now();
    tell(&listen, &leases, BEFORE + 1).await?;
    wait_for(&mut seen, clients).await?;
    let elapsed = began.elapsed().as_secs_f64();
    for client in try_join_all(all).await? {
        client?;
    }
    relais.kill().await?;
    Ok(elapsed)
}

/// A task that a worker has.
struct Lease {
    task: String,
    /// The call that lets an event happen.
    output: Vec<u8>,
}

async fn lease(address: &str, tasks: usize) -> anyhow::Result<Vec<Lease>> {
    let mut connection = Connection::open(address).await?;
    let submit = post("/v1/tasks", "", task_json().as_bytes());
    for _ in 0..tasks {
        ensure!(connection.call(&submit).await?.status == 202, "a task was refused");
    }
    let one = json!({ "max": 1, "wait": "5s" }).to_string();
    let one = post("/v1/queues/bench/leases", "", one.as_bytes());
    let mut leases = Vec::new();
    for _ in 0..tasks {
        let answer = connection.call(&one).await?.json()?;
        let lease = &answer["leases"][0];
        let task = lease["task"].as_str().context("no task was leased")?.to_owned();
        let items = json!({ "items": [{ "token": lease["token"], "output": "here" }] });
        let output = post("/v1/leases/heartbeat", "", items.to_string().as_bytes());
        leases.push(Lease { task, output });
    }
    Ok(leases)
}

/// Lets something happen to each task: its event with this number.
async fn tell(address: &str, leases: &[Lease], event: u64) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    for lease in leases {
        let answer = connection.call(&lease.output).await?.json()?;
        ensure!(answer["items"][0]["status"] == 200, "{answer}");
        let task = get(&format!("/v1/tasks/{}", lease.task), "");
        let task = connection.call(&task).await?.json()?;
        ensure!(task["version"] == event, "not the event {event}: {task}");
    }
    Ok(())
}

async fn wait_for(seen: &mut mpsc::Receiver<()>, clients: usize) -> anyhow::Result<()> {
    for _ in 0..clients {
        seen.recv().await.context("clients have failed")?;
    }
    Ok(())
}

/// One who follows a task, whatever becomes of the server.
struct Client {
    address: String,
    path: String,
    /// The number of the last event that it was told.
    last: u64,
    /// The beginning of an event.
    rest: Vec<u8>,
}

impl Client {
    /// Follows until it has what happened before the restart, then over that until it has what happened since. `told`
    /// hears of both.
    async fn follow(mut self, gates: Arc<Semaphore>, told: mpsc::Sender<()>) -> anyhow::Result<()> {
        let gate = gates.acquire().await?;
        let mut reader = self.connect().await.context("not even at first")?;
        drop(gate);
        while self.last < BEFORE {
            self.read(&mut reader).await?;
        }
        told.send(()).await?;
        while self.read(&mut reader).await.is_ok() {}
        self.rest.clear();
        let mut reader = self.connect_again().await;
        while self.last <= BEFORE {
            if self.read(&mut reader).await.is_err() {
                reader = self.connect_again().await;
            }
        }
        told.send(()).await?;
        Ok(())
    }

    /// Connects as a browser does: again, while nobody is there, or too many knock at once.
    async fn connect_again(&self) -> Reader {
        loop {
            match self.connect().await {
                Ok(reader) => return reader,
                Err(_) => tokio::time::sleep(TRY_AGAIN).await,
            }
        }
    }

    async fn connect(&self) -> anyhow::Result<Reader> {
        let fields = match self.last {
            0 => "Accept: text/event-stream\r\n".to_owned(),
            last => format!("Accept: text/event-stream\r\nLast-Event-ID: {last}\r\n"),
        };
        let reader = Reader::open(&self.address, &get(&self.path, &fields)).await?;
        reader.ensure_status("200")?;
        Ok(reader)
    }

    async fn read(&mut self, reader: &mut Reader) -> anyhow::Result<()> {
        ensure!(reader.more(&mut self.rest).await?, "the stream has ended");
        while let Some(end) = memmem::find(&self.rest, b"\n\n") {
            let event: Vec<u8> = self.rest.drain(..end + 2).collect();
            let number = number_of(&event)?;
            // What is lost or told twice must fail the run, and not be taken for a cut.
            assert!(number.is_none_or(|number| number == self.last + 1), "{number:?} is not next");
            self.last = number.unwrap_or(self.last);
        }
        Ok(())
    }
}

/// The number of an event, if it has one.
fn number_of(event: &[u8]) -> anyhow::Result<Option<u64>> {
    let text = std::str::from_utf8(event).context("an odd event")?;
    let number = text.lines().find_map(|line| line.strip_prefix("id: "));
    number.map(|number| number.parse().context("an odd number")).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_the_log_has_a_number() {
        let number = |event: &str| number_of(event.as_bytes()).expect("it is one");
        assert_eq!(number("id: 17\nevent: output\ndata: {\"id\": 3}\n\n"), Some(17));
        assert_eq!(number("event: relais.open\ndata: {}\n\n"), None);
        assert_eq!(number(": comment\n\n"), None);
    }
}
