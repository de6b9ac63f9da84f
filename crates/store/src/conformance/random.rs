//! Random lives by seed: what must hold after each step, and the same as the reference does.

mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use relais_core::{
    BodyKind, Command, DeliveryId, Endpoint, EndpointId, EndpointOp, EventKind, Failure,
    FailureCode, Filter as Taken, Gone, Heard, Order, Policy, Progress, Purpose, Rate, Task,
    TaskId, TenantName,
};

use super::fixture::*;
use super::webhooks::setting::{changing, create, delivery, endpoint, of_deliveries, own, to};
use super::world::World;
use crate::*;
use reading::{all_stats, all_tasks, attended_so, endpoints, logged, whole};

/// Chance by seed: the same seed, the same run.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall as `seed` says.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let index = self.roll(of.len() as u64);
        of[usize::try_from(index).expect("an index")]
    }
}

/// A random life of a store: what exists, who holds what, what time it is.
struct Run {
    dice: Dice,
    now: i64,
    ids: Vec<TaskId>,
    nonces: Vec<(TaskId, u128)>,
    policies: BTreeMap<&'static str, Policy>,
}

const QUEUES: [&str; 3] = ["plain", "limited", "strict"];
const ENDPOINTS: [u64; 3] = [1, 2, 3];

/// Of four tasks, and of four claims, one is internal.
const PURPOSES: [Purpose; 4] =
    [Purpose::Client, Purpose::Client, Purpose::Client, Purpose::Internal];

/// What is done next; decided before it is known what the store answers.
#[derive(Debug, Clone)]
enum Deed {
    Commits(Vec<Commit>),
    Claim(Box<Ask>),
    /// What waits for an endpoint, a few of it, becomes tasks.
    Deliver(EndpointId),
    Due,
}

impl Run {
    fn new(seed: u64) -> Self {
        let rate = Some(Rate { count: 20, period: ms(1_000) });
        let limits = Policy {
            concurrency: Some(6),
            concurrency_per_lane: Some(2),
            lease: ms(300),
            rate,
            lane_weights: BTreeMap::from([(lane("a"), 3)]),
            ..policy()
        };
        let policies = BTreeMap::from([
            ("plain", Policy { lease: ms(200), ..policy() }),
            ("limited", limits.clone()),
            ("strict", Policy { order: Order::Strict, rate: None, ..limits }),
        ]);
        Self { dice: Dice::new(seed), now: 0, ids: Vec::new(), nonces: Vec::new(), policies }
    }

    fn deed(&mut self, world: &World) -> Deed {
        self.now += i64::try_from(self.dice.roll(30)).expect("small");
        match self.dice.roll(10) {
            0..4 => {
                let count = 1 + self.dice.roll(4);
                Deed::Commits((0..count).map(|_| self.commit(world)).collect())
            }
            4..8 => {
                if self.dice.roll(5) == 0 {
                    let limit = usize::try_from(self.dice.roll(4)).expect("small");
                    return Deed::Claim(Box::new(of_deliveries().at(self.now).limit(limit)));
                }
                let name = self.dice.pick(&QUEUES);
                let limit = usize::try_from(self.dice.roll(4)).expect("small");
                let ask = from(name).policy(&self.policies[name]).at(self.now).limit(limit);
                let ask = ask.purpose(self.dice.pick(&PURPOSES));
                Deed::Claim(Box::new(ask))
            }
            8 => Deed::Deliver(self.dice.pick(&ENDPOINTS.map(EndpointId::kept))),
            _ => Deed::Due,
        }
    }

