//! The engine as a library: handlers in the process.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use relais_core::{EventKind, Progress, Status};
use relais_engine::{Handler, InlineAttempt, InlineOutcome, Submission};

use crate::world::{World, for_workers, policy, queue, tenant, with_handler};

/// Does as the input says.
struct Obedient;

impl Handler for Obedient {
    fn handle(
        &self,
        attempt: InlineAttempt,
    ) -> Pin<Box<dyn Future<Output = InlineOutcome> + Send + '_>> {
        Box::pin(async move {
            match &attempt.input[..] {
                b"panic" => panic!("as told"),
                b"hang" => {
                    attempt.stop.cancelled().await;
                    std::future::pending().await
                }
                b"fail" => InlineOutcome::Fail { detail: "as told".to_owned(), retryable: false },
                _ => {
                    let progress = Progress { percent: Some(50.0), ..Progress::default() };
                    attempt.report(Some(progress), None).await.expect("the lease lives");
                    let result = attempt.input.clone();
                    InlineOutcome::Succeed { content_type: "text/plain".to_owned(), result }
                }
            }
        })
    }
}

fn inline(input: &'static str) -> Submission {
    let mut submission = for_workers();
    submission.queue = queue("inline");
    submission.input = relais_store::Data::Inline(input.into());
    submission
}

#[tokio::test]
async fn a_handler_runs_reports_and_gives_its_result() {
    let world = World::with(with_handler(Arc::new(Obedient))).await;
    let task = world.submit(inline("echo")).await;
    world.until(task.spec.id, EventKind::Progressed).await;
    world.until(task.spec.id, EventKind::Succeeded).await;
    assert_eq!(world.result(task.spec.id).await, "echo");
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_is_a_failed_attempt() {
    let world = World::with(with_handler(Arc::new(Obedient))).await;
    let task = world.submit(inline("fail")).await;
    world.until(task.spec.id, EventKind::Failed).await;
    let task = world.submit(inline("panic")).await;
    let task = world.until(task.spec.id, EventKind::AttemptFailed).await;
    assert_eq!(task.life.failures, 1);
}

#[tokio::test]
async fn a_handler_that_never_yields_its_task_is_stopped_by_cancel_and_by_time() {
    // P16: a stuck handler ignored the cancel and kept its slot.
    let world = World::with(with_handler(Arc::new(Obedient))).await;
    let task = world.submit(inline("hang")).await;
    world.until(task.spec.id, EventKind::Started).await;
    world.engine.cancel(&tenant(), task.spec.id).await.unwrap();
    while world.leases().await > 0 {
        tokio::task::yield_now().await;
    }
    let task = world.submit(inline("hang")).await;
    world.until(task.spec.id, EventKind::Started).await;
    // The handler begins after its start is known: let it arm its timeout first.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    world.clock.advance(policy().attempt_timeout);
    let task = world.until(task.spec.id, EventKind::AttemptFailed).await;
    assert_ne!(task.life.status(), Status::Running);
}
