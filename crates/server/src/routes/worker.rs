//! What workers share: with what right a call about leases comes, and leases whose answer must arrive.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use relais_api::{Lease, RawJson, codes, lease};
use relais_core::{BodyKind, LeaseToken, QueueName, State, Task, TenantName, limits};
use relais_engine::envelope::is_json;
use relais_engine::{Outcome, RequestHead, Settle, Unread, document, envelope};
use relais_store::{Claimed, StoreError, StoredBody};
use tokio::sync::oneshot;

use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Caller, Scope, Visitor};
use crate::routes::travelling;

/// How long a claim whose worker left is listened to.
const CLAIM_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of an answer handed over at once: a connection that broke is noticed in between.
const PIECE_BYTES: usize = 16 << 10;

/// With what right a call about leases comes.
pub(crate) enum Right {
    /// That of an API key: for the tasks of its tenant.
    Key(TenantName),
    /// That of this machine, where there are no keys.
    Local,
    /// Only that of its tokens, which cannot be guessed; a call without any is refused.
    Tokens(Refusal),
}

impl Right {
    /// Known by the head of a call, before its body is read.
    ///
    /// # Errors
    /// When the key does not allow work.
    pub(crate) fn of(visitor: &Visitor) -> Result<Self, Refusal> {
        match (&visitor.caller, visitor.open()) {
            (Caller::Key(key), _) if Scope::Work.is_in(key.scopes) => {
                Ok(Self::Key(key.tenant.clone()))
            }
            (Caller::Key(_), _) => Err(Refusal::missing_scope(Scope::Work)),
            (Caller::Nobody, Ok(())) => Ok(Self::Local),
            (Caller::Nobody, Err(refusal)) => Ok(Self::Tokens(refusal.clone())),
        }
    }

    /// The largest body that is read before its tokens are known.
    pub(crate) fn body_bytes_max(&self) -> u64 {
        match self {
            Self::Key(_) | Self::Local => limits::BATCH_BODY_BYTES_MAX,
            Self::Tokens(_) => limits::KEYLESS_BATCH_BODY_BYTES_MAX,
        }
    }

    /// Whether a call of so many items has any right at all.
    ///
    /// # Errors
    /// When it brings neither a key nor a token.
    pub(crate) fn admit(&self, items: usize) -> Result<(), Refusal> {
        match self {
            Self::Tokens(refusal) if items == 0 => Err(refusal.clone()),
            Self::Key(_) | Self::Local | Self::Tokens(_) => Ok(()),
        }
    }

    /// Whose tasks alone it reaches; `None` is all that it brings a token for, whatever the tenant: the
    /// configuration may have changed since the token was given out.
    pub(crate) fn tenant(&self) -> Option<&TenantName> {
        match self {
            Self::Key(tenant) => Some(tenant),
            Self::Local | Self::Tokens(_) => None,
        }
    }
}

/// Whether a lease still holds. One that is over never comes back.
pub(crate) fn is_held(task: &Task, token: LeaseToken) -> bool {
    let is_running = matches!(task.life.state, State::Running { .. });
    is_running && task.life.lease().is_some_and(|lease| lease.nonce == token.nonce)
}

/// The task that a lease is for, while the lease holds.
///
/// # Errors
/// When it does not hold (any more).
pub(crate) async fn leased_task(
    app: &App,
    visitor: &Visitor,
    token: LeaseToken,
) -> Result<Task, Refusal> {
    let stale = || Refusal::new(&codes::STALE_LEASE);
    let right = Right::of(visitor)?;
    let task = app.engine.task(token.task).await?.ok_or_else(stale)?;
    let is_another_tenants = right.tenant().is_some_and(|tenant| *tenant != task.spec.tenant);
    let is_named = task.life.lease().is_some_and(|lease| lease.nonce == token.nonce);
    match &task.life.state {
        _ if is_another_tenants || !is_named => Err(stale()),
        State::Running { .. } => Ok(task),
        State::Canceled { .. } => Err(Refusal::new(&codes::TASK_CANCELED)),
        State::Queued { .. }
        | State::Waiting { .. }
        | State::Succeeded { .. }
        | State::Failed { .. } => Err(stale()),
    }
}

