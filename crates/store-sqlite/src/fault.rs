//! What goes wrong beneath the store, and what that means: try again, make room, look, or stop.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use relais_store::{Health, StoreError};
use rusqlite::ffi;

/// Something went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("could not make a file durable: {0}")]
    Fsync(io::Error),
    #[error("{0}")]
    Damaged(String),
    /// One task, and nothing else; with its number, if that could be read.
    #[error("{why}")]
    Task { n: Option<i64>, why: String },
    /// One body, and nothing else.
    #[error("{0}")]
    Body(String),
    #[error("the writer stopped: this is a bug of Relais")]
    Bug,
}

/// What it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It may go better next time.
    Passing,
    /// There is no room on the disk.
    Full,
    /// One task cannot be read.
    Unreadable,
    /// One body is damaged or missing.
    Spoiled,
    /// What is stored is damaged.
    Damaged,
    /// The disk did not keep its word: nothing that follows could be trusted.
    Fatal,
}

impl Fault {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    pub(crate) fn meaning(&self) -> Meaning {
        match self {
            Self::Damaged(_) => Meaning::Damaged,
            Self::Task { .. } => Meaning::Unreadable,
            Self::Body(_) => Meaning::Spoiled,
            Self::Bug => Meaning::Fatal,
            Self::Io(error) => meaning_of_io(error),
            // A file without room is not missed: nobody was told of it yet. Any other failure says
            // that the disk cannot be believed.
            Self::Fsync(error) => match meaning_of_io(error) {
                Meaning::Full => Meaning::Full,
                _ => Meaning::Fatal,
            },
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => match error.extended_code {
                ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => Meaning::Fatal,
                code => match code & 0xff {
                    ffi::SQLITE_FULL => Meaning::Full,
                    ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => Meaning::Damaged,
                    _ => Meaning::Passing,
                },
            },
            // A column of another type than the schema says.
            Self::Sqlite(
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..),
            ) => Meaning::Damaged,
            Self::Sqlite(_) => Meaning::Passing,
        }
    }

    /// As callers of the store see it.
    pub(crate) fn as_error(&self) -> StoreError {
        match self.meaning() {
            Meaning::Full => StoreError::Full,
            Meaning::Spoiled => StoreError::BodyDamaged(self.to_string()),
            Meaning::Unreadable | Meaning::Damaged => StoreError::Corrupt(self.to_string()),
            Meaning::Passing | Meaning::Fatal => StoreError::Unavailable(self.to_string()),
        }
    }
}

impl From<rusqlite::types::FromSqlError> for Fault {
    fn from(error: rusqlite::types::FromSqlError) -> Self {
        Self::Damaged(format!("a column has another type: {error}"))
    }
}

fn meaning_of_io(error: &io::Error) -> Meaning {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Meaning::Full,
        _ => Meaning::Passing,
    }
}

/// How the store is, known to all its threads.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    level: AtomicU8,
    text: Mutex<String>,
    is_away: AtomicBool,
    /// Which file is not in its place, while that is so.
    away: Mutex<Option<String>>,
}

const READY: u8 = 0;
const FULL: u8 = 1;
const DAMAGED: u8 = 2;
const DEAD: u8 = 3;

impl Condition {
    /// Remembers what a fault says about the store as a whole.
    pub(crate) fn note(&self, fault: &Fault) {
        match fault.meaning() {
            Meaning::Passing | Meaning::Unreadable | Meaning::Spoiled => {}
            Meaning::Full => {
                if self.level.fetch_max(FULL, Ordering::Relaxed) < FULL {
                    tracing::error!("the disk is full: nothing new is accepted ({fault})");
                }
            }
            Meaning::Damaged => self.worsen(DAMAGED, fault),
            Meaning::Fatal => self.worsen(DEAD, fault),
        }
    }

    fn worsen(&self, level: u8, fault: &Fault) {
        let mut text = self.text.lock().expect("nothing panics while it is held");
        if self.level.load(Ordering::Relaxed) < level {
            tracing::error!("the store is damaged: {fault}");
            *text = fault.to_string();
            self.level.store(level, Ordering::Relaxed);
        }
    }

