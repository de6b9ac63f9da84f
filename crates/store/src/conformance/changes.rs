//! Changes: what a handle learns of what another committed.

use std::time::Duration;

use bytes::Bytes;
use relais_core::{Command, EventKind, Policy, limits};

use super::fixture::*;
use super::world::World;
use crate::*;

/// Two nodes live from now on.
async fn two_nodes(world: &World) {
    for node in [1, 2] {
        let (now, alive_for) = (at(0), Duration::from_secs(3_600));
        let beat = Beat { node, format: FORMAT, now, alive_for };
        world.store.beat(beat).await.expect("the store works");
    }
}

async fn since(store: &dyn Store, after: u64, limit: usize) -> (Vec<Change>, u64) {
    match store.changes(after, limit).await.expect("the store works") {
        Changes::Since { changes, upto } => (changes, upto),
        Changes::Gap { head } => panic!("all is kept, but for what is before {head}"),
    }
}

/// A change in a word.
fn word(change: &Change) -> String {
    match &change.what {
        What::Entry(task, entry) => {
            assert_eq!(task.spec.id, entry.task);
            format!("{:?}", entry.data.kind())
        }
        What::Freed(_) => "Freed".to_owned(),
        What::Left(_) => "Left".to_owned(),
        What::Erased(_) => "Erased".to_owned(),
        What::Queue(_, queue, change) => format!("{queue} {change:?}"),
        What::Secret(name) => name.clone(),
        What::Endpoint(id) => id.to_string(),
    }
}

fn secret(name: &str) -> Commit {
    Commit::Secret { name: name.to_owned(), value: Some(Bytes::from_static(b"1")) }
}

/// Entries, settings, keys, slots and erasures come in one order, to every handle.
pub async fn every_change_is_told_in_one_order(world: World) {
    let (_, start) = since(&*world.store, 0, 10).await;
    let id = world.accept(task()).await;
    world.set("mail", QueueChange::Pause).await;
    world.set("mail", QueueChange::Resume).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    world.commit(secret("key/a")).await.expect("it is taken");
    world.step(id, Command::Cancel, 1).await;
    world.step(id, Command::Free { nonce }, 2).await;
    let policy = Policy { concurrency: Some(3), ..policy() };
    world.set("mail", QueueChange::Policy(Some(Box::new(policy.clone())))).await;
    let (changes, upto) = since(&*world.other, start, 100).await;
    let words: Vec<String> = changes.iter().map(word).collect();
    let put = format!("mail {:?}", QueueChange::Policy(Some(Box::new(policy))));
    let expected =
        ["Accepted", "mail Pause", "mail Resume", "Started", "key/a", "Canceled", "Freed", &put];
    assert_eq!(words, expected);
    assert!(changes.is_sorted_by(|one, other| one.pos < other.pos));
    assert_eq!(changes.last().map(|last| last.pos), Some(upto));
    assert!(since(&*world.other, upto, 100).await.0.is_empty());
    world.commit(erasing(id)).await.expect("it is terminal");
    let (changes, upto) = since(&*world.other, upto, 100).await;
    let What::Erased(task) = &changes[0].what else { panic!("{changes:?}") };
    assert_eq!((task.spec.id, changes.len(), changes[0].pos), (id, 1, upto));
    let after: Vec<String> = since(&*world.other, start, 100).await.0.iter().map(word).collect();
    assert!(!after.iter().any(|word| word == "Accepted"), "the log went with it: {after:?}");
}

/// Changes are read page by page; none is missed, and none comes twice.
pub async fn changes_are_read_page_by_page(world: World) {
    let (_, start) = since(&*world.store, 0, 10).await;
    for n in 0..5 {
        world.accept_many(3, &task()).await;
        world.commit(secret(&format!("{n}"))).await.expect("it is taken");
    }
    let (all, end) = since(&*world.other, start, 100).await;
    assert_eq!(all.len(), 20);
    for limit in [1, 2, 3, 7] {
        let (mut seen, mut after) = (Vec::new(), start);
        while after < end {
            let (changes, upto) = since(&*world.other, after, limit).await;
            assert!(upto > after, "it goes on");
            after = upto;
            seen.extend(changes);
        }
        assert_eq!(seen, all, "by {limit}");
    }
}

/// A handle that waits is woken by what another commits. Signs of life are no changes.
pub async fn a_handle_learns_what_another_committed(world: World) {
    two_nodes(&world).await;
    let (_, mut after) = since(&*world.other, 0, 100).await;
    for n in 0..3 {
        let waits = world.other.changed(after);
        two_nodes(&world).await;
        let commits = async {
            match n {
                0 => drop(world.accept(task()).await),
                1 => drop(world.start_one(&from("mail")).await),
                _ => world.set("mail", QueueChange::Pause).await,
            }
        };
        let (told, ()) = tokio::join!(waits, commits);
        told.expect("the store works");
        let (changes, upto) = since(&*world.other, after, 100).await;
        assert_eq!(changes.len(), 1, "{changes:?}");
        after = upto;
    }
}

/// Where one node is alone nobody is woken: it knows what it did from its answers.
pub async fn a_node_that_is_alone_is_not_woken(world: World) {
    let alive_for = Duration::from_secs(3_600);
    let beat = |node| Beat { node, format: FORMAT, now: at(0), alive_for };
    world.store.beat(beat(1)).await.expect("the store works");
    let (_, after) = since(&*world.other, 0, 100).await;
    let mut waits = world.other.changed(after);
    world.accept(task()).await;
    tokio::select! {
        biased;
        _ = &mut waits => panic!("nobody else is there"),
        () = std::future::ready(()) => {}
    }
    // Whoever comes second has the first look at what was before.
    world.store.beat(beat(2)).await.expect("the store works");
    waits.await.expect("the store works");
    let (changes, _) = since(&*world.other, after, 100).await;
    assert_eq!(changes.iter().map(word).collect::<Vec<_>>(), ["Accepted"]);
}

/// Who asks from before the oldest that is kept is told so, and where to go on.
pub async fn who_asks_from_too_long_ago_is_told_of_a_gap(world: World) {
    let (_, start) = since(&*world.store, 0, 10).await;
    let commits = (0..=limits::CHANGES_KEPT).map(|n| secret(&format!("{}", n % 7))).collect();
    world.commit_all(commits).await;
    let told = world.other.changes(start, 10).await.expect("the store works");
    let Changes::Gap { head } = told else { panic!("{told:?}") };
    assert!(since(&*world.other, head, 10).await.0.is_empty());
    world.accept(task()).await;
    let (changes, _) = since(&*world.other, head, 10).await;
    assert_eq!(changes.len(), 1);
    let What::Entry(_, entry) = &changes[0].what else { panic!("{changes:?}") };
    assert_eq!(entry.data.kind(), EventKind::Accepted);
}
