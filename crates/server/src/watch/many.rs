//! One stream over many tasks: its ids are positions in the order of the whole store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use relais_api::{Notice, sse};
use relais_core::{Entry, Task, TaskId, TenantName, Timestamp, limits};
use relais_engine::Access;
use relais_engine::document::event_of;
use relais_store::{EventQuery, Logged};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Action, Scope, Visitor, read_by_ticket};
use crate::connection::Client;
use crate::request::params::Params;
use crate::watch::chunk::Chunk;
use crate::watch::sse::{KEEPALIVE, Resume, ends_at, retry_ms};

/// Events read from the store's log at once.
const PAGE: usize = 64;

/// Which tasks' events are wanted.
pub(crate) struct Wanted {
    tenant: TenantName,
    tasks: Vec<TaskId>,
    label: Option<(String, String)>,
    /// Whether tasks that are bound to their caller, or to a key, are left out.
    only_open: bool,
    /// When the first of the tickets ends.
    until: Option<Timestamp>,
}

impl Wanted {
    /// Reads which tasks are wanted, and whether the visitor may see them: tickets, or tasks and a
    /// label with an API key.
    ///
    /// # Errors
    /// When none is named, too many are, or one is not the visitor's.
    pub(crate) async fn of(app: &App, visitor: &Visitor, params: &Params) -> Result<Self, Refusal> {
        let label = params.get("label").map(label_of).transpose()?;
        let mut tasks = Vec::new();
        let mut tenant = None;
        let mut until: Option<Timestamp> = None;
        let mut first = |end: Timestamp| until = Some(until.map_or(end, |until| until.min(end)));
        for token in params.all("ticket") {
            let (task, end) = read_by_ticket(app, token).await?;
            one_tenant(&mut tenant, &task.spec.tenant)?;
            tasks.push(task.spec.id);
            first(end);
        }
        for text in params.all("task") {
            let id = text.parse().map_err(|_| Refusal::parameter("task", "no id of a task"))?;
            let seen = visitor.task(app, id, Action::Read).await?;
            one_tenant(&mut tenant, &seen.task.spec.tenant)?;
            tasks.push(id);
            if let Some(end) = seen.until {
                first(end);
            }
        }
        if label.is_some() {
            one_tenant(&mut tenant, &visitor.tenant(app, Scope::Read)?)?;
        }
        if tasks.len() > limits::STREAM_TASKS_MAX {
            let max = limits::STREAM_TASKS_MAX as u64;
            return Err(Refusal::parameter("task", format_args!("at most {max}")).limit(max));
        }
        let nothing = || Refusal::parameter("task", "give task, ticket or label");
        let only_open = label.is_some() && visitor.is_anonymous();
        Ok(Self { tenant: tenant.ok_or_else(nothing)?, tasks, label, only_open, until })
    }
}

/// Reads a label as `name=value`.
///
/// # Errors
/// When there is no `=`.
pub(crate) fn label_of(text: &str) -> Result<(String, String), Refusal> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| Refusal::parameter("label", "expected name=value"))?;
    Ok((name.to_owned(), value.to_owned()))
}

fn one_tenant(known: &mut Option<TenantName>, other: &TenantName) -> Result<(), Refusal> {
    match known {
        Some(known) if known != other => {
            Err(Refusal::parameter("ticket", "all tasks of a stream belong to one tenant"))
        }
        _ => {
            *known = Some(other.clone());
            Ok(())
        }
    }
}

/// A follower of many tasks.
pub(crate) struct FollowMany {
    app: Arc<App>,
    client: Client,
    wanted: Wanted,
    committed: watch::Receiver<u64>,
    erased: broadcast::Receiver<Arc<Task>>,
    after: u64,
    is_open: bool,
    is_reset: bool,
    /// When the stream ends, of the time that is counted: the client comes back, if it still may.
    until: Duration,
}

/// Opens a stream over many tasks.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn open(
    app: &Arc<App>,
    wanted: Wanted,
    resume: Resume,
    client: Client,
) -> Result<FollowMany, Refusal> {
    let (after, is_reset) = match resume {
        Resume::After(after) if is_in_log(app, &wanted, after).await? => (after, false),
        Resume::After(_) | Resume::Unknown => (0, true),
    };
    app.metrics.followers(1);
    Ok(FollowMany {
        app: app.clone(),
        client,
        until: ends_at(app, wanted.until),
        wanted,
        committed: app.engine.follow_all(),
        erased: app.engine.follow_erased(),
        after,
        is_open: false,
        is_reset,
    })
}