    fn commit(&mut self, world: &World) -> Commit {
        if self.ids.is_empty() || self.dice.roll(3) == 0 {
            let id = world.id();
            self.ids.push(id);
            return Commit::Accept(Box::new(self.task().id(id).build(id)));
        }
        if self.dice.roll(20) == 0 {
            return self.change_endpoint();
        }
        let id = self.dice.pick(&self.ids);
        match self.dice.roll(18) {
            0 => erasing(id),
            1 => self.step(id, Command::Cancel),
            2 => self.step(id, Command::Retry { from_start: self.dice.clone().roll(2) == 0 }),
            3 => self.step(id, TICK),
            4 => {
                let pause = self.dice.roll(3) == 0;
                let change = if pause { QueueChange::Pause } else { QueueChange::Resume };
                let (tenant, queue) = (tenant("default"), queue(self.dice.pick(&QUEUES)));
                Commit::Queue { tenant, queue, change }
            }
            5 => self.step(id, Command::Ask),
            6..9 => {
                let node = self.dice.roll(3);
                let commands = [
                    Command::Attend { node, has_broken: None },
                    Command::Attend { node, has_broken: Some(true) },
                    Command::LetGo { node, has_broken: None },
                    Command::Leave { node },
                ];
                let at = usize::try_from(self.dice.roll(4)).expect("small");
                self.step(id, commands[at].clone())
            }
            _ if self.nonces.is_empty() => self.step(id, TICK),
            _ => {
                // Mostly of live attempts; the older ones are stale.
                let recent = self.nonces.len().saturating_sub(12);
                let (id, nonce) = self.dice.pick(&self.nonces[recent..]);
                let command = self.said(nonce);
                self.step(id, command)
            }
        }
    }

    /// Something happens to an endpoint.
    fn change_endpoint(&mut self) -> Commit {
        let endpoint = EndpointId::kept(self.dice.pick(&ENDPOINTS));
        let heard = self.dice.pick(&[Heard::Delivered, Heard::Failed, Heard::Failed, Heard::Gone]);
        let (until, now) = (at(self.now - 300), at(self.now));
        match self.dice.roll(8) {
            0 => Commit::Drop(DropDeliveries { endpoint, until, now }),
            1 => changing(endpoint, EndpointOp::Hold, self.now),
            2..5 => changing(endpoint, EndpointOp::Resume, self.now),
            _ => changing(endpoint, EndpointOp::Heard { heard, hold_after: ms(200) }, self.now),
        }
    }

    fn said(&mut self, nonce: u128) -> Command {
        let now = self.now;
        match self.dice.roll(12) {
            0..2 => Command::succeed(nonce),
            2 => Command::Succeed { nonce, result: None, message: None, early: Some(nonce) },
            3 => fail(nonce),
            4 => give_up(nonce),
            5 if self.dice.roll(2) == 0 => {
                let failure = Failure::new(FailureCode::UpstreamError, None);
                Command::Postpone { nonce, failure, pause: ms(30) }
            }
            5 => Command::Release { nonce },
            6 => Command::Crash { nonce, gone: Gone::Silent, jitter: 0.5 },
            7 => {
                let callback = nonce ^ (1 << 99);
                Command::Defer { nonce, until: at(now + 250), callback }
            }
            8..10 => Command::StoreEarly { nonce, id: nonce },
            10 => Command::Show { nonce, id: nonce },
            _ => {
                let progress =
                    Some(Progress { done: Some(self.dice.roll(9)), ..Progress::default() });
                let until = at(now + 200);
                Command::Report { nonce, until, progress, output: None, checkpoint: false }
            }
        }
    }

    fn step(&self, id: TaskId, command: Command) -> Commit {
        let stored = inline("early");
        let bodies = match &command {
            Command::StoreEarly { .. } => vec![(BodyKind::Early, stored)],
            Command::Succeed { early: Some(id), .. } => {
                let data = BodySource::Inline(Bytes::from_static(b"early"));
                let stored = StoredBody { head: stored.head, len: 5, data };
                let data = Data::Early { id: *id, stored };
                vec![(BodyKind::Result, Body { head: Bytes::from_static(b"result"), data })]
            }
            _ => Vec::new(),
        };
        let step = World::stepping(id, command, self.now);
        Commit::Step(Box::new(StepOf { bodies, ..step }))
    }

