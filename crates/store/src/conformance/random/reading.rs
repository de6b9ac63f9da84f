//! What a store holds, read whole.

use bytes::Bytes;
use relais_core::{BodyKind, EventKind, Task, TaskId};

use super::super::world::World;
use crate::*;

/// All tasks of a store.
pub(super) async fn all_tasks(world: &World) -> Vec<Task> {
    let (mut tasks, mut after) = (Vec::new(), None);
    loop {
        let filter = Filter { after, limit: 500, ..Filter::default() };
        let page = world.store.list(filter).await.expect("the store works");
        tasks.extend(page.tasks);
        after = page.next;
        if after.is_none() {
            return tasks;
        }
    }
}

pub(super) async fn attended_so(world: &World, attended: Attended) -> Vec<TaskId> {
    let filter = Filter { attended: Some(attended), limit: 1_000, ..Filter::default() };
    let page = world.store.list(filter).await.expect("the store works");
    page.tasks.iter().map(|task| task.spec.id).collect()
}

pub(super) async fn endpoints(world: &World) -> Vec<EndpointRow> {
    world.store.endpoints(Endpoints::All).await.expect("the store works")
}

/// Head and bytes of a body.
pub(super) async fn whole(world: &World, id: TaskId, kind: BodyKind) -> Option<(Bytes, Bytes)> {
    let body = world.try_body(id, kind).await?;
    Some((body.head.clone(), body.bytes(usize::MAX).await.expect("it is whole")))
}

/// The log of a task without progress, which may be thinned.
pub(super) async fn logged(world: &World, id: TaskId) -> Vec<relais_core::Entry> {
    let mut log = world.log(id).await;
    log.retain(|entry| entry.data.kind() != EventKind::Progressed);
    log
}

pub(super) async fn all_stats(world: &World) -> Vec<QueueStats> {
    let mut stats = world.store.queues(Queues::All).await.expect("the store works");
    stats.sort_by_key(|stats| (stats.tenant.clone(), stats.queue.clone()));
    stats
}
