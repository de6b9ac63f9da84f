//! Whose turn it is: one start after the other, each time looking at everything anew.

use relais_core::lane::{
    Bucket, free_at, full_after_start, queue_vtime_after_start, turn, vtime_after_start,
};
use relais_core::{
    BodyKind, Command, Order, Policy, QueueName, Task, TaskId, TenantName, Timestamp, step,
};

use super::state::{Inner, Lane, Queue, QueueKey};
use crate::claim::{Claim, Claimed, Claims, Due, DueQuery, Pool};
use crate::commit::{Changed, StepOf};

/// The bodies whoever runs an attempt needs.
const CLAIMED_BODIES: [BodyKind; 3] = [BodyKind::Input, BodyKind::Checkpoint, BodyKind::Sealed];

/// What a look at a pool found.
#[derive(Default)]
struct Look {
    /// The ready task whose turn it is, of those for which there is a slot: turn of its lane, rank,
    /// arrival, id.
    first: Option<(i64, i64, u64, TaskId)>,
    /// Whether ready tasks wait for a slot.
    wants_slot: bool,
    /// When the first of the lanes that their rate holds back may start again.
    free_at: Option<Timestamp>,
}

impl Inner {
    pub(super) fn claim(&mut self, claim: &Claim) -> Claims {
        let Pool { tenant, queue, purpose, .. } = claim.pool.clone();
        let key = (tenant, queue, purpose);
        let in_pool = |id: &TaskId| Pool::of(&self.row(*id).task) == claim.pool;
        for id in self.ripe(claim.now).filter(in_pool).collect::<Vec<_>>() {
            self.promote(id, claim.now);
        }
        let Some(queue) = self.queues.get_mut(&key) else { return Claims::default() };
        queue.seen = Some(claim.policy.clone());
        queue.bucket = queue.bucket.map(|bucket| bucket.set_back(claim.now).unwrap_or(bucket));
        let (vtime, now_us) = (queue.vtime, claim.now.as_ms().saturating_mul(1_000));
        queue.lanes.retain(|_, lane| {
            lane.full_at = lane.full_at.filter(|full_at| *full_at > now_us);
            !lane.is_idle() || lane.vtime > vtime
        });
        if queue.is_paused {
            return Claims::default();
        }
        let (mut started, mut spoiled) = (Vec::new(), Vec::new());
        while let Some(nonce) = claim.nonces.get(started.len()) {
            let Some((.., id)) = self.look(claim, &key).first else { break };
            if self.tokens(&key, &claim.policy, claim.now) == 0 {
                break;
            }
            match self.spoiled_body(id) {
                Some(body) => spoiled.push(self.spoil(id, body, claim)),
                None => started.push(self.start(id, *nonce, claim, &key)),
            }
        }
        let left = self.look(claim, &key);
        let held_by_rate = left.first.is_some() && self.tokens(&key, &claim.policy, claim.now) == 0;
        let next_token = held_by_rate.then(|| self.next_token(&key, &claim.policy, claim.now));
        Claims {
            started,
            spoiled,
            next_at: next_token.into_iter().chain(left.free_at).min(),
            more: left.wants_slot || (left.first.is_some() && !held_by_rate),
        }
    }

    /// Scheduled tasks whose moment has come, earliest first.
    fn ripe(&self, now: Timestamp) -> impl Iterator<Item = TaskId> {
        self.scheduled.iter().take_while(move |(at, _)| *at <= now).map(|(_, id)| *id)
    }

    fn look(&self, claim: &Claim, key: &QueueKey) -> Look {
        let queue = &self.queues[key];
        let is_below =
            |leases: u64, limit: Option<u32>| limit.is_none_or(|max| leases < max.into());
        let mut look = Look::default();
        for (key, lane) in &queue.lanes {
            if claim.is_held(key.as_ref()) {
                continue;
            }
            let Some((rank, arrival, id)) = self.head(lane, claim) else { continue };
            let rate = claim.policy.rate_per_lane;
            if let Some(at) = rate.and_then(|rate| free_at(lane.full_at, rate, claim.now)) {
                look.free_at = look.free_at.into_iter().chain([at]).min();
                continue;
            }
            if is_below(queue.leases, claim.policy.concurrency)
                && is_below(lane.leases, claim.policy.concurrency_per_lane)
            {
                let turn = turn(lane.vtime, self.row(id).task.spec.priority);
                let head = (turn, rank, arrival, id);
                look.first = Some(look.first.map_or(head, |first| first.min(head)));
            } else {
                look.wants_slot = true;
            }
        }
        look
    }

    /// The task of the lane that starts next, as far as order decides.
    fn head(&self, lane: &Lane, claim: &Claim) -> Option<(i64, u64, TaskId)> {
        let is_in_time = |id: TaskId| {
            let task = &self.row(id).task;
            task.life.deadline > claim.start_of(task)
        };
        let ready = lane.by_rank.get(&claim.pool.run_by)?;
        match claim.policy.order {
            Order::Fair => ready.iter().find(|(.., id)| is_in_time(*id)).copied(),
            Order::Strict => {
                let first = match lane.started.first() {
                    Some(holder) => lane.by_arrival.get(holder).filter(|(_, id)| is_in_time(*id)),
                    None => lane.by_arrival.iter().find(|(_, id)| is_in_time(*id)),
                };
                let (arrival, id) = *first?;
                let task = &self.row(id).task;
                (Pool::of(task) == claim.pool).then(|| (place_of(task), arrival, id))
            }
        }
    }

