//! Opening, closing, and files that are not what they should be.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use relais_core::{BodyKind, Holder, TaskId};
use relais_store::conformance::fixture::{TICK, at, erasing, from, inline, ms, task};
use relais_store::{Beat, Claim, Commit, FORMAT, Filter, QueueChange, Queues, Store as _};
use relais_store_sqlite::{OpenError, SqliteStore};

use crate::{assert_sound, file_in, new_folder, open_in, try_open, world_in};

#[tokio::test]
async fn reopening_keeps_everything() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let queued = world.accept(task().lane("a").label("order", "A-1").key(1, 1, 50)).await;
    let scheduled = world.accept(task().run_at(500)).await;
    let (running, nonce) = world.start_one(&from("mail").limit(1)).await;
    world.set("mail", QueueChange::Pause).await;
    let value = Some("key".into());
    let secret = Commit::Secret { name: "signing".to_owned(), value };
    world.commit(secret).await.expect("it is stored");
    let before = (
        store.read(vec![queued, scheduled, running]).await.expect("it reads"),
        world.log(running).await,
        store.queues(Queues::All).await.expect("it reads"),
        store.secrets("").await.expect("it reads"),
    );
    store.close().await;
    drop((world, store));

    let (world, store) = world_in(&folder);
    let after = (
        store.read(vec![queued, scheduled, running]).await.expect("it reads"),
        world.log(running).await,
        store.queues(Queues::All).await.expect("it reads"),
        store.secrets("").await.expect("it reads"),
    );
    assert_eq!(before, after);
    assert_eq!(world.body(queued, BodyKind::Input).await, "input");
    world.set("mail", QueueChange::Resume).await;
    world.step(running, relais_core::Command::succeed(nonce), 10).await;
    assert_eq!(world.started(&from("mail").at(600)).await, [scheduled]);
    assert_sound(&file_in(&folder));
}

#[tokio::test]
async fn positions_never_come_again() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    let last = world.step(id, relais_core::Command::succeed(nonce), 1).await.changed.pos;
    world.commit(erasing(id)).await.expect("it is over");
    store.close().await;
    drop((world, store));

    let (world, _store) = world_in(&folder);
    world.accept(task()).await;
    let (id, _) = world.start_one(&from("mail").at(1)).await;
    let query = relais_store::EventQuery::Task { id, after: 0, limit: 10 };
    let events = world.store.events(query).await.expect("it reads");
    assert!(events.iter().all(|event| event.pos > last), "{events:?} after {last}");
}

#[tokio::test]
async fn a_closed_store_leaves_one_file_and_says_so() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    world.accept(task()).await;
    store.close().await;
    let log = folder.path().join("relais.db-wal");
    assert_eq!(fs::metadata(log).map_or(0, |log| log.len()), 0, "the log is copied");
    let refused = store.commit(vec![world.accepting(task())]).await;
    assert!(matches!(refused, Err(relais_store::StoreError::Unavailable(_))), "{refused:?}");
    let again = open_in(&folder);
    drop(again);
}

#[tokio::test]
async fn a_second_server_is_refused() {
    let folder = new_folder();
    let store = open_in(&folder);
    let second = try_open(&file_in(&folder));
    assert!(matches!(second, Err(OpenError::InUse)), "{second:?}");
    drop(store);
    open_in(&folder);
}

#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    let folder = new_folder();
    fs::write(file_in(&folder), "").expect("a file");
    let loose = fs::Permissions::from_mode(0o644);
    fs::set_permissions(file_in(&folder), loose).expect("it is ours");
    let (world, _store) = world_in(&folder);
    world.accept(task()).await;
    for name in ["relais.db", "relais.db-wal", "relais.db-shm"] {
        let file = fs::metadata(folder.path().join(name)).expect("it is there");
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let bodies = fs::metadata(folder.path().join("relais.db.bodies")).expect("it is there");
    assert_eq!(bodies.permissions().mode() & 0o777, 0o700);
}

