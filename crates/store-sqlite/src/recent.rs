//! Tasks the writer has seen lately: most are started soon after they came, and settled soon after that.
//!
//! Only rows that are exactly what is stored are kept; whoever changes one takes it out first.

use std::collections::VecDeque;

use relais_core::TaskId;

use crate::hash::NumberMap;
use crate::row::TaskRow;

/// Tasks kept; a task and what it points to is about a kilobyte.
const KEPT_MAX: usize = 8_192;

/// The tasks seen lately.
#[derive(Default)]
pub(crate) struct Recent {
    rows: NumberMap<i64, (u64, TaskRow)>,
    by_id: NumberMap<TaskId, i64>,
    /// In the order of their last coming, with those that were taken out since.
    order: VecDeque<(u64, i64)>,
    last: u64,
}

impl Recent {
    /// Keeps a row that was just written or read.
    pub(crate) fn keep(&mut self, row: TaskRow) {
        if row.task.life.status().is_terminal() {
            return;
        }
        self.last += 1;
        self.order.push_back((self.last, row.n));
        self.by_id.insert(row.task.spec.id, row.n);
        self.rows.insert(row.n, (self.last, row));
        while self.rows.len() > KEPT_MAX || self.order.len() > 4 * KEPT_MAX {
            self.drop_oldest();
        }
    }

    /// Takes a row out, to be changed.
    pub(crate) fn take(&mut self, n: i64) -> Option<TaskRow> {
        let (_, row) = self.rows.remove(&n)?;
        self.by_id.remove(&row.task.spec.id);
        Some(row)
    }

    /// As above, by its id.
    pub(crate) fn take_id(&mut self, id: TaskId) -> Option<TaskRow> {
        let n = *self.by_id.get(&id)?;
        self.take(n)
    }

    fn drop_oldest(&mut self) {
        let Some((stamp, n)) = self.order.pop_front() else { return };
        if self.rows.get(&n).is_some_and(|(kept, _)| *kept == stamp) {
            self.take(n);
        }
    }
}
