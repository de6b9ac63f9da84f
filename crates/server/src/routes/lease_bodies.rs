//! `GET /v1/leases/input` and `PUT /v1/leases/result`: raw bodies of any size, streamed.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use relais_api::lease::StoredResult;
use relais_api::{codes, fields};
use relais_core::{BodyKind, LeaseToken, Task};
use relais_engine::{EngineError, Follower, RequestHead, ResultHead, Unread, envelope};
use relais_store::{Body, ShownAs, StoreError, StoredBody};

use crate::answer::problem::Refusal;
use crate::answer::replay::protect;
use crate::answer::stored::body_of;
use crate::app::App;
use crate::auth::Visitor;
use crate::request::bodies::{Holder, Place};
use crate::request::incoming;
use crate::request::params::Params;
use crate::routes::json;
use crate::routes::leases::{refusal_of, token_of};
use crate::routes::settles::{BYTES, content_type_field};
use crate::routes::submit::check_content_type;
use crate::routes::worker::{Right, is_held, leased_task, spoil};

/// How long after a task could not be read it is looked at again.
const AGAIN: Duration = Duration::from_secs(1);
const PREFIX: &str = "result_";

/// The fields that say what the bytes of an input are.
const OF_BYTES: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE];

/// `GET /v1/leases/input`.
pub(super) async fn input(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    uri: Uri,
) -> Result<Response, Refusal> {
    Params::of(&uri, &[])?;
    let token = token(visitor.headers())?;
    let task = leased_task(&app, &visitor, token).await?;
    let input = match whole_input(&app, &task).await {
        Err(EngineError::Store(error)) if !error.may_pass() => {
            let unread = Unread { body: BodyKind::Input, error };
            spoil(&app, token, &unread).await?;
            return Err(Refusal::new(&codes::BODY_DAMAGED));
        }
        read => read?,
    };
    let Some((head, input)) = input.filter(|(_, input)| input.len > 0) else {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    };
    let mut response = Response::new(body_of(&input));
    let headers = response.headers_mut();
    for (name, value) in head.fields {
        let known = OF_BYTES.iter().find(|known| known.as_str() == name);
        if let (Some(name), Ok(value)) = (known, HeaderValue::from_maybe_shared(value)) {
            headers.insert(name.clone(), value);
        }
    }
    protect(headers);
    Ok(response)
}

async fn whole_input(
    app: &App,
    task: &Task,
) -> Result<Option<(RequestHead, StoredBody)>, EngineError> {
    match app.engine.body(task.spec.id, BodyKind::Input).await? {
        Some(input) => {
            input.verify().await?;
            Ok(Some((envelope::decode(&input.head)?, input)))
        }
        None if task.spec.input_bytes == 0 => Ok(None),
        None => Err(StoreError::BodyDamaged("it is missing".to_owned()).into()),
    }
}

/// `PUT /v1/leases/result`; with `live` whoever reads the answer of the task gets it from its first byte.
pub(super) async fn store_result(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    uri: Uri,
    mut body: axum::body::Body,
) -> Result<Response, Refusal> {
    let is_live = is_live(&Params::of(&uri, &["live"])?)?;
    let token = token(visitor.headers())?;
    let follower = app.engine.follow(token.task);
    let task = leased_task(&app, &visitor, token).await?;
    let content_type = content_type(visitor.headers())?;
    // What is shown says what it is: a settle can add nothing.
    let content_type = content_type.or_else(|| is_live.then(|| BYTES.to_owned()));
    let max = app.engine.config().result_bytes_max;
    incoming::check_length(visitor.headers(), max)?;
    let fields = content_type.map(content_type_field).into_iter().collect();
    let head = app.engine.encode(&ResultHead { status: 200, fields, has_body: true });
    let right = Right::of(&visitor)?;
    let mut held = app.bodies.begin(Place::Store, Holder::Tenant(task.spec.tenant.clone()));
    let mut spool = app.engine.spool().await?;
    let live = if is_live {
        let id = app.engine.begin_live(right.tenant(), token).await.map_err(refusal_of)?;
        let (version, head) = (task.life.result_version(), head.clone());
        // Of an empty one the head is shown all the same: its settle may take as long as its lease.
        let announced_len = body.size_hint().exact().filter(|len| *len > 0);
        spool.show(ShownAs { task: token.task, version, head, announced_len });
        Some(id)
    } else {
        None
    };
    let mut is_over = Box::pin(end_of_lease(&app, follower, task, token));
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            // Nobody will settle with what comes now, however slowly.
            () = &mut is_over => {
                leased_task(&app, &visitor, token).await?;
                return Err(Refusal::new(&codes::STALE_LEASE));
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| incoming::broken_off())?;
        let Ok(chunk) = frame.into_data() else { continue };
        let len = spool.len() + chunk.len() as u64;
        if len > max {
            return Err(incoming::too_large(max));
        }
        held.grow(len)?;
        spool.write(chunk).await?;
    }
    let size = spool.len();
    // Its worker still has the bytes: what the store cannot take now is put again, or settled otherwise.
    let data = spool.finish().await?;
    let early = app.engine.store_early(right.tenant(), token, live, Body { head, data }).await;
    let early = early.inspect_err(|_| spool.break_off());
    let result_id = early_name(early.map_err(refusal_of)?);
    json(StatusCode::OK, &StoredResult { result_id, size })
}

/// Whether a result is to be shown while it comes.
fn is_live(params: &Params) -> Result<bool, Refusal> {
    match params.get("live") {
        None => Ok(false),
        Some("") => Ok(true),
        Some(_) => Err(Refusal::parameter("live", "expected no value")),
    }
}

/// Resolves once the lease `token` of `task` is over. A store that cannot be read just now says nothing
/// of that. `follower` must have come before the task was read.
async fn end_of_lease(app: &App, mut follower: Follower, mut task: Task, token: LeaseToken) {
    while is_held(&task, token) {
        follower.after(task.life.version).await;
        match app.engine.task(token.task).await {
            Ok(Some(now)) => task = now,
            Ok(None) => return,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// The name by which a settle asks for an early result.
fn early_name(id: u128) -> String {
    format!("{PREFIX}{id:032x}")
}

/// The number of an early result, by its name.
pub(super) fn early_id(name: &str) -> Option<u128> {
    let id = u128::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()?;
    (early_name(id) == name).then_some(id)
}

fn token(headers: &HeaderMap) -> Result<LeaseToken, Refusal> {
    let line = headers.get(fields::LEASE).ok_or_else(|| {
        let why = "send the token of the lease as `Relais-Lease`";
        Refusal::new(&codes::UNAUTHORIZED).because(why)
    })?;
    token_of(line.to_str().unwrap_or_default().trim())
}

fn content_type(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(line) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let refuse = || Refusal::new(&codes::UNSUPPORTED_MEDIA_TYPE);
    let text = line.to_str().map_err(|_| refuse())?;
    check_content_type("/content_type", text).map_err(|_| refuse())?;
    Ok(Some(text.to_owned()))
}