    /// The first body that an attempt would need and that cannot be read.
    fn spoiled_body(&self, id: TaskId) -> Option<BodyKind> {
        let has = |kind: &&BodyKind| self.row(id).bodies.contains_key(kind);
        let mut needed = CLAIMED_BODIES.iter().filter(has);
        needed.find(|kind| self.body(id, **kind).is_err()).copied()
    }

    fn spoil(&mut self, id: TaskId, body: BodyKind, claim: &Claim) -> Changed {
        let policy = claim.policy.clone();
        let command = Command::Spoil { nonce: None, body };
        let of = StepOf { id, tenant: None, command, policy, bodies: Vec::new(), now: claim.now };
        self.step(&of).expect("the rules never refuse it").changed
    }

    fn start(&mut self, id: TaskId, nonce: u128, claim: &Claim, key: &QueueKey) -> Claimed {
        let mut task = self.row(id).task.clone();
        let now = claim.start_of(&task);
        let lease = claim.lease(nonce);
        let step = step(&task, Command::Start { lease }, &claim.policy, now)
            .expect("a task that is ready may start");
        task.life = step.life;

        let queue = self.queues.get_mut(key).expect("its task is there");
        let lane = queue.lanes.get_mut(&task.spec.lane).expect("its task is there");
        lane.vtime = vtime_after_start(lane.vtime, claim.policy.weight(task.spec.lane.as_ref()));
        if let Some(rate) = claim.policy.rate_per_lane {
            lane.full_at = Some(full_after_start(lane.full_at, rate, claim.now));
        }
        queue.vtime = queue_vtime_after_start(queue.vtime, lane.vtime, task.spec.priority);
        if let Some(rate) = claim.policy.rate {
            queue.bucket = Some(bucket(queue, &claim.policy, claim.now).take(rate, 1, claim.now));
        }

        self.replace(task.clone(), now);
        let (pos, told) = self.append(id, &step.entries);
        let row = self.row(id);
        let bodies = CLAIMED_BODIES
            .iter()
            .filter_map(|kind| row.bodies.get(kind).map(|body| (*kind, body.clone())))
            .collect();
        let (entries, effects) = (step.entries, step.effects);
        Claimed {
            changed: Changed { task, started_at: None, entries, pos, effects, told },
            nonce,
            bodies,
        }
    }

    /// Starts that the rate allows at `now`.
    fn tokens(&self, key: &QueueKey, policy: &Policy, now: Timestamp) -> u64 {
        policy
            .rate
            .map_or(u64::MAX, |rate| bucket(&self.queues[key], policy, now).available(rate, now))
    }

    fn next_token(&self, key: &QueueKey, policy: &Policy, now: Timestamp) -> Timestamp {
        policy.rate.map_or(now, |rate| bucket(&self.queues[key], policy, now).next_at(rate, now))
    }

    pub(super) fn due(&mut self, query: DueQuery) -> Due {
        let tasks = &self.tasks;
        self.keys.retain(|_, key| {
            let task = tasks.get(&key.task).map(|row| &row.task);
            key.kept.holds(query.now, task)
        });

        self.sessions.retain(|_, kept| kept.session.ends_at() > query.now);

        let overdue = self.due.iter().take_while(|(at, _)| *at <= query.now).take(query.limit);
        let tasks: Vec<TaskId> = overdue.map(|(_, id)| *id).collect();
        let next_task = self.due.iter().nth(tasks.len()).map(|(at, _)| *at);

        let mut pools = Vec::new();
        for id in self.ripe(query.now).collect::<Vec<_>>() {
            let pool = Pool::of(&self.row(id).task);
            if !pools.contains(&pool) {
                if pools.len() == query.limit {
                    break;
                }
                pools.push(pool);
            }
            self.promote(id, query.now);
        }
        let next_pool = self.scheduled.first().map(|(at, _)| *at);
        Due { tasks, pools, next: next_task.into_iter().chain(next_pool).min() }
    }

    /// The pools with ready tasks, of one queue or of all.
    pub(super) fn pools(&self, of: Option<&(TenantName, QueueName)>) -> Vec<Pool> {
        let mut pools = Vec::new();
        let is_meant = |tenant: &TenantName, queue: &QueueName| {
            of.is_none_or(|of| (&of.0, &of.1) == (tenant, queue))
        };
        let queues = self.queues.iter().filter(|(key, _)| is_meant(&key.0, &key.1));
        for ((tenant, queue, purpose), Queue { lanes, .. }) in queues {
            let mut run_bys: Vec<_> = lanes.values().flat_map(|lane| lane.by_rank.keys()).collect();
            run_bys.sort();
            run_bys.dedup();
            pools.extend(run_bys.into_iter().map(|run_by| Pool {
                tenant: tenant.clone(),
                queue: queue.clone(),
                purpose: *purpose,
                run_by: run_by.clone(),
            }));
        }
        pools
    }
}

/// The place of a ready task in its lane by urgency.
pub(super) fn place_of(task: &Task) -> i64 {
    let run_at = task.life.run_at().unwrap_or(Timestamp::MAX);
    relais_core::lane::rank(run_at, task.spec.priority)
}

/// The bucket of a queue; full before the first claim under a rate.
fn bucket(queue: &Queue, policy: &Policy, now: Timestamp) -> Bucket {
    let rate = policy.rate.expect("the caller looked");
    queue.bucket.unwrap_or_else(|| Bucket::full(rate, now))
}
