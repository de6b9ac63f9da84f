//! Results that workers store before they settle: kept here, bounded and owned by their lease.
//!
//! A spool is finished, and with that durable, only when a settle names it: one that never is leaves
//! nothing behind. What a lease has stored ends with it. A settle that the store could not take, in
//! passing, leaves it where it was: it is said again, with the same result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relais_api::codes;
use relais_core::{LeaseToken, Task, TenantName, limits};
use relais_engine::Follower;
use relais_store::{Data, Spool};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::app::App;
use crate::problem::Refusal;
use crate::watch::poll;
use crate::worker::is_held;

/// How long a result waits for its settle, however long its lease is.
const KEPT_FOR: Duration = Duration::from_secs(3_600);
const PREFIX: &str = "result_";

/// A stored result.
struct Upload {
    /// Its bytes; `None` while a settle has them.
    bytes: Option<Content>,
    content_type: Option<String>,
    id: u128,
    tenant: TenantName,
    /// Ends the watch over its lease.
    _watch: DropGuard,
}

/// The bytes of a stored result.
enum Content {
    /// No settle has named them yet.
    Unfinished(Box<dyn Spool>),
    /// Durable: they wait for a settle that is recorded.
    Finished(Data),
}

/// A stored result that a settle has: dropped before it is forgotten, it waits for the next.
pub(crate) struct Taken {
    uploads: Arc<Uploads>,
    token: LeaseToken,
    id: u128,
    bytes: Option<Content>,
    /// The media type it came with.
    pub(crate) content_type: Option<String>,
}

impl Taken {
    /// Makes it durable, and ready for a commit.
    ///
    /// # Errors
    /// When the store cannot: then it is lost, as nobody knows what of it was written.
    pub(crate) async fn finish(&mut self) -> Result<Data, Refusal> {
        let data = match self.bytes.take().ok_or_else(|| Refusal::internal("it was lost"))? {
            Content::Unfinished(spool) => spool.finish().await?,
            Content::Finished(data) => data,
        };
        self.bytes = Some(Content::Finished(data.clone()));
        Ok(data)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut by_lease = self.uploads.by_lease.lock().expect("nothing panics while it is held");
        // It may be forgotten, or replaced, meanwhile.
        let Some(upload) = by_lease.get_mut(&self.token).filter(|upload| upload.id == self.id)
        else {
            return;
        };
        upload.bytes = self.bytes.take();
        if upload.bytes.is_none() {
            by_lease.remove(&self.token);
        }
    }
}

/// The stored results, one for each lease.
#[derive(Default)]
pub(crate) struct Uploads {
    by_lease: Mutex<HashMap<LeaseToken, Upload>>,
}

impl Uploads {
    /// Whether a lease of this tenant may store a result: asked before its bytes are read, too.
    ///
    /// # Errors
    /// When the tenant, or all together, have as many as they may.
    pub(crate) fn admit(&self, tenant: &TenantName, token: LeaseToken) -> Result<(), Refusal> {
        let by_lease = self.by_lease.lock().expect("nothing panics while it is held");
        has_room(&by_lease, tenant, token)
    }

    /// Takes the result with this name, if it is that of the lease; it stays the lease's.
    ///
    /// # Errors
    /// While another settle has it.
    pub(crate) fn take(
        self: &Arc<Self>,
        token: LeaseToken,
        name: &str,
    ) -> Result<Option<Taken>, Refusal> {
        let mut by_lease = self.by_lease.lock().expect("nothing panics while it is held");
        let upload = by_lease.get_mut(&token).filter(|upload| name_of(upload.id) == name);
        let Some(upload) = upload else { return Ok(None) };
        let bytes = upload.bytes.take().ok_or_else(|| {
            Refusal::new(&codes::OVERLOADED).because("another settle of this lease is under way")
        })?;
        Ok(Some(Taken {
            uploads: self.clone(),
            token,
            id: upload.id,
            bytes: Some(bytes),
            content_type: upload.content_type.clone(),
        }))
    }

    /// Forgets what a lease that is over, or whose settle the engine answered, has stored.
    pub(crate) fn forget(&self, token: LeaseToken) {
        self.by_lease.lock().expect("nothing panics while it is held").remove(&token);
    }
}

/// Keeps a result for the settle of the lease `token` of `task`; it replaces the one before. Answers
/// the name by which the settle asks for it. `follower` must have come before the task was read.
///
/// # Errors
/// See [`Uploads::admit`].
pub(crate) fn keep(
    app: &Arc<App>,
    (task, follower): (Task, Follower),
    token: LeaseToken,
    spool: Box<dyn Spool>,
    content_type: Option<String>,
) -> Result<String, Refusal> {
    let id = app.engine.chance().bits();
    let (over, tenant) = (CancellationToken::new(), task.spec.tenant.clone());
    {
        let mut by_lease = app.uploads.by_lease.lock().expect("nothing panics while it is held");
        has_room(&by_lease, &tenant, token)?;
        let bytes = Some(Content::Unfinished(spool));
        let upload = Upload { bytes, content_type, id, tenant, _watch: over.clone().drop_guard() };
        by_lease.insert(token, upload);
    }
    tokio::spawn(watch_lease(app.clone(), follower, task, token, over));
    Ok(name_of(id))
}

/// Forgets a result when its lease is over, or its time is.
async fn watch_lease(
    app: Arc<App>,
    follower: Follower,
    task: Task,
    token: LeaseToken,
    over: CancellationToken,
) {
    let is_over = |task: &Task| !is_held(task, token);
    tokio::select! {
        () = over.cancelled() => return,
        waited = poll::until(&app, follower, task, tokio::time::sleep(KEPT_FOR), is_over) => drop(waited),
    }
    // A server that stops still takes settles.
    if !app.stop.is_cancelled() && !over.is_cancelled() {
        app.uploads.forget(token);
    }
}

fn has_room(
    by_lease: &HashMap<LeaseToken, Upload>,
    tenant: &TenantName,
    token: LeaseToken,
) -> Result<(), Refusal> {
    if by_lease.contains_key(&token) {
        return Ok(());
    }
    let refuse = |max: usize, whose: &str| {
        let why = format!("{whose} stored as many results without a settle as may be: {max}");
        Err(Refusal::new(&codes::RATE_LIMITED).because(why).limit(max as u64))
    };
    let of_tenant = by_lease.values().filter(|upload| upload.tenant == *tenant).count();
    if of_tenant >= limits::UPLOADS_PER_TENANT_MAX {
        return refuse(limits::UPLOADS_PER_TENANT_MAX, "the workers of this tenant have");
    }
    if by_lease.len() >= limits::UPLOADS_MAX {
        return refuse(limits::UPLOADS_MAX, "all workers together have");
    }
    Ok(())
}

fn name_of(id: u128) -> String {
    format!("{PREFIX}{id:032x}")
}
