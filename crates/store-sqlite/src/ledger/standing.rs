//! Where a task stands, and what that is in numbers.

use relais_core::{Source, Status};

use crate::fault::Fault;

/// Where a task stands, as far as order and counts are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) status: Status,
    pub(crate) phase: Phase,
    /// Its order within the lane: its rank, or 0 in strict order. Of queued tasks only.
    pub(crate) place: Option<i64>,
    pub(crate) rank: i64,
    pub(crate) priority: i8,
    /// When a scheduled task becomes ready.
    pub(crate) sched_at: Option<i64>,
    pub(crate) is_leased: bool,
    /// The node of Relais that holds its lease, as it is stored.
    pub(crate) node: Option<i64>,
    pub(crate) started: Started,
    /// Whose share of the queue it takes, until it is terminal.
    pub(crate) source: Option<Source>,
}

/// What a queued task waits for. Stored as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is not queued.
    None = 0,
    /// Its turn.
    Ready = 1,
    /// Its moment.
    Scheduled = 2,
    /// Its end: the deadline has passed.
    Lapsed = 3,
    /// Whoever can read it: it cannot be decoded. Also of tasks that are not queued.
    Aside = 4,
}

impl Phase {
    pub(crate) fn of(number: i64) -> Result<Self, Fault> {
        [Self::None, Self::Ready, Self::Scheduled, Self::Lapsed, Self::Aside]
            .into_iter()
            .find(|phase| *phase as i64 == number)
            .ok_or_else(|| Fault::damaged(format!("a task is in phase {number}")))
    }

    /// Whether its moment has come.
    pub(super) const fn is_ripe(self) -> bool {
        matches!(self, Self::Ready | Self::Lapsed)
    }
}

/// Whether a task has started and is not terminal. Stored as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Started {
    No = 0,
    /// In a queue in fair order, where it holds nobody up.
    Fair = 1,
    /// In strict order: it holds its lane.
    Strict = 2,
}

impl Started {
    pub(crate) fn of(number: u8) -> Result<Self, Fault> {
        [Self::No, Self::Fair, Self::Strict]
            .into_iter()
            .find(|started| *started as u8 == number)
            .ok_or_else(|| Fault::damaged(format!("a task has started as {number}")))
    }
}

impl Standing {
    /// The status of tasks that are neither queued nor run: those are listed by an index.
    pub(crate) fn apart(&self) -> Option<i64> {
        let is_live = matches!(self.status, Status::Queued | Status::Running);
        (!is_live).then_some(self.status as i64)
    }

    /// What else is stored of it in columns that seldom change: its moment, and whether it holds a lane.
    pub(crate) fn marks(&self) -> (Option<i64>, Option<i64>) {
        let holds = (self.started == Started::Strict).then_some(1);
        (self.sched_at, holds)
    }
}
