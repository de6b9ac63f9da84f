//! Applies commits and claims within a transaction: the one place where rows change.
//!
//! Not here: transactions, threads, replies (see `writer`), and any decision
//! (see `relais_core::step`).

use std::sync::atomic::Ordering;

use relais_core::cbor::Format;
use relais_core::{BodyKind, EndpointId, Entry, Life, Purpose, TaskId, Timestamp};
use relais_store::{
    Body, Change, Commit, Committed, Data, FORMAT, Notices, QueueChange, Rejected, Roll, Unclaimed,
    What,
};
use rusqlite::{Connection, params};

use crate::codec;
use crate::events::LEAP;
use crate::fault::Fault;
use crate::ledger::{Home, Ledger, Ranked, Standing};
use crate::nodes;
use crate::recent::Recent;
use crate::row::{TaskRow, body_key, encode_life, first_task, standing_after};
use crate::shared::Shared;
use crate::sql::{self, Hot};
use crate::webhook::Endpoints;

/// The writer's hand: its connection, its statements, and what it remembers.
pub(crate) struct Scribe<'c> {
    pub(crate) conn: &'c Connection,
    pub(crate) hot: Hot<'c>,
    pub(crate) ledger: Ledger,
    pub(crate) endpoints: Endpoints,
    pub(crate) shared: &'c Shared,
    /// Tasks seen lately, as they are stored.
    pub(crate) recent: Recent,
    pub(crate) roll: Roll,
    /// In which rows are written: what every node that lives reads.
    pub(crate) format: Format,
    /// The next task's number: the order of arrival.
    pub(crate) next_n: i64,
    /// The next event's position.
    pub(crate) next_pos: i64,
    /// Sessions of browsers that are kept.
    pub(crate) sessions: u64,
    /// Whether positions were given that no event has, or not any more: they must not come again.
    has_given: bool,
    /// What the transaction does that is in no log.
    pub(crate) notices: Vec<Change>,
    /// Nodes that lived at the last sign of life.
    pub(crate) living: usize,
    /// Files of bodies to be removed once the transaction is durable.
    pub(crate) unlinks: Vec<String>,
    /// Spilled bodies that the transaction decided about: the store's own once it is durable.
    pub(crate) decided: Vec<Unclaimed>,
    /// The queue whose idle lanes were swept last.
    pub(crate) swept: usize,
    /// Where rows are encoded.
    pub(crate) spec_bytes: Vec<u8>,
    pub(crate) life_bytes: Vec<u8>,
}

/// The name of the counter of events.
pub(crate) const POS: &str = "pos";

impl<'c> Scribe<'c> {
    /// Reads what there is to remember.
    pub(crate) fn new(
        conn: &'c Connection,
        shared: &'c Shared,
        tasks_kept: usize,
    ) -> Result<Self, Fault> {
        let mut scribe = Self {
            conn,
            hot: Hot::prepare(conn)?,
            ledger: Ledger::load(conn)?,
            endpoints: Endpoints::load(conn)?,
            shared,
            recent: Recent::new(tasks_kept),
            roll: nodes::load(conn)?,
            format: FORMAT,
            next_n: 0,
            next_pos: 0,
            sessions: 0,
            has_given: false,
            notices: Vec::new(),
            living: 0,
            unlinks: Vec::new(),
            decided: Vec::new(),
            swept: 0,
            spec_bytes: Vec::new(),
            life_bytes: Vec::new(),
        };
        scribe.count()?;
        *shared.notices() = Notices::from(scribe.head());
        Ok(scribe)
    }

    /// Forgets everything a failed transaction may have changed, and reads it anew.
    pub(crate) fn start_over(&mut self) -> Result<(), Fault> {
        self.unlinks.clear();
        self.has_given = false;
        self.notices.clear();
        self.recent = Recent::new(self.recent.kept_max());
        self.ledger = Ledger::load(self.conn)?;
        self.endpoints = Endpoints::load(self.conn)?;
        self.roll = nodes::load(self.conn)?;
        self.count()
    }

