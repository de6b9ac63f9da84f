//! A task as its row says, and where that puts it.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use relais_core::cbor::Format;
use relais_core::lane::rank;
use relais_core::{Life, Spec, State, Status, Task, TaskId, Timestamp};
use rusqlite::Row;

use crate::codec;
use crate::fault::Fault;
use crate::ledger::{Phase, Ranked, Standing, Started};

/// A task that was read to be changed.
pub(crate) struct TaskRow {
    pub(crate) n: i64,
    pub(crate) line_id: i64,
    pub(crate) phase: Phase,
    pub(crate) place: Option<i64>,
    pub(crate) sched_at: Option<i64>,
    pub(crate) started: Started,
    pub(crate) last_pos: i64,
    pub(crate) task: Task,
}

impl TaskRow {
    /// Reads the columns that all statements on whole tasks select.
    pub(crate) fn read(row: &Row<'_>) -> Result<Self, Fault> {
        let n = row.get(0)?;
        let (started, task) = started_task_of(row, 6).map_err(|fault| match fault {
            Fault::Task { why, .. } => Fault::Task { n: Some(n), why },
            other => other,
        })?;
        Ok(Self {
            n,
            line_id: row.get(1)?,
            phase: Phase::of(row.get(2)?)?,
            place: row.get(3)?,
            sched_at: row.get(4)?,
            last_pos: row.get(5)?,
            started,
            task,
        })
    }

    /// A task that was just written.
    pub(crate) fn new(n: i64, line_id: i64, standing: Standing, last_pos: i64, task: Task) -> Self {
        let Standing { phase, place, sched_at, started, .. } = standing;
        Self { n, line_id, phase, place, sched_at, started, last_pos, task }
    }

    /// Where it stands now.
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            status: self.task.life.status(),
            phase: self.phase,
            place: self.place,
            rank: rank_of(&self.task),
            priority: self.task.spec.priority.get(),
            sched_at: self.sched_at,
            is_leased: self.task.life.lease().is_some(),
            node: node_of(&self.task.life),
            started: self.started,
            source: self.task.live_source(),
        }
    }

    /// Among the ready tasks of its line.
    pub(crate) fn ranked(&self) -> Ranked {
        Ranked {
            place: self.place.unwrap_or_default(),
            n: self.n,
            rank: rank_of(&self.task),
            priority: self.task.spec.priority.get(),
        }
    }
}

/// Reads a task from two neighbouring columns.
pub(crate) fn task_of(row: &Row<'_>, spec: usize) -> Result<Task, Fault> {
    started_task_of(row, spec).map(|(_, task)| task)
}

fn started_task_of(row: &Row<'_>, spec: usize) -> Result<(Started, Task), Fault> {
    let decoded = || {
        let (started, life) = decode_life(row.get_ref(spec + 1)?.as_blob()?)?;
        let spec = codec::decode::<Spec>("task", row.get_ref(spec)?.as_blob()?)?;
        Ok((started, Task { spec: Arc::new(spec), life }))
    };
    decoded().map_err(|fault: Fault| match fault {
        Fault::Damaged(why) => Fault::Task { n: None, why },
        other => other,
    })
}

/// What changes of a task, and how it started, which is this driver's.
#[derive(Encode, Decode)]
struct LifeRow<L> {
    #[n(0)]
    started: u8,
    #[n(1)]
    life: L,
}

/// How what changes of a task is stored.
pub(crate) fn encode_life(started: Started, life: &Life, format: Format, bytes: &mut Vec<u8>) {
    codec::encode_into(&LifeRow { started: started as u8, life }, format, bytes);
}

/// Reads it back.
pub(crate) fn decode_life(bytes: &[u8]) -> Result<(Started, Life), Fault> {
    let LifeRow::<Life> { started, life } = codec::decode("task", bytes)?;
    Ok((Started::of(started)?, life))
}

/// The first of `rows`, read.
pub(crate) fn first_task(rows: &mut rusqlite::Rows<'_>) -> Result<Option<TaskRow>, Fault> {
    rows.next()?.map(TaskRow::read).transpose()
}

/// The node of Relais that holds the lease of a task, as it is stored.
pub(crate) fn node_of(life: &Life) -> Option<i64> {
    life.held_by().map(u64::cast_signed)
}

/// The rank of a queued task; 0 of others, which have none.
pub(crate) fn rank_of(task: &Task) -> i64 {
    task.life.run_at().map_or(0, |run_at| rank(run_at, task.spec.priority))
}

/// Where a task stands after a change at `now`; `started` is whether it had started before.
pub(crate) fn standing_after(
    task: &Task,
    now: Timestamp,
    started: Started,
    is_strict: bool,
) -> Standing {
    let rank = rank_of(task);
    let (phase, place, sched_at) = match task.life.run_at() {
        None => (Phase::None, None, None),
        Some(run_at) => {
            let place = Some(if is_strict { 0 } else { rank });
            if run_at <= now {
                (Phase::Ready, place, None)
            } else {
                (Phase::Scheduled, place, Some(run_at.as_ms()))
            }
        }
    };
    Standing {
        status: task.life.status(),
        phase,
        place,
        rank,
        priority: task.spec.priority.get(),
        sched_at,
        is_leased: task.life.lease().is_some(),
        node: node_of(&task.life),
        started: started_after(&task.life.state, started, is_strict),
        source: task.live_source(),
    }
}

fn started_after(state: &State, before: Started, is_strict: bool) -> Started {
    match state {
        State::Running { .. } if is_strict => Started::Strict,
        State::Running { .. } => Started::Fair,
        State::Queued { .. } | State::Waiting { .. } => before,
        State::Succeeded { .. } | State::Failed { .. } | State::Canceled { .. } => Started::No,
    }
}

/// The status of a number in its column.
pub(crate) fn status_of(number: i64) -> Result<Status, Fault> {
    usize::try_from(number)
        .ok()
        .and_then(|at| Status::ALL.get(at))
        .copied()
        .ok_or_else(|| Fault::damaged(format!("a task has status {number}")))
}

/// The key of a body's row.
pub(crate) fn body_key(n: i64, kind: relais_core::BodyKind) -> i64 {
    n * 8 + kind as i64
}

/// A task that an index names must be there.
pub(crate) fn missing(id: TaskId) -> Fault {
    Fault::damaged(format!("{id} is in an index, but is not there"))
}
