//! Tasks the writer has seen lately: most are started soon after they came, and
//! settled soon after that.
//!
//! Only rows that are exactly what is stored are kept; whoever changes one takes it out first.

use std::collections::VecDeque;

use relais_core::TaskId;

use crate::hash::NumberMap;
use crate::row::TaskRow;

/// The tasks seen lately.
pub(crate) struct Recent {
    kept_max: usize,
    rows: NumberMap<i64, (u64, TaskRow)>,
    by_id: NumberMap<TaskId, i64>,
    /// In the order of their last coming, with those that were taken out since.
    order: VecDeque<(u64, i64)>,
    last: u64,
}

impl Recent {
    pub(crate) fn new(kept_max: usize) -> Self {
        Self {
            kept_max,
            rows: NumberMap::default(),
            by_id: NumberMap::default(),
            order: VecDeque::new(),
            last: 0,
        }
    }

    pub(crate) fn kept_max(&self) -> usize {
        self.kept_max
    }

    /// Keeps a row that was just written or read.
    pub(crate) fn keep(&mut self, row: TaskRow) {
        if row.task.life.status().is_terminal() {
            return;
        }
        self.last += 1;
        self.order.push_back((self.last, row.n));
        self.by_id.insert(row.task.spec.id, row.n);
        self.rows.insert(row.n, (self.last, row));
        while self.rows.len() > self.kept_max || self.order.len() > 4 * self.kept_max {
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
