//! Sessions of browsers with two engines over one store: nothing of them is in a process.

use std::sync::Arc;
use std::time::Duration;

use relais_core::{Grants, Joined, SessionOp, SessionReply, TaskId};
use relais_engine::Config;
use relais_store::{MemoryStore, Store};

use crate::world::{START, World};

const MAC: [u8; 32] = [7; 32];

fn joined(n: u128, lasts_s: u64) -> Joined {
    let grants = Grants { read: true, ..Grants::default() };
    Joined::new(TaskId::from_u128(n), grants, START.plus(Duration::from_secs(lasts_s)))
}

async fn two_nodes() -> (World, World) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let node = async |seed| World::on(store.clone(), Config::default(), seed).await;
    (node(1).await, node(2).await)
}

#[tokio::test]
async fn a_session_that_one_node_made_works_on_the_other_until_it_ends() {
    let (first, second) = two_nodes().await;
    first.engine.change_session(MAC, SessionOp::Begin(joined(1, 60)), None).await.unwrap();
    let join = SessionOp::Join(joined(2, 30));
    let reply = second.engine.change_session(MAC, join, None).await.unwrap();
    let ends_at = START.plus(Duration::from_secs(60));
    assert_eq!(reply, SessionReply::Joined { ends_at });
    for node in [&first, &second] {
        assert_eq!(node.engine.session(MAC).await.unwrap().unwrap().tasks.len(), 2);
        node.clock.advance(Duration::from_secs(30));
        let left = node.engine.session(MAC).await.unwrap().unwrap().tasks;
        assert_eq!(left, [joined(1, 60)], "a right has ended");
        node.clock.advance(Duration::from_secs(30));
        assert_eq!(node.engine.session(MAC).await.unwrap(), None);
    }
}

#[tokio::test]
async fn tasks_that_join_on_two_nodes_at_once_are_all_in_the_session() {
    let (first, second) = two_nodes().await;
    first.engine.change_session(MAC, SessionOp::Begin(joined(100, 60)), None).await.unwrap();
    let joins = (0..40).map(|n| {
        let engine = if n % 2 == 0 { &first.engine } else { &second.engine }.clone();
        let op = SessionOp::Join(joined(n, 60));
        tokio::spawn(async move { engine.change_session(MAC, op, None).await.unwrap() })
    });
    for join in joins.collect::<Vec<_>>() {
        assert!(matches!(join.await.unwrap(), SessionReply::Joined { .. }));
    }
    assert_eq!(second.engine.session(MAC).await.unwrap().unwrap().tasks.len(), 41);
}
