//! Handing in: one intent becomes one task, however often its request has to be sent.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::chance::filler;
use crate::clock::pause_ms;
use crate::ledger::{Asked, Intent};
use crate::scene::{Door, LANE_FIELD, LEN_FIELD, NAME_FIELD, lane_name};
use crate::script::Script;
use crate::upstream::{GROUP_FIELD, GROUP_SIZE_FIELD, index_of_answer};
use crate::verdict::Check;
use crate::wire::{Answer, Reply};
use crate::world::World;

/// The label by which the judge names its tasks.
pub(crate) const LABEL: &str = "judge";

/// An intent at a door, to be completed.
pub(crate) fn intent(door: Door, script: Script) -> Intent {
    Intent {
        door,
        script,
        method: "POST",
        key: None,
        lane: None,
        delay_ms: 0,
        deadline_ms: 0,
        len: 0,
        first_sent: 0,
        sends: 0,
        ids: BTreeSet::new(),
    }
}

/// The group that a probe's calls wait for.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// How many it has.
    pub(crate) size: usize,
}

/// Hands an intent in until it is answered; without a key a lost request is not repeated.
///
/// Answers the id of its task, if anybody said it.
pub(crate) async fn hand_in(
    world: &World,
    name: &str,
    intent: Intent,
    group: Option<&Group>,
) -> Option<String> {
    let has_key = intent.key.is_some();
    world.ledger().intents.insert(name.to_owned(), intent);
    for sent_before in 0..SENDS_MAX {
        if !world.until_up().await {
            return None;
        }
        match send(world, name, group, sent_before > 0).await {
            Heard::Task(id) => return Some(id),
            Heard::Refused => pause_ms(200).await,
            Heard::Nothing if !has_key => return None,
            Heard::Nothing => {}
            Heard::NotSent => pause_ms(20).await,
            Heard::No => return None,
        }
    }
    None
}

/// Sends the request of an intent that was handed in before once more, whatever came of it.
pub(crate) async fn repeat(world: &World, name: &str) {
    if world.until_up().await {
        send(world, name, None, true).await;
    }
}

/// What one request brought.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The id of the task.
    Task(String),
    /// The connection broke: the task may exist or not.
    Nothing,
    /// Nobody listened: there is no task.
    NotSent,
    /// The server takes nothing just now; it may later.
    Refused,
    /// The server will never take it.
    No,
}

async fn send(world: &World, name: &str, group: Option<&Group>, is_again: bool) -> Heard {
    let request = {
        let now = world.now();
        let mut ledger = world.ledger();
        ledger.counts.submits += 1;
        ledger.counts.sent_again += u64::from(is_again);
        let intent = ledger.intents.get_mut(name).expect("it was handed in");
        if intent.sends == 0 {
            intent.first_sent = now;
        }
        intent.sends += 1;
        request(world, name, intent, group)
    };
    match world.http.send(request).await {
        Reply::Answer(answer) => interpret(world, name, &answer),
        Reply::Lost => {
            world.ledger().counts.lost += 1;
            Heard::Nothing
        }
        Reply::NotSent => {
            let mut ledger = world.ledger();
            if let Some(intent) = ledger.intents.get_mut(name) {
                intent.sends -= 1;
            }
            Heard::NotSent
        }
    }
}

fn request(
    world: &World,
    name: &str,
    intent: &Intent,
    group: Option<&Group>,
) -> Request<Full<Bytes>> {
    if intent.door == Door::Work {
        let mut request = world
            .http
            .request(Method::POST, "/v1/tasks")
            .header("content-type", "application/json");
        if let Some(key) = &intent.key {
            request = request.header("idempotency-key", format!("\"{key}\""));
        }
        let document = document(name, intent);
        return request.body(Full::from(document.to_string())).expect("a plain request");
    }
    let method = intent.method.parse().expect("a method");
    let target = format!("/{}/{}/{name}", intent.door.promise().queue, intent.script);
    let mut request = world
        .http
        .request(method, &target)
        .header(NAME_FIELD, name)
        .header(LEN_FIELD, intent.len)
        .header("relais-label", format!("{LABEL}={name}"));
    if let Some(key) = &intent.key {
        request = request.header("idempotency-key", format!("\"{key}\""));
    }
    if let Some(lane) = intent.lane {
        request = request.header(LANE_FIELD, lane_name(intent.door, lane));
    }
    if intent.delay_ms > 0 {
        request = request.header("relais-delay", format!("{}ms", intent.delay_ms));
    }
    if let Some(group) = group {
        request = request.header(GROUP_FIELD, &group.name).header(GROUP_SIZE_FIELD, group.size);
    }
    request.body(Full::from(filler(name, intent.len))).expect("a plain request")
}

