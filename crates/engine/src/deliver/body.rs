//! What is sent: made at each attempt from the entry, or from what outlives it.

use bytes::Bytes;
use relais_api::{RawJson, WebhookEvent, WebhookNews};
use relais_core::{EndpointId, Entry, News, Timestamp, Topic, limits};
use relais_store::{Delivery, Told};
use serde::Serialize;

use crate::document::{event_of, time};

/// The body of a delivery; `None` if there is nothing to tell any more.
pub(super) fn body(delivery: &Delivery, base: &str) -> Option<Bytes> {
    let (kind, at, data) = match delivery.told.clone()? {
        Told::Entry(entry) => of_entry(&entry, base),
        Told::News(News::Entry { task, seq, at, attempt, data }) => {
            of_entry(&Entry { task, seq, at, attempt, data }, base)
        }
        Told::News(news) => (news.topic()?, delivery.at, of_news(&news)?),
    };
    let event = WebhookEvent { kind: kind.as_str().to_owned(), timestamp: time(at), data };
    Some(serde_json::to_vec(&event).expect("documents of the contract have a JSON form").into())
}

fn of_entry(entry: &Entry, base: &str) -> (Topic, Timestamp, RawJson) {
    let mut event = event_of(entry, base);
    if event.data.as_bytes().len() > limits::WEBHOOK_DATA_BYTES_MAX {
        // Who wants it reads the log of the task.
        event.data = RawJson::parse(r#"{"too_large":true}"#).expect("it is JSON");
    }
    (Topic::Task(entry.data.kind()), entry.at, json(&event))
}

fn of_news(news: &News) -> Option<RawJson> {
    let of = |endpoint: EndpointId| WebhookNews {
        webhook: endpoint.to_string(),
        failing_since: None,
        dropped: None,
    };
    Some(match news {
        News::Erased { task } => json(&Erased { task: task.to_string() }),
        News::Disabled { endpoint } => json(&of(*endpoint)),
        News::Held { endpoint, failing_since } => {
            json(&WebhookNews { failing_since: failing_since.map(time), ..of(*endpoint) })
        }
        News::Dropped { endpoint, count } => {
            json(&WebhookNews { dropped: Some(*count), ..of(*endpoint) })
        }
        News::Entry { .. } | News::Withdrawn => return None,
    })
}

#[derive(Serialize)]
struct Erased {
    task: String,
}

fn json<T: Serialize>(value: &T) -> RawJson {
    RawJson::from_value(value).expect("documents of the contract have a JSON form")
}
