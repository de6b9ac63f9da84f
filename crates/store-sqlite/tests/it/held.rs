//! The file of a store has one server, which knows when it is not the file of the store any more.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use relais_store::conformance::World;
use relais_store::conformance::fixture::{from, task};
use relais_store::{Commit, Health, Store as _, StoreError};
use relais_store_sqlite::OpenError;

use crate::{file_in, new_folder, try_open, world_in};

/// Names the file that the process of [`looks_at_a_store`] looks at.
const LOOK_AT: &str = "RELAIS_TEST_LOOK_AT";

/// Only in a process of its own: it is started by the test below.
#[test]
fn looks_at_a_store() {
    let Some(path) = std::env::var_os(LOOK_AT) else { return };
    let conn = rusqlite::Connection::open(path).expect("it opens");
    let tables: i64 = conn
        .query_row("select count(*) from sqlite_master", [], |row| row.get(0))
        .expect("it is a database");
    assert!(tables > 10);
}

fn look_from_outside(path: &Path) {
    let mut command = Command::new(std::env::current_exe().expect("it runs"));
    command.args(["--exact", "held::looks_at_a_store"]).env(LOOK_AT, path);
    assert!(command.status().expect("it starts").success());
}

#[tokio::test]
async fn a_look_from_outside_costs_the_store_nothing() {
    // Opening closed a descriptor of the file, and with it the locks of SQLite: `sqlite3 relais.db`
    // took itself for the last and removed the log, into which the server went on to acknowledge.
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    world.accept(task()).await;
    look_from_outside(&file_in(&folder));
    assert!(folder.path().join("relais.db-wal").exists(), "the log is still there");
    assert_eq!(store.health(), Health::Ready);
    world.accept(task()).await;
    store.close().await;
}

#[tokio::test]
async fn a_store_has_one_server_by_whatever_name() {
    let folder = new_folder();
    let (_world, _store) = world_in(&folder);
    let (soft, hard) = (folder.path().join("soft.db"), folder.path().join("hard.db"));
    symlink(file_in(&folder), &soft).expect("it is ours");
    fs::hard_link(file_in(&folder), &hard).expect("it is ours");
    for name in [soft, hard, folder.path().join("./relais.db")] {
        let second = try_open(&name);
        assert!(matches!(second, Err(OpenError::InUse)), "{}: {second:?}", name.display());
    }
}

#[tokio::test]
async fn a_store_behind_a_link_has_its_files_beside_the_file() {
    let (folder, elsewhere) = (new_folder(), new_folder());
    let link = elsewhere.path().join("link.db");
    let (world, store) = world_in(&folder);
    world.accept(task()).await;
    store.close().await;
    drop((world, store));
    symlink(file_in(&folder), &link).expect("it is ours");
    let store = try_open(&link).expect("it opens");
    let names = fs::read_dir(elsewhere.path()).expect("it is there").count();
    assert_eq!(names, 1, "the link is alone");
    store.close().await;
}

#[tokio::test]
async fn a_store_that_is_moved_away_takes_nothing_until_it_is_back() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    world.accept(task()).await;
    let (path, aside) = (file_in(&folder), folder.path().join("aside.db"));
    fs::rename(&path, &aside).expect("it is ours");
    assert_refused(&world, "was moved or removed").await;
    fs::copy(&aside, &path).expect("it is ours");
    assert_refused(&world, "is another file now").await;
    fs::rename(&aside, &path).expect("it is ours");
    assert_eq!(store.health(), Health::Ready);
    world.accept(task()).await;
    fs::remove_file(folder.path().join("relais.db-wal")).expect("it is ours");
    assert_refused(&world, "relais.db-wal was moved or removed").await;
}

#[tokio::test]
async fn what_is_refused_once_a_file_is_known_to_be_away_is_not_stored() {
    // Tasks of a claim that was refused after it was stored were running, and nobody ran them
    // until their lease was over.
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let waiting = world.accept(task()).await;
    let (path, aside) = (file_in(&folder), folder.path().join("aside.db"));
    fs::rename(&path, &aside).expect("it is ours");
    assert_eq!(world.started(&from("mail")).await, [waiting], "it finds out, and it is stored");
    let refused = store.claim(world.claiming(&from("mail"))).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let accept = task().build(world.id());
    let new = accept.task.spec.id;
    let refused = store.commit(vec![Commit::Accept(Box::new(accept))]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    fs::rename(&aside, &path).expect("it is ours");
    assert_eq!(store.health(), Health::Ready);
    assert_eq!(world.try_read(new).await, None);
}

/// The first commit finds out, if nobody has looked before.
async fn assert_refused(world: &World, why: &str) {
    let refused = world.store.commit(vec![world.accepting(task())]).await;
    let Err(StoreError::Unavailable(text)) = refused else { panic!("not refused: {refused:?}") };
    assert!(text.contains(why), "{text}");
    let Health::Unavailable(text) = world.store.health() else { panic!("it is not ready") };
    assert!(text.contains(why), "{text}");
}
