//! A task changes, or is forgotten. What a change is, the rules decide.

use relais_core::{BodyKind, Life, Refused, Reply, Step, TaskId, Timestamp, step};
use relais_store::{
    Body, Changed, Committed, Erasure, Rejected, StepOf, Stepped, What, has_room_for_early,
};
use rusqlite::{Row, params};

use crate::codec;
use crate::fault::Fault;
use crate::row::{TaskRow, missing};
use crate::scribe::Scribe;

type Answer = Result<Result<Committed, Rejected>, Fault>;

impl Scribe<'_> {
    pub(crate) fn step(&mut self, of: &StepOf) -> Answer {
        let answer = self.try_step(of)?;
        let is_done = matches!(&answer, Ok(stepped) if stepped.reply == Reply::Done);
        if !is_done {
            self.discard(of.bodies.iter().map(|(_, body)| body))?;
        }
        Ok(answer.map(|stepped| Committed::Stepped(Box::new(stepped))))
    }

    fn try_step(&mut self, of: &StepOf) -> Result<Result<Stepped, Rejected>, Fault> {
        let Some(row) = self.find(of.id)? else { return Ok(Err(Rejected::NotFound)) };
        if of.tenant.as_ref().is_some_and(|tenant| !row.task.spec.is_shown_to(tenant)) {
            self.recent.keep(row);
            return Ok(Err(Rejected::NotFound));
        }
        let step = match step(&row.task, of.command.clone(), &of.policy, of.now) {
            Ok(step) => step,
            Err(refused) => {
                self.recent.keep(row);
                return Ok(Err(refused.into()));
            }
        };
        if row.task.life.early().is_none()
            && step.life.early().is_some()
            && let Err(full) = self.room_for_early(&row)?
        {
            self.recent.keep(row);
            return Ok(Err(full));
        }
        Ok(Ok(self.take(row, step, &of.bodies, of.now)?))
    }

    /// Whether one more early result may be stored for the tenant of a task.
    fn room_for_early(&mut self, row: &TaskRow) -> Result<Result<(), Rejected>, Fault> {
        let tenant = self.tenant_of(row)?;
        let counts = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let (of_tenant, in_all) = self.hot.early_count.query_row([tenant], counts)?;
        Ok(has_room_for_early(of_tenant.cast_unsigned(), in_all.cast_unsigned()))
    }

    /// The tasks with early results are counted.
    fn note_early(&mut self, row: &TaskRow, after: &Life) -> Result<(), Fault> {
        match (row.task.life.early(), after.early()) {
            (None, Some(_)) => {
                let tenant = self.tenant_of(row)?;
                self.hot.early_insert.execute([row.n, tenant])?;
            }
            (Some(_), None) => _ = self.hot.early_delete.execute([row.n])?,
            (Some(_), Some(_)) | (None, None) => {}
        }
        Ok(())
    }

    /// What connections of each node attend, and what nobody attends any more, is found by an index.
    pub(crate) fn note_attendance(
        &mut self,
        id: TaskId,
        before: Option<&Life>,
        after: &Life,
    ) -> Result<(), Fault> {
        let id = codec::id_bytes(id);
        let (old, new) = (before.map_or(&[][..], Life::attended_by), after.attended_by());
        for node in old.iter().filter(|node| !new.contains(node)) {
            self.hot.attended_delete.execute(params![node.cast_signed(), id])?;
        }
        for node in new.iter().filter(|node| !old.contains(node)) {
            self.hot.attended_insert.execute(params![node.cast_signed(), id])?;
        }
        match (before.is_some_and(Life::is_left), after.is_left()) {
            (false, true) => _ = self.hot.countdown_insert.execute([id])?,
            (true, false) => _ = self.hot.countdown_delete.execute([id])?,
            (true, true) | (false, false) => {}
        }
        Ok(())
    }

    fn tenant_of(&mut self, row: &TaskRow) -> Result<i64, Fault> {
        let home = self.home(row)?;
        let pool = self.ledger.lanes.line(home).pool;
        Ok(self.ledger.tenant_id(self.ledger.pool(pool).queue))
    }

    /// Stores what was decided about a task, with the bodies that came along.
    pub(crate) fn take(
        &mut self,
        mut row: TaskRow,
        step: Step,
        bodies: &[(BodyKind, Body)],
        now: Timestamp,
    ) -> Result<Stepped, Fault> {
        let started_at = row.task.life.started_at();
        self.note_early(&row, &step.life)?;
        self.note_attendance(row.task.spec.id, Some(&row.task.life), &step.life)?;
        let noted = What::beside_the_log(&row.task.life, &step);
        let (pos, told) = self.change(&mut row, step.life, &step.entries, now)?;
        if let Some(what) = noted {
            self.note(what(Box::new(row.task.clone())));
        }
        if step.reply == Reply::Done {
            let (dropped, kept): (Vec<_>, Vec<_>) =
                bodies.iter().partition(|(kind, _)| step.drops.contains(kind));
            for (kind, body) in kept {
                self.put_body(row.n, *kind, body)?;
            }
            self.discard(dropped.into_iter().map(|(_, body)| body))?;
        }
        for kind in &step.drops {
            self.drop_body(row.n, *kind)?;
        }
        let task = row.task.clone();
        self.recent.keep(row);
        let (entries, effects, reply) = (step.entries, step.effects, step.reply);
        let changed = Changed { task, started_at, entries, pos, effects, told };
        Ok(Stepped { changed, reply })
    }

    pub(crate) fn erase(&mut self, id: TaskId, why: Erasure) -> Answer {
        let Some(row) = self.find(id)? else { return Ok(Err(Rejected::NotFound)) };
        if !row.task.life.status().is_terminal() {
            self.recent.keep(row);
            return Ok(Err(Refused::NotTerminal.into()));
        }
        let (home, tenant) = (self.home(&row)?, self.tenant_of(&row)?);
        self.part_from(&row, why)?;
        self.erase_events(row.last_pos)?;
        self.erase_bodies(row.n)?;
        for (key, value) in &row.task.spec.labels {
            let label = params![tenant, key, value, codec::id_bytes(id)];
            self.hot.label_delete.execute(label)?;
        }
        let mut rows = self.hot.task_delete.query([row.n])?;
        let scope: Option<Vec<u8>> = match rows.next()? {
            Some(deleted) => deleted.get(0)?,
            None => return Err(missing(id)),
        };
        while rows.next()?.is_some() {}
        drop(rows);
        if let Some(scope) = scope {
            // The key outlives the task: it says that the task is gone.
            self.hot.idem_gone.execute(params![scope, codec::id_bytes(id)])?;
        }
        self.ledger.shift(home, row.n, Some(row.standing()), None);
        self.note(What::Erased(Box::new(row.task.clone())));
        let told = match why {
            Erasure::Asked { now } => self.tell_erasure(&row.task.spec, tenant, now)?,
            Erasure::Expired => Vec::new(),
        };
        Ok(Ok(Committed::Erased(Box::new(row.task), told)))
    }

    fn erase_bodies(&mut self, n: i64) -> Result<(), Fault> {
        let mut rows = self.hot.bodies_delete.query([n * 8])?;
        while let Some(row) = rows.next()? {
            self.unlinks.extend(row.get::<_, Option<String>>(0)?);
        }
        Ok(())
    }
}