/// The body of `POST /v1/tasks`.
pub(crate) fn document(name: &str, intent: &Intent) -> Value {
    let mut document = json!({
        "queue": intent.door.promise().queue,
        "input": {"name": name},
        "labels": {LABEL: name},
    });
    if let Some(lane) = intent.lane {
        document["lane"] = lane_name(intent.door, lane).into();
    }
    if intent.delay_ms > 0 {
        document["delay"] = format!("{}ms", intent.delay_ms).into();
    }
    if intent.deadline_ms > 0 {
        document["deadline"] = format!("{}ms", intent.deadline_ms).into();
    }
    document
}

/// What an answer to a submit says.
fn interpret(world: &World, name: &str, answer: &Answer) -> Heard {
    let named = answer.field("relais-task").to_owned();
    let is_replay = answer.field("idempotent-replayed") == "true";
    let is_relais = answer.field("relais-origin") == "relais";
    let mut ledger = world.ledger();
    match answer.status {
        202 => {
            let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
            let is_whole = !id.is_empty() && (named.is_empty() || named == id);
            ledger.verdict.note(Check::Answers, Some(&id), is_whole, || {
                format!("a 202 that does not name its task: {}", answer.shown())
            });
            ledger.acknowledge(name, &id);
            Heard::Task(id)
        }
        429 | 503 | 507 if is_relais => {
            ledger.counts.refused += 1;
            Heard::Refused
        }
        410 if ledger.was_erased(name) => Heard::No,
        _ if is_replay && !named.is_empty() => {
            ledger.acknowledge(name, &named);
            Heard::Task(named)
        }
        _ if !named.is_empty() && ledger.is_at(name, Door::Auto) => {
            // The hand-over: the answer is the outcome, and its end is only
            // seen once that is stored.
            ledger.acknowledge(name, &named);
            ledger.counts.direct += 1;
            let call = index_of_answer(&answer.body);
            ledger.meet(name, &named).direct = call;
            Heard::Task(named)
        }
        _ => {
            let text = answer.shown();
            ledger.verdict.note(Check::Answers, None, false, || format!("{name}: {text}"));
            Heard::No
        }
    }
}

impl crate::ledger::Ledger {
    fn was_erased(&self, name: &str) -> bool {
        let Some(intent) = self.intents.get(name) else { return false };
        intent.ids.iter().filter_map(|id| self.tasks.get(id)).any(|task| task.erase != Asked::No)
    }

    fn is_at(&self, name: &str, door: Door) -> bool {
        self.intents.get(name).is_some_and(|intent| intent.door == door)
    }
}

/// Hands several intents of workers' tasks in at once, with one key for all.
pub(crate) async fn hand_in_batch(world: &World, names: &[String], key: &str) {
    let items = {
        let ledger = world.ledger();
        let items = names.iter().map(|name| document(name, &ledger.intents[name]));
        Value::Array(items.collect())
    };
    for sent_before in 0..SENDS_MAX {
        if !world.until_up().await {
            return;
        }
        {
            let now = world.now();
            let mut ledger = world.ledger();
            ledger.counts.submits += 1;
            ledger.counts.sent_again += u64::from(sent_before > 0);
            for name in names {
                let intent = ledger.intents.get_mut(name).expect("it was handed in");
                if intent.sends == 0 {
                    intent.first_sent = now;
                }
                intent.sends += 1;
            }
        }
        match world.http.post_keyed("/v1/tasks/batch", &items, Some(key)).await {
            Reply::Answer(answer) => {
                read_batch(world, names, &answer);
                return;
            }
            Reply::Lost => world.ledger().counts.lost += 1,
            Reply::NotSent => pause_ms(20).await,
        }
    }
}

fn read_batch(world: &World, names: &[String], answer: &Answer) {
    let document = answer.json();
    let items = document["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut ledger = world.ledger();
    let is_whole = answer.status == 200 && items.len() == names.len();
    ledger.verdict.note(Check::Answers, None, is_whole, || format!("batch: {}", answer.shown()));
    for (name, item) in names.iter().zip(items) {
        let id = item["task"]["id"].as_str().unwrap_or_default();
        if item["status"] == 202 && !id.is_empty() {
            ledger.acknowledge(name, id);
        } else if item["status"] == 410 && ledger.was_erased(name) {
            // Its key lives on, and says so.
        } else {
            let text = item.to_string();
            ledger.verdict.note(Check::Answers, None, false, || format!("item {name}: {text}"));
        }
    }
}

/// How often one request is sent: as long as the server goes down each time, and then some.
const SENDS_MAX: u32 = 12;
