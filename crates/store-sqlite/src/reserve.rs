//! A file that only takes up room: given up when the disk is full, so that outcomes can still be written
//! while nothing new is accepted. Being able to write it again is how the store knows that there is room.
//!
//! It has room for all that the log usually holds. So the log can be copied even then, and begun anew in
//! the room it has already: from there on outcomes take no more.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// More than the log holds when it is copied.
const BYTES: usize = 32 << 20;
const PIECE: usize = 64 << 10;
/// The same in pages of the database.
pub(crate) const PAGES: i64 = (BYTES >> 12) as i64;

/// The room that is held back.
pub(crate) struct Reserve {
    path: PathBuf,
    /// Given up, or never had: what is new must wait until there is room for it again.
    is_spent: AtomicBool,
    /// Without one, room is found by trying.
    is_kept: bool,
}

impl Reserve {
    pub(crate) fn new(database: &Path, is_kept: bool) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push(".reserve");
        Self { path: path.into(), is_spent: AtomicBool::new(false), is_kept }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.is_spent.load(Ordering::Relaxed)
    }

    /// Takes up the room; answers whether there was that much.
    pub(crate) fn fill(&self) -> bool {
        let found = fs::metadata(&self.path).map_or(0, |file| file.len());
        let is_filled = !self.is_kept || found == BYTES as u64 || self.write().is_ok();
        if !is_filled {
            // Half a reserve would be missing where it is needed.
            self.remove();
        }
        self.is_spent.store(!is_filled, Ordering::Relaxed);
        is_filled
    }

    /// Gives the room up; answers whether there was any.
    pub(crate) fn spend(&self) -> bool {
        if !self.is_kept || self.is_spent.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.remove();
        true
    }

    /// Not synced: nobody is promised this file. The room is taken once the bytes are written, and one
    /// that a loss of power cut short has another length, so that it is written anew.
    fn write(&self) -> io::Result<()> {
        let mut options = File::options();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.open(&self.path)?;
        // Bytes without pattern, which no file system can store in less room.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut piece = Vec::with_capacity(PIECE);
        for _ in 0..BYTES / PIECE {
            piece.clear();
            while piece.len() < PIECE {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_spent_once_and_can_be_filled_again() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let database = folder.path().join("relais.db");
        let reserve = Reserve::new(&database, true);
        assert!(reserve.fill() && !reserve.is_spent());
        let file = folder.path().join("relais.db.reserve");
        assert_eq!(fs::metadata(&file).expect("it is there").len(), BYTES as u64);
        assert!(reserve.spend() && reserve.is_spent());
        assert!(!file.exists() && !reserve.spend());
        assert!(reserve.fill() && !reserve.is_spent() && file.exists());
    }
}
