//! A file that only takes up room: given up when the disk is full, so that outcomes can still
//! be written while nothing new is accepted. Being able to have it again is how the store
//! knows that there is room.
//!
//! It has room for all that the log usually holds. So the log can be copied even then, and begun
//! anew in the room it has already: from there on outcomes take no more. A last part of it stays
//! for the next start, which needs room for the index of the log and a note.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::held::beside;
use crate::system::System;

/// More than the log holds when it is copied.
const BYTES_MAX: u64 = 32 << 20;
const BYTES_MIN: u64 = 1 << 20;
/// Of a small volume, this part: what holds back more than it leaves serves nobody.
const VOLUME_PART: u64 = 8;
/// What stays of it for the next start.
const START_BYTES: u64 = 512 << 10;
const PIECE: u64 = 64 << 10;
/// What is new may take this part of the room beside the reserve before the disk is asked again:
/// between 64 KiB and 2 MiB.
const UNASKED_PART: u64 = 8;

/// The room that is held back.
pub(crate) struct Reserve {
    path: PathBuf,
    /// What it takes up, in the measure of its volume.
    bytes: u64,
    /// Given up, or never had: what is new must wait until there is room for it again.
    is_spent: AtomicBool,
    /// Bytes that what is new may still take before the disk is asked again.
    unasked: AtomicU64,
    /// Without one, room is found by trying.
    is_kept: bool,
    system: Arc<dyn System>,
}

impl Reserve {
    pub(crate) fn new(database: &Path, is_kept: bool, system: Arc<dyn System>) -> Self {
        let path = beside(database, ".reserve");
        let total = system.volume(&path).map_or(u64::MAX, |volume| volume.total);
        Self {
            path,
            bytes: size_on(total),
            is_spent: AtomicBool::new(false),
            unasked: AtomicU64::new(0),
            is_kept,
            system,
        }
    }

    /// Gives all of it up where a start could not do without: on a disk that is full.
    pub(crate) fn open_up(&self) {
        if self.free() < START_BYTES {
            self.remove();
        }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.is_spent.load(Ordering::Relaxed)
    }

    /// The same in pages of the database.
    pub(crate) fn pages(&self) -> u32 {
        u32::try_from(self.bytes >> 12).expect("a reserve is small")
    }

    /// How many bytes what is new may take and still leave as much as the log may need before
    /// it is copied, so that outcomes do not meet a full disk at once; `None` where nothing new
    /// may come. Asks the disk.
    pub(crate) fn room(&self) -> Option<u64> {
        if !self.is_kept {
            return Some(u64::MAX);
        }
        // One that was spent comes back first: so bodies may be taken in before it is filled.
        let missing = if self.is_spent() { self.missing() } else { 0 };
        self.free().checked_sub(self.headroom().saturating_add(missing))
    }

    /// Takes so many bytes of what may come unasked, if there are as many. Free.
    pub(crate) fn take_unasked(&self, bytes: u64) -> bool {
        let rest = |left: u64| left.checked_sub(bytes);
        self.unasked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).is_ok()
    }

    /// Lets some of the room that the disk told come unasked.
    pub(crate) fn leave_unasked(&self, room: u64) {
        self.unasked.store(room.min(self.headroom() / UNASKED_PART), Ordering::Relaxed);
    }

    /// Whether the reserve could be had again, and something new as well. Asks the
    /// disk, and takes nothing.
    pub(crate) fn could_return(&self) -> bool {
        self.is_kept && self.room().is_some()
    }

    /// What is missing, for people.
    pub(crate) fn bytes_wanted(&self) -> u64 {
        self.missing().saturating_add(self.headroom()).saturating_sub(self.free())
    }

    /// Takes up the room; answers whether there was that much.
    pub(crate) fn fill(&self) -> bool {
        let is_filled = !self.is_kept || self.found() == self.bytes || self.take(self.bytes);
        if !is_filled && !self.take(START_BYTES) {
            // Half of it would be missing where it is needed.
            self.remove();
        }
        self.is_spent.store(!is_filled, Ordering::Relaxed);
        is_filled
    }

    /// Gives the room up, but for the part of the next start; answers whether there was any.
    pub(crate) fn spend(&self) -> bool {
        if !self.is_kept || self.is_spent.swap(true, Ordering::Relaxed) {
            return false;
        }
        let cut = || File::options().write(true).open(&self.path)?.set_len(START_BYTES);
        if let Err(error) = cut()
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("could not give up the reserve of the store: {error}");
        }
        true
    }

    fn headroom(&self) -> u64 {
        self.bytes / 2
    }

    fn missing(&self) -> u64 {
        self.bytes.saturating_sub(self.found())
    }

    fn found(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Where the disk does not say, there is room until a write fails.
    fn free(&self) -> u64 {
        self.system.volume(&self.path).map_or(u64::MAX, |volume| volume.free)
    }

    /// Not synced: nobody is promised this file. One that a loss of power cut short has another
    /// length, so that it is made anew.
    fn take(&self, bytes: u64) -> bool {
        self.try_take(bytes).is_ok()
    }

    fn try_take(&self, bytes: u64) -> io::Result<()> {
        let mut options = File::options();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.open(&self.path)?;
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
                Ok(()) => return Ok(()),
                // Some file systems promise no room before it is written.
                Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Bytes without pattern, which no file system can store in less room.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut piece = Vec::new();
        for _ in 0..bytes / PIECE {
            piece.clear();
            while (piece.len() as u64) < PIECE {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                piece.extend_from_slice(&state.to_le_bytes());
            }
            file.write_all(&piece)?;
        }
        Ok(())
    }

    fn remove(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("could not give up the reserve of the store: {error}");
            }
            _ => {}
        }
    }
}

/// How large the reserve is on a volume of so many bytes.
fn size_on(total: u64) -> u64 {
    (total / VOLUME_PART).clamp(BYTES_MIN, BYTES_MAX) / PIECE * PIECE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Machine;

    #[test]
    fn the_reserve_is_spent_once_and_can_be_filled_again() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let database = folder.path().join("relais.db");
        let reserve = Reserve::new(&database, true, Arc::new(Machine));
        assert!(reserve.fill() && !reserve.is_spent());
        let file = folder.path().join("relais.db.reserve");
        let len = || fs::metadata(&file).expect("it is there").len();
        assert_eq!(len(), BYTES_MAX);
        assert!(reserve.room().is_some_and(|room| room < u64::MAX));
        assert!(reserve.spend() && reserve.is_spent());
        assert_eq!(len(), START_BYTES, "the next start has its part");
        assert!(!reserve.spend() && reserve.could_return());
        assert!(reserve.fill() && !reserve.is_spent());
        assert_eq!(len(), BYTES_MAX);
    }

    #[test]
    fn a_small_volume_has_a_small_reserve() {
        // 32 MiB of 24 were never to be had: once full, such a store took
        // nothing new until a restart.
        for (total, bytes) in [(0, 1 << 20), (24 << 20, 3 << 20), (1 << 40, 32 << 20)] {
            assert_eq!(size_on(total), bytes, "{total}");
        }
        assert_eq!(size_on(20_000_001), 2_490_368, "in whole pieces");
    }
}