#[test]
fn what_is_no_database_is_refused() {
    let folder = new_folder();
    fs::write(file_in(&folder), "name = \"relais\"\n".repeat(100)).expect("a file");
    let refused = try_open(&file_in(&folder));
    assert!(matches!(refused, Err(OpenError::NotADatabase)), "{refused:?}");
    let kept = fs::read_to_string(file_in(&folder)).expect("it is still there");
    assert!(kept.starts_with("name"), "and left alone");
}

#[test]
fn a_database_of_another_application_is_refused() {
    let folder = new_folder();
    let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
    conn.execute_batch("create table song (title text)").expect("it works");
    drop(conn);
    let refused = try_open(&file_in(&folder));
    assert!(matches!(refused, Err(OpenError::OtherApplication(0))), "{refused:?}");
}

#[tokio::test]
async fn a_file_of_a_newer_relais_is_refused() {
    let folder = new_folder();
    open_in(&folder).close().await;
    let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
    conn.pragma_update(None, "user_version", 99).expect("it works");
    drop(conn);
    let refused = try_open(&file_in(&folder)).expect_err("it is newer");
    assert!(matches!(refused, OpenError::Newer { found: 99, .. }), "{refused:?}");
    assert!(refused.to_string().contains("use a newer Relais"), "{refused}");
}

/// It would set aside, or rewrite, what it does not understand.
#[tokio::test]
async fn a_file_with_rows_of_a_newer_relais_is_refused() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    store.close().await;
    drop((world, store));
    let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
    let known: i64 = conn
        .query_row("select value from counter where name = 'format'", [], |row| row.get(0))
        .expect("it says so");
    assert_eq!(known, FORMAT.into());
    conn.execute("update counter set value = value + 1 where name = 'format'", [])
        .expect("it works");
    drop(conn);
    let refused = SqliteStore::check(&file_in(&folder), false).expect_err("it is newer");
    let found = known + 1;
    assert!(matches!(refused, OpenError::NewerRows { found: it, .. } if it == found), "{refused}");
    assert!(try_open(&file_in(&folder)).is_err());
}

#[tokio::test]
async fn a_changed_migration_is_refused() {
    let folder = new_folder();
    open_in(&folder).close().await;
    let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
    conn.execute("insert into migration values (2, 1, 0)", []).expect("it works");
    drop(conn);
    let refused = try_open(&file_in(&folder)).expect_err("its schema is unknown");
    assert!(refused.to_string().contains("migration 2"), "{refused}");
}

#[tokio::test]
async fn a_file_from_before_the_first_release_is_refused() {
    // It was opened and brought up to the schema, but its rows were encoded otherwise under the
    // same version: tasks could not be read, or were read wrong.
    let folder = new_folder();
    open_in(&folder).close().await;
    let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
    conn.execute("update migration set checksum = 1", []).expect("it works");
    // Builds before the first release had gone up to 3.
    conn.pragma_update(None, "user_version", 3).expect("it works");
    drop(conn);
    let refused = try_open(&file_in(&folder)).expect_err("its rows are unknown");
    assert!(matches!(refused, OpenError::Unreleased), "{refused:?}");
    assert!(refused.to_string().contains("begin with a new file"), "{refused}");
    let checked = SqliteStore::check(&file_in(&folder), false);
    assert!(matches!(checked, Err(OpenError::Unreleased)), "{checked:?}");
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    for _ in 0..50 {
        world.accept(task().input(inline(vec![7; 10_000]))).await;
    }
    store.close().await;
    drop((world, store));
    let file = fs::File::options().write(true).open(file_in(&folder)).expect("it is there");
    let whole = file.metadata().expect("it is there").len();
    file.set_len(whole / 2).expect("it is ours");
    let refused = try_open(&file_in(&folder)).expect_err("half of it is missing");
    assert!(matches!(refused, OpenError::Truncated { .. }), "{refused:?}");
    assert!(refused.to_string().contains("restore it from a backup"), "{refused}");
    assert!(SqliteStore::check(&file_in(&folder), false).is_err());
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let folder = new_folder();
    let refused = try_open(&folder.path().join("nowhere/relais.db")).expect_err("it is nowhere");
    assert!(refused.to_string().contains("nowhere"), "{refused}");
}

