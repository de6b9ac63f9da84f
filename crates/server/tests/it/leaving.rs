//! Tasks of routes that are canceled when all who waited for them have left: who holds one, who does not,
//! and what becomes of its upstream.

use std::time::Duration;

use relais_core::{CancelReason, Grace, State, Status, Task, TaskId, Timestamp};
use relais_server::config::Mode;

use crate::house::{House, Plan, SOON, START};

const POST: &str = "POST /work?x=1 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
/// The beginning of an answer.
const BEGUN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel";
const GRACE: Duration = Duration::from_secs(9);

/// A house whose tasks go on for [`GRACE`] after the last client has left.
async fn house() -> House {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.route().abandon = Grace::of(GRACE);
    plan.build().await
}

/// Waits until a task is so. Nothing of it is in a log.
async fn until(house: &House, id: TaskId, is_so: impl Fn(&Task) -> bool) -> Task {
    let looking = async {
        loop {
            let task = house.engine.task(id).await.unwrap().unwrap();
            if is_so(&task) {
                return task;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, looking).await.expect("it should have come to be so")
}

fn after(span: Duration) -> Option<Timestamp> {
    Some(START.plus(span))
}

fn is_abandoned(task: &Task) -> bool {
    matches!(task.life.state, State::Canceled { reason: CancelReason::Abandoned, .. })
}

#[tokio::test]
async fn a_caller_that_leaves_has_the_grace_to_come_back_and_then_its_upstream_is_left_alone() {
    for has_answer_begun in [false, true] {
        let house = house().await;
        let mut client = house.send(POST).await;
        let mut call = house.upstream.next().await;
        let id = call.field("relais-task").unwrap().parse().unwrap();
        if has_answer_begun {
            call.send(BEGUN).await;
            client.head().await;
        }
        let task = house.engine.task(id).await.unwrap().unwrap();
        assert_eq!((task.life.attended_by().len(), task.life.abandon_at()), (1, None));
        drop(client);
        let task = until(&house, id, |task| task.life.is_left()).await;
        assert_eq!(task.life.abandon_at(), after(GRACE));
        house.clock.advance(GRACE - Duration::from_millis(1));
        assert_eq!(house.engine.task(id).await.unwrap().unwrap().life.status(), Status::Running);
        house.clock.advance(Duration::from_millis(1));
        assert!(is_abandoned(&house.over(id).await), "{has_answer_begun}");
        call.closed().await;
    }
}

#[tokio::test]
async fn a_caller_that_got_its_answer_or_a_ticket_starts_no_countdown() {
    let house = house().await;
    let mut client = house.send(POST).await;
    house.upstream.next().await.answer("200 OK", "", "hello").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text()), (200, "hello"));
    let impatient = POST.replace("host: a", "host: a\r\nprefer: respond-async");
    let reply = house.call(&impatient).await;
    assert_eq!(reply.status, 202);
    let ticket = reply.json()["id"].as_str().unwrap().parse().unwrap();
    let call = house.upstream.next().await;
    let handed_over = POST.replace("host: a", "host: a\r\nprefer: wait=1");
    let reply = house.call(&handed_over).await;
    assert_eq!(reply.status, 202);
    let patient = reply.json()["id"].as_str().unwrap().parse().unwrap();
    for id in [ticket, patient] {
        house.engine.attendance_told().await;
        let task = house.engine.task(id).await.unwrap().unwrap();
        assert_eq!(task.life.attendance, None);
    }
    drop(call);
}
