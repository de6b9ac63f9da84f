//! Who is told of what happens: those whom it concerns, in order, and nobody else.

use std::collections::HashSet;
use std::sync::Arc;

use relais_core::TaskId;
use relais_engine::{Channel, Happening, Inbox, Many, Submission, Subscription};

use crate::world::{World, for_workers, tenant};

fn labelled(value: &str) -> Submission {
    let labels = vec![("order".to_owned(), value.to_owned())];
    Submission { labels, ..for_workers() }
}

fn many(tasks: Vec<TaskId>, label: Option<&str>) -> Subscription {
    let label = label.map(|value| ("order".to_owned(), value.to_owned()));
    Subscription::Many(Many { tenant: tenant(), tasks, label, only_open: false })
}

/// What a channel has at hand, once it has so much: of which task, with its number; or erased.
async fn told(channel: &Channel, count: u64) -> Vec<(TaskId, Option<u64>)> {
    channel.reaches(count - 1).await;
    let told = channel.view(0).recent.into_iter().map(|happening| match happening {
        Happening::Event(event) => {
            (event.entry.task, Some(channel.subscription().number_of(&event)))
        }
        Happening::Erased(task) => (task, None),
    });
    told.collect()
}

/// Each commit woke all who followed many tasks, and each of them read the log: 200 quiet followers made an
/// accept 13 times as dear.
#[tokio::test]
async fn a_commit_wakes_only_those_whom_it_concerns() {
    let world = World::new().await;
    let own = world.submit(labelled("A-1")).await.spec.id;
    let inbox = Arc::new(Inbox::default());
    let subscriptions = [
        Subscription::Task(own),
        many(vec![own], None),
        many(Vec::new(), Some("A-1")),
        many(Vec::new(), None),
        many(vec![own], Some("B-2")),
    ];
    let mut channels = Vec::new();
    for (subscription, token) in subscriptions.into_iter().zip(0..) {
        let channel = world.engine.channel(subscription);
        world.engine.begin(&channel).await.unwrap();
        channel.join(&inbox, token);
        channels.push(channel);
    }
    let other = world.submit(labelled("C-3")).await.spec.id;
    assert_eq!(told(&channels[3], 1).await, [(other, Some(2))], "the tenant's");
    assert_eq!(inbox.take(), HashSet::from([3]));
    world.engine.cancel(&tenant(), own).await.unwrap();
    assert_eq!(told(&channels[0], 1).await, [(own, Some(2))], "by its own number");
    for channel in &channels[1..3] {
        assert_eq!(told(channel, 1).await, [(own, Some(3))], "by its place in the store");
    }
    assert_eq!(told(&channels[3], 2).await.len(), 2);
    assert_eq!(inbox.take(), HashSet::from([0, 1, 2, 3]));
    world.engine.erase(own).await.unwrap();
    for channel in &channels[..3] {
        assert_eq!(told(channel, 2).await[1], (own, None));
    }
    assert_eq!(channels[4].end(), 0, "it has another label");
}

/// Its log goes with a task that is erased: what had become known of it, and was not read yet, was told to
/// nobody who followed many tasks, so that it ended there without an end.
#[tokio::test]
async fn the_last_events_of_a_task_are_told_before_its_erasure() {
    let world = World::new().await;
    let channel = world.engine.channel(many(Vec::new(), None));
    world.engine.begin(&channel).await.unwrap();
    let id = world.submit(for_workers()).await.spec.id;
    world.engine.cancel(&tenant(), id).await.unwrap();
    world.engine.erase(id).await.unwrap();
    let other = world.submit(for_workers()).await.spec.id;
    let expected = [(id, Some(1)), (id, Some(2)), (other, Some(4)), (id, None)];
    assert_eq!(told(&channel, 4).await, expected);
}

#[tokio::test]
async fn followers_of_the_same_share_what_they_are_told() {
    let world = World::new().await;
    let id = world.submit(for_workers()).await.spec.id;
    let one = world.engine.channel(Subscription::Task(id));
    let same = world.engine.channel(many(vec![id], None));
    world.engine.begin(&same).await.unwrap();
    assert!(Arc::ptr_eq(&same, &world.engine.channel(many(vec![id], None))));
    world.engine.cancel(&tenant(), id).await.unwrap();
    let mut json = Vec::new();
    for channel in [&one, &same] {
        channel.reaches(0).await;
        let Happening::Event(event) = &channel.view(0).recent[0] else { panic!("an event") };
        json.push(event.json("http://localhost").as_ptr());
    }
    assert_eq!(json[0], json[1], "its JSON is made once, whatever they follow");
}

/// Commits become known in any order, and the log is the truth about it.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_over_many_tasks_tells_all_in_the_order_of_the_store() {
    let world = World::new().await;
    let channel = world.engine.channel(many(Vec::new(), None));
    world.engine.begin(&channel).await.unwrap();
    let submitting = (0..500).map(|_| {
        let engine = world.engine.clone();
        tokio::spawn(async move {
            let id = engine.draw_id();
            engine.submit(id, for_workers()).await.unwrap();
        })
    });
    for submitted in submitting.collect::<Vec<_>>() {
        submitted.await.unwrap();
    }
    let places: Vec<_> = told(&channel, 500).await.into_iter().filter_map(|(_, pos)| pos).collect();
    assert_eq!(places, (1..=500).collect::<Vec<_>>());
}
