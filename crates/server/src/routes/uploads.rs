//! Results that workers store before they settle: kept here, bounded and owned by their lease.
//!
//! A result is durable before its worker is told its name: a settle has nothing left to write but
//! itself. It ends with its lease, or with the settle that the engine answered; one that no settle
//! was recorded with leaves nothing behind. A settle that the store could not take, in passing,
//! leaves it where it was: it is said again, with the same result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relais_api::codes;
use relais_core::{LeaseToken, Task, TenantName, limits};
use relais_engine::Follower;
use relais_store::Data;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::answer::problem::Refusal;
use crate::app::App;
use crate::routes::worker::is_held;

/// How long after a task could not be read it is looked at again.
const AGAIN: Duration = Duration::from_secs(1);
const PREFIX: &str = "result_";

/// A stored result.
struct Upload {
    /// Its bytes; `None` while a settle has them: a commit that decides about them takes them,
    /// whatever it decides, so that no two may have them.
    data: Option<Data>,
    content_type: Option<String>,
    id: u128,
    tenant: TenantName,
    /// Ends the watch over its lease.
    _watch: DropGuard,
}

/// A stored result that a settle has: dropped before it is forgotten, it waits for the next.
pub(crate) struct Taken {
    uploads: Arc<Uploads>,
    token: LeaseToken,
    id: u128,
    /// Its bytes.
    pub(crate) data: Data,
    /// The media type it came with.
    pub(crate) content_type: Option<String>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut by_lease = self.uploads.by_lease.lock().expect("nothing panics while it is held");
        // It may be forgotten, or replaced, meanwhile.
        if let Some(upload) = by_lease.get_mut(&self.token).filter(|upload| upload.id == self.id) {
            upload.data = Some(self.data.clone());
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
        let data = upload.data.take().ok_or_else(|| {
            Refusal::new(&codes::OVERLOADED).because("another settle of this lease is under way")
        })?;
        Ok(Some(Taken {
            uploads: self.clone(),
            token,
            id: upload.id,
            data,
            content_type: upload.content_type.clone(),
        }))
    }

    /// Forgets what a lease that is over, or whose settle the engine answered, has stored.
    pub(crate) fn forget(&self, token: LeaseToken) {
        self.by_lease.lock().expect("nothing panics while it is held").remove(&token);
    }
}

/// Keeps a result for the settle of the lease `token`, a task's of `tenant`, until `is_over` resolves;
/// it replaces the one before. Answers the name by which the settle asks for it.
///
/// # Errors
/// See [`Uploads::admit`].
pub(crate) fn keep(
    app: &Arc<App>,
    tenant: TenantName,
    token: LeaseToken,
    is_over: impl Future<Output = ()> + Send + 'static,
    (data, content_type): (Data, Option<String>),
) -> Result<String, Refusal> {
    let (id, over) = (app.engine.chance().bits(), CancellationToken::new());
    {
        let mut by_lease = app.uploads.by_lease.lock().expect("nothing panics while it is held");
        has_room(&by_lease, &tenant, token)?;
        let watch = over.clone().drop_guard();
        let upload = Upload { data: Some(data), content_type, id, tenant, _watch: watch };
        by_lease.insert(token, upload);
    }
    let app = app.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = over.cancelled() => {}
            // A server that stops still takes settles.
            () = app.stop.cancelled() => {}
            () = is_over => app.uploads.forget(token),
        }
    });
    Ok(name_of(id))
}

/// Resolves once the lease `token` of `task` is over. A store that cannot be read just now says nothing
/// of that. `follower` must have come before the task was read.
pub(crate) async fn end_of_lease(
    app: Arc<App>,
    mut follower: Follower,
    mut task: Task,
    token: LeaseToken,
) {
    while is_held(&task, token) {
        follower.after(task.life.version).await;
        match app.engine.task(token.task).await {
            Ok(Some(now)) => task = now,
            Ok(None) => return,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
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
