//! A request that is sent again while its task runs: it waits as the first does, and reads the same answer
//! while that comes, at whatever node.

use std::sync::Arc;
use std::time::Duration;

use relais_core::{Grace, Task};
use relais_server::config::Mode;
use relais_store::{MemoryStore, Store};

use crate::house::{Client, House, Plan, SOON};

const POST: &str = "POST /work HTTP/1.1\r\nhost: a\r\nidempotency-key: 0123456789abcdef0123456789\r\n\
                    content-length: 2\r\n\r\nhi";
const BEGUN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: 1\r\n\r\nhel";
const GRACE: Duration = Duration::from_secs(9);

/// Two nodes of one store.
async fn nodes() -> [House; 2] {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let [mut first, mut second] = [Plan::with(Mode::Auto).await, Plan::with(Mode::Auto).await];
    for (seed, plan) in [(7, &mut first), (8, &mut second)] {
        (plan.store, plan.seed) = (store.clone(), seed);
        plan.route().abandon = Grace::of(GRACE);
    }
    [first.build().await, second.build().await]
}

/// Waits until the task of this answer is so. Nothing of it is in a log.
async fn until(house: &House, id: relais_core::TaskId, is_so: impl Fn(&Task) -> bool) {
    let looking = async {
        while !is_so(&house.engine.task(id).await.unwrap().unwrap()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, looking).await.expect("it should have come to be so");
}

async fn streams(client: &mut Client) -> relais_core::TaskId {
    let head = client.head().await;
    assert_eq!((head.status, head.field("content-length"), head.field("x-a")), (200, "5", "1"));
    assert_eq!(head.field("relais-result-version"), "1.1");
    assert_ne!(head.field("operation-location"), "", "it can come back");
    assert_eq!(client.bytes(3).await, b"hel");
    head.task()
}

/// It waited for the end of the task, and got a 202 if its patience ended before that.
#[tokio::test]
async fn a_repeat_reads_the_answer_while_it_comes_at_each_node() {
    let [first, second] = nodes().await;
    let mut caller = first.send(POST).await;
    let mut call = first.upstream.next().await;
    // One comes before there is an answer, the others while there is a part of it.
    let mut early = second.send(POST).await;
    call.send(BEGUN).await;
    let id = streams(&mut caller).await;
    let mut late = first.send(POST).await;
    let mut elsewhere = second.send(POST).await;
    for repeat in [&mut early, &mut late, &mut elsewhere] {
        assert_eq!(streams(repeat).await, id);
    }
    call.send("lo").await;
    for reader in [&mut caller, &mut early, &mut late, &mut elsewhere] {
        assert_eq!(reader.bytes(2).await, b"lo");
    }
    assert!(first.upstream.is_silent().await && second.upstream.is_silent().await, "called once");
    let over = second.call(POST).await;
    assert_eq!((over.text(), over.field("idempotent-replayed")), ("hello", "true"));
}

#[tokio::test]
async fn a_repeat_of_what_breaks_off_is_aborted_and_of_what_has_no_body_told_its_head() {
    let [first, second] = nodes().await;
    let _caller = first.send(POST).await;
    let mut call = first.upstream.next().await;
    call.send(BEGUN).await;
    let mut repeat = second.send(POST).await;
    streams(&mut repeat).await;
    call.die();
    assert_eq!(repeat.rest().await, (Vec::new(), false), "no end is faked");
    let [first, second] = nodes().await;
    let _caller = first.send(POST).await;
    let mut call = first.upstream.next().await;
    let mut repeat = second.send(POST).await;
    call.send("HTTP/1.1 204 Nothing\r\n\r\n").await;
    let head = repeat.head().await;
    assert_eq!((head.status, head.field("idempotent-replayed")), (204, "true"));
}

/// It held nothing once its answer had begun, and whether it had left was not seen.
#[tokio::test]
async fn a_repeat_holds_its_task_to_the_end_of_its_answer_and_leaves_it() {
    let [first, second] = nodes().await;
    let mut caller = first.send(POST).await;
    let mut call = first.upstream.next().await;
    call.send(BEGUN).await;
    let id = streams(&mut caller).await;
    let mut repeat = second.send(POST).await;
    streams(&mut repeat).await;
    until(&first, id, |task| task.life.attended_by().len() == 2).await;
    drop(caller);
    until(&first, id, |task| task.life.attended_by().len() == 1).await;
    drop(repeat);
    until(&first, id, |task| task.life.is_left()).await;
    let mut back = second.send(POST).await;
    streams(&mut back).await;
    until(&first, id, |task| !task.life.is_left()).await;
    call.send("lo").await;
    assert_eq!(back.bytes(2).await, b"lo");
}
