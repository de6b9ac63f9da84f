//! Reading what the ledger remembers from the store.

use std::collections::HashMap;

use relais_core::{Purpose, QueueName, TenantName};
use rusqlite::{Connection, Row};

use super::{Lanes, Ledger, NextAt, PoolRow, Queue, Sources, Tenant, id_at, run_by_of};
use crate::codec;
use crate::fault::Fault;
use crate::sql;

impl Ledger {
    /// Reads tenants, queues and pools; lanes are read when they are met.
    pub(crate) fn load(conn: &Connection) -> Result<Self, Fault> {
        let last_lane = conn.query_row(sql::LAST_LANE, [], |row| row.get::<_, i64>(0))?;
        let mut ledger = Self {
            tenants: Vec::new(),
            queues: Vec::new(),
            pools: Vec::new(),
            tenant_at: HashMap::new(),
            queue_at: HashMap::new(),
            pool_at: HashMap::new(),
            lanes: Lanes::after(last_lane),
            sources: Sources::default(),
            dirty_queues: Vec::new(),
            dirty_pools: Vec::new(),
        };
        each(conn, sql::TENANTS, |row| ledger.load_tenant(row))?;
        each(conn, sql::QUEUES, |row| ledger.load_queue(row))?;
        each(conn, sql::POOLS, |row| ledger.load_pool(row))?;
        each(conn, sql::POOLS_READY, |row| {
            let pool = index_of(row.get(0)?, ledger.pools.len(), "pool")?;
            ledger.pools[pool].ready = count_at(row, 1)?;
            Ok(())
        })?;
        Ok(ledger)
    }

    fn load_tenant(&mut self, row: &Row<'_>) -> Result<(), Fault> {
        expect_id(row, self.tenants.len(), "tenant")?;
        let name: TenantName = name_of(row.get_ref(1)?.as_str()?)?;
        self.add_tenant(name);
        Ok(())
    }

    fn load_queue(&mut self, row: &Row<'_>) -> Result<(), Fault> {
        expect_id(row, self.queues.len(), "queue")?;
        let tenant = index_of(row.get(1)?, self.tenants.len(), "tenant")?;
        let bucket = match row.get_ref(7)?.as_blob_or_null()? {
            Some(bytes) => Some(codec::decode("bucket", bytes)?),
            None => None,
        };
        let mut counts = [0; 6];
        for (column, count) in (8..).zip(&mut counts) {
            *count = count_at(row, column)?;
        }
        let queue = Queue {
            tenant,
            name: name_of::<QueueName>(row.get_ref(2)?.as_str()?)?,
            purpose: purpose_of(row.get(17)?)?,
            is_paused: row.get(3)?,
            is_strict: row.get(4)?,
            policy: row.get_ref(5)?.as_blob_or_null()?.map(|bytes| bytes.to_vec().into()),
            vtime: row.get(6)?,
            bucket,
            counts,
            ready: count_at(row, 14)?,
            leases: count_at(row, 15)?,
            started: count_at(row, 16)?,
            is_dirty: false,
        };
        self.tenants[tenant].live += queue.live_of_tenant();
        self.add_queue(queue);
        Ok(())
    }

    fn load_pool(&mut self, row: &Row<'_>) -> Result<(), Fault> {
        expect_id(row, self.pools.len(), "pool")?;
        let pool = PoolRow {
            queue: index_of(row.get(1)?, self.queues.len(), "queue")?,
            run_by: run_by_of(row.get(2)?, row.get_ref(3)?.as_str()?)?,
            ready: 0,
            next_at: NextAt::Known(row.get(4)?),
            is_dirty: false,
        };
        self.add_pool(pool);
        Ok(())
    }

    pub(super) fn add_tenant(&mut self, name: TenantName) {
        self.tenant_at.insert(name.clone(), self.tenants.len());
        self.tenants.push(Tenant { name, live: 0 });
    }

    pub(super) fn add_queue(&mut self, queue: Queue) {
        let tenant = self.tenants[queue.tenant].name.clone();
        self.queue_at.insert((tenant, queue.name.clone(), queue.purpose), self.queues.len());
        self.queues.push(queue);
    }

    pub(super) fn add_pool(&mut self, pool: PoolRow) {
        self.pool_at.insert((pool.queue, pool.run_by.clone()), self.pools.len());
        self.pools.push(pool);
    }
}

/// Runs a statement without parameters, row by row.
pub(crate) fn each(
    conn: &Connection,
    statement: &str,
    mut act: impl FnMut(&Row<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut statement = conn.prepare(statement)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        act(row)?;
    }
    Ok(())
}

pub(crate) fn count_at(row: &Row<'_>, column: usize) -> Result<u64, Fault> {
    let count: i64 = row.get(column)?;
    u64::try_from(count).map_err(|_| Fault::damaged("a count is negative"))
}

/// A name that was checked before it was stored.
pub(crate) fn name_of<T: std::str::FromStr>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| Fault::damaged("a name is not a name"))
}

/// The purpose of a number in its column.
pub(crate) fn purpose_of(number: i64) -> Result<Purpose, Fault> {
    [Purpose::Client, Purpose::Internal]
        .into_iter()
        .find(|purpose| *purpose as i64 == number)
        .ok_or_else(|| Fault::damaged(format!("a queue has purpose {number}")))
}

fn expect_id(row: &Row<'_>, index: usize, what: &str) -> Result<(), Fault> {
    let id: i64 = row.get(0)?;
    if id == id_at(index) { Ok(()) } else { Err(Fault::damaged(format!("a {what} is missing"))) }
}

fn index_of(id: i64, len: usize, what: &str) -> Result<usize, Fault> {
    usize::try_from(id - 1)
        .ok()
        .filter(|at| *at < len)
        .ok_or_else(|| Fault::damaged(format!("{what} {id} is missing")))
}
