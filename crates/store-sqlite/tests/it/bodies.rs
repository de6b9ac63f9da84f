//! Spilled bodies, and the files they are.

use std::fs;

use bytes::Bytes;
use relais_core::{BodyKind, Command, TaskId};
use relais_store::conformance::fixture::{erasing, from, task};
use relais_store::conformance::{World, random::Dice};
use relais_store::{Body, BodySource, Data, StepOf, StoreError};

use crate::crash::files_in;
use crate::{assert_sound, file_in, new_folder, world_in};

/// A finished body of so many bytes, each piece of another length.
async fn spilled(world: &World, len: usize) -> (Body, Vec<u8>) {
    let mut dice = Dice::new(7);
    let mut spool = world.store.spool().await.expect("it works");
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let piece = usize::try_from(dice.roll(200_000)).expect("small").min(len - bytes.len());
        let piece: Vec<u8> = (0..piece).map(|at| (at ^ bytes.len()) as u8).collect();
        bytes.extend_from_slice(&piece);
        spool.write(piece.into()).await.expect("it works");
    }
    let data = spool.finish().await.expect("it works");
    (Body { head: Bytes::from_static(b"head"), data }, bytes)
}

#[tokio::test]
async fn a_large_body_goes_through_a_file_and_comes_back() {
    let folder = new_folder();
    let (world, _store) = world_in(&folder);
    let (body, bytes) = spilled(&world, 3_000_001).await;
    let id = world.accept(task().input(body)).await;
    assert_eq!(files_in(&folder), 1);
    assert_eq!(world.body(id, BodyKind::Input).await, bytes);
    assert_eq!(world.claim(&from("mail")).await.started[0].bodies[0].1.len, 3_000_001);
    assert_sound(&file_in(&folder));
}

#[tokio::test]
async fn what_a_spool_could_not_write_is_written_when_it_is_said_again() {
    // A folder that was away for a moment cost an answer that had come whole.
    let folder = new_folder();
    let (world, _store) = world_in(&folder);
    let bodies = folder.path().join("relais.db.bodies");
    let aside = folder.path().join("aside");
    let mut spool = world.store.spool().await.expect("it works");
    fs::rename(&bodies, &aside).expect("it can be moved");
    let mut bytes = Vec::new();
    let mut refused = 0;
    for round in 0..8_u8 {
        let piece = vec![round; 100_000];
        while let Err(error) = spool.write(piece.clone().into()).await {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
            refused += 1;
            fs::rename(&aside, &bodies).expect("it can be moved back");
        }
        bytes.extend_from_slice(&piece);
    }
    fs::rename(&bodies, &aside).expect("it can be moved");
    let error = spool.finish().await.expect_err("its name has no folder");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    fs::rename(&aside, &bodies).expect("it can be moved back");
    let data = spool.finish().await.expect("it works again");
    let id = world.accept(task().input(Body { head: Bytes::new(), data })).await;
    assert_eq!(world.body(id, BodyKind::Input).await, bytes);
    assert_eq!((refused, files_in(&folder)), (1, 1));
}

#[tokio::test]
async fn an_erased_task_takes_its_file_along() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let (body, bytes) = spilled(&world, 200_000).await;
    let id = world.accept(task().input(body)).await;
    world.step(id, Command::Cancel, 1).await;
    let held = world.try_body(id, BodyKind::Input).await.expect("it is there");
    world.commit(erasing(id)).await.expect("it is over");
    store.close().await;
    assert_eq!(files_in(&folder), 0);
    assert_eq!(held.bytes(1 << 20).await.expect("it is held open"), bytes);
}

#[tokio::test]
async fn bodies_that_are_not_wanted_leave_no_file() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let (body, _) = spilled(&world, 100_000).await;
    let refused = world.try_accept(task().queue_capacity(0).input(body)).await;
    assert!(refused.is_err());
    let mut given_up = world.store.spool().await.expect("it works");
    given_up.write(vec![0; 300_000].into()).await.expect("it works");
    drop(given_up);
    store.close().await;
    assert_eq!(files_in(&folder), 0);
}

#[tokio::test]
async fn a_finished_body_that_no_commit_decides_about_leaves_no_file() {
    // A refusal between the end of a spool and its commit used to leave the file to the next start.
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let (body, _) = spilled(&world, 100_000).await;
    let twin = body.clone();
    drop(body);
    assert_eq!(files_in(&folder), 1, "somebody still holds it");
    drop(twin);
    assert_eq!(files_in(&folder), 0);
    // Nor does a commit that the store cannot take.
    let (body, _) = spilled(&world, 100_000).await;
    store.close().await;
    let accept = world.accepting(task().input(body));
    world.store.commit(vec![accept]).await.expect_err("it is closed");
    assert_eq!(files_in(&folder), 0);
}

