//! What the threads of a store share.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};

use relais_store::{GrowingAnswers, Notices};

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
    /// What attempts bring just now.
    pub(crate) growing: GrowingAnswers,
    /// Sessions of browsers that are kept, as of the last transaction.
    pub(crate) sessions: AtomicU64,
    notices: Mutex<Notices>,
}

impl Shared {
    pub(crate) fn new(files: BodyFiles, reserve: Reserve, places: Places) -> Self {
        let condition = Condition::default();
        let (growing, notices) = (GrowingAnswers::default(), Mutex::default());
        let (files, sessions) = (Arc::new(files), AtomicU64::new(0));
        Self { condition, files, reserve, places, growing, sessions, notices }
    }

    /// What was committed since the store was opened that is in no log.
    pub(crate) fn notices(&self) -> MutexGuard<'_, Notices> {
        self.notices.lock().expect("nothing panics while it is held")
    }

    /// Whether something new of this length may be taken. One that is too long says nothing about
    /// others; that nothing new fits is known from then on. While there is room, the disk is asked
    /// once for many bytes, and for none at all never: whoever writes looks.
    pub(crate) fn has_room_for(&self, bytes: u64) -> bool {
        self.look_for_room();
        if self.condition.is_full() {
            return false;
        }
        if self.reserve.take_unasked(bytes) {
            return true;
        }
        let Some(room) = self.reserve.room() else {
            self.note_full();
            return false;
        };
        let rest = room.checked_sub(bytes);
        rest.inspect(|rest| self.reserve.leave_unasked(*rest)).is_some()
    }

    /// Notes that there is too little room for what is new.
    pub(crate) fn note_full(&self) {
        let wanted = self.reserve.bytes_wanted();
        let text = format!("{wanted} more bytes must be free on its disk");
        self.condition.note(&Fault::Io(io::Error::new(io::ErrorKind::StorageFull, text)));
    }

    /// Notices that there is room again, so that nobody has to be refused to find out. Free while
    /// the disk is not known to be full.
    pub(crate) fn look_for_room(&self) {
        if self.condition.is_full() && self.reserve.could_return() {
            self.condition.has_room();
        }
    }

    /// Notices files that were moved, removed or replaced, and that they are back. Three
    /// calls of the system, a few microseconds: once for what is written together, and for
    /// who asks how the store is.
    pub(crate) fn look_at_places(&self) {
        self.condition.note_place(self.places.missing());
    }
}