/// Whether a position lies within the log: beyond its end is that of another store, or of a time
/// that was undone by a restore, and whoever waited there would miss all that comes before.
async fn is_in_log(app: &App, wanted: &Wanted, after: u64) -> Result<bool, Refusal> {
    let Some(before) = after.checked_sub(1) else { return Ok(true) };
    let tenant = wanted.tenant.clone();
    let query = EventQuery::Store { tenant, tasks: vec![], label: None, after: before, limit: 1 };
    Ok(!app.engine.events(query).await?.is_empty())
}

impl FollowMany {
    /// The stream's bytes.
    pub(crate) fn into_chunks(self) -> impl Stream<Item = Bytes> + Send {
        stream::unfold(self, |mut follow| async move {
            let chunk = follow.next().await?;
            Some((chunk, follow))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        if !self.is_open {
            self.is_open = true;
            return Some(self.opening());
        }
        loop {
            if self.app.stop.is_cancelled() || self.until <= self.app.engine.elapsed() {
                return None;
            }
            // Seen before looking: a commit in between wakes the wait below.
            self.committed.borrow_and_update();
            match self.page().await {
                Ok(Some(chunk)) => return Some(chunk),
                Ok(None) => {}
                Err(refusal) => {
                    self.app.note(&refusal, None);
                    return None;
                }
            }
            let stop = self.app.stop.clone();
            tokio::select! {
                changed = self.committed.changed() => changed.ok()?,
                erased = self.erased.recv() => {
                    if let Some(notice) = self.erasure(erased) {
                        return Some(notice);
                    }
                }
                () = tokio::time::sleep(KEEPALIVE) => return Some(Chunk::comment().plain()),
                () = stop.cancelled() => return None,
                // What is there was given out, and the client is taken for gone.
                () = self.client.half_closed() => return None,
            }
        }
    }

    fn opening(&self) -> Bytes {
        let mut out = Vec::new();
        sse::write_retry(&mut out, retry_ms(&self.app));
        Notice::Open { version: 0, gap: false }.encode_sse(&mut out);
        if self.is_reset {
            Notice::Reset { reason: "unknown".to_owned(), from: 0 }.encode_sse(&mut out);
        }
        out.into()
    }

    /// The next events, encoded; `None` when nothing follows yet.
    async fn page(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let query = EventQuery::Store {
                tenant: self.wanted.tenant.clone(),
                tasks: self.wanted.tasks.clone(),
                label: self.wanted.label.clone(),
                after: self.after,
                limit: PAGE,
            };
            let page = self.app.engine.events(query).await?;
            if page.is_empty() {
                return Ok(None);
            }
            let chunk = self.encode(&page).await?;
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }

    /// As many of these events as a chunk takes; the cursor is behind them then.
    async fn encode(&mut self, page: &[Logged]) -> Result<Bytes, Refusal> {
        let mut out = Vec::new();
        for logged in page {
            if out.len() >= limits::STREAM_CHUNK_BYTES_MAX {
                break;
            }
            if self.is_shown(&logged.entry).await? {
                event_of(&logged.entry, self.app.base()).encode_sse_as(logged.pos, &mut out);
            }
            self.after = logged.pos;
        }
        Ok(out.into())
    }

    async fn is_shown(&self, entry: &Entry) -> Result<bool, Refusal> {
        if !self.wanted.only_open {
            return Ok(true);
        }
        let Some(task) = self.app.engine.task(entry.task).await? else { return Ok(false) };
        Ok(is_open(&task))
    }

    /// An erasure that this follower may know of. It is in no log: whoever was too slow missed it,
    /// and finds the task gone.
    fn erasure(&self, erased: Result<Arc<Task>, RecvError>) -> Option<Bytes> {
        let task = erased.ok()?;
        let Wanted { tenant, tasks, label, only_open, .. } = &self.wanted;
        let (spec, id) = (&task.spec, task.spec.id);
        let is_wanted = spec.tenant == *tenant
            && (tasks.is_empty() || tasks.contains(&id))
            && label.as_ref().is_none_or(|label| spec.labels.contains(label))
            && (!only_open || is_open(&task));
        is_wanted.then(|| {
            let mut out = Vec::new();
            Notice::Erased { task: id.to_string() }.encode_sse(&mut out);
            out.into()
        })
    }
}

/// Whether a task is neither bound to its caller nor to a key.
fn is_open(task: &Task) -> bool {
    App::context(task).is_ok_and(|context| matches!(context.access, Access::Ticket))
}

impl Drop for FollowMany {
    fn drop(&mut self) {
        self.app.metrics.followers(-1);
    }
}
