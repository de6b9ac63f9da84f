//! What Relais says when the storm is over: every task, its log, its result. Read over HTTP.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use http::Method;
use http_body_util::Full;
use serde_json::Value;

use crate::clock::{SECOND, pause_ms};
use crate::followers::event_of;
use crate::scene::PROMISES;
use crate::submit::LABEL;
use crate::verdict::Check;
use crate::wire::{Answer, JSON};
use crate::world::World;

/// One entry of a log.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    /// What it says.
    pub(crate) kind: String,
    pub(crate) at: String,
    /// The attempt it is about; 0 if it is about none.
    pub(crate) attempt: u64,
    /// All of it.
    pub(crate) whole: Value,
}

impl Event {
    /// An event as it travels.
    pub(crate) fn read(whole: &Value) -> Self {
        Self {
            seq: whole["seq"].as_u64().unwrap_or(0),
            kind: whole["type"].as_str().unwrap_or_default().to_owned(),
            at: whole["at"].as_str().unwrap_or_default().to_owned(),
            attempt: whole["attempt"].as_u64().unwrap_or(0),
            whole: whole.clone(),
        }
    }

    /// A member of its data as text.
    pub(crate) fn text(&self, member: &str) -> &str {
        self.whole["data"][member].as_str().unwrap_or_default()
    }
}

/// What Relais says of one task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fact {
    /// The status of the answer: 200, or 404 or 410 where it is gone.
    pub(crate) found: u16,
    pub(crate) task: Value,
    pub(crate) log: Vec<Event>,
    pub(crate) result: Option<Answer>,
}

impl Fact {
    pub(crate) fn status(&self) -> &str {
        self.task["status"].as_str().unwrap_or_default()
    }

    /// Whether it exists.
    pub(crate) fn is_there(&self) -> bool {
        self.found == 200
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.task["terminal"] == true
    }

    /// The code of its problem.
    pub(crate) fn code(&self) -> &str {
        self.task["problem"]["code"].as_str().unwrap_or_default()
    }
}

/// Everything that Relais says.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) tasks: HashMap<String, Fact>,
}

impl Facts {
    /// The log of a task for a message.
    pub(crate) fn shown(&self, id: &str) -> Vec<String> {
        let Some(fact) = self.tasks.get(id) else { return Vec::new() };
        let mut lines = vec![format!(
            "GET /v1/tasks/{id}: {} {} run {} attempt {} {}",
            fact.found,
            fact.status(),
            fact.task["run"],
            fact.task["attempt"],
            fact.code()
        )];
        let log = fact.log.iter().take(LINES_MAX);
        lines.extend(log.map(|event| {
            format!("{:>4}  {}  {:<14} {}", event.seq, event.at, event.kind, event.whole["data"])
        }));
        if fact.log.len() > LINES_MAX {
            lines.push(format!("      … and {} more", fact.log.len() - LINES_MAX));
        }
        lines
    }
}

/// Waits until no queue has anything left to do, for `seconds` at most; says what is left.
pub(crate) async fn calm_down(world: &World, seconds: u64) -> Option<String> {
    let until = world.now() + seconds * SECOND;
    loop {
        let mut left = Vec::new();
        for promise in &PROMISES {
            let target = format!("/v1/queues/{}", promise.queue);
            let Some(answer) = world.http.get(&target, JSON).await.answer() else {
                left.push(format!("{}: no answer", promise.queue));
                continue;
            };
            let counts = &answer.json()["counts"];
            let live = LIVE.iter().map(|status| counts[*status].as_u64().unwrap_or(0)).sum::<u64>();
            if answer.status != 200 || live > 0 {
                left.push(format!("{}: {counts}", promise.queue));
            }
        }
        if left.is_empty() {
            return None;
        }
        if world.now() > until {
            return Some(left.join("; "));
        }
        pause_ms(100).await;
    }
}

/// Reads everything: the lists of all queues, then each task that they or the ledger name.
pub(crate) async fn gather(world: &Arc<World>) -> Facts {
    let mut ids: BTreeSet<String> = BTreeSet::new();
    for promise in &PROMISES {
        ids.extend(list(world, promise.queue).await);
    }
    ids.extend(world.ledger().tasks.keys().cloned());
    let every = (ids.len() / STREAMS_MAX).max(1);
    let reads = ids.into_iter().enumerate().map(|(index, id)| {
        let world = world.clone();
        async move {
            let fact = read(&world, &id).await;
            if index % every == 0 && fact.is_over() {
                compare_streams(&world, &id, &fact).await;
            }
            (id, fact)
        }
    });
    let tasks = stream::iter(reads).buffer_unordered(READS_AT_ONCE).collect().await;
    Facts { tasks }
}

