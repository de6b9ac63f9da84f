//! What followers of a queued task are told while it waits: its place, and when it may be done.
//!
//! An estimate is no event: it has no number, and is neither stored nor resumed. It is made once
//! for all followers of a task, however many they are.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use relais_api::Notice;
use relais_core::{Status, TaskId, limits};
use relais_engine::{Engine, EngineError};

use crate::answer::present;

/// How long an estimate is good enough for the next follower.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// The latest estimates.
#[derive(Debug, Default)]
pub(crate) struct Estimates {
    made: Mutex<HashMap<TaskId, (Duration, Notice)>>,
}

impl Estimates {
    /// The estimate of a task; `None` unless it is queued.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn of(
        &self,
        engine: &Engine,
        id: TaskId,
    ) -> Result<Option<Notice>, EngineError> {
        let now = engine.elapsed();
        if let Some(known) = self.known(id, now) {
            return Ok(Some(known));
        }
        let Some(task) = engine.task(id).await? else { return Ok(None) };
        if task.life.status() != Status::Queued {
            return Ok(None);
        }
        let estimate = engine.estimate(&task).await?;
        let position = estimate.ahead.map(|ahead| ahead + 1);
        let notice = Notice::Estimate { position, eta: estimate.eta.map(present::eta) };
        let mut made = self.made.lock().expect("nothing panics while it is held");
        if made.len() >= limits::ESTIMATES_MAX {
            made.retain(|_, (at, _)| now < *at + FRESH_FOR);
        }
        if made.len() < limits::ESTIMATES_MAX {
            made.insert(id, (now, notice.clone()));
        }
        Ok(Some(notice))
    }

    /// The estimate of a task that is fresh enough at `now`, of the time that is counted.
    pub(crate) fn known(&self, id: TaskId, now: Duration) -> Option<Notice> {
        let made = self.made.lock().expect("nothing panics while it is held");
        let (at, notice) = made.get(&id)?;
        (now < *at + FRESH_FOR).then(|| notice.clone())
    }
}