#[tokio::test]
async fn a_store_is_opened_again_after_each_thing_it_can_hold() {
    // P38: a start that trips over what an earlier run stored.
    let folder = new_folder();
    for round in 0..4_u32 {
        let (world, store) = world_in(&folder);
        let now = i64::from(round) * 1_000;
        // Each world draws its ids from the start.
        let id = |serial: u32| TaskId::from_u128(u128::from(round * 10 + serial) << 64);
        let new = || task().created_at(now);
        world.accept(new().id(id(1)).deadline_after(10).retention(1)).await;
        world.accept(new().id(id(2)).run_at(now + 700).lane("later")).await;
        world.claim(&from("mail").at(now).limit(1)).await;
        for id in world.due(now + 500).await.tasks {
            world.step(id, TICK, now + 500).await;
        }
        store.close().await;
        assert_sound(&file_in(&folder));
    }
}

#[tokio::test]
async fn a_file_that_lost_power_while_it_was_made_is_made_again() {
    // Its first page is there as zeros, and the journal that takes it back was synced before: this
    // was refused as no database, for ever.
    let folder = new_folder();
    fs::write(file_in(&folder), [0; 4096]).expect("it is ours");
    let mut journal = vec![0; 512];
    journal[..8].copy_from_slice(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    for (at, number) in [(20, 512_u32), (24, 4096)] {
        journal[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }
    fs::write(folder.path().join("relais.db-journal"), journal).expect("it is ours");
    let (world, store) = world_in(&folder);
    world.accept(task()).await;
    store.close().await;
    assert_sound(&file_in(&folder));
}

/// The rows of a file are in the format of the oldest node that lives.
#[tokio::test]
async fn rows_are_written_in_the_format_of_the_store() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let beat = |node, format, now| Beat { node, format, now: at(now), alive_for: ms(100) };
    let conn = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
    let written = async || {
        let id = world.accept(task()).await.as_u128().to_be_bytes();
        let sql = "select spec, life, data from task join event on pos = last_pos where id = ?1";
        let first =
            |row: &rusqlite::Row<'_>, at| row.get::<_, Vec<u8>>(at).map(|row| u32::from(row[0]));
        let formats =
            conn.query_row(sql, [id], |row| Ok([first(row, 0)?, first(row, 1)?, first(row, 2)?]));
        formats.expect("it is there")
    };
    let later = FORMAT + 1;
    assert_eq!(written().await, [FORMAT; 3], "as whoever opened it writes");
    store.beat(beat(1, FORMAT, 0)).await.expect("it is taken");
    store.beat(beat(2, later, 1)).await.expect("it is taken");
    assert_eq!(written().await, [FORMAT; 3], "an older one lives");
    store.beat(beat(2, later, 100)).await.expect("it is taken");
    assert_eq!(written().await, [later; 3]);
}

/// One process at a time has the file: whoever opens it knows that the one before is dead, however
/// lately that gave a sign of life, and need not wait.
#[tokio::test]
async fn what_the_process_before_held_is_told_at_once() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let beat = |node, now| Beat { node, format: FORMAT, now: at(now), alive_for: ms(60_000) };
    store.beat(beat(u64::MAX, 5)).await.expect("it is taken");
    world.accept(task()).await;
    let holder = Holder::Relais { epoch: u64::MAX };
    let claim = Claim { holder, ..world.claiming(&from("mail")) };
    assert_eq!(store.claim(claim).await.expect("it works").started.len(), 1);
    let told = store.beat(beat(2, 6)).await.expect("it is taken");
    assert!(told.dead.is_empty(), "it lives: {told:?}");
    store.close().await;
    let store = open_in(&folder);
    let told = store.beat(beat(3, 7)).await.expect("it is taken");
    assert_eq!((told.dead, told.was_ahead), (vec![u64::MAX], false));
    let filter = Filter { held_by: Some(u64::MAX), limit: 9, ..Filter::default() };
    assert_eq!(store.list(filter).await.expect("it reads").tasks.len(), 1);
    store.close().await;
    // Under an older clock, too.
    let store = open_in(&folder);
    let told = store.beat(beat(4, 0)).await.expect("it is taken");
    assert_eq!((told.dead, told.was_ahead), (vec![u64::MAX], true));
}
