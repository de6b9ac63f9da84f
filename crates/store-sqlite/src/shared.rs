//! What the threads of a store share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use relais_core::Policy;

use crate::bodies::BodyFiles;
use crate::fault::Condition;
use crate::held::Places;
use crate::reserve::Reserve;

/// What the threads of a store share.
pub(crate) struct Shared {
    pub(crate) condition: Condition,
    pub(crate) files: Arc<BodyFiles>,
    pub(crate) reserve: Reserve,
    places: Places,
    /// The policy of the last claim of each queue, by its id: what says why a task waits.
    seen: Mutex<HashMap<i64, Arc<Policy>>>,
}

impl Shared {
    pub(crate) fn new(files: BodyFiles, reserve: Reserve, places: Places) -> Self {
        let condition = Condition::default();
        Self { condition, files: Arc::new(files), reserve, places, seen: Mutex::default() }
    }

    /// Notices files that were moved, removed or replaced, and that they are back. Three calls of the
    /// system, a few microseconds.
    pub(crate) fn look_at_places(&self) {
        self.condition.note_place(self.places.missing());
    }

    pub(crate) fn see(&self, queue: i64, policy: &Arc<Policy>) {
        let mut seen = self.seen.lock().expect("nothing panics while it is held");
        seen.insert(queue, policy.clone());
    }

    pub(crate) fn seen(&self, queue: i64) -> Option<Arc<Policy>> {
        self.seen.lock().expect("nothing panics while it is held").get(&queue).cloned()
    }
}
