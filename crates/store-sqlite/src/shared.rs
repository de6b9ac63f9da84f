//! What the threads of a store share.

use std::io;
use std::sync::Arc;

use crate::bodies::BodyFiles;
use crate::fault::{Condition, Fault};
use crate::held::Places;
use crate::reserve::Reserve;

/// What the threads of a store share.
pub(crate) struct Shared {
    pub(crate) condition: Condition,
    pub(crate) files: Arc<BodyFiles>,
    pub(crate) reserve: Reserve,
    pub(crate) places: Places,
}

impl Shared {
    pub(crate) fn new(files: BodyFiles, reserve: Reserve, places: Places) -> Self {
        let condition = Condition::default();
        Self { condition, files: Arc::new(files), reserve, places }
    }

    /// Whether something new of this length may be taken; where not, that is known from then on.
    pub(crate) fn has_room_for(&self, bytes: u64) -> bool {
        let has_room = self.reserve.has_room_for(bytes);
        if !has_room {
            self.note_full();
        }
        has_room
    }

    /// Notes that there is too little room for what is new.
    pub(crate) fn note_full(&self) {
        let wanted = self.reserve.bytes_wanted();
        let text = format!("{wanted} more bytes must be free on its disk");
        self.condition.note(&Fault::Io(io::Error::new(io::ErrorKind::StorageFull, text)));
    }

    /// Notices that there is room again, so that nobody has to be refused to find out.
    pub(crate) fn look_for_room(&self) {
        if self.condition.is_full() && self.reserve.could_return() {
            self.condition.has_room();
        }
    }

    /// Notices files that were moved, removed or replaced, and that they are back. Three calls of the
    /// system, a few microseconds.
    pub(crate) fn look_at_places(&self) {
        self.condition.note_place(self.places.missing());
    }
}