/// Leases as they travel in one answer. One whose bodies are damaged ends with its task, and is not
/// among them: it would be the next one of each call.
///
/// # Errors
/// When their bodies cannot be read just now.
pub(crate) async fn leases_of(app: &App, claimed: &[Claimed]) -> Result<Vec<Lease>, Refusal> {
    let mut room = limits::LEASE_INPUTS_BYTES_MAX;
    let mut leases = Vec::with_capacity(claimed.len());
    for claimed in claimed {
        match lease_of(app, claimed, &mut room).await {
            Ok(lease) => leases.push(lease),
            Err(unread) if unread.error.may_pass() => return Err(unread.error.into()),
            Err(unread) => spoil(app, claimed.token(), &unread).await?,
        }
    }
    Ok(leases)
}

/// Ends an attempt whose stored body is damaged: its worker can do nothing about it, and neither could
/// the next.
///
/// # Errors
/// When that cannot be stored.
pub(crate) async fn spoil(app: &App, token: LeaseToken, unread: &Unread) -> Result<(), Refusal> {
    tracing::error!(error = %unread, task = %token.task, "could not hand a body to a worker");
    let settle = Settle { token, outcome: unread.outcome() };
    app.engine.settle(None, vec![settle]).await?;
    Ok(())
}

/// A lease as it travels.
///
/// # Errors
/// When its bodies cannot be read.
async fn lease_of(app: &App, claimed: &Claimed, room: &mut u64) -> Result<Lease, Unread> {
    let task = claimed.task();
    let token = claimed.token();
    let mut lease = Lease {
        token: token.to_string(),
        task: task.spec.id.to_string(),
        queue: task.spec.queue.to_string(),
        lane: task.spec.lane.as_ref().map(ToString::to_string),
        attempt: task.life.attempt,
        run: task.life.run,
        labels: task.spec.labels.iter().cloned().collect(),
        content_type: task.spec.content_type.clone(),
        request: None,
        input: None,
        input_base64: None,
        input_url: None,
        checkpoint: None,
        heartbeat_every: travelling(app.engine.heartbeat_every(task)),
        lease_until: document::time(
            task.life.lease().map_or(task.life.updated_at, |lease| lease.until),
        ),
        deadline: Some(document::time(task.life.deadline)),
    };
    for (kind, body) in &claimed.bodies {
        let unread = |error| Unread { body: *kind, error };
        match kind {
            BodyKind::Input => {
                if task.spec.request.is_some() {
                    let head = envelope::decode(&body.head).map_err(unread)?;
                    lease.request = Some(request_of(head));
                }
                put_input(app, &mut lease, body, room).await.map_err(unread)?;
            }
            BodyKind::Checkpoint => {
                let bytes = body.bytes(limits::CHECKPOINT_BYTES_MAX).await.map_err(unread)?;
                lease.checkpoint = relais_api::decode(&bytes).ok();
            }
            BodyKind::Result | BodyKind::Sealed | BodyKind::Early => {}
        }
    }
    Ok(lease)
}

/// The head of a route's request as it travels. What is sealed is not in it:
/// credentials stay where they are.
fn request_of(head: RequestHead) -> lease::RequestHead {
    let (path, query) = match head.target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (head.target, None),
    };
    // JSON has no bytes: what is not UTF-8 is replaced, as the contract says.
    let text = |value: Bytes| String::from_utf8_lossy(&value).into_owned();
    let headers = head.fields.into_iter().map(|(name, value)| (name, text(value)));
    lease::RequestHead {
        method: head.method,
        path,
        query,
        params: head.params.into_iter().collect(),
        headers: headers.collect(),
    }
}

