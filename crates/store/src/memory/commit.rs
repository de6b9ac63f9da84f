//! Commits, applied one by one: each whole, or not at all.

use relais_core::{DeliveryId, Purpose, Refused, Reply, Runner, TaskId, TenantName, step};

use super::state::{Inner, Key, queue_of};
use crate::change::What;
use crate::commit::{
    Accept, Changed, Commit, Committed, Erasure, QueueChange, Rejected, StepOf, Stepped,
    has_room_for_early,
};

impl Inner {
    pub(super) fn apply(&mut self, commit: Commit) -> Result<Committed, Rejected> {
        match commit {
            Commit::Accept(accept) => {
                let taken = self.accept(&accept);
                if !matches!(taken, Ok(Committed::Accepted { .. })) {
                    self.discard_bodies(accept.bodies.iter().map(|(_, body)| body));
                }
                taken
            }
            Commit::Step(of) => {
                let taken = self.step(&of);
                if !taken.as_ref().is_ok_and(|stepped| stepped.reply == Reply::Done) {
                    self.discard_bodies(of.bodies.iter().map(|(_, body)| body));
                }
                taken.map(|stepped| Committed::Stepped(Box::new(stepped)))
            }
            Commit::Erase { id, why } => self.erase(id, why),
            Commit::Queue { tenant, queue, change } => {
                self.note(What::Queue(tenant.clone(), queue.clone(), change.clone()));
                let queue = self.queues.entry((tenant, queue, Purpose::Client)).or_default();
                match change {
                    QueueChange::Pause => queue.is_paused = true,
                    QueueChange::Resume => queue.is_paused = false,
                    QueueChange::Policy(policy) => queue.policy = policy.map(|policy| *policy),
                }
                Ok(Committed::Put)
            }
            Commit::Secret { name, value } => {
                self.note(What::Secret(name.clone()));
                match value {
                    Some(value) => self.secrets.insert(name, value),
                    None => self.secrets.remove(&name),
                };
                Ok(Committed::Put)
            }
            Commit::Session(of) => self.change_session(&of),
            Commit::Endpoint(of) => self.change_endpoint(&of),
            Commit::Drop(drop) => Ok(self.drop_deliveries(drop)),
            Commit::LetWait(id) => self.let_wait_again(id),
        }
    }

    fn accept(&mut self, accept: &Accept) -> Result<Committed, Rejected> {
        let (spec, now) = (&accept.task.spec, accept.entry.at);
        if let Some(claim) = &accept.idempotency
            && let Some(key) = self.keys.get(&claim.scope)
        {
            let task = self.tasks.get(&key.task).map(|row| &row.task);
            if key.kept.holds(now, task) {
                let exists = task.is_some();
                let same = key.fingerprint == claim.fingerprint;
                return Ok(Committed::Attached { id: key.task, same, exists });
            }
        }
        if self.tasks.contains_key(&spec.id) {
            return Ok(Committed::Attached { id: spec.id, same: true, exists: true });
        }
        let name = queue_of(spec);
        if self.queues.get(&name).map_or(0, |queue| queue.live()) >= accept.queue_capacity {
            return Err(Rejected::QueueFull);
        }
        let of_tenant = self.queues.iter().filter(|((tenant, _, purpose), _)| {
            *tenant == spec.tenant && *purpose == Purpose::Client
        });
        if of_tenant.map(|(_, queue)| queue.live()).sum::<u64>() >= accept.tenant_capacity {
            return Err(Rejected::TenantFull);
        }
        if let Some(source) = &spec.source
            && self.queues.get(&name).map_or(0, |queue| queue.live_of(source))
                >= accept.source_capacity
        {
            return Err(Rejected::SourceFull { capacity: accept.source_capacity });
        }
        if spec.runner == Runner::Delivery {
            self.take_delivery(DeliveryId::of_task(spec.id))?;
        }
        if let Some(claim) = &accept.idempotency {
            let (fingerprint, kept) = (claim.fingerprint, claim.kept);
            self.keys.insert(claim.scope, Key { task: spec.id, fingerprint, kept });
        }
        let place = self.queues.get(&name).map(|queue| queue.place(spec.lane.as_ref(), None));
        self.insert(accept.task.clone(), now);
        for (kind, body) in &accept.bodies {
            self.keep_body(spec.id, *kind, body);
        }
        let (pos, told) = self.append(spec.id, std::slice::from_ref(&accept.entry));
        let changed = Box::new(accept.changed(pos, told));
        Ok(Committed::Accepted { changed, place: place.unwrap_or_default() })
    }

    pub(super) fn step(&mut self, of: &StepOf) -> Result<Stepped, Rejected> {
        let row = self.tasks.get(&of.id).ok_or(Rejected::NotFound)?;
        if of.tenant.as_ref().is_some_and(|tenant| !row.task.spec.is_shown_to(tenant)) {
            return Err(Rejected::NotFound);
        }
        let step = step(&row.task, of.command.clone(), &of.policy, of.now)?;
        if row.task.life.early().is_none() && step.life.early().is_some() {
            self.has_room_for_early(&row.task.spec.tenant)?;
        }
        let started_at = row.task.life.started_at();
        let mut task = row.task.clone();
        let noted = What::beside_the_log(&task.life, &step);
        task.life = step.life;
        self.replace(task.clone(), of.now);
        let (pos, told) = self.append(of.id, &step.entries);
        if let Some(what) = noted {
            self.note(what(Box::new(task.clone())));
        }
        if step.reply == Reply::Done {
            for (kind, body) in &of.bodies {
                self.keep_body(of.id, *kind, body);
            }
        }
        for kind in &step.drops {
            self.row_mut(of.id).bodies.remove(kind);
        }
        let (entries, effects, reply) = (step.entries, step.effects, step.reply);
        Ok(Stepped { changed: Changed { task, started_at, entries, pos, effects, told }, reply })
    }

    fn has_room_for_early(&self, tenant: &TenantName) -> Result<(), Rejected> {
        let early = self.tasks.values().filter(|row| row.task.life.early().is_some());
        let of_tenant = early.clone().filter(|row| row.task.spec.tenant == *tenant).count();
        has_room_for_early(of_tenant as u64, early.count() as u64)
    }

    pub(super) fn erase(&mut self, id: TaskId, why: Erasure) -> Result<Committed, Rejected> {
        let row = self.tasks.get(&id).ok_or(Rejected::NotFound)?;
        if !row.task.life.status().is_terminal() {
            return Err(Refused::NotTerminal.into());
        }
        let spec = row.task.spec.clone();
        if spec.runner == Runner::Delivery {
            self.forget_delivery(DeliveryId::of_task(id));
        }
        self.part_from(&spec, why);
        let task = Box::new(self.remove(id));
        self.note(What::Erased(task.clone()));
        let told = match why {
            Erasure::Asked { now } => self.tell_erasure(&spec, now),
            Erasure::Expired => Vec::new(),
        };
        Ok(Committed::Erased(task, told))
    }
}
