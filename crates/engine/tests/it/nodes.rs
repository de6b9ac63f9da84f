//! Two engines over one store: what one of them does is none of a dead one's business, nor of a
//! living one's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use relais_core::limits::{NODE_ALIVE_FOR, NODE_BEAT_EVERY};
use relais_core::{
    BodyKind, EventData, EventKind, FailureCode, LeaseToken, Policy, Purpose, State, Status, limits,
};
use relais_engine::{
    Config, Happening, Many, Outcome, ResultHead, Settle, Submission, Subscription,
};
use relais_store::{Body, Commit, Data, EventQuery, FORMAT, MemoryStore, QueueChange, Store};
use tokio::io::AsyncWriteExt as _;

use crate::moody::Moody;
use crate::world::{Upstream, World, for_upstream, for_workers, policy, queue, tenant};

fn config() -> Config {
    Config { template: Some(policy()), ..Config::default() }
}

/// A node on a store that others may be on.
async fn node(store: &Arc<dyn Store>, seed: u64) -> World {
    World::on(store.clone(), config(), seed).await
}

fn new_store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

/// A start took back what every other process ran: each call of a living one was lost.
#[tokio::test]
async fn an_engine_that_starts_leaves_alone_what_another_living_one_runs() {
    let (store, upstream) = (new_store(), Upstream::start().await);
    let first = node(&store, 1).await;
    let task = first.submit(for_upstream(&upstream, "POST", false)).await;
    let mut call = upstream.next().await;
    let second = node(&store, 2).await;
    for _ in 0..2 {
        first.clock.advance(NODE_BEAT_EVERY);
        second.clock.advance(NODE_BEAT_EVERY);
    }
    call.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let task = first.until(task.spec.id, EventKind::Succeeded).await;
    let kinds = [EventKind::Accepted, EventKind::Started, EventKind::Succeeded];
    assert_eq!(second.kinds(task.spec.id).await, kinds);
}

/// P1, P28: what a node held that was silent for too long is taken back by another; only that.
#[tokio::test]
async fn what_a_dead_node_held_is_taken_back_and_nothing_else() {
    let (store, upstream) = (new_store(), Upstream::start().await);
    let (dead, alive) = (node(&store, 1).await, node(&store, 2).await);
    let get = dead.submit(for_upstream(&upstream, "GET", true)).await;
    let get_call = upstream.next().await;
    let post = dead.submit(for_upstream(&upstream, "POST", false)).await;
    let post_call = upstream.next().await;
    alive.clock.advance(NODE_ALIVE_FOR - Duration::from_secs(1));
    let worked = alive.submit(for_workers()).await;
    let leased = alive.lease(Duration::ZERO).await.pop().unwrap();
    // The first process is not told to stop: it simply says nothing more.
    alive.clock.advance(Duration::from_secs(1));
    let task = alive.until(post.spec.id, EventKind::Failed).await;
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code, FailureCode::OutcomeUnknown);
    // It was said of both that the connection to the answer was lost, as if the upstream had done it.
    let detail = failure.detail.as_deref().unwrap();
    assert!(detail.starts_with("the process of Relais that ran the attempt ended"), "{detail}");
    let task = alive.until(get.spec.id, EventKind::AttemptFailed).await;
    assert_eq!((task.life.crashes, task.life.failures), (1, 0));
    let task = alive.engine.task(worked.spec.id).await.unwrap().unwrap();
    assert_eq!((task.life.status(), task.life.attempt), (Status::Running, 1));
    let token = LeaseToken { task: worked.spec.id, nonce: leased.nonce };
    let settle = Settle { token, outcome: Outcome::success(None) };
    alive.engine.settle(Some(&tenant()), vec![settle]).await.unwrap().pop().unwrap().unwrap();
    drop((get_call, post_call));
}