/// The ids of a queue; what the list says of each is noted, and held against the counts.
async fn list(world: &World, queue: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut statuses: HashMap<String, u64> = HashMap::new();
    let mut after = String::new();
    for _ in 0..PAGES_MAX {
        let target = format!("/v1/tasks?queue={queue}&limit=500{after}");
        let Some(answer) = world.http.get(&target, JSON).await.answer() else { break };
        let page = answer.json();
        let mut ledger = world.ledger();
        for task in page["items"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let id = task["id"].as_str().unwrap_or_default();
            let name = task["labels"][LABEL].as_str().unwrap_or_default();
            let is_ours = ledger.intents.contains_key(name);
            ledger
                .verdict
                .note(Check::Keys, Some(id), is_ours, || "a task that nobody handed in".to_owned());
            ledger.meet(name, id);
            let status = task["status"].as_str().unwrap_or_default().to_owned();
            *statuses.entry(status).or_default() += 1;
            ids.push(id.to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    compare_counts(world, queue, &statuses).await;
    ids
}

async fn compare_counts(world: &World, queue: &str, listed: &HashMap<String, u64>) {
    let target = format!("/v1/queues/{queue}");
    let Some(answer) = world.http.get(&target, JSON).await.answer() else { return };
    let counts = &answer.json()["counts"];
    if LIVE.iter().any(|status| counts[*status] != 0) {
        // What still moves was counted and listed at different moments; that
        // it moves is said already.
        return;
    }
    let mut ledger = world.ledger();
    for status in COUNTED {
        let (said, there) =
            (counts[status].as_u64().unwrap_or(0), listed.get(status).copied().unwrap_or(0));
        ledger.verdict.note(Check::Counts, None, said == there, || {
            format!("queue {queue}: {said} {status} are counted, {there} are listed")
        });
    }
}

/// Reads one task; while the server stumbles, again.
async fn read(world: &World, id: &str) -> Fact {
    let mut fact = Fact::default();
    let Some(answer) = get(world, &format!("/v1/tasks/{id}")).await else { return fact };
    fact.found = answer.status;
    if answer.status != 200 {
        return fact;
    }
    fact.task = answer.json();
    let mut after = 0;
    for _ in 0..PAGES_MAX {
        let target = format!("/v1/tasks/{id}/events?after={after}");
        let Some(answer) = get(world, &target).await else { break };
        let page = answer.json();
        let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        fact.log.extend(events.iter().map(Event::read));
        let next = page["next"].as_u64().unwrap_or(after);
        if events.is_empty() || page["terminal"] == true || next <= after {
            break;
        }
        after = next;
    }
    if matches!(fact.status(), "succeeded" | "failed") {
        fact.result = get(world, &format!("/v1/tasks/{id}/result")).await;
    }
    fact
}

async fn get(world: &World, target: &str) -> Option<Answer> {
    for _ in 0..3 {
        if let Some(answer) = world.http.get(target, JSON).await.answer() {
            // A result may be an error of its maker; one of Relais itself is none of its own.
            let is_ours = answer.field("relais-origin") == "relais";
            let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
            let broke = is_ours && matches!(code.as_str(), "internal" | "store-unavailable");
            world
                .ledger()
                .verdict
                .note(Check::Answers, None, !broke, || format!("GET {target}: {}", answer.shown()));
            if !broke {
                return Some(answer);
            }
        }
        pause_ms(50).await;
    }
    None
}

/// Holds the stream of a log against its page, from the start and from the middle.
async fn compare_streams(world: &World, id: &str, fact: &Fact) {
    let middle = fact.log.get(fact.log.len() / 2).map_or(0, |event| event.seq);
    for after in [0, middle] {
        let expected: Vec<&Value> =
            fact.log.iter().filter(|event| event.seq > after).map(|event| &event.whole).collect();
        let request = world
            .http
            .request(Method::GET, &format!("/v1/tasks/{id}/events"))
            .header("accept", "text/event-stream")
            .header("last-event-id", after);
        let request = request.body(Full::default()).expect("a plain request");
        let streamed = world.http.send(request).await.answer().map(|answer| events_of(&answer));
        let agrees = streamed.as_ref().is_some_and(|events| {
            events.len() == expected.len()
                && events.iter().zip(&expected).all(|((seq, kind, data), event)| {
                    data == *event && event["seq"] == *seq && event["type"] == kind.as_str()
                })
        });
        world.ledger().verdict.note(Check::Streams, Some(id), agrees, || match streamed {
            Some(events) => format!(
                "after {after} its page has {} events, its stream {}",
                expected.len(),
                events.len()
            ),
            None => format!("the stream after {after} did not end although the log is over"),
        });
    }
}

/// The events of a stream that have an id.
pub(crate) fn events_of(answer: &Answer) -> Vec<(u64, String, Value)> {
    let text = String::from_utf8_lossy(&answer.body);
    text.split("\n\n").filter_map(event_of).collect()
}

const LIVE: [&str; 4] = ["queued", "scheduled", "running", "waiting"];
const COUNTED: [&str; 6] = ["queued", "running", "waiting", "succeeded", "failed", "canceled"];
const STREAMS_MAX: usize = 150;
const READS_AT_ONCE: usize = 24;
const PAGES_MAX: usize = 20_000;
const LINES_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_is_read_as_the_standard_says() {
        let text = "retry: 3000\n\nevent: relais.open\ndata: {\"version\":2}\n\n: hello\n\n\
                    id: 1\nevent: accepted\ndata: {\"seq\":1}\n\nid: 2\nevent: started\ndata: {}\n\n";
        let body = Bytes::from_static(text.as_bytes());
        let answer = Answer { status: 200, headers: http::HeaderMap::new(), body };
        let events = events_of(&answer);
        assert_eq!(events[0], (1, "accepted".to_owned(), json!({"seq": 1})));
        assert_eq!(events.len(), 2);
    }
}
