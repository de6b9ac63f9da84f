//! Progress is coalesced: at most ten events a second and task, and the last is always kept.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use relais_core::{LeaseToken, Progress, limits};

use crate::engine::Engine;
use crate::work::Report;

const EVERY: Duration = Duration::from_millis(1_000 / limits::PROGRESS_PER_SECOND_MAX as u64);

/// The attempts that reported progress within the last moment.
#[derive(Debug, Default)]
pub(crate) struct Coalescer {
    recent: Mutex<HashMap<LeaseToken, Recent>>,
}

#[derive(Debug)]
struct Recent {
    /// Of the time that is counted.
    logged_at: Duration,
    /// What came since; a flush is on its way for it.
    held: Option<Progress>,
}

impl Engine {
    /// The progress to log now; what comes too soon is held, and logged a moment later.
    pub(crate) fn coalesce(&self, token: LeaseToken, progress: Progress) -> Option<Progress> {
        let now = self.elapsed();
        let mut recent = self.inner().coalescer.lock();
        recent.retain(|_, one| one.held.is_some() || now < one.logged_at + EVERY);
        match recent.get_mut(&token) {
            None => {
                recent.insert(token, Recent { logged_at: now, held: None });
                Some(progress)
            }
            Some(one) => {
                if one.held.replace(progress).is_none() {
                    self.flush_later(token, one.logged_at + EVERY);
                }
                None
            }
        }
    }

    fn flush_later(&self, token: LeaseToken, at: Duration) {
        let engine = self.clone();
        self.inner().tracker.spawn(async move {
            tokio::select! {
                () = engine.clock().sleep_to(at) => {}
                () = engine.inner().stop.cancelled() => {}
            }
            let held = engine.inner().coalescer.lock().remove(&token).and_then(|one| one.held);
            let report = Report { token, progress: held, output: None, checkpoint: None };
            // The attempt may be over by now: then its outcome has been logged, which says more.
            drop(engine.report(None, vec![report]).await);
        });
    }
}

impl Coalescer {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LeaseToken, Recent>> {
        self.recent.lock().expect("nothing panics while it is held")
    }
}
