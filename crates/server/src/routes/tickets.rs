//! `POST /v1/tasks/{id}/tickets`: another ticket for a task, which grants no more than its caller has.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use relais_api::codes;
use relais_api::ticket::{Grant, TicketRequest, TicketResponse};
use relais_core::{Grants, Timestamp, limits};
use relais_engine::document::time;
use relais_engine::{Access, envelope};

use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Action, Right, Ticket, Visitor, end_of};
use crate::request::incoming;
use crate::request::params::Params;
use crate::routes::{OneTask, json};

/// `POST /v1/tasks/{id}/tickets`.
pub(super) async fn renew(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let seen = visitor.task(id, Action::Read).await?;
    let request: TicketRequest = incoming::optional_json(&app.bodies, &visitor, body).await?;
    let sight = envelope::context_of(&seen.task)?.sight;
    if !matches!(sight.access, Access::Ticket) {
        let why = "the task is not followed by ticket, but by a key or by being its caller";
        return Err(Refusal::new(&codes::FORBIDDEN).because(why).about(id));
    }
    let grants = match (request.grants.is_empty(), seen.right) {
        (false, _) => granting(&request.grants),
        (true, Right::Own) => sight.grants.and(seen.grants),
        (true, Right::Ticket(grants) | Right::Session(grants) | Right::OfSession(grants, _)) => {
            grants
        }
    };
    if !seen.grants.include(grants) {
        let why = "a ticket grants no more than what was presented";
        return Err(Refusal::new(&codes::FORBIDDEN).because(why).about(id));
    }
    let (now, last) = (app.engine.now(), end_of(&seen.task));
    let is_of_session = matches!(seen.right, Right::Session(_) | Right::OfSession(..));
    let last = if is_of_session {
        // The right itself may be short; and a renewal is not to be renewed for ever.
        let right = seen.until.unwrap_or(last);
        last.min(right).min(now.plus(limits::TICKET_BY_SESSION_MAX))
    } else {
        last
    };
    let asked = request.expires_in.map(|span| now.plus(span.as_duration()));
    let expires_at = whole_seconds(asked.unwrap_or(last).min(last));
    if expires_at <= now {
        return Err(Refusal::field("/expires_in", "a ticket lasts a second at least"));
    }
    let ticket = Ticket { task: id, grants, expires_at, is_of_session };
    let ticket = ticket.sign(&app.auth.signing.keys());
    let words =
        [(grants.read, Grant::Read), (grants.cancel, Grant::Cancel), (grants.retry, Grant::Retry)];
    let grants = words.into_iter().filter_map(|(is_granted, word)| is_granted.then_some(word));
    let grants = grants.collect();
    json(StatusCode::CREATED, &TicketResponse { ticket, grants, expires_at: time(expires_at) })
}

fn granting(words: &[Grant]) -> Grants {
    Grants {
        read: words.contains(&Grant::Read),
        cancel: words.contains(&Grant::Cancel),
        retry: words.contains(&Grant::Retry),
    }
}

/// What a ticket can say of a moment.
const fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_ms(at.as_ms().div_euclid(1_000) * 1_000)
}