    /// Whether nothing new is accepted, for want of room.
    pub(crate) fn is_full(&self) -> bool {
        self.level.load(Ordering::Relaxed) == FULL
    }

    /// There is room again.
    pub(crate) fn has_room(&self) {
        if self.level.load(Ordering::Relaxed) == FULL {
            let again =
                self.level.compare_exchange(FULL, READY, Ordering::Relaxed, Ordering::Relaxed);
            if again.is_ok() {
                tracing::info!("there is room on the disk again");
            }
        }
    }

    /// Remembers which file is not in its place, if any. One that comes back is used again.
    pub(crate) fn note_place(&self, missing: Option<String>) {
        if missing.is_none() && !self.is_away.load(Ordering::Relaxed) {
            return;
        }
        let mut away = self.away.lock().expect("nothing panics while it is held");
        match (&*away, &missing) {
            (None, Some(what)) => tracing::error!(
                "the store is not where it was: {what}. Nothing is accepted, because no start would \
                 find it; put the file back, or stop the server"
            ),
            (Some(_), None) => tracing::info!("the files of the store are in their places again"),
            _ => {}
        }
        self.is_away.store(missing.is_some(), Ordering::Relaxed);
        *away = missing;
    }

    /// Whether a file was found out of its place.
    pub(crate) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// Why nothing may be written, for good or until the files are back.
    pub(crate) fn refusal(&self) -> Option<StoreError> {
        if self.level.load(Ordering::Relaxed) == DEAD {
            return Some(StoreError::Unavailable(self.text()));
        }
        self.away().map(StoreError::Unavailable)
    }

    pub(crate) fn health(&self) -> Health {
        match (self.level.load(Ordering::Relaxed), self.away()) {
            (DAMAGED | DEAD, _) => Health::Corrupt(self.text()),
            (_, Some(what)) => Health::Unavailable(what),
            (FULL, None) => Health::Full,
            _ => Health::Ready,
        }
    }

    fn away(&self) -> Option<String> {
        if !self.is_away() {
            return None;
        }
        self.away.lock().expect("nothing panics while it is held").clone()
    }

    fn text(&self) -> String {
        self.text.lock().expect("nothing panics while it is held").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(code: i32) -> Fault {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()
    }

    #[test]
    fn a_failed_fsync_is_the_end() {
        let condition = Condition::default();
        assert_eq!(condition.refusal(), None);
        condition.note(&sqlite(ffi::SQLITE_IOERR_FSYNC));
        assert!(matches!(condition.refusal(), Some(StoreError::Unavailable(_))));
        assert!(matches!(condition.health(), Health::Corrupt(_)));
        condition.has_room();
        assert!(condition.refusal().is_some(), "no success makes it good");
    }

    #[test]
    fn a_full_disk_is_full_until_there_is_room() {
        let condition = Condition::default();
        condition.note(&sqlite(ffi::SQLITE_FULL));
        assert_eq!(condition.health(), Health::Full);
        condition.has_room();
        assert_eq!(condition.health(), Health::Ready);
    }

    #[test]
    fn a_store_whose_file_is_away_takes_nothing_until_it_is_back() {
        let condition = Condition::default();
        condition.note_place(Some("relais.db was moved or removed".to_owned()));
        assert!(matches!(condition.refusal(), Some(StoreError::Unavailable(_))));
        assert!(matches!(condition.health(), Health::Unavailable(_)));
        condition.note_place(None);
        assert_eq!((condition.refusal(), condition.health()), (None, Health::Ready));
    }

    #[test]
    fn what_may_pass_says_nothing_about_the_store() {
        let condition = Condition::default();
        condition.note(&sqlite(ffi::SQLITE_IOERR_READ));
        condition.note(&sqlite(ffi::SQLITE_BUSY));
        assert_eq!(condition.health(), Health::Ready);
        condition.note(&sqlite(ffi::SQLITE_CORRUPT_INDEX));
        assert!(matches!(condition.health(), Health::Corrupt(_)));
        assert_eq!(condition.refusal(), None, "what is not damaged is still served");
    }
}
