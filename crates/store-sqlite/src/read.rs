//! What single questions read: tasks, bodies, places, queues, what is due.

use bytes::Bytes;
use relais_core::{BodyKind, QueueName, Status, Task, TaskId, TenantName};
use relais_store::{
    Due, DueQuery, Place, Pool, QueueStats, Queues, SEAL_KEY_ID_BYTES, StoredBody, Waiting,
};
use rusqlite::{Connection, Row, params};

use crate::bodies::{BodyFiles, stored_body};
use crate::codec;
use crate::fault::Fault;
use crate::ledger::{Phase, count_at, name_of, purpose_of, run_by_of};
use crate::row::{decode_life, task_of};
use crate::sql;

/// Tasks ahead are counted up to here.
const AHEAD_MAX: i64 = 10_000;

pub(crate) fn tasks(conn: &Connection, ids: &[TaskId]) -> Result<Vec<Option<Task>>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_TASK)?;
    let mut read = |id: &TaskId| {
        let mut rows = select.query([codec::id_bytes(*id)])?;
        rows.next()?.map(|row| task_of(row, 0)).transpose()
    };
    ids.iter().map(&mut read).collect()
}

pub(crate) fn body(
    conn: &Connection,
    files: &BodyFiles,
    task: TaskId,
    kind: BodyKind,
) -> Result<Option<StoredBody>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_BODY)?;
    let mut rows = select.query(params![codec::id_bytes(task), kind as i64])?;
    rows.next()?.map(|row| stored_body(row, files)).transpose()
}

/// The secrets whose names begin so.
pub(crate) fn secrets(conn: &Connection, prefix: &str) -> Result<Vec<(String, Bytes)>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_SECRETS)?;
    let secrets = select.query_map([prefix], |row| {
        Ok((row.get::<_, String>(0)?, Bytes::from(row.get::<_, Vec<u8>>(1)?)))
    })?;
    Ok(secrets.collect::<Result<_, _>>()?)
}

/// The ids of the keys that sealed what tasks hold.
pub(crate) fn seal_keys(conn: &Connection) -> Result<Vec<[u8; SEAL_KEY_ID_BYTES]>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_SEAL_KEY)?;
    let mut keys: Vec<[u8; SEAL_KEY_ID_BYTES]> = Vec::new();
    loop {
        let mut rows = select.query([keys.last().map_or(&[][..], |key| &key[..])])?;
        let Some(row) = rows.next()? else { return Ok(keys) };
        let key = row.get_ref(0)?.as_blob()?.try_into();
        keys.push(key.map_err(|_| Fault::damaged("sealed credentials are too short"))?);
    }
}

pub(crate) fn queue(
    conn: &Connection,
    tenant: &TenantName,
    queue: &QueueName,
) -> Result<Option<QueueStats>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_QUEUE)?;
    select.query_and_then([tenant.as_str(), queue.as_str()], queue_of)?.next().transpose()
}

pub(crate) fn queues(conn: &Connection, which: &Queues) -> Result<Vec<QueueStats>, Fault> {
    let Queues::Of { tenant, after, limit } = which else {
        return conn.prepare_cached(sql::READ_QUEUES)?.query_and_then([], queue_of)?.collect();
    };
    let mut select = conn.prepare_cached(sql::READ_QUEUES_OF)?;
    // No name is empty.
    let after = after.as_ref().map_or("", QueueName::as_str);
    let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
    select.query_and_then(params![tenant.as_str(), after, limit], queue_of)?.collect()
}

fn queue_of(row: &Row<'_>) -> Result<QueueStats, Fault> {
    let mut counts = [0; 6];
    for (column, count) in (4..).zip(&mut counts) {
        *count = count_at(row, column)?;
    }
    let policy = row.get_ref(3)?.as_blob_or_null()?;
    Ok(QueueStats {
        tenant: name_of(row.get_ref(0)?.as_str()?)?,
        queue: name_of(row.get_ref(1)?.as_str()?)?,
        is_paused: row.get(2)?,
        policy: policy.map(|bytes| codec::decode("policy", bytes)).transpose()?,
        counts,
        scheduled: counts[0].saturating_sub(count_at(row, 10)?),
        leases: count_at(row, 11)?,
    })
}

/// Since when each queue has kept a task waiting.
pub(crate) fn waiting(conn: &Connection) -> Result<Vec<Waiting>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_WAITING)?;
    let mut rows = select.query([])?;
    let mut waiting = Vec::new();
    while let Some(row) = rows.next()? {
        let (_, life) = decode_life(row.get_ref(2)?.as_blob()?)?;
        let since = life.run_at();
        waiting.push(Waiting {
            tenant: name_of(row.get_ref(0)?.as_str()?)?,
            queue: name_of(row.get_ref(1)?.as_str()?)?,
            since: since.ok_or_else(|| Fault::damaged("a task that is next is not queued"))?,
        });
    }
    Ok(waiting)
}