    fn count(&mut self) -> Result<(), Fault> {
        let one = |statement: &str| self.conn.query_row(statement, [], |row| row.get::<_, i64>(0));
        self.next_n = one(sql::LAST_TASK)? + 1;
        let floor = counter(self.conn, POS)?;
        self.next_pos = one(sql::LAST_EVENT)?.max(floor) + 1;
        self.sessions = one(sql::SESSIONS)?.cast_unsigned();
        self.shared.sessions.store(self.sessions, Ordering::Relaxed);
        Ok(())
    }

    /// Writes back what was remembered, as the last statements of a transaction.
    pub(crate) fn flush(&mut self) -> Result<(), Fault> {
        self.shared.sessions.store(self.sessions, Ordering::Relaxed);
        self.ledger.flush(&mut self.hot, self.format)?;
        self.flush_endpoints()?;
        if self.has_given {
            self.has_given = false;
            self.hot.counter_put.execute(params![POS, self.next_pos - 1])?;
        }
        Ok(())
    }

    /// The position of the last change.
    pub(crate) fn head(&self) -> u64 {
        position(self.next_pos - 1)
    }

    /// Notes a change that is in no log.
    pub(crate) fn note(&mut self, what: What) {
        self.notices.push(Change { pos: position(self.next_pos), what });
        self.next_pos += 1;
        self.has_given = true;
    }

    /// Applies one commit, or says why not and leaves everything as it was.
    pub(crate) fn apply(&mut self, commit: &Commit) -> Result<Result<Committed, Rejected>, Fault> {
        match commit {
            Commit::Accept(accept) => self.accept(accept),
            Commit::Step(of) => self.step(of),
            Commit::Erase { id, why } => self.erase(*id, *why),
            Commit::Queue { tenant, queue, change } => {
                let at = self.ledger.queue_for(self.conn, tenant, queue, Purpose::Client)?;
                self.note(What::Queue(tenant.clone(), queue.clone(), change.clone()));
                let (queue, format) = (self.ledger.queue_mut(at), self.format);
                match change {
                    QueueChange::Pause => queue.is_paused = true,
                    QueueChange::Resume => queue.is_paused = false,
                    QueueChange::Policy(policy) => {
                        let stored = policy.as_deref().map(|policy| codec::encode(policy, format));
                        queue.policy = stored.map(Into::into);
                    }
                }
                Ok(Ok(Committed::Put))
            }
            Commit::Secret { name, value } => {
                self.note(What::Secret(name.clone()));
                match value {
                    Some(value) => {
                        let mut put = self.conn.prepare_cached(sql::SECRET_PUT)?;
                        put.execute(params![name, &value[..]])?;
                    }
                    None => {
                        self.conn.prepare_cached(sql::SECRET_DELETE)?.execute([name])?;
                    }
                }
                Ok(Ok(Committed::Put))
            }
            Commit::Session(of) => self.session(of),
            Commit::Endpoint(of) => self.endpoint(of),
            Commit::Drop(drop) => self.drop_deliveries(*drop),
            Commit::LetWait(id) => self.let_wait_again(*id),
        }
    }

    /// A task by its id, to be changed. Whoever leaves it as it is gives it back to `recent`.
    pub(crate) fn find(&mut self, id: TaskId) -> Result<Option<TaskRow>, Fault> {
        match self.recent.take_id(id) {
            Some(row) => Ok(Some(row)),
            None => first_task(&mut self.hot.task_by_id.query([codec::id_bytes(id)])?),
        }
    }

    /// A task by its number, to be changed.
    pub(crate) fn find_n(&mut self, n: i64) -> Result<Option<TaskRow>, Fault> {
        match self.recent.take(n) {
            Some(row) => Ok(Some(row)),
            None => first_task(&mut self.hot.task_by_n.query([n])?),
        }
    }

