//! The only descriptor of the database that is ours, and what it tells: that the file is whole,
//! that no other server has it, and that it still is where it was.
//!
//! POSIX takes all locks of a process on a file away when *any* of its descriptors of that file is
//! closed, and SQLite tells other programs by such locks that it has the file: without them
//! the next to look at it takes itself for the last, and removes the log. So nothing but
//! this module opens the database (`cargo xtask tidy` holds it), before SQLite does, and
//! closes it after SQLite has.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relais_store::Disk;

use crate::open::OpenError;
use crate::system::{Identity, System};

/// A database whose file is open.
///
/// Whoever has connections to it drops them first.
#[derive(Debug)]
pub(crate) struct Held {
    file: File,
    path: PathBuf,
}

impl Held {
    /// Makes the file if it is new, ours to read only, and keeps every other server away: two would
    /// each remember only what they wrote themselves. The lock is on the file, not on a name:
    /// links, bind mounts and other spellings lead to the same.
    pub(crate) fn lock(path: &Path) -> Result<Self, OpenError> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(failed(path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse),
            Err(TryLockError::Error(error)) => return Err(OpenError::Io(path.into(), error)),
        }
        let held = Self { path: fs::canonicalize(path).map_err(failed(path))?, file };
        let found = held.file.metadata().map_err(failed(path))?;
        if found.permissions().mode() & 0o077 != 0 {
            let owner_only = Permissions::from_mode(0o600);
            held.file.set_permissions(owner_only).map_err(failed(path))?;
        }
        if found.nlink() > 1 {
            tracing::warn!(
                "the store has {} names (hard links): always start it by the same one, because its \
                 log and its bodies lie beside the name",
                found.nlink()
            );
        }
        Ok(held)
    }

    /// Opens a database to look at it, beside its server as well.
    pub(crate) fn look(path: &Path) -> Result<Self, OpenError> {
        let file = File::open(path).map_err(failed(path))?;
        Ok(Self { path: fs::canonicalize(path).map_err(failed(path))?, file })
    }

    /// Where the file is, behind all links: the other files of the store are beside it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the end of the file is missing, unless that cannot be said yet: what a power loss
    /// left half written is made whole from the files beside it first, a new file's first page too.
    /// In the middle of a copy of the log, the header tells of pages that only the log has.
    pub(crate) fn check_size(&self) -> Result<(), OpenError> {
        let is_empty =
            |end: &str| fs::metadata(beside(&self.path, end)).map_or(true, |file| file.len() == 0);
        if is_empty(LOG) && is_empty("-journal") { self.check_header() } else { Ok(()) }
    }

    /// Reads what SQLite's header says of the file: 100 bytes, described in its file format.
    pub(crate) fn check_header(&self) -> Result<(), OpenError> {
        let found = self.file.metadata().map_err(failed(&self.path))?.len();
        if found == 0 {
            return Ok(());
        }
        let mut header = [0; 100];
        let is_read = self.file.read_exact_at(&mut header, 0).is_ok();
        if !is_read || !header.starts_with(b"SQLite format 3\0") {
            return Err(OpenError::NotADatabase);
        }
        let number = |at: usize| {
            u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes of a hundred"))
        };
        let page = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            bytes => u64::from(bytes),
        };
        // The number of pages is only kept while these two agree.
        let is_kept = number(24) == number(92);
        let expected = u64::from(number(28)) * page;
        if is_kept && found < expected {
            return Err(OpenError::Truncated { found, expected });
        }
        Ok(())
    }

    /// Remembers which files SQLite works on, once it has opened all of them.
    pub(crate) fn places(&self, system: Arc<dyn System>) -> Result<Places, OpenError> {
        let database = self.file.metadata().map_err(failed(&self.path))?;
        let mut files = vec![(self.path.clone(), Identity::of(&database))];
        for end in [LOG, INDEX] {
            let path = beside(&self.path, end);
            let found = system.identity(&path).map_err(failed(&path))?;
            files.push((path, found));
        }
        Ok(Places { files, system })
    }
}

/// Which files SQLite works on, and where.
pub(crate) struct Places {
    files: Vec<(PathBuf, Identity)>,
    system: Arc<dyn System>,
}

impl Places {
    /// The file that is not in its place any more, and what is wrong: whatever is written goes
    /// where no start would find it. Opens nothing.
    pub(crate) fn missing(&self) -> Option<String> {
        self.files.iter().find_map(|(path, identity)| match self.system.identity(path) {
            Ok(found) if found == *identity => None,
            Ok(_) => Some(format!("{} is another file now", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some(format!("{} was moved or removed", path.display()))
            }
            Err(error) => Some(format!("{}: {error}", path.display())),
        })
    }

    /// The room that there is and that these files take; `None` where the system
    /// does not say. Opens nothing.
    pub(crate) fn disk(&self) -> Option<Disk> {
        let (database, _) = self.files.first()?;
        let free = self.system.volume(database)?.free;
        let used =
            self.files.iter().map(|(path, _)| fs::metadata(path).map_or(0, |file| file.len()));
        Some(Disk { free, used: used.sum() })
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |error| OpenError::Io(path.to_owned(), error)
}

/// A file beside the database.
pub(crate) fn beside(database: &Path, end: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// What SQLite calls its log, and the index of it that all its connections share.
const LOG: &str = "-wal";
const INDEX: &str = "-shm";