/// Whether something is due that must be written: scheduled tasks, dead keys.
pub(crate) fn wants_tidying(conn: &Connection, query: DueQuery) -> Result<bool, Fault> {
    let now = query.now.as_ms();
    let next = next_pool(conn)?;
    Ok(next.is_some_and(|next| next <= now)
        || conn.prepare_cached(sql::READ_DEAD_KEY)?.exists([now])?
        || conn.prepare_cached(sql::READ_ENDED_SESSION)?.exists([now])?)
}

fn next_pool(conn: &Connection) -> Result<Option<i64>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_NEXT_POOL)?;
    let mut rows = select.query([])?;
    Ok(match rows.next()? {
        Some(row) => row.get(0)?,
        None => None,
    })
}

/// What is due, `pools` being those in which scheduled tasks have become ready.
pub(crate) fn due(conn: &Connection, query: DueQuery, pools: Vec<Pool>) -> Result<Due, Fault> {
    let now = query.now.as_ms();
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut due = Due { tasks: Vec::new(), pools, next: None };
    let mut next = next_pool(conn)?;
    let mut alarms = Vec::new();
    for status in Status::ALL {
        let mut select = conn.prepare_cached(sql::READ_DUE)?;
        let mut rows = select.query((status as i64, limit.saturating_add(1)))?;
        while let Some(row) = rows.next()? {
            let (at, n): (i64, i64) = (row.get(0)?, row.get(1)?);
            alarms.push((at, n, codec::id_of(row.get_ref(2)?.as_blob()?)?));
            if at > now {
                break;
            }
        }
    }
    alarms.sort_unstable();
    for (at, _, id) in alarms {
        if at > now || due.tasks.len() >= query.limit {
            next = Some(next.map_or(at, |next| next.min(at)));
            break;
        }
        due.tasks.push(id);
    }
    due.next = next.map(relais_core::Timestamp::from_ms);
    Ok(due)
}

/// The pools with ready tasks, of all queues.
pub(crate) fn ready_pools(conn: &Connection) -> Result<Vec<Pool>, Fault> {
    conn.prepare_cached(sql::READ_READY_POOLS)?.query_and_then([], pool_of)?.collect()
}

/// The same of one queue.
pub(crate) fn ready_pools_of(
    conn: &Connection,
    tenant: &TenantName,
    queue: &QueueName,
) -> Result<Vec<Pool>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_READY_POOLS_OF)?;
    select.query_and_then([tenant.as_str(), queue.as_str()], pool_of)?.collect()
}

fn pool_of(row: &Row<'_>) -> Result<Pool, Fault> {
    Ok(Pool {
        tenant: name_of(row.get_ref(0)?.as_str()?)?,
        queue: name_of(row.get_ref(1)?.as_str()?)?,
        purpose: purpose_of(row.get(4)?)?,
        run_by: run_by_of(row.get(2)?, row.get_ref(3)?.as_str()?)?,
    })
}

/// What a task's own row says of its place.
struct Stand {
    n: i64,
    phase: Phase,
    place: i64,
    queue: i64,
    lane: String,
    is_strict: bool,
    /// Without what its lane's other tasks say.
    of: Place,
}

pub(crate) fn place(conn: &Connection, task: TaskId) -> Result<Option<Place>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_PLACE)?;
    let mut rows = select.query([codec::id_bytes(task)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let stand = Stand {
        n: row.get(0)?,
        phase: Phase::of(row.get(1)?)?,
        place: row.get::<_, Option<i64>>(2)?.unwrap_or_default(),
        queue: row.get(3)?,
        lane: row.get(4)?,
        is_strict: row.get(5)?,
        of: Place {
            queue_leases: count_at(row, 6)?,
            lane_leases: count_at(row, 7)?,
            is_paused: row.get(8)?,
            bucket: match row.get_ref(9)?.as_blob_or_null()? {
                Some(bytes) => Some(codec::decode("bucket", bytes)?),
                None => None,
            },
            lane_full_at: row.get(10)?,
            ..Place::default()
        },
    };
    drop(rows);
    if matches!(stand.phase, Phase::None | Phase::Aside) {
        return Ok(None);
    }
    let mut ahead = 0;
    let mut holder: Option<i64> = None;
    let mut lines = conn.prepare_cached(sql::READ_LINES)?;
    let mut rows = lines.query(params![stand.queue, stand.lane])?;
    while let Some(row) = rows.next()? {
        let line: i64 = row.get(0)?;
        holder = holder.into_iter().chain(row.get::<_, Option<i64>>(1)?).min();
        for phase in [Phase::Ready, Phase::Scheduled, Phase::Lapsed] {
            let mut count = conn.prepare_cached(sql::COUNT_AHEAD)?;
            let before = params![line, phase as i64, stand.place, stand.n, AHEAD_MAX - ahead];
            ahead += count.query_row(before, |row| row.get::<_, i64>(0))?;
        }
    }
    Ok(Some(Place {
        ahead: u64::try_from(ahead).unwrap_or_default(),
        is_held: stand.is_strict && holder.is_some_and(|holder| holder != stand.n),
        ..stand.of
    }))
}