    fn task(&mut self) -> TaskBuilder {
        let now = self.now;
        let mut task = task()
            .queue(self.dice.pick(&QUEUES))
            .purpose(self.dice.pick(&PURPOSES))
            .created_at(now)
            .priority(i8::try_from(self.dice.roll(5)).expect("small") - 2)
            .deadline_after(500 + self.dice.roll(3_000))
            .retention(200 + self.dice.roll(2_000));
        if self.dice.roll(4) > 0 {
            task = task.lane(self.dice.pick(&["a", "b", "c"]));
        }
        if self.dice.roll(4) == 0 {
            task = task.run_at(now + i64::try_from(self.dice.roll(400)).expect("small"));
        }
        if self.dice.roll(5) == 0 {
            let key = u8::try_from(self.dice.roll(8)).expect("small");
            task = task.key(key, key % 2, now + 500);
        }
        if self.dice.roll(2) == 0 {
            task = task.grace(3_000 * self.dice.roll(2)).attended_by(self.dice.roll(3));
        }
        if self.dice.roll(8) == 0 {
            task = task.webhook(own(self.dice.roll(2)));
        }
        if self.dice.roll(2) == 0 {
            // Few enough that it is reached now and then.
            task = task.source(u8::try_from(self.dice.roll(3)).expect("small"), 6);
        }
        task
    }

    /// That of a queue; deliveries have the usual one.
    fn policy(&self, name: &str) -> Policy {
        self.policies.get(name).cloned().unwrap_or_else(policy)
    }

    /// The fences a claim brought may be used from now on, and those of
    /// whoever is told to call back.
    fn learn(&mut self, claims: &Claims) {
        for claimed in &claims.started {
            let id = claimed.task().spec.id;
            self.nonces.extend([(id, claimed.nonce), (id, claimed.nonce ^ (1 << 99))]);
        }
    }
}

/// What was done, as far as stores must agree on it.
#[derive(Debug, Default, PartialEq)]
struct Answers {
    commits: Vec<String>,
    started: Vec<TaskId>,
    next: Option<relais_core::Timestamp>,
    more: bool,
    due: BTreeSet<TaskId>,
    pools: BTreeSet<Pool>,
}

/// Does it, and sees to what is due, as the engine would.
async fn act(world: &World, run: &mut Run, deed: &Deed, nonces: &[u128]) -> Answers {
    let mut answers = Answers::default();
    match deed {
        Deed::Commits(commits) => {
            for answer in world.commit_all(commits.clone()).await {
                answers.commits.push(told(answer));
            }
        }
        Deed::Claim(ask) => {
            let claim = Claim {
                pool: ask.pool.clone(),
                policy: Arc::new(ask.policy.clone()),
                holder: relais_core::Holder::Relais { epoch: 1 },
                nonces: nonces[..ask.limit].to_vec(),
                held: Arc::default(),
                now: at(ask.now),
            };
            let claims = world.store.claim(claim).await.expect("the store works");
            run.learn(&claims);
            answers.started = claims.started.iter().map(|claimed| claimed.task().spec.id).collect();
            (answers.next, answers.more) = (claims.next_at, claims.more);
        }
        Deed::Deliver(endpoint) => {
            let next = world.store.next_deliveries(*endpoint, 4).await.expect("the store works");
            let places = next.into_iter().flat_map(|next| next.places);
            let ids = places.map(|pos| DeliveryId { endpoint: *endpoint, pos });
            let made: Vec<_> = ids.map(|id| making(id, run.now)).collect();
            for answer in world.commit_all(made).await {
                answers.commits.push(told(answer));
            }
        }
        Deed::Due => {
            let due = world.due(run.now).await;
            answers.next = due.next;
            answers.due.extend(&due.tasks);
            answers.pools.extend(due.pools);
            for id in answers.due.clone() {
                let ticked = world.step(id, TICK, run.now).await;
                if ticked.reply == relais_core::Reply::Expired {
                    world
                        .commit(Commit::Erase { id, why: Erasure::Expired })
                        .await
                        .expect("it is terminal");
                }
            }
        }
    }
    answers
}