/// Puts the input into its lease while the answer has `room` for it, or says where to get it.
async fn put_input(
    app: &App,
    lease: &mut Lease,
    body: &StoredBody,
    room: &mut u64,
) -> Result<(), StoreError> {
    if body.len == 0 {
        return Ok(());
    }
    if body.len > (*room).min(limits::INLINE_BODY_BYTES_MAX as u64) {
        lease.input_url = Some(format!("{}/v1/leases/input", app.base.as_str()));
        return Ok(());
    }
    *room -= body.len;
    let bytes = body.bytes(limits::INLINE_BODY_BYTES_MAX).await?;
    let says_json = lease.content_type.as_deref().is_some_and(is_json);
    // What only says that it is JSON would make the whole batch unreadable.
    match says_json.then(|| relais_api::decode::<RawJson>(&bytes)) {
        Some(Ok(json)) => lease.input = Some(json),
        Some(Err(_)) | None => lease.input_base64 = Some(STANDARD.encode(&bytes)),
    }
    Ok(())
}

/// What is to be leased.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) tenant: TenantName,
    /// From which queue.
    pub(crate) queue: QueueName,
    /// The worker's name for itself.
    pub(crate) worker: String,
    /// How many at most.
    pub(crate) max: usize,
    /// How long to wait for the first.
    pub(crate) wait: Duration,
}

/// What was leased: given back if it is dropped.
#[derive(Default)]
pub(crate) struct Leased {
    /// The attempts that started.
    pub(crate) claimed: Vec<Claimed>,
    /// What sees them to their worker.
    pub(crate) handover: Option<Handover>,
}

/// Leases tasks so that none is lost when the worker leaves in the middle: a claim on its way to
/// the store is heard to its end, and what it brought is given back.
///
/// # Errors
/// When there is no such queue, the server stops, or the store cannot.
pub(crate) async fn take(app: &Arc<App>, wish: Wish) -> Result<Leased, Refusal> {
    let (mut answer, taken) = oneshot::channel();
    let app = app.clone();
    tokio::spawn(async move {
        let Wish { tenant, queue, worker, max, wait } = wish;
        let leasing = app.engine.lease(&tenant, &queue, &worker, max, wait);
        tokio::pin!(leasing);
        let claimed = tokio::select! {
            claimed = &mut leasing => claimed,
            () = answer.closed() => match tokio::time::timeout(CLAIM_PATIENCE, leasing).await {
                Ok(claimed) => claimed,
                // It only waited.
                Err(_) => return,
            },
        };
        let leased = claimed.map(|claimed| Leased {
            handover: (!claimed.is_empty()).then(|| Handover::of(&app, &claimed)),
            claimed,
        });
        // Nobody there any more: what is dropped here is given back.
        drop(answer.send(leased));
    });
    let leased = taken.await.map_err(|_| Refusal::internal("a claim panicked"))?;
    Ok(leased?)
}

/// Leases on their way to a worker: given back at once unless the whole answer was handed over.
pub(crate) struct Handover {
    app: Arc<App>,
    tokens: Vec<LeaseToken>,
}

impl Handover {
    /// Leases that were just taken.
    pub(crate) fn of(app: &Arc<App>, claimed: &[Claimed]) -> Self {
        Self { app: app.clone(), tokens: claimed.iter().map(Claimed::token).collect() }
    }

    /// The body that hands them over.
    pub(crate) fn body(self, bytes: Bytes) -> Body {
        if self.tokens.is_empty() {
            return Body::from(bytes);
        }
        Body::new(HandoverBody { bytes, handover: self })
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        let tokens = std::mem::take(&mut self.tokens);
        if tokens.is_empty() {
            return;
        }
        let app = self.app.clone();
        // Without a runtime the process ends, and the leases end by themselves.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let release = |token| Settle { token, outcome: Outcome::Release };
            let settles = tokens.into_iter().map(release).collect();
            if let Err(error) = app.engine.settle(None, settles).await {
                tracing::warn!(%error, "could not give back leases that never reached their worker");
            }
        });
    }
}

struct HandoverBody {
    bytes: Bytes,
    handover: Handover,
}

impl http_body::Body for HandoverBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let len = self.bytes.len().min(PIECE_BYTES);
        let piece = self.bytes.split_to(len);
        if self.bytes.is_empty() {
            self.handover.tokens.clear();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
