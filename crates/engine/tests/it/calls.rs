//! Connections to upstreams: what is sent into which, and what is known of it when it is lost.

use std::time::Duration;

use relais_core::{EventKind, FailureCode, State, Status, Task, limits};
use relais_engine::Config;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::world::{Upstream, World, for_upstream, policy};

/// An upstream that takes connections and never ends a handshake: the call
/// stays without a connection.
struct Deaf {
    listener: TcpListener,
    upstream: Upstream,
}

impl Deaf {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut upstream = Upstream::start().await;
        upstream.origin = format!("https://{}", listener.local_addr().unwrap());
        Self { listener, upstream }
    }
}

/// A POST that was still connecting became `outcome-unknown` when its time was over.
#[tokio::test]
async fn a_post_whose_connection_never_came_about_is_tried_again() {
    let world = World::new().await;
    let deaf = Deaf::start().await;
    let task = world.submit(for_upstream(&deaf.upstream, "POST", false)).await;
    let connection = deaf.listener.accept().await.unwrap();
    world.clock.advance(policy().attempt_timeout);
    let task = world.until(task.spec.id, EventKind::AttemptFailed).await;
    assert_eq!((task.life.status(), task.life.failures), (Status::Queued, 1));
    drop(connection);
}

/// The same for a stop that comes while connecting.
#[tokio::test]
async fn a_stop_while_connecting_gives_a_post_back() {
    let drain_for = Duration::from_millis(1);
    let config = Config { template: Some(policy()), drain_for, ..Config::default() };
    let world = World::with(config).await;
    let deaf = Deaf::start().await;
    let task = world.submit(for_upstream(&deaf.upstream, "POST", false)).await;
    let connection = deaf.listener.accept().await.unwrap();
    world.engine.drain().await;
    let task = world.engine.task(task.spec.id).await.unwrap().unwrap();
    assert_eq!(task.life.status(), Status::Queued);
    assert_eq!((task.life.failures, task.life.crashes), (0, 0));
    drop(connection);
}

async fn done(world: &World, task: &Task) {
    world.until(task.spec.id, EventKind::Succeeded).await;
}

/// One in four POSTs to an upstream that closes idle connections was lost to one of them.
#[tokio::test]
async fn a_post_is_not_sent_into_a_connection_that_its_upstream_closed() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    for _ in 0..20 {
        let task = world.submit(for_upstream(&upstream, "POST", false)).await;
        let mut call = upstream.next().await;
        call.answer_and_stay("", "").await;
        // Closed at the worst moment: as soon as the answer is out.
        drop(call);
        done(&world, &task).await;
    }
}

/// What the upstream says of its patience is heeded, and bytes that nobody
/// asked for are not an answer.
#[tokio::test]
async fn a_post_does_not_trust_a_connection_that_may_be_closing_or_has_spoken() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    for (fields, more) in [("Keep-Alive: timeout=0\r\n", ""), ("", "HTTP/1.1 408 Late\r\n\r\n")] {
        let first = world.submit(for_upstream(&upstream, "POST", false)).await;
        let mut call = upstream.next().await;
        call.answer_and_stay(fields, "").await;
        call.stream.write_all(more.as_bytes()).await.unwrap();
        done(&world, &first).await;
        let second = world.submit(for_upstream(&upstream, "POST", false)).await;
        // On a connection of its own, while the first is still there.
        upstream.answer("200 OK", "", "").await;
        done(&world, &second).await;
    }
}

#[tokio::test]
async fn what_may_be_repeated_shares_a_connection() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let first = world.submit(for_upstream(&upstream, "GET", true)).await;
    let mut call = upstream.next().await;
    call.answer_and_stay("", "one").await;
    done(&world, &first).await;
    let second = world.submit(for_upstream(&upstream, "GET", true)).await;
    let mut call = call.next().await;
    call.answer_and_stay("", "two").await;
    done(&world, &second).await;
}

/// Each call of an upstream is an attempt, and stands in the log: a torture that counted calls found
/// 188 that no `started` told of.
#[tokio::test]
async fn what_is_lost_on_a_kept_connection_is_sent_again_by_another_attempt() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let first = world.submit(for_upstream(&upstream, "GET", true)).await;
    let mut call = upstream.next().await;
    call.answer_and_stay("", "one").await;
    done(&world, &first).await;
    let second = world.submit(for_upstream(&upstream, "GET", true)).await;
    drop(call.next().await);
    let task = world.until(second.spec.id, EventKind::AttemptFailed).await;
    assert_eq!((task.life.attempt, task.life.failures), (1, 1));
}

fn links(count: usize) -> String {
    (0..count).map(|n| format!("Link: </{n}>\r\n")).collect()
}

/// A 200 with 120 fields was thrown away: `outcome-unknown` for a POST, three calls for a GET.
#[tokio::test]
async fn an_answer_of_many_fields_is_kept_up_to_a_limit_of_ours() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    // With Content-Length and Connection.
    let most = limits::UPSTREAM_FIELDS_MAX - 2;
    let at_the_limit = world.submit(for_upstream(&upstream, "POST", false)).await;
    upstream.answer("200 OK", &links(most), "").await;
    done(&world, &at_the_limit).await;
    for repeatable in [false, true] {
        let over = world.submit(for_upstream(&upstream, "PUT", repeatable)).await;
        upstream.answer("200 OK", &links(most + 1), "").await;
        assert_too_large(&world, &over).await;
    }
}

#[tokio::test]
async fn an_answer_with_a_head_over_the_limit_is_refused_without_a_retry() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let long = |len| format!("X-Long: {}\r\n", "y".repeat(len));
    let below = world.submit(for_upstream(&upstream, "POST", false)).await;
    upstream.answer("200 OK", &long(limits::HEAD_BYTES_MAX - 200), "").await;
    done(&world, &below).await;
    let over = world.submit(for_upstream(&upstream, "GET", true)).await;
    upstream.answer("200 OK", &long(limits::HEAD_BYTES_MAX), "").await;
    assert_too_large(&world, &over).await;
}

async fn assert_too_large(world: &World, task: &Task) {
    let task = world.until(task.spec.id, EventKind::Failed).await;
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code, FailureCode::UpstreamResponseTooLarge);
    assert_eq!(task.life.attempt, 1);
    let detail = failure.detail.as_deref().unwrap_or_default();
    assert!(detail.contains("head"), "{detail}");
}
