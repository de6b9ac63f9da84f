//! A crash is what a copy of the files is taken in the middle of: nothing that
//! was answered is missing.

use std::fs;
use std::path::Path;

use relais_core::{BodyKind, Command};
use relais_store::conformance::fixture::{from, inline, task};
use relais_store::{Data, Store as _};
use relais_store_sqlite::SqliteStore;
use tempfile::TempDir;

use crate::{assert_sound, file_in, new_folder, open_in, world_in};

/// Copies a store as a crash would leave it: no close, no checkpoint.
fn crashed(folder: &TempDir) -> TempDir {
    let copy = new_folder();
    copy_into(folder.path(), copy.path());
    copy
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it is there");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("it is there").is_dir() {
            fs::create_dir(&target).expect("it is new");
            copy_into(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("it is ours");
        }
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let folder = new_folder();
    let (world, _store) = world_in(&folder);
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(world.accept(task()).await);
    }
    let (id, nonce) = world.start_one(&from("mail").limit(1)).await;
    let result = (BodyKind::Result, inline("done"));
    world.step_with(id, Command::succeed(nonce), result, 5).await;
    let copy = crashed(&folder);

    let (after, _store) = world_in(&copy);
    let tasks = after.store.read(ids).await.expect("it reads");
    assert!(tasks.iter().all(Option::is_some), "every accepted task is there");
    assert_eq!(after.read(id).await, world.read(id).await);
    assert_eq!(after.body(id, BodyKind::Result).await, "done");
    assert_eq!(after.log(id).await, world.log(id).await);
    assert_sound(&file_in(&copy));
}

#[tokio::test]
async fn a_crash_in_mid_write_leaves_whole_commits() {
    // The log is cut at every length: each copy opens, and holds a prefix of what was accepted.
    let folder = new_folder();
    let (world, _store) = world_in(&folder);
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(world.accept(task()).await);
    }
    let whole = fs::metadata(folder.path().join("relais.db-wal")).expect("it is there").len();
    for part in 0..40 {
        let copy = crashed(&folder);
        // What maps the log is made anew from it.
        fs::remove_file(copy.path().join("relais.db-shm")).expect("it is there");
        let log = fs::File::options().write(true).open(copy.path().join("relais.db-wal"));
        log.expect("it is there").set_len(whole * part / 40).expect("it is ours");
        let (after, _store) = world_in(&copy);
        let tasks = after.store.read(ids.clone()).await.expect("it reads");
        let count = tasks.iter().flatten().count();
        assert!(tasks[..count].iter().all(Option::is_some), "a prefix, no gaps");
        drop(after);
        assert_sound(&file_in(&copy));
    }
}

/// A copy of the log begins with the first page, which says how many pages there are:
/// killed right then, the file is shorter than it says, and the log has the rest. The
/// check took it for truncated.
#[tokio::test]
async fn a_crash_while_the_log_is_copied_is_no_damage() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(world.accept(task().input(inline(vec![7; 10_000]))).await);
    }
    let copy = crashed(&folder);
    fs::remove_file(copy.path().join("relais.db-shm")).expect("it is there");
    store.close().await;
    drop((world, store));
    let whole = fs::read(file_in(&folder)).expect("it is there");
    let mut torn = fs::read(file_in(&copy)).expect("it is there");
    assert!(torn.len() < whole.len(), "the log had not been copied yet");
    let first_page = torn.len().min(4_096);
    torn[..first_page].copy_from_slice(&whole[..first_page]);
    fs::write(file_in(&copy), &torn).expect("it is ours");

    for is_deep in [false, true] {
        let report = SqliteStore::check(&file_in(&copy), is_deep).expect("it is a store");
        assert!(report.is_sound() && report.tasks == 50, "{report:?}");
        assert!(fs::read(file_in(&copy)).expect("it is there") == torn, "a look changes nothing");
    }
    let (after, _store) = world_in(&copy);
    let tasks = after.store.read(ids).await.expect("it reads");
    assert!(tasks.iter().all(Option::is_some), "every accepted task is there");
}

#[tokio::test]
async fn what_a_crash_left_of_bodies_is_swept() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let mut kept = store.spool().await.expect("it works");
    kept.write(vec![1; 100_000].into()).await.expect("it works");
    let data = kept.finish().await.expect("it works");
    let id = world.accept(task().input(relais_store::Body { head: "".into(), data })).await;
    // One that is finished and has no row, one that is not even finished.
    let mut orphan = store.spool().await.expect("it works");
    orphan.write(vec![2; 100_000].into()).await.expect("it works");
    let orphan = orphan.finish().await.expect("it works");
    assert!(matches!(orphan, Data::Spilled { .. }), "{orphan:?}");
    let mut half = store.spool().await.expect("it works");
    half.write(vec![3; 600_000].into()).await.expect("it works");
    half.write(vec![3; 600_000].into()).await.expect("it works");
    assert_eq!(files_in(&folder), 3);
    let copy = crashed(&folder);

    open_in(&copy).close().await; // The sweep comes before the end.
    assert_eq!(files_in(&copy), 1, "only the body that has a task is left");
    let (after, _store) = world_in(&copy);
    assert_eq!(after.body(id, BodyKind::Input).await.len(), 100_000);
    assert_sound(&file_in(&copy));
}

/// Files in the folder of bodies.
pub(crate) fn files_in(folder: &TempDir) -> usize {
    fs::read_dir(folder.path().join("relais.db.bodies")).expect("it is there").count()
}
