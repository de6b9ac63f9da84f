//! A queue that is taken out of the configuration while tasks wait in it.

use std::time::Duration;

use relais_core::{LeaseToken, Reply};
use relais_engine::{Config, EngineError, Obstacle, Outcome, Settle};

use crate::world::{World, for_workers, policy, queue, tenant};

#[tokio::test]
async fn what_is_left_in_a_queue_without_a_definition_is_worked_off_and_explained() {
    // Its tasks were stranded: workers were told that there is no such queue, `why` that none asks.
    let queues = [(queue("work"), policy())].into();
    let world = World::with(Config { template: None, queues, ..Config::default() }).await;
    let task = world.submit(for_workers()).await;
    assert_eq!(world.engine.undefined_queues().await.unwrap(), []);
    world.engine.configure(Config { template: None, ..Config::default() });

    let undefined = world.engine.undefined_queues().await.unwrap().pop().unwrap();
    assert_eq!((undefined.queue.as_str(), undefined.tasks), ("work", 1));
    let why = world.engine.why(&task).await.unwrap();
    assert!(why.obstacles.contains(&Obstacle::QueueNotDefined), "{why:?}");

    let leased = world.lease(Duration::ZERO).await.pop().unwrap();
    // While it runs it may come back, so that others may wait for it.
    assert!(world.lease(Duration::ZERO).await.is_empty());
    let token = LeaseToken { task: task.spec.id, nonce: leased.nonce };
    let settle = Settle { token, outcome: Outcome::Succeed { result: None, message: None } };
    let mut answers = world.engine.settle(Some(&tenant()), vec![settle]).await.unwrap();
    assert_eq!(answers.pop().unwrap().unwrap().reply, Reply::Done);

    assert_eq!(world.engine.undefined_queues().await.unwrap(), []);
    let asked = world.engine.lease(&tenant(), &queue("work"), "w", 1, Duration::ZERO).await;
    assert_eq!(asked.unwrap_err(), EngineError::UnknownQueue, "nothing is left in it");
}
