//! A task comes into being.

use relais_core::{DeliveryId, Runner, TaskId, Timestamp};
use relais_store::{Accept, Committed, Idempotency, Kept, Rejected, RunBy};
use rusqlite::params;

use crate::codec;
use crate::fault::Fault;
use crate::ledger::Started;
use crate::row::{TaskRow, encode_life, standing_after};
use crate::scribe::{Scribe, position};

type Answer = Result<Result<Committed, Rejected>, Fault>;

impl Scribe<'_> {
    pub(crate) fn accept(&mut self, accept: &Accept) -> Answer {
        let answer = self.try_accept(accept)?;
        if !matches!(answer, Ok(Committed::Accepted { .. })) {
            self.discard(accept.bodies.iter().map(|(_, body)| body))?;
        }
        Ok(answer)
    }

    /// Says no before it writes anything.
    fn try_accept(&mut self, accept: &Accept) -> Answer {
        let (spec, now) = (&accept.task.spec, accept.entry.at);
        if let Some(claim) = &accept.idempotency
            && let Some(attached) = self.attach(claim, now)?
        {
            return Ok(Ok(attached));
        }
        let attached = Committed::Attached { id: spec.id, same: true, exists: true };
        let rejected = self.has_no_room(accept)?;
        let is_new_queue =
            self.ledger.queue_named(&spec.tenant, &spec.queue, spec.purpose).is_none();
        let is_delivery = spec.runner == Runner::Delivery;
        // Else the insertion itself finds out, for nothing.
        if (rejected.is_some() || is_new_queue || is_delivery) && self.exists(spec.id)? {
            return Ok(Ok(attached));
        }
        if let Some(rejected) = rejected {
            return Ok(Err(rejected));
        }
        if is_delivery && let Err(rejected) = self.take_delivery(DeliveryId::of_task(spec.id))? {
            return Ok(Err(rejected));
        }

        let conn = self.conn;
        let queue = self.ledger.queue_for(conn, &spec.tenant, &spec.queue, spec.purpose)?;
        let pool = self.ledger.pool_for(conn, queue, RunBy::from(&spec.runner))?;
        let home = self.ledger.home_for(&mut self.hot, queue, spec.lane.as_ref(), pool)?;
        let is_strict = self.ledger.queue(queue).is_strict;
        let standing = standing_after(&accept.task, now, Started::No, is_strict);
        let n = self.next_n;
        codec::encode_into(&**spec, self.format, &mut self.spec_bytes);
        encode_life(standing.started, &accept.task.life, self.format, &mut self.life_bytes);
        let inserted = self.hot.task_insert.execute(params![
            n,
            codec::id_bytes(spec.id),
            crate::ledger::id_at(pool),
            self.ledger.lanes.line(home).id,
            standing.status as i64,
            standing.phase as i64,
            standing.place,
            accept.task.due_at().as_ms(),
            self.next_pos,
            standing.sched_at,
            accept.idempotency.as_ref().map(|claim| &claim.scope[..]),
            self.spec_bytes,
            self.life_bytes,
        ])?;
        if inserted == 0 {
            return Ok(Ok(attached));
        }
        self.next_n += 1;
        let place = self.ledger.place(queue, home);
        self.ledger.shift(home, n, None, Some(standing));
        let pos = self.next_pos;
        self.append(n, 0, std::slice::from_ref(&accept.entry))?;
        self.store_belongings(accept, n, queue)?;
        let entries = std::slice::from_ref(&accept.entry);
        let told = self.tell_endpoints((n, queue), spec, entries, pos)?;
        let line_id = self.ledger.lanes.line(home).id;
        self.recent.keep(TaskRow::new(n, line_id, standing, pos, accept.task.clone()));
        let changed = Box::new(accept.changed(position(pos), told));
        Ok(Ok(Committed::Accepted { changed, place }))
    }

    fn store_belongings(&mut self, accept: &Accept, n: i64, queue: usize) -> Result<(), Fault> {
        let spec = &accept.task.spec;
        for (kind, body) in &accept.bodies {
            self.put_body(n, *kind, body)?;
        }
        self.note_attendance(spec.id, None, &accept.task.life)?;
        let tenant = self.ledger.tenant_id(queue);
        for (key, value) in &spec.labels {
            let label = params![tenant, key, value, codec::id_bytes(spec.id)];
            self.hot.label_insert.execute(label)?;
        }
        if let Some(claim) = &accept.idempotency {
            // One that ends by itself need not wait for its task to be erased.
            let (keep_until, gone_at) = match claim.kept {
                Kept::WithItsTask { at_least } => (at_least.as_ms(), None),
                Kept::Until(end) => (end.as_ms(), Some(end.as_ms())),
            };
            let id = codec::id_bytes(spec.id);
            let row = params![claim.scope, claim.fingerprint, id, keep_until, gone_at];
            self.hot.idem_put.execute(row)?;
        }
        Ok(())
    }

    /// The task that the key belongs to, as long as it is kept.
    fn attach(&mut self, claim: &Idempotency, now: Timestamp) -> Result<Option<Committed>, Fault> {
        let mut rows = self.hot.idem_read.query([&claim.scope])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let same = row.get_ref(0)?.as_blob()? == claim.fingerprint;
        let id = codec::id_of(row.get_ref(1)?.as_blob()?)?;
        let kept = match (Timestamp::from_ms(row.get(2)?), row.get::<_, Option<i64>>(3)?) {
            (at_least, None) => Kept::WithItsTask { at_least },
            (_, Some(end)) => Kept::Until(Timestamp::from_ms(end)),
        };
        drop(rows);
        let row = self.find(id)?;
        let holds = kept.holds(now, row.as_ref().map(|row| &row.task));
        let exists = row.is_some();
        if let Some(row) = row {
            self.recent.keep(row);
        }
        Ok(holds.then_some(Committed::Attached { id, same, exists }))
    }

    fn has_no_room(&mut self, accept: &Accept) -> Result<Option<Rejected>, Fault> {
        let spec = &accept.task.spec;
        let queue = self.ledger.queue_named(&spec.tenant, &spec.queue, spec.purpose);
        if queue.map_or(0, |at| self.ledger.queue(at).live()) >= accept.queue_capacity {
            return Ok(Some(Rejected::QueueFull));
        }
        if self.ledger.tenant_live(&spec.tenant) >= accept.tenant_capacity {
            return Ok(Some(Rejected::TenantFull));
        }
        let Some(source) = spec.source else { return Ok(None) };
        let Self { ledger, hot, .. } = self;
        let live = queue.map_or(Ok(0), |at| ledger.sources.live(hot, at, source))?;
        let capacity = accept.source_capacity;
        Ok((live >= capacity).then_some(Rejected::SourceFull { capacity }))
    }

    pub(crate) fn exists(&mut self, id: TaskId) -> Result<bool, Fault> {
        Ok(self.hot.task_exists.exists([codec::id_bytes(id)])?)
    }
}
