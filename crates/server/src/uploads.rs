//! Results that workers store before they settle: kept here, bounded and owned by their lease.
//!
//! A spool is finished, and with that durable, only when a settle names it: one that never is leaves
//! nothing behind. What a lease has stored ends with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relais_api::codes;
use relais_core::{LeaseToken, Task, TenantName, limits};
use relais_engine::Follower;
use relais_store::Spool;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::app::App;
use crate::problem::Refusal;
use crate::watch::poll;
use crate::worker::is_held;

/// How long a result waits for its settle, however long its lease is.
const KEPT_FOR: Duration = Duration::from_secs(3_600);
const PREFIX: &str = "result_";

/// A stored result.
pub(crate) struct Upload {
    /// Its bytes.
    pub(crate) spool: Box<dyn Spool>,
    /// The media type it came with.
    pub(crate) content_type: Option<String>,
    id: u128,
    tenant: TenantName,
    /// Ends the watch over its lease.
    _watch: DropGuard,
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

    /// Takes the result with this name, if it is that of the lease.
    pub(crate) fn take(&self, token: LeaseToken, name: &str) -> Option<Upload> {
        let mut by_lease = self.by_lease.lock().expect("nothing panics while it is held");
        let is_named = by_lease.get(&token).is_some_and(|upload| name_of(upload.id) == name);
        if is_named { by_lease.remove(&token) } else { None }
    }

    /// Forgets what a lease that is over has stored.
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
        let upload = Upload { spool, content_type, id, tenant, _watch: over.clone().drop_guard() };
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
