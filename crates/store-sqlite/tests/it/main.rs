//! What every store does, and what only this one can show.

mod backup;
mod bodies;
mod crash;
mod damage;
mod effort;
mod full;
mod held;
mod log;
mod open;
#[cfg(target_os = "linux")]
mod power;
mod random;
mod shares;
mod stores;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use relais_core::Timestamp;
use relais_store::conformance::World;
use relais_store_sqlite::{OpenError, Options, SqliteStore};
use tempfile::TempDir;

/// A new folder for the files of a store.
fn new_folder() -> TempDir {
    tempfile::tempdir().expect("a folder for the test")
}

/// The file of a store in a folder.
fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("relais.db")
}

fn try_open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(&Options::new(path, Timestamp::from_ms(1_000)))
}

/// Opens the store of a folder.
fn open_in(folder: &TempDir) -> SqliteStore {
    try_open(&file_in(folder)).expect("the store opens")
}

/// A world around the store of a folder.
fn world_in(folder: &TempDir) -> (World, SqliteStore) {
    let store = open_in(folder);
    (World::new(Arc::new(store.clone()), ()), store)
}

/// A new store, and the folder it lives in.
fn new_store() -> (SqliteStore, TempDir) {
    let folder = new_folder();
    (open_in(&folder), folder)
}

/// Looks over everything in the file.
fn assert_sound(path: &Path) {
    let report = SqliteStore::check(path, true).expect("it is a store");
    assert!(report.is_sound(), "{report:#?}");
}
