//! What every store does, and what only this one can show.

mod open;
mod stores;

use std::path::PathBuf;

use relais_core::Timestamp;
use relais_store_sqlite::{Options, SqliteStore};
use tempfile::TempDir;

/// The file of a store in a folder.
fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("relais.db")
}

/// Opens the store of a folder.
fn open_in(folder: &TempDir) -> SqliteStore {
    let options = Options::new(file_in(folder), Timestamp::from_ms(1_000));
    SqliteStore::open(&options).expect("the store opens")
}

/// A new store, and the folder it lives in.
fn new_store() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    (open_in(&folder), folder)
}
