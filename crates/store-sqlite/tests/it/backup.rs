//! A copy of a store that is being worked on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use relais_core::{BodyKind, Command, TaskId};
use relais_store::conformance::World;
use relais_store::conformance::fixture::{erasing, from, task};
use relais_store::{Body, Store as _};
use relais_store_sqlite::{CopyError, SqliteStore};

use crate::{assert_sound, file_in, new_folder, try_open, world_in};

/// Accepts a task with a body in a file.
async fn accept_large(world: &World) -> TaskId {
    let mut spool = world.store.spool().await.expect("it works");
    spool.write(vec![7; 100_000].into()).await.expect("it works");
    let data = spool.finish().await.expect("it works");
    world.accept(task().input(Body { head: "".into(), data })).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_whole() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let mut before = Vec::new();
    for _ in 0..20 {
        before.push(accept_large(&world).await);
        before.push(world.accept(task()).await);
    }
    let world = Arc::new(world);
    let is_over = Arc::new(AtomicBool::new(false));
    // Tasks come, end and are erased, with their files, from before the copy
    // begins until it is done.
    let (busy, until) = (world.clone(), is_over.clone());
    let load = tokio::spawn(async move {
        let mut rounds = 0;
        while !until.load(Ordering::Relaxed) {
            accept_large(&busy).await;
            for claimed in busy.claim(&from("mail").limit(1)).await.started {
                let id = claimed.task().spec.id;
                busy.step(id, Command::succeed(claimed.nonce), 1).await;
                busy.commit(erasing(id)).await.expect("it is over");
            }
            rounds += 1;
        }
        rounds
    });
    // The first to start are the first that came: they are erased while they are copied.
    for round in 0..5 {
        let alive: Vec<TaskId> = {
            let read = world.store.read(before.clone()).await.expect("it reads");
            read.into_iter().flatten().map(|task| task.spec.id).collect()
        };
        let (source, target) = (file_in(&folder), folder.path().join(format!("copy-{round}")));
        let to = target.clone();
        let copied = tokio::task::spawn_blocking(move || SqliteStore::copy(&source, &to)).await;
        let report = copied.expect("it ends").expect("it is copied");
        assert!(report.is_sound() && report.spilled > 0, "{report:?}");
        assert_sound(&target);
        let copy = try_open(&target).expect("it opens");
        // What was acknowledged before, and not erased in between, is there to the last byte.
        let found = copy.read(alive.clone()).await.expect("it reads");
        let erased = world.store.read(alive.clone()).await.expect("it reads");
        for ((id, found), now) in alive.iter().zip(found).zip(erased) {
            assert!(found.is_some() || now.is_none(), "{id} is missing in the copy");
            if found.is_some() {
                let body = copy.body(*id, BodyKind::Input).await.expect("it reads");
                body.expect("it is there").verify().await.expect("it is whole");
            }
        }
        copy.close().await;
    }
    is_over.store(true, Ordering::Relaxed);
    assert!(load.await.expect("it works") > 0);
    store.close().await;
    // What was erased meanwhile is gone with the copy, at the latest with the next start.
    try_open(&file_in(&folder)).expect("it opens").close().await;
    let report = SqliteStore::check(&file_in(&folder), true).expect("it is a store");
    let files = std::fs::read_dir(folder.path().join("relais.db.bodies")).expect("it is there");
    assert_eq!(files.count() as u64, report.spilled);
}

#[tokio::test]
async fn a_copy_overwrites_nothing_and_leaves_the_original_alone() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    accept_large(&world).await;
    store.close().await;
    let before = std::fs::read(file_in(&folder)).expect("it is there");
    let target = folder.path().join("copy.db");
    SqliteStore::copy(&file_in(&folder), &target).expect("it is copied");
    assert_eq!(std::fs::read(file_in(&folder)).expect("it is there"), before);
    let again = SqliteStore::copy(&file_in(&folder), &target);
    assert!(matches!(again, Err(CopyError::Exists(_))), "{again:?}");
    // One without all its bodies does not get its name: somebody forgot their folder.
    let second = folder.path().join("second.db");
    std::fs::remove_dir_all(folder.path().join("relais.db.bodies")).expect("it is ours");
    let without = SqliteStore::copy(&file_in(&folder), &second);
    assert!(matches!(without, Err(CopyError::Io(..))), "{without:?}");
    assert!(!second.exists());
    // Nor one whose counts are wrong.
    let conn = rusqlite::Connection::open(&target).expect("it opens");
    conn.execute("update queue set queued = queued + 1", []).expect("it works");
    drop(conn);
    let damaged = SqliteStore::copy(&target, &second);
    assert!(matches!(damaged, Err(CopyError::Damaged(..))), "{damaged:?}");
    assert!(!second.exists());
}

#[tokio::test]
async fn a_store_with_damaged_tasks_is_copied_and_that_is_said() {
    // One row that was set aside, or one body without its file, and there was no backup any more.
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let running = world.accept(task().source(1, 9)).await;
    world.claim(&from("mail").limit(1)).await;
    let met = world.accept(task().source(1, 9)).await;
    let over = world.accept(task()).await;
    world.step(over, Command::Cancel, 1).await;
    let bodiless = accept_large(&world).await;
    let good = accept_large(&world).await;
    store.close().await;
    drop((world, store));
    let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
    conn.execute("update task set life = x'0909' where n <= 3", []).expect("it works");
    let file: String = conn
        .query_row("select file from body where key / 8 = 4 and file is not null", [], |row| {
            row.get(0)
        })
        .expect("it has one");
    drop(conn);
    let bodies = folder.path().join("relais.db.bodies");
    std::fs::remove_file(bodies.join(file)).expect("it is ours");

    let (world, store) = world_in(&folder);
    assert_eq!(
        world.started(&from("mail").limit(1)).await,
        [good],
        "one is set aside, one is spoiled"
    );
    let (copy, restored) = (folder.path().join("copy.db"), folder.path().join("restored.db"));
    for (source, target) in [(file_in(&folder), &copy), (copy.clone(), &restored)] {
        let report = SqliteStore::copy(&source, target).expect("it is copied");
        assert_eq!((report.tasks, report.problems.len()), (5, 0), "{report:#?}");
        for id in [running, met, over, bodiless] {
            let of_it = report.damaged.iter().filter(|damage| damage.contains(&id.to_string()));
            assert_eq!(of_it.count(), 1, "{id}: {report:#?}");
        }
        assert_eq!(report.damaged.len(), 4, "{report:#?}");
    }
    store.close().await;
    let restored = try_open(&restored).expect("it opens");
    let body = restored.body(good, BodyKind::Input).await.expect("it reads");
    body.expect("it is there").verify().await.expect("it is whole");
    restored.close().await;
}
