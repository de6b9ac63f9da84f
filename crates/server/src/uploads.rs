//! Results that workers store before they settle: kept here, bounded and owned by their lease.
//!
//! A spool is finished, and with that durable, only when a settle names it: one that never is leaves
//! nothing behind.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use relais_core::{LeaseToken, Timestamp, limits};
use relais_store::Spool;

/// How long a result waits for its settle.
const KEPT_FOR: Duration = Duration::from_secs(3_600);
const PREFIX: &str = "result_";

/// A stored result.
pub(crate) struct Upload {
    /// Its bytes.
    pub(crate) spool: Box<dyn Spool>,
    /// The media type it came with.
    pub(crate) content_type: Option<String>,
    id: u128,
    at: Timestamp,
}

/// The stored results, one for each lease.
#[derive(Default)]
pub(crate) struct Uploads {
    by_lease: Mutex<HashMap<LeaseToken, Upload>>,
}

impl Uploads {
    /// Keeps a result for the settle of `token`; it replaces the one before. Answers the name by which
    /// the settle asks for it, or gives it back when there are too many.
    pub(crate) fn put(
        &self,
        token: LeaseToken,
        id: u128,
        spool: Box<dyn Spool>,
        content_type: Option<String>,
        now: Timestamp,
    ) -> Option<String> {
        let mut by_lease = self.by_lease.lock().expect("nothing panics while it is held");
        by_lease.retain(|_, upload| now.since(upload.at) < KEPT_FOR);
        if by_lease.len() >= limits::UPLOADS_MAX && !by_lease.contains_key(&token) {
            return None;
        }
        by_lease.insert(token, Upload { spool, content_type, id, at: now });
        Some(name_of(id))
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

fn name_of(id: u128) -> String {
    format!("{PREFIX}{id:032x}")
}