    /// A ready task among those of its line.
    pub(crate) fn ranked(&mut self, n: i64) -> Result<Option<Ranked>, Fault> {
        let Some(row) = self.find_n(n)? else { return Ok(None) };
        let ranked = row.ranked();
        self.recent.keep(row);
        Ok(Some(ranked))
    }

    /// The home of a task that was read.
    pub(crate) fn home(&mut self, row: &TaskRow) -> Result<Home, Fault> {
        let Self { ledger, hot, .. } = self;
        ledger.home(hot, row.line_id)
    }

    /// Stores what a step made of a task; answers the position of its first new event, and who is told of
    /// these.
    pub(crate) fn change(
        &mut self,
        row: &mut TaskRow,
        life: Life,
        entries: &[Entry],
        now: Timestamp,
    ) -> Result<(u64, Vec<EndpointId>), Fault> {
        let first = self.next_pos;
        if life == row.task.life {
            return Ok((position(first), Vec::new()));
        }
        row.last_pos = self.append(row.n, row.last_pos, entries)?;
        let before = row.standing();
        let was_due = row.task.due_at();
        row.task.life = life;
        let home = self.home(row)?;
        let queue = self.ledger.pool(self.ledger.lanes.line(home).pool).queue;
        let is_strict = self.ledger.queue(queue).is_strict;
        let after = standing_after(&row.task, now, row.started, is_strict);
        (row.phase, row.place) = (after.phase, after.place);
        (row.sched_at, row.started) = (after.sched_at, after.started);
        self.rewrite(row, was_due, before, after)?;
        self.ledger.shift(home, row.n, Some(before), Some(after));
        let told = self.tell_endpoints((row.n, queue), &row.task.spec, entries, first)?;
        Ok((position(first), told))
    }

    /// Writes back a task that has changed, with as few columns as it takes.
    pub(crate) fn rewrite(
        &mut self,
        row: &TaskRow,
        was_due: Timestamp,
        before: Standing,
        after: Standing,
    ) -> Result<(), Fault> {
        encode_life(row.started, &row.task.life, self.format, &mut self.life_bytes);
        let (hot, life) = (&mut self.hot, &self.life_bytes);
        let (due_at, status) = (row.task.due_at(), after.status as i64);
        let mut is_apart_known = before.apart() == after.apart();
        if before.phase != after.phase || before.place != after.place {
            let phase = after.phase as i64;
            hot.task_update.execute(params![
                row.n,
                status,
                phase,
                after.place,
                due_at.as_ms(),
                row.last_pos,
                life,
                after.node
            ])?;
        } else if before.status != after.status || before.node != after.node {
            let (due_at, apart) = (due_at.as_ms(), after.apart());
            let changed = params![row.n, status, due_at, row.last_pos, life, after.node, apart];
            hot.task_settle.execute(changed)?;
            is_apart_known = true;
        } else if was_due != due_at {
            hot.task_touch.execute(params![row.n, due_at.as_ms(), row.last_pos, life])?;
        } else {
            hot.task_note.execute(params![row.n, row.last_pos, life])?;
        }
        if before.marks() != after.marks() || !is_apart_known {
            let (sched_at, holds) = after.marks();
            hot.task_mark.execute(params![row.n, sched_at, after.apart(), holds])?;
        }
        Ok(())
    }

    /// Appends to the log of a task whose last event is at `prev`; answers the new last position.
    pub(crate) fn append(
        &mut self,
        n: i64,
        mut prev: i64,
        entries: &[Entry],
    ) -> Result<i64, Fault> {
        for entry in entries {
            let pos = self.next_pos;
            codec::encode_entry(entry, self.format, &mut self.life_bytes);
            let seq = i64::try_from(entry.seq).expect("logs are short");
            let leap = self.leap_from(seq, prev)?;
            self.hot.event_insert.execute(params![pos, n, seq, prev, leap, self.life_bytes])?;
            self.next_pos += 1;
            prev = pos;
        }
        Ok(prev)
    }

