//! How many tasks that are not terminal each source has in a queue.
//!
//! There may be as many sources as tasks: what is stored stays there, and only what the transaction
//! changes is kept in mind. A task without a source asks and changes nothing here.

use std::collections::HashMap;

use relais_core::Source;

use super::id_at;
use crate::fault::Fault;
use crate::sql::Hot;

/// The changes of a transaction to what is stored, by queue and source.
#[derive(Default)]
pub(crate) struct Sources {
    changes: HashMap<(usize, Source), i64>,
}

impl Sources {
    /// Tasks of a source that are not terminal.
    pub(crate) fn live(
        &self,
        hot: &mut Hot<'_>,
        queue: usize,
        source: Source,
    ) -> Result<u64, Fault> {
        let mut rows = hot.source_read.query((id_at(queue), source.0))?;
        let stored: i64 = match rows.next()? {
            Some(row) => row.get(0)?,
            None => 0,
        };
        let changed = self.changes.get(&(queue, source)).copied().unwrap_or(0);
        u64::try_from(stored + changed)
            .map_err(|_| Fault::damaged("a source has fewer than no tasks"))
    }

    /// A task took of a share, or gave back.
    pub(super) fn shift(&mut self, queue: usize, before: Option<Source>, after: Option<Source>) {
        if before == after {
            return;
        }
        for (source, change) in [(before, -1), (after, 1)] {
            if let Some(source) = source {
                *self.changes.entry((queue, source)).or_default() += change;
            }
        }
    }

    /// Writes back what changed.
    pub(super) fn flush(&mut self, hot: &mut Hot<'_>) -> Result<(), Fault> {
        for ((queue, source), change) in self.changes.drain() {
            if change != 0 {
                hot.source_add.execute((id_at(queue), source.0, change))?;
            }
            if change < 0 {
                hot.source_drop.execute((id_at(queue), source.0))?;
            }
        }
        Ok(())
    }
}