/// An answer without positions, which stores number as they like.
fn told(answer: Result<Committed, Rejected>) -> String {
    match answer {
        Ok(Committed::Accepted { .. }) => "accepted".to_owned(),
        Ok(Committed::Stepped(stepped)) => {
            let Stepped { changed, reply } = *stepped;
            let Changed { task, entries, effects, pos: _, started_at: _, told } = changed;
            format!("{task:?} {entries:?} {effects:?} {told:?} {reply:?}")
        }
        other => format!("{other:?}"),
    }
}

/// Compares the counts of every queue with a recount of clients' tasks.
async fn check_counts(world: &World, tasks: &[Task]) {
    let mut recount: BTreeMap<(TenantName, String), ([u64; 6], u64)> = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.spec.purpose == Purpose::Client) {
        let key = (task.spec.tenant.clone(), task.spec.queue.to_string());
        let (counts, leases) = recount.entry(key).or_default();
        counts[task.life.status() as usize] += 1;
        *leases += u64::from(task.life.lease().is_some());
    }
    for stats in world.store.queues(Queues::All).await.expect("the store works") {
        let key = (stats.tenant.clone(), stats.queue.to_string());
        let counted = recount.remove(&key).unwrap_or_default();
        assert_eq!((stats.counts, stats.leases), counted, "{}", stats.queue);
    }
    assert!(recount.is_empty(), "queues with tasks are listed: {recount:?}");
}

/// Checks that no limit is exceeded: tasks that run, or have holders that have not stopped.
fn check_limits(run: &Run, tasks: &[Task]) {
    let mut lanes: BTreeMap<(&str, Purpose, Option<&str>), u32> = BTreeMap::new();
    let mut queues: BTreeMap<(&str, Purpose), u32> = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.life.lease().is_some()) {
        let (queue, purpose) = (task.spec.queue.as_str(), task.spec.purpose);
        let lane = task.spec.lane.as_ref().map(relais_core::LaneKey::as_str);
        *lanes.entry((queue, purpose, lane)).or_default() += 1;
        *queues.entry((queue, purpose)).or_default() += 1;
    }
    for ((name, _, lane), leases) in lanes {
        let max = run.policy(name).concurrency_per_lane.unwrap_or(u32::MAX);
        assert!(leases <= max, "{leases} leases in lane {lane:?} of {name}");
    }
    for ((name, _), leases) in queues {
        let max = run.policy(name).concurrency.unwrap_or(u32::MAX);
        assert!(leases <= max, "{leases} leases in {name}");
    }
}

/// Checks the log of a task: numbered, timed, and with one terminal entry per run.
async fn check_log(world: &World, task: &Task) {
    let log = world.log(task.spec.id).await;
    assert!(log.is_sorted_by(|a, b| a.seq < b.seq && a.at <= b.at), "{log:?}");
    assert_eq!(log.last().map(|entry| entry.seq), Some(task.life.version), "{log:?}");
    let mut is_over = false;
    for kind in log.iter().map(|entry| entry.data.kind()) {
        assert!(!is_over || kind == EventKind::Requeued, "{kind:?} after the end: {log:?}");
        is_over = kind.is_terminal();
    }
    assert_eq!(is_over, task.life.status().is_terminal(), "{log:?}");
}

/// P10, P36: after each of 2,000 random deeds slots in use are leases live, counts are those of a
/// recount, limits hold; and at the end every log is in order and every task comes to an end.
pub async fn slots_and_counts_are_right_after_every_random_step(world: World) {
    let mut run = Run::new(0x5e1a15);
    create_endpoints(&world).await;
    for count in 0..2_000 {
        let deed = run.deed(&world);
        let nonces: Vec<u128> = (0..4).map(|_| world.nonce()).collect();
        act(&world, &mut run, &deed, &nonces).await;
        if count % 8 == 0 || count > 1_900 {
            let tasks = all_tasks(&world).await;
            check_counts(&world, &tasks).await;
            check_limits(&run, &tasks);
        }
    }
    for task in all_tasks(&world).await {
        check_log(&world, &task).await;
    }
    // Nobody says anything any more: time alone ends everything.
    for _ in 0..100 {
        run.now += 1_000;
        act(&world, &mut run, &Deed::Due, &[]).await;
    }
    assert!(all_tasks(&world).await.is_empty(), "every task was ended and erased by time");
    check_counts(&world, &[]).await;
    for name in QUEUES {
        for source in 0..3 {
            world.accept(task().queue(name).created_at(run.now).source(source, 1)).await;
        }
    }
}