/// A result that a worker stored before its settle was in the memory of the node that took it.
#[tokio::test]
async fn a_result_that_one_node_stored_is_settled_with_on_another() {
    let store = new_store();
    let (first, second) = (node(&store, 1).await, node(&store, 2).await);
    let task = first.submit(for_workers()).await;
    let nonce = first.lease(Duration::ZERO).await.pop().unwrap().nonce;
    let token = LeaseToken { task: task.spec.id, nonce };
    let fields = vec![("content-type".to_owned(), Bytes::from_static(b"application/json"))];
    let head = first.engine.encode(&ResultHead { status: 200, fields, has_body: true });
    let early = Body { head, data: Data::Inline(Bytes::from_static(b"[1]")) };
    let id = first.engine.store_early(Some(&tenant()), token, None, early).await.unwrap();
    assert!(second.engine.early(token, id + 1).await.unwrap().is_none());
    let (stored, is_live) = second.engine.early(token, id).await.unwrap().unwrap();
    assert!(!is_live);
    let result = Body { head: stored.head.clone(), data: Data::Early { id, stored } };
    let settle = Settle { token, outcome: Outcome::success(Some(result)) };
    second.engine.settle(Some(&tenant()), vec![settle]).await.unwrap().pop().unwrap().unwrap();
    let query = EventQuery::Task { id: task.spec.id, after: 2, limit: 9 };
    let told = first.engine.events(query).await.unwrap().pop().unwrap().entry.data;
    assert_eq!(told, EventData::Succeeded { result: Some("[1]".into()), message: None });
    assert!(first.engine.early(token, id).await.unwrap().is_none());
    let result = first.engine.body(task.spec.id, BodyKind::Result).await.unwrap().unwrap();
    assert_eq!(result.bytes(9).await.unwrap(), "[1]");
}

/// A node that was silent for a while, and lives, is a node like any other again.
#[tokio::test]
async fn a_node_that_comes_back_runs_on() {
    let (store, upstream) = (new_store(), Upstream::start().await);
    let (silent, other) = (node(&store, 1).await, node(&store, 2).await);
    other.clock.advance(NODE_ALIVE_FOR);
    silent.clock.advance(NODE_ALIVE_FOR);
    let task = silent.submit(for_upstream(&upstream, "POST", false)).await;
    let mut call = upstream.next().await;
    silent.clock.advance(NODE_BEAT_EVERY);
    other.clock.advance(NODE_BEAT_EVERY);
    call.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let task = silent.until(task.spec.id, EventKind::Succeeded).await;
    assert_eq!(task.life.attempt, 1);
}

/// What it did before its next sign of life, the node that held it for dead passed over.
#[tokio::test]
async fn what_a_node_does_that_was_held_for_dead_is_learned() {
    let (store, upstream) = (new_store(), Upstream::start().await);
    let (silent, other) = (node(&store, 1).await, node(&store, 2).await);
    let held = silent.submit(for_upstream(&upstream, "GET", true)).await;
    let _call = upstream.next().await;
    other.clock.advance(NODE_ALIVE_FOR);
    other.until(held.spec.id, EventKind::AttemptFailed).await;
    let task = silent.submit(for_workers()).await;
    let mut follower = other.engine.follow(task.spec.id);
    other.clock.advance(NODE_BEAT_EVERY);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    silent.clock.advance(NODE_ALIVE_FOR + NODE_BEAT_EVERY);
    let heard = tokio::time::timeout(Duration::from_secs(20), follower.after(0)).await;
    heard.expect("an accept at another node is learned of");
}

/// Two nodes that know of each other.
async fn two_nodes() -> (World, World) {
    let store = new_store();
    (node(&store, 1).await, node(&store, 2).await)
}

/// Each node made only its own events known: a follower at another waited for ever.
#[tokio::test]
async fn a_follower_at_one_node_sees_what_another_commits() {
    let (one, other) = two_nodes().await;
    let task = other.submit(for_workers()).await;
    let seen = one.until(task.spec.id, EventKind::Accepted);
    seen.await;
    let canceled = async { other.engine.cancel(&tenant(), task.spec.id).await.unwrap() };
    tokio::join!(one.until(task.spec.id, EventKind::Canceled), canceled);
    let channel = one.engine.channel(Subscription::Task(task.spec.id));
    let next = channel.end();
    other.engine.erase(task.spec.id).await.unwrap();
    channel.reaches(next).await;
    let seen = channel.view(next).recent;
    assert!(matches!(seen[..], [Happening::Erased(id)] if id == task.spec.id), "{seen:?}");
}

