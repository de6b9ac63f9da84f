//! What the threads of a store share.

use std::sync::Arc;

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
}

impl Shared {
    pub(crate) fn new(files: BodyFiles, reserve: Reserve, places: Places) -> Self {
        let condition = Condition::default();
        Self { condition, files: Arc::new(files), reserve, places }
    }

    /// Notices files that were moved, removed or replaced, and that they are back. Three calls of the
    /// system, a few microseconds.
    pub(crate) fn look_at_places(&self) {
        self.condition.note_place(self.places.missing());
    }
}
