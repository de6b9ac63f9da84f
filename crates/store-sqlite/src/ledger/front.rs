//! Which task of a line is next, and the place in the order of lanes that it gives.

use relais_core::lane::{TURN, turn};
use relais_core::{Priority, limits};

use super::Phase;
use crate::fault::Fault;
use crate::row::TaskRow;
use crate::sql::Hot;

/// A ready task among those of its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ranked {
    /// Its order within the line, with `n`.
    pub(crate) place: i64,
    pub(crate) n: i64,
    pub(crate) rank: i64,
    pub(crate) priority: i8,
}

/// The first ready task of a line.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Head {
    Known(Option<Ranked>),
    /// It was taken away; the next must be looked up.
    Stale,
}

/// What the order of lanes says of a line: its turn, and the rank and arrival of its next task.
pub(crate) type Front = (i64, i64, i64);

impl Ranked {
    /// What the order of lanes says of a lane whose next task it is.
    pub(crate) fn front(self, vtime: i64) -> Front {
        let priority = Priority::new(self.priority).unwrap_or_default();
        (turn(vtime, priority), self.rank, self.n)
    }
}

pub(super) fn ready_task(hot: &mut Hot<'_>, n: i64) -> Result<Option<Ranked>, Fault> {
    let mut rows = hot.task_by_n.query([n])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let task = TaskRow::read(row)?;
    Ok((task.phase == Phase::Ready).then(|| task.ranked()))
}

/// The priority of the task at the head of a lane, from the turn it gave the lane.
pub(super) fn priority_behind(turn: i64, vtime: i64) -> i8 {
    let level = vtime.saturating_sub(turn) / (limits::TURNS_PER_LEVEL * TURN);
    i8::try_from(level).unwrap_or_default()
}