/// What Relais does for itself runs, whatever a tenant may still hand in; of those who follow the tenant
/// nobody is told, on no node, and it is in no metric.
#[tokio::test]
async fn an_internal_task_runs_and_no_follower_of_its_tenant_is_told() {
    let upstream = Upstream::start().await;
    let store = new_store();
    let full = Config { tenant_capacity: 1, ..config() };
    let (one, other) = (node(&store, 1).await, World::on(store, full, 2).await);
    let (tasks, label) = (Vec::new(), None);
    let everything = Many { tenant: tenant(), tasks, label, only_open: false };
    let channels =
        [&one, &other].map(|node| node.engine.channel(Subscription::Many(everything.clone())));
    for (node, channel) in [&one, &other].into_iter().zip(&channels) {
        node.engine.begin(channel).await.unwrap();
    }
    let own = other.submit(for_workers()).await;
    let internal = for_upstream(&upstream, "POST", true);
    let internal = Submission { purpose: Purpose::Internal, ..internal };
    let refused = other.engine.submit(other.engine.draw_id(), for_workers()).await;
    assert!(refused.is_err(), "the tenant is full");
    let internal = other.submit(internal).await;
    upstream.answer("200 OK", "", "taken").await;
    other.until(internal.spec.id, EventKind::Succeeded).await;
    one.until(internal.spec.id, EventKind::Succeeded).await;
    other.engine.cancel(&tenant(), own.spec.id).await.unwrap();
    for channel in &channels {
        channel.reaches(1).await;
        let told = channel.view(0).recent.into_iter().map(|happening| match happening {
            Happening::Event(event) => event.entry.task,
            Happening::Erased(id) => id,
        });
        assert_eq!(told.collect::<Vec<_>>(), [own.spec.id; 2]);
    }
    let tallies = other.engine.meters().tallies(None);
    let counted: Vec<_> = tallies.iter().map(|(.., of)| (of.accepted, of.succeeded)).collect();
    assert_eq!(counted, [(1, 0)]);
}

/// The context of a task was written in the newest format, whoever lived: a node of the version before
/// would have had to leave each such task alone.
#[tokio::test]
async fn nothing_is_written_that_a_living_node_does_not_read() {
    let store = MemoryStore::new();
    let _older = World::on(Arc::new(store.clone()), config(), 1).await;
    let later = World::on(Moody::of_later(store, FORMAT + 1), config(), 2).await;
    let written = async || u32::from(later.submit(for_workers()).await.spec.context[0]);
    assert_eq!(written().await, FORMAT);
    while written().await == FORMAT {
        // The older one is silent meanwhile.
        later.clock.advance(NODE_BEAT_EVERY);
        tokio::task::yield_now().await;
    }
    assert_eq!(written().await, FORMAT + 1);
}

/// A worker that waited at one node slept on while another accepted the task it waited for.
#[tokio::test]
async fn a_worker_that_waits_at_one_node_is_woken_by_a_submit_at_another() {
    let (one, other) = two_nodes().await;
    let waits = one.lease(Duration::from_secs(50));
    let submits = async {
        tokio::task::yield_now().await;
        other.submit(for_workers()).await
    };
    let (leased, task) = tokio::join!(waits, submits);
    assert_eq!(leased[0].task().spec.id, task.spec.id);
}

/// A slot of a canceled task comes free without a word in any log.
#[tokio::test]
async fn a_worker_that_waits_for_a_slot_is_woken_when_one_comes_free_at_another_node() {
    let store = new_store();
    let template = Some(Policy { concurrency: Some(1), ..policy() });
    let config = Config { template, ..Config::default() };
    let one = World::on(store.clone(), config.clone(), 1).await;
    let other = World::on(store, config, 2).await;
    let first = one.submit(for_workers()).await;
    let leased = one.lease(Duration::ZERO).await.pop().unwrap();
    let second = one.submit(for_workers()).await;
    other.engine.cancel(&tenant(), first.spec.id).await.unwrap();
    let waits = one.lease(Duration::from_secs(50));
    let token = LeaseToken { task: first.spec.id, nonce: leased.nonce };
    let stops = async {
        tokio::task::yield_now().await;
        let settle = Settle { token, outcome: Outcome::success(None) };
        other.engine.settle(Some(&tenant()), vec![settle]).await.unwrap();
    };
    let (leased, ()) = tokio::join!(waits, stops);
    assert_eq!(leased[0].task().spec.id, second.spec.id);
}