/// The same deeds done to this store and to the reference: the same answers, tasks and events.
pub async fn it_does_what_the_reference_does(world: World) {
    compare(&world, &World::from(MemoryStore::new()), 1).await;
}

/// The same, with other luck.
pub async fn it_does_what_the_reference_does_by_another_seed(world: World) {
    compare(&world, &World::from(MemoryStore::new()), 2_026).await;
}

/// Does the same random deeds to both, and compares what they answer and what they hold.
pub async fn compare(world: &World, reference: &World, seed: u64) {
    let mut run = Run::new(seed);
    let mut other = Run::new(seed);
    create_endpoints(world).await;
    create_endpoints(reference).await;
    for count in 0..600 {
        let deed = run.deed(world);
        (other.now, other.dice) = (run.now, run.dice.clone());
        let nonces: Vec<u128> = (0..4).map(|_| world.nonce()).collect();
        // What is overdue is seen to first, as the engine does.
        act(world, &mut run, &Deed::Due, &[]).await;
        act(reference, &mut other, &Deed::Due, &[]).await;
        let mine = act(world, &mut run, &deed, &nonces).await;
        let theirs = act(reference, &mut other, &deed, &nonces).await;
        assert_eq!(mine, theirs, "seed {seed}, deed {count}: {deed:?}");
        other.ids.clone_from(&run.ids);
        if count % 20 == 0 {
            assert_eq!(all_tasks(world).await, all_tasks(reference).await, "seed {seed}");
        }
    }
    for task in all_tasks(reference).await {
        let id = task.spec.id;
        assert_eq!(logged(world, id).await, logged(reference, id).await, "seed {seed}");
        for kind in BodyKind::ALL {
            assert_eq!(whole(world, id, kind).await, whole(reference, id, kind).await, "{kind:?}");
        }
        let place = world.store.place(id).await.expect("the store works");
        let expected = reference.store.place(id).await.expect("the store works");
        let is_strict = task.spec.queue == queue("strict");
        if !is_strict {
            assert_eq!(place.map(|place| place.ahead), expected.map(|place| place.ahead));
        }
    }
    assert_eq!(all_stats(world).await, all_stats(reference).await, "seed {seed}");
    assert_eq!(endpoints(world).await, endpoints(reference).await, "seed {seed}");
    for id in
        ENDPOINTS.map(EndpointId::kept).into_iter().chain([own(0), own(1)].map(|own| own.endpoint))
    {
        assert_eq!(to(world, id).await, to(reference, id).await, "seed {seed}, {id}");
    }
    for attended in [Attended::By(0), Attended::By(1), Attended::By(2), Attended::NoMore] {
        let (mine, theirs) = (attended_so(world, attended), attended_so(reference, attended));
        assert_eq!(mine.await, theirs.await, "seed {seed}");
    }
}

/// One that takes all, one that takes ends, and one of a single queue.
async fn create_endpoints(world: &World) {
    let of_queue = Taken { queues: vec![queue("limited")], ..endpoint(3).filter };
    let ends = Endpoint { filter: Taken::default(), ..endpoint(2) };
    for endpoint in [endpoint(1), ends, Endpoint { filter: of_queue, ..endpoint(3) }] {
        create(world, endpoint).await;
    }
}

/// The task of a delivery, which does not wait for days.
fn making(id: DeliveryId, now: i64) -> Commit {
    let task = delivery(id).created_at(now).deadline_after(900).retention(400);
    Commit::Accept(Box::new(task.build(id.task())))
}