    /// Where a walk back from the event with number `seq` may leap to. Most logs are too short for any.
    fn leap_from(&mut self, seq: i64, prev: i64) -> Result<i64, Fault> {
        match seq - 1 {
            ..LEAP => Ok(0),
            before if before % LEAP == 0 => Ok(prev),
            _ => Ok(self.hot.event_leap.query_row([prev], |row| row.get(0))?),
        }
    }

    /// Stores a body, in the place of the one there may be.
    pub(crate) fn put_body(&mut self, n: i64, kind: BodyKind, body: &Body) -> Result<(), Fault> {
        if !self.insert_body(n, kind, body)? {
            self.drop_body(n, kind)?;
            if !self.insert_body(n, kind, body)? {
                return Err(Fault::damaged("the early result of a task is missing"));
            }
        }
        Ok(())
    }

    fn insert_body(&mut self, n: i64, kind: BodyKind, body: &Body) -> Result<bool, Fault> {
        let key = body_key(n, kind);
        let len = i64::try_from(body.data.len()).expect("bodies have a limit");
        match &body.data {
            Data::Inline(bytes) => {
                let crc = crc32fast::hash(bytes);
                let row = params![key, len, crc, None::<&str>, &body.head[..], &bytes[..]];
                Ok(self.hot.body_insert.execute(row)? == 1)
            }
            Data::Spilled { name, crc, unclaimed, .. } => {
                let row = params![key, len, crc, name, &body.head[..], None::<&[u8]>];
                let is_inserted = self.hot.body_insert.execute(row)? == 1;
                if is_inserted {
                    self.decided.push(unclaimed.clone());
                }
                Ok(is_inserted)
            }
            Data::Early { .. } => {
                let early = body_key(n, BodyKind::Early);
                Ok(self.hot.body_move.execute(params![key, early, &body.head[..]])? == 1)
            }
        }
    }

    pub(crate) fn drop_body(&mut self, n: i64, kind: BodyKind) -> Result<(), Fault> {
        let mut rows = self.hot.body_delete.query([body_key(n, kind)])?;
        while let Some(row) = rows.next()? {
            self.unlinks.extend(row.get::<_, Option<String>>(0)?);
        }
        Ok(())
    }

    /// Bodies that came with a commit and are not stored leave no file behind.
    pub(crate) fn discard<'b>(
        &mut self,
        bodies: impl IntoIterator<Item = &'b Body>,
    ) -> Result<(), Fault> {
        for body in bodies {
            let Data::Spilled { name, unclaimed, .. } = &body.data else { continue };
            self.decided.push(unclaimed.clone());
            // A commit that is repeated because its end was not known names a file that is in use.
            if !self.hot.body_has_file.exists([name])? {
                self.unlinks.push(name.clone());
            }
        }
        Ok(())
    }

    /// Forgets the events of a task, from its last one back.
    pub(crate) fn erase_events(&mut self, last_pos: i64) -> Result<(), Fault> {
        let mut pos = last_pos;
        while pos > 0 {
            let mut rows = self.hot.event_delete.query([pos])?;
            pos = match rows.next()? {
                Some(row) => row.get(0)?,
                None => 0,
            };
            // A statement that returns rows is done only when it was read to its end.
            while rows.next()?.is_some() {}
        }
        self.has_given = true;
        Ok(())
    }
}

pub(crate) fn position(pos: i64) -> u64 {
    u64::try_from(pos).expect("positions count from 1")
}

/// The value of a counter; 0 if it was never set.
pub(crate) fn counter(conn: &Connection, name: &str) -> Result<i64, Fault> {
    let mut statement = conn.prepare(sql::COUNTER)?;
    let mut rows = statement.query([name])?;
    Ok(match rows.next()? {
        Some(row) => row.get(0)?,
        None => 0,
    })
}