/// A call went on at one node although its task was canceled at another.
#[tokio::test]
async fn a_cancel_at_one_node_aborts_the_call_at_another() {
    let (one, other) = two_nodes().await;
    let upstream = Upstream::start().await;
    let task = one.submit(for_upstream(&upstream, "POST", false)).await;
    let mut call = upstream.next().await;
    other.engine.cancel(&tenant(), task.spec.id).await.unwrap();
    call.until_closed().await;
    while one.leases().await > 0 {
        tokio::task::yield_now().await;
    }
}

/// A policy put at one node held there alone.
#[tokio::test]
async fn a_policy_put_at_one_node_holds_at_another() {
    let (one, other) = two_nodes().await;
    let strict = Policy { concurrency: Some(7), ..policy() };
    let change = QueueChange::Policy(Some(Box::new(strict.clone())));
    other.engine.change_queue(tenant(), queue("work"), change).await.unwrap();
    while *one.engine.policies().of(&tenant(), &queue("work")) != strict {
        tokio::task::yield_now().await;
    }
    // A pause is in the store itself; its end wakes who waits elsewhere.
    other.engine.change_queue(tenant(), queue("work"), QueueChange::Pause).await.unwrap();
    let task = one.submit(for_workers()).await;
    let waits = one.lease(Duration::from_secs(50));
    let resumes = async {
        tokio::task::yield_now().await;
        other.engine.change_queue(tenant(), queue("work"), QueueChange::Resume).await.unwrap();
    };
    let (leased, ()) = tokio::join!(waits, resumes);
    assert_eq!(leased[0].task().spec.id, task.spec.id);
}

/// A key that one node made was not known at another before its next start.
#[tokio::test]
async fn a_key_put_at_one_node_is_known_at_another() {
    let (one, other) = two_nodes().await;
    let mut changed = one.engine.follow_secrets();
    other.engine.put_secret("signing-key/1", Some(Bytes::from_static(b"1"))).await.unwrap();
    changed.changed().await.unwrap();
    assert_eq!(one.engine.secrets("signing-key/").await.unwrap().len(), 1);
}

/// What another node scheduled, and it did not learn of, had no alarm here: it slept if that node died.
#[tokio::test]
async fn what_was_scheduled_meanwhile_starts_at_a_node_that_missed_too_much() {
    let (one, other) = two_nodes().await;
    let waits = one.lease(Duration::from_secs(300));
    let (span, secret) = (Duration::from_secs(60), Some(Bytes::from_static(b"1")));
    let goes_on = async {
        tokio::task::yield_now().await;
        let run_at = Some(one.engine.now().plus(span));
        let task = other.submit(Submission { run_at, ..for_workers() }).await;
        let secret = |n| Commit::Secret { name: format!("{n}"), value: secret.clone() };
        let mut changed = one.engine.follow_secrets();
        other.store.commit((0..=limits::CHANGES_KEPT).map(secret).collect()).await.unwrap();
        changed.changed().await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        one.clock.advance(span);
        task
    };
    let both = async { tokio::join!(waits, goes_on) };
    let (leased, task) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    assert_eq!(leased[0].task().spec.id, task.spec.id);
}

/// Who was away for more than is kept reads all anew.
#[tokio::test]
async fn a_node_that_missed_too_much_reads_all_anew() {
    let (one, other) = two_nodes().await;
    let strict = Policy { concurrency: Some(7), ..policy() };
    let change = QueueChange::Policy(Some(Box::new(strict.clone())));
    let mut commits = vec![Commit::Queue { tenant: tenant(), queue: queue("work"), change }];
    commits.extend(
        (0..=limits::CHANGES_KEPT).map(|n| Commit::Secret {
            name: format!("{n}"),
            value: Some(Bytes::from_static(b"1")),
        }),
    );
    let task = other.submit(for_workers()).await;
    let mut follower = one.engine.follow(task.spec.id);
    other.store.commit(commits).await.unwrap();
    follower.after(0).await;
    while *one.engine.policies().of(&tenant(), &queue("work")) != strict {
        tokio::task::yield_now().await;
    }
}