#[tokio::test]
async fn an_accept_said_twice_keeps_its_body() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let (body, bytes) = spilled(&world, 100_000).await;
    let id = world.id();
    let again = task().id(id).input(body);
    world.accept(again.clone()).await;
    world.try_accept(again).await.expect("it is attached");
    assert_eq!(world.body(id, BodyKind::Input).await, bytes);
    store.close().await;
    assert_eq!(files_in(&folder), 1);
}

/// The step by which a worker stores a result before its settle.
fn storing_early(id: TaskId, nonce: u128, early: u128, body: Body) -> StepOf {
    let command = Command::StoreEarly { nonce, id: early };
    StepOf { bodies: vec![(BodyKind::Early, body)], ..World::stepping(id, command, 1) }
}

#[tokio::test]
async fn an_early_result_survives_a_restart_and_is_not_written_again() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let (body, bytes) = spilled(&world, 200_000).await;
    let Data::Spilled { name, .. } = &body.data else { panic!("it is large") };
    let file = folder.path().join("relais.db.bodies").join(name);
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    world.try_step_of(storing_early(id, nonce, 7, body)).await.expect("the lease holds");
    store.close().await;
    drop((world, store));
    assert_sound(&file_in(&folder));
    let (world, store) = world_in(&folder);
    let stored = world.try_body(id, BodyKind::Early).await.expect("it was kept");
    let data = Data::Early { id: 7, stored };
    let result = (BodyKind::Result, Body { head: Bytes::from_static(b"result"), data });
    let settle = Command::Succeed { nonce, result: None, message: None, early: Some(7) };
    world.step_with(id, settle, result, 2).await;
    assert_eq!(world.body(id, BodyKind::Result).await, bytes);
    store.close().await;
    assert!(file.exists() && files_in(&folder) == 1, "it is the same file");
    assert_sound(&file_in(&folder));
}

#[tokio::test]
async fn early_results_that_nobody_settles_with_leave_no_file() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    for early in [7, 8] {
        let (body, _) = spilled(&world, 100_000).await;
        world.try_step_of(storing_early(id, nonce, early, body)).await.expect("the lease holds");
    }
    world.step(id, Command::Cancel, 2).await;
    let (body, _) = spilled(&world, 100_000).await;
    world.try_step_of(storing_early(id, nonce, 9, body)).await.expect_err("it was canceled");
    store.close().await;
    assert_eq!(files_in(&folder), 0);
    assert_sound(&file_in(&folder));
}

#[tokio::test]
async fn a_file_that_changed_is_noticed() {
    let folder = new_folder();
    let (world, _store) = world_in(&folder);
    let (body, mut bytes) = spilled(&world, 100_000).await;
    let Data::Spilled { name, .. } = &body.data else { panic!("it is large") };
    let file = folder.path().join("relais.db.bodies").join(name);
    let id = world.accept(task().input(body)).await;
    bytes[70_000] ^= 1;
    fs::write(&file, &bytes).expect("it is ours");
    let read = world.try_body(id, BodyKind::Input).await.expect("it is there");
    assert!(matches!(read.data, BodySource::Reader(_)));
    assert!(matches!(read.verify().await, Err(StoreError::BodyDamaged(_))), "before it is sent");
    let read = read.bytes(1 << 20).await;
    assert!(matches!(read, Err(StoreError::BodyDamaged(_))), "{read:?}");
    let report = relais_store_sqlite::SqliteStore::check(&file_in(&folder), true);
    let report = report.expect("it is a store");
    assert_eq!(report.damaged.len(), 1, "{report:?}");
    assert!(report.damaged[0].contains(&format!("the input of {id}")), "{report:?}");
    fs::remove_file(file).expect("it is ours");
    let read = world.store.body(id, BodyKind::Input).await;
    assert!(matches!(read, Err(StoreError::BodyDamaged(_))), "{read:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_now_holds_up_nobody_and_is_not_damaged() {
    // The claim failed, and with it its whole queue, for as long as the disk kept the file back.
    let folder = new_folder();
    let (world, _store) = world_in(&folder);
    let (body, bytes) = spilled(&world, 100_000).await;
    let Data::Spilled { name, .. } = &body.data else { panic!("it is large") };
    let file = folder.path().join("relais.db.bodies").join(name);
    world.accept(task().input(body)).await;
    let good = world.accept(task()).await;
    fs::remove_file(&file).expect("it is ours");
    std::os::unix::fs::symlink(&file, &file).expect("a circle");
    let claims = world.claim(&from("mail").limit(9)).await;
    assert!(claims.spoiled.is_empty());
    let [held, free] = &claims.started[..] else { panic!("both start: {:?}", claims.started) };
    assert_eq!(free.task().spec.id, good);
    let input = &held.bodies[0].1;
    assert!(matches!(input.verify().await, Err(StoreError::Unavailable(_))));
    let read = input.bytes(1 << 20).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    fs::remove_file(&file).expect("it is ours");
    fs::write(&file, &bytes).expect("it is ours");
    assert_eq!(world.body(held.task().spec.id, BodyKind::Input).await, bytes);
}
