//! `POST /v1/leases/settle`: how attempts ended, and what comes next.

mod again;
mod outcome;

pub(super) use outcome::{BYTES, content_type_field};

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Uri;
use relais_api::lease::{LeaseNext, SettleItem};
use relais_api::{Item, Lease, SettleRequest, SettleResponse, codes};
use relais_core::Reply;
use relais_engine::{EngineError, Estimate, Settle};
use relais_store::Stepped;

use crate::answer::answers::Answers;
use crate::answer::links::Viewer;
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Scope, Visitor};
use crate::request::params::Params;
use crate::routes::leases::{hand_over, lease_max, read_items, refusal_of, worker_name};
use crate::routes::worker::{Handover, Right, Wish, leases_of, take};

/// `POST /v1/leases/settle`.
pub(super) async fn settle(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    uri: Uri,
    body: Body,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let right = Right::of(&visitor)?;
    let request: SettleRequest = read_items(&app.bodies, &visitor, &right, body).await?;
    right.admit(request.items.len())?;
    let next = request.lease_next.map(|next| wish_of(&visitor, next)).transpose()?;
    let mut slots = Vec::with_capacity(request.items.len());
    let mut settles = Vec::with_capacity(request.items.len());
    for Item(item) in request.items {
        let settle = match item {
            Ok(settle) => outcome::settle_of(&app, settle).await,
            Err(error) => Err(error.into()),
        };
        slots.push(settle.map(|(settle, brought)| {
            settles.push(settle);
            brought
        }));
    }
    // At the same time, so that both share one durable write.
    let (answers, mut leased) =
        tokio::join!(settle_all(&app, &right, settles), lease_next(&app, next.as_ref()));
    let mut answers = answers?.into_iter();
    if leased.as_ref().is_ok_and(|next| next.leases.is_empty()) {
        // The slots that were just freed may be what it takes.
        leased = lease_next(&app, next.as_ref()).await;
    }
    let next = match leased {
        // What became of the settles is told in any case; a call for leases
        // alone says what is wrong.
        Err(refusal) if !slots.is_empty() => {
            app.answers.note(&refusal, None);
            Next::default()
        }
        leased => leased?,
    };
    let mut items = Vec::with_capacity(slots.len());
    for slot in slots {
        let answer = match slot {
            Ok(brought) => {
                let answer = answers.next().expect("one answer per settle").map_err(refusal_of);
                again::checked(&app, answer, brought).await
            }
            Err(refusal) => Err(refusal),
        };
        items.push(settle_item(&app.answers, answer));
    }
    hand_over(next.handover, &SettleResponse { items, leases: next.leases })
}

/// What is leased with a settle: given back if it is dropped.
#[derive(Default)]
struct Next {
    leases: Vec<Lease>,
    handover: Option<Handover>,
}

fn wish_of(visitor: &Visitor, next: LeaseNext) -> Result<Wish, Refusal> {
    let queue = next.queue.parse();
    Ok(Wish {
        tenant: visitor.tenant(Scope::Work)?,
        queue: queue.map_err(|error| Refusal::field("/lease_next/queue", error))?,
        worker: worker_name("/lease_next/worker", next.worker)?,
        max: lease_max("/lease_next/max", next.max)?,
        wait: Duration::ZERO,
    })
}

async fn lease_next(app: &Arc<App>, wish: Option<&Wish>) -> Result<Next, Refusal> {
    let Some(wish) = wish else { return Ok(Next::default()) };
    let leased = match take(app, wish.clone()).await {
        // A worker of a server that stops still learns what became of its settles.
        Err(refusal) if *refusal.code() == codes::SERVER_DRAINING => return Ok(Next::default()),
        leased => leased?,
    };
    Ok(Next { leases: leases_of(app, &leased.claimed).await?, handover: leased.handover })
}

async fn settle_all(
    app: &App,
    right: &Right,
    settles: Vec<Settle>,
) -> Result<Vec<Result<Stepped, EngineError>>, Refusal> {
    if settles.is_empty() {
        return Ok(Vec::new());
    }
    Ok(app.engine.settle(right.tenant(), settles).await?)
}

fn settle_item(answers: &Answers, answer: Result<Stepped, Refusal>) -> SettleItem {
    let answer = answer.and_then(|stepped| match stepped.reply {
        Reply::Done | Reply::Nothing | Reply::Expired => Ok((stepped.changed.task, false)),
        Reply::Replayed => Ok((stepped.changed.task, true)),
        Reply::Canceled => {
            Err(Refusal::new(&codes::TASK_CANCELED).about(stepped.changed.task.spec.id))
        }
        Reply::TooLate => {
            Err(Refusal::new(&codes::STALE_LEASE).about(stepped.changed.task.spec.id))
        }
    });
    match answer {
        Ok((task, replayed)) => {
            let viewer = Viewer::default();
            let task = present::task_of(answers, &task, &viewer, Estimate::default());
            SettleItem { status: 200, replayed, task: Some(task), ..SettleItem::default() }
        }
        Err(refusal) => SettleItem {
            status: refusal.code().status,
            canceled: *refusal.code() == codes::TASK_CANCELED,
            problem: Some(answers.refuse_item(&refusal)),
            ..SettleItem::default()
        },
    }
}
