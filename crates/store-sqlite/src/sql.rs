//! Every statement of the driver. `now` is always a parameter, every select has a limit.
//!
//! Not here: the schema, which is in `migrations/`. Statements in [`Hot`] are
//! held prepared by the writer.

use rusqlite::{Connection, PrepFlags, Statement};

/// Gives each statement of the writer its place in one struct, prepared once.
macro_rules! hot {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        /// The prepared statements of the writer.
        pub(crate) struct Hot<'c> {
            $($(#[$doc])* pub(crate) $name: Statement<'c>,)*
        }

        impl<'c> Hot<'c> {
            /// Prepares them all.
            pub(crate) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
                // Statements that stay would use up the small memory kept for those that do not.
                let stay = PrepFlags::SQLITE_PREPARE_PERSISTENT;
                Ok(Self { $($name: conn.prepare_with_flags($text, stay)?,)* })
            }

            /// Steps the virtual machine took in all of them: what a test of their plans measures.
            pub(crate) fn vm_steps(&self) -> i64 {
                let mut steps = 0;
                $(steps += i64::from(self.$name.get_status(rusqlite::StatementStatus::VmStep));)*
                steps
            }
        }
    };
}

hot! {
    begin = "begin immediate";
    commit = "commit";

    task_insert = "insert into task (n, id, pool_id, lane_id, status, phase, place, due_at, last_pos,
        sched_at, key_scope, spec, life)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) on conflict (id) do nothing";
    task_by_id = "select n, lane_id, phase, place, sched_at, last_pos, spec, life
        from task where id = ?1 limit 1";
    task_exists = "select 1 from task where id = ?1 limit 1";
    /// What changes when a task enters or leaves the queue.
    task_update = "update task set status = ?2, phase = ?3, place = ?4, due_at = ?5, last_pos = ?6,
        life = ?7, node = ?8 where n = ?1";
    /// What changes while a task is not queued.
    task_settle = "update task set status = ?2, due_at = ?3, last_pos = ?4, life = ?5, node = ?6,
        apart = ?7 where n = ?1";
    /// What changes while a task stays where it is.
    task_touch = "update task set due_at = ?2, last_pos = ?3, life = ?4 where n = ?1";
    /// As above, if the next alarm stays as well.
    task_note = "update task set last_pos = ?2, life = ?3 where n = ?1";
    /// What seldom changes.
    task_mark = "update task set sched_at = ?2, apart = ?3, holds = ?4 where n = ?1";
    task_phase = "update task set phase = ?2, sched_at = null where n = ?1";
    task_delete = "delete from task where n = ?1 returning key_scope";
    task_by_n = "select n, lane_id, phase, place, sched_at, last_pos, spec, life
        from task where n = ?1 limit 1";
    /// The ready tasks of a lane from a place on.
    task_ready = "select place, n from task where lane_id = ?1 and phase = 1
        and place is not null and (place, n) > (?2, ?3) order by place, n limit ?4";
    task_ripe = "select n, lane_id, phase, place, sched_at, last_pos, spec, life
        from task where pool_id = ?1 and sched_at <= ?2 order by sched_at, n limit ?3";
    task_next_scheduled = "select sched_at from task where pool_id = ?1 and sched_at is not null
        order by sched_at limit 1";
    /// Queued tasks whose deadline has passed.
    task_overdue = "select n, phase from task where status = 0 and due_at <= ?1 order by due_at limit ?2";
    task_first_started = "select n from task where lane_id = ?1 and holds is not null order by n limit 1";

    event_insert = "insert into event (pos, n, seq, prev, leap, data)
        values (?1, ?2, ?3, ?4, ?5, ?6)";
    event_leap = "select leap from event where pos = ?1 limit 1";
    event_delete = "delete from event where pos = ?1 returning prev";

    body_insert = "insert into body (key, len, crc, file, head, data)
        values (?1, ?2, ?3, ?4, ?5, ?6) on conflict (key) do nothing";
    /// The early result becomes the result, with a head of its own.
    body_move = "update or ignore body set key = ?1, head = ?3 where key = ?2";
    body_read = "select len, crc, file, head, data from body where key = ?1 limit 1";
    body_has_file = "select 1 from body where file = ?1 limit 1";
    body_delete = "delete from body where key = ?1 returning file";
    bodies_delete = "delete from body where key >= ?1 and key < ?1 + 8 returning file";

    early_insert = "insert into early (n, tenant_id) values (?1, ?2)";
    early_delete = "delete from early where n = ?1";
    early_count = "select (select count(*) from early where tenant_id = ?1 limit 1),
        (select count(*) from early limit 1) limit 1";

    attended_insert = "insert into attended (node, id) values (?1, ?2)";
    attended_delete = "delete from attended where node = ?1 and id = ?2";
    countdown_insert = "insert into countdown (id) values (?1)";
    countdown_delete = "delete from countdown where id = ?1";

    label_insert = "insert or ignore into label (tenant_id, key, value, id) values (?1, ?2, ?3, ?4)";
    label_delete = "delete from label where tenant_id = ?1 and key = ?2 and value = ?3 and id = ?4";

    delivery_insert = "insert into delivery (endpoint, pos, n, tenant_id, at, waits, data)
        values (?1, ?2, ?3, ?4, ?5, 1, ?6)";
    delivery_take = "update delivery set waits = null
        where endpoint = ?1 and pos = ?2 and waits is not null";
    deliveries_of = "select endpoint, pos, waits from delivery where n = ?1 limit -1";
    endpoint_note = "update endpoint set waiting = ?2 where id = ?1";

    idem_read = "select fingerprint, id, keep_until, gone_at from idem where scope = ?1 limit 1";
    idem_put = "insert into idem (scope, fingerprint, id, keep_until, gone_at) values (?1, ?2, ?3, ?4, ?5)
        on conflict (scope) do update set fingerprint = ?2, id = ?3, keep_until = ?4, gone_at = ?5";
    idem_gone = "update idem set gone_at = keep_until where scope = ?1 and id = ?2";
    idem_sweep = "delete from idem where scope in
        (select scope from idem where gone_at <= ?1 order by gone_at limit ?2)";

    source_read = "select live from source where queue_id = ?1 and source = ?2 limit 1";
    source_add = "insert into source (queue_id, source, live) values (?1, ?2, ?3)
        on conflict (queue_id, source) do update set live = live + ?3";
    source_drop = "delete from source where queue_id = ?1 and source = ?2 and live = 0";

    queue_update = "update queue set is_paused = ?2, is_strict = ?3, policy = ?4, vtime = ?5,
        bucket = ?6, queued = ?7, running = ?8, waiting = ?9, succeeded = ?10, failed = ?11,
        canceled = ?12, ready = ?13, leases = ?14, started = ?15 where id = ?1";
    pool_update = "update pool set has_ready = ?2, next_at = ?3 where id = ?1";

    lane_by_id = "select queue_id, key from lane where id = ?1 limit 1";
    lane_rows = "select id, pool_id, vtime, leases, tasks, ready, holder, turn, rank, first,
        full_at, free_at from lane where queue_id = ?1 and key = ?2 limit 1000";
    lane_insert = "insert into lane (id, queue_id, key, pool_id, vtime, leases, tasks, ready, holder,
        turn, rank, first, full_at, free_at)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    lane_update = "update lane set vtime = ?2, leases = ?3, tasks = ?4, ready = ?5, holder = ?6,
        turn = ?7, rank = ?8, first = ?9, full_at = ?10, free_at = ?11 where id = ?1";
    /// What changes while the order of lanes stays.
    lane_note = "update lane set leases = ?2, tasks = ?3, ready = ?4, holder = ?5 where id = ?1";
    lane_delete = "delete from lane where id = ?1";
    lane_sweep = "select id from lane where queue_id = ?1 and tasks = 0 and vtime <= ?2
        and (full_at is null or full_at <= ?3) limit ?4";
    /// Lanes that their rate has held back, and need not any more: their moment has come, or is
    /// further away than the rate makes anybody wait.
    lane_due = "select id from lane
            where pool_id = ?1 and free_at is not null and ready > 0 and free_at <= ?2
        union all select id from lane
            where pool_id = ?1 and free_at is not null and ready > 0 and free_at > ?3 limit ?4";
    lane_next = "select free_at from lane where pool_id = ?1 and free_at is not null and ready > 0
        order by free_at limit 1";
    /// Whose turn it is: lanes of a pool in order, from one on.
    lane_turns = "select turn, rank, first, id from lane
        where pool_id = ?1 and turn is not null and (turn, rank, first) > (?2, ?3, ?4)
        order by turn, rank, first limit ?5";

    counter_put = COUNTER_PUT;
}

// Seldom used by the writer: prepared when they are needed.

pub(crate) const ROLLBACK: &str = "rollback";
pub(crate) const TENANT_INSERT: &str = "insert into tenant (id, name) values (?1, ?2)";
pub(crate) const QUEUE_INSERT: &str =
    "insert into queue (id, tenant_id, name, purpose, is_paused, is_strict,
    vtime, queued, running, waiting, succeeded, failed, canceled, ready, leases, started)
    values (?1, ?2, ?3, ?4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)";
pub(crate) const POOL_INSERT: &str = "insert into pool (id, queue_id, kind, origin, has_ready)
    values (?1, ?2, ?3, ?4, 0)";
pub(crate) const SECRET_PUT: &str = "insert into secret (name, value) values (?1, ?2)
    on conflict (name) do update set value = ?2";
pub(crate) const SECRET_DELETE: &str = "delete from secret where name = ?1";
pub(crate) const SESSION_INSERT: &str = "insert into session (mac, begun_by, source, ends_at, data)
    values (?1, ?2, ?3, ?4, ?5)";
pub(crate) const SESSION_UPDATE: &str = "update session set ends_at = ?2, data = ?3 where mac = ?1";
pub(crate) const SESSION_DELETE: &str = "delete from session where mac = ?1";
pub(crate) const SESSION_SWEEP: &str = "delete from session where mac in
    (select mac from session where ends_at <= ?1 order by ends_at limit ?2)";
/// Sessions that began with a task, counted up to a bound.
pub(crate) const SESSIONS_BEGUN_BY: &str = "select count(*) from
    (select 1 from session where begun_by = ?1 limit ?2)";
/// Those that began from a source, counted up to a bound.
pub(crate) const SESSIONS_OF_SOURCE: &str = "select count(*) from
    (select 1 from session where source = ?1 limit ?2)";
pub(crate) const TASK_STATUS: &str = "select status from task where id = ?1 limit 1";

// Nodes.

pub(crate) const NODES: &str = "select id, format, beat_at, dead_at from node limit -1";
pub(crate) const NODES_HOLDING: &str = "select distinct node from task where node is not null
    union select distinct node from attended limit -1";
pub(crate) const NODE_HOLDS: &str = "select 1 from task where node = ?1
    union all select 1 from attended where node = ?1 limit 1";
pub(crate) const NODES_CLEAR: &str = "delete from node";
pub(crate) const NODE_INSERT: &str = "insert into node (id, format, beat_at, dead_at)
    values (?1, ?2, ?3, ?4)";
/// One process at a time has the file: all that were there before are gone.
pub(crate) const NODES_END: &str = "update node set dead_at = beat_at";

// A task that cannot be decoded: it is never due, and next in no order.

pub(crate) const READ_STRANGE: &str = "select id, lane_id, status, phase, place, sched_at, holds
    from task where n = ?1 limit 1";
pub(crate) const SET_ASIDE: &str = "update task set phase = 4, place = null, sched_at = null,
    holds = null, node = null, due_at = 9223372036854775807 where n = ?1";
pub(crate) const SET_ASIDE_ATTENDED: &str = "delete from attended where id = ?1";
pub(crate) const SET_ASIDE_COUNTDOWN: &str = "delete from countdown where id = ?1";
pub(crate) const READ_ASIDE: &str = "select id from task where status in (0, 1, 2, 3, 4, 5)
    and due_at = 9223372036854775807 and phase = 4 limit ?1";

// A queue whose order has changed.

pub(crate) const LANES_OF_QUEUE: &str = "select id from lane where queue_id = ?1 limit -1";
pub(crate) const LANE_QUEUED: &str = "select n from task
    where lane_id = ?1 and phase > 0 and place is not null limit -1";
pub(crate) const HELD_OF_QUEUE: &str = "select n from task where status in (1, 2) and phase = 0
    and pool_id in (select id from pool where queue_id = ?1 limit -1) limit -1";

// What the writer remembers of the store, read when it opens and after a failure.

pub(crate) const TENANTS: &str = "select id, name from tenant order by id limit -1";
pub(crate) const QUEUES: &str = "select id, tenant_id, name, is_paused, is_strict, policy, vtime,
    bucket, queued, running, waiting, succeeded, failed, canceled, ready, leases, started, purpose
    from queue order by id limit -1";
pub(crate) const POOLS: &str = "select id, queue_id, kind, origin, next_at
    from pool order by id limit -1";
pub(crate) const POOLS_READY: &str = "select pool_id, sum(ready) from lane
    group by pool_id limit -1";
pub(crate) const LAST_TASK: &str = "select ifnull(max(n), 0) from task limit 1";
pub(crate) const LAST_EVENT: &str = "select ifnull(max(pos), 0) from event limit 1";
pub(crate) const SESSIONS: &str = "select count(*) from session limit 1";
pub(crate) const LAST_LANE: &str = "select ifnull(max(id), 0) from lane limit 1";
pub(crate) const COUNTER: &str = "select value from counter where name = ?1 limit 1";

pub(crate) const COUNTER_PUT: &str = "insert into counter (name, value) values (?1, ?2)
    on conflict (name) do update set value = ?2";

// What readers ask.

pub(crate) const READ_TASK: &str = "select spec, life from task where id = ?1 limit 1";
pub(crate) const READ_BODY: &str = "select len, crc, file, head, data from body
    where key = ?2 + 8 * (select n from task where id = ?1 limit 1) limit 1";
/// The next id of a key, in order, of those that sealed what tasks hold:
/// one step in its index each.
pub(crate) const READ_SEAL_KEY: &str = "select substr(data, 1, 4) from body
    where key % 8 = 3 and substr(data, 1, 4) > ?1 order by substr(data, 1, 4) limit 1";
/// Those whose names begin with a text: no name holds the last of all characters.
pub(crate) const READ_SECRETS: &str = "select name, value from secret
    where name >= ?1 and name < ?1 || char(0x10ffff) order by name limit -1";
pub(crate) const READ_QUEUES: &str = "select tenant.name, queue.name, is_paused, policy, queued,
    running, waiting, succeeded, failed, canceled, ready, leases
    from queue join tenant on tenant.id = tenant_id where purpose = 0
    order by tenant.name, queue.name limit -1";
pub(crate) const READ_QUEUES_OF: &str = "select tenant.name, queue.name, is_paused, policy, queued,
    running, waiting, succeeded, failed, canceled, ready, leases
    from tenant join queue on tenant_id = tenant.id
    where tenant.name = ?1 and queue.name > ?2 and purpose = 0 order by queue.name limit ?3";
pub(crate) const READ_QUEUE: &str = "select tenant.name, queue.name, is_paused, policy, queued,
    running, waiting, succeeded, failed, canceled, ready, leases
    from tenant join queue on tenant_id = tenant.id
    where tenant.name = ?1 and queue.name = ?2 and purpose = 0 limit 1";
/// The task of each queue that is first by rank, of those that are next in their lanes: a look at
/// the order of the lanes, and one task for each queue.
pub(crate) const READ_WAITING: &str = "select tenant.name, queue.name, task.life from (
        select queue_id, min(rank) as rank, first from (
            select pool_id, min(rank) as rank, first from lane where turn is not null
            group by pool_id limit -1
        ) join pool on pool.id = pool_id group by queue_id limit -1
    ) as front join task on task.n = front.first join queue on queue.id = front.queue_id
    join tenant on tenant.id = tenant_id where purpose = 0
    order by tenant.name, queue.name limit -1";
pub(crate) const READ_DUE: &str = "select due_at, n, id from task where status = ?1
    order by due_at, n limit ?2";
pub(crate) const READ_NEXT_POOL: &str = "select next_at from pool where next_at is not null
    order by next_at limit 1";
pub(crate) const READ_DEAD_KEY: &str = "select 1 from idem where gone_at <= ?1 limit 1";
pub(crate) const READ_ENDED_SESSION: &str = "select 1 from session where ends_at <= ?1 limit 1";
pub(crate) const READ_SESSION: &str = "select data from session where mac = ?1 limit 1";
pub(crate) const READ_READY_POOLS: &str =
    "select tenant.name, queue.name, kind, origin, purpose from pool
    join queue on queue.id = queue_id join tenant on tenant.id = tenant_id
    where has_ready = 1 order by tenant.name, queue.name, kind, origin limit -1";
pub(crate) const READ_READY_POOLS_OF: &str = "select tenant.name, queue.name, kind, origin, purpose
    from tenant join queue on tenant_id = tenant.id join pool on queue_id = queue.id
    where tenant.name = ?1 and queue.name = ?2 and has_ready = 1 order by kind, origin limit -1";
pub(crate) const READ_PLACE: &str = "select task.n, phase, place, lane.queue_id, lane.key,
    queue.is_strict, queue.leases, lane.leases, queue.is_paused, queue.bucket,
    lane.full_at
    from task join lane on lane.id = lane_id join queue on queue.id = lane.queue_id
    where task.id = ?1 limit 1";
pub(crate) const READ_LINES: &str = "select id, holder from lane where queue_id = ?1 and key = ?2
    limit 1000";
pub(crate) const COUNT_AHEAD: &str = "select count(*) from (select 1 from task
    where lane_id = ?1 and phase = ?2 and place is not null and (place, n) < (?3, ?4) limit ?5)";

pub(crate) const READ_LAST_SEQ: &str = "select seq from event
    where pos = (select last_pos from task where id = ?1 limit 1) limit 1";
pub(crate) const READ_LAST_POS: &str = "select max(
    ifnull((select max(pos) from event), 0),
    ifnull((select value from counter where name = ?1), 0)) limit 1";
/// Where the first events of one task's log behind a number are, without what they say, which may be
/// large: by leaps from its end to the last of them, then back.
pub(crate) const READ_PLACES: &str = "with recursive chain (pos, seq, prev, leap) as (
    select pos, seq, prev, leap from event
        where pos = (select last_pos from task where id = ?1 limit 1) and seq > ?2
    union all
    select event.pos, event.seq, event.prev, event.leap from chain join event on event.pos =
        case when (chain.seq - 1) / 64 * 64 > ?2 + ?3 then chain.leap else chain.prev end
        where event.seq > ?2
    ) select pos from chain where seq <= ?2 + ?3 order by seq limit ?3";
/// The number of one task's last event up to a position: 0 if all came later, null if none did, or for
/// a task of another tenant.
pub(crate) const READ_SEQ_AT: &str = "with recursive chain (pos, seq, prev, leap) as (
    select pos, seq, prev, leap from event
        where pos > ?3 and pos = (select last_pos from task
            join pool on pool.id = pool_id join queue on queue.id = queue_id
            join tenant on tenant.id = tenant_id
            where task.id = ?1 and tenant.name = ?2 and purpose = 0 limit 1)
    union all
    select event.pos, event.seq, event.prev, event.leap from chain join event on event.pos =
        case when chain.leap > ?3 then chain.leap else chain.prev end
        where chain.pos > ?3
    ) select max(case when pos > ?3 then 0 else seq end) from chain limit 1";
pub(crate) const READ_EVENT: &str = "select pos, seq, data from event where pos = ?1 limit 1";
pub(crate) const READ_LOG: &str = "select event.pos, event.seq, event.data, task.id, task.spec
    from event join task on task.n = event.n
    where event.pos > ?1 and task.pool_id in (select pool.id from pool
        join queue on queue.id = queue_id join tenant on tenant.id = tenant_id
        where tenant.name = ?2 and purpose = 0 limit -1)
    order by event.pos limit -1";
/// Entries of all tenants after a position, up to another.
pub(crate) const READ_CHANGES: &str = "select event.pos, event.seq, event.data, task.id, task.spec,
    task.life from event join task on task.n = event.n
    where event.pos > ?1 and event.pos <= ?2 order by event.pos limit ?3";
pub(crate) const READ_LABELED: &str = "select id from label where
    tenant_id = (select id from tenant where name = ?1 limit 1) and key = ?2 and value = ?3
    order by id desc limit ?4";

/// Which pools a filter means, with the counts of their queues.
pub(crate) const LIST_POOLS: &str =
    "select pool.id, queue_id, queue.name, queued, running, waiting,
    succeeded, failed, canceled from pool join queue on queue.id = queue_id limit -1";
pub(crate) const LIST_POOLS_OF: &str = "select pool.id, queue_id, queue.name, queued, running,
    waiting, succeeded, failed, canceled from tenant join queue on tenant_id = tenant.id
    join pool on queue_id = queue.id where tenant.name = ?1 and purpose = 0 limit -1";
pub(crate) const LIST_POOLS_OF_QUEUE: &str =
    "select pool.id, queue_id, queue.name, queued, running,
    waiting, succeeded, failed, canceled from tenant join queue on tenant_id = tenant.id
    join pool on queue_id = queue.id
    where tenant.name = ?1 and queue.name = ?2 and purpose = 0 limit -1";
/// All tasks behind one, falling, with what a list shows of them.
pub(crate) const LIST_ALL: &str = "select id, pool_id, status, spec, life from task
    where id < ?1 order by id desc limit ?2";
/// Ids of tasks that a list may show, behind one and falling.
pub(crate) const LIST_APART: &str = "select id from task
    where pool_id = ?3 and apart = ?4 and id < ?1 order by id desc limit ?2";
/// What a node holds.
pub(crate) const LIST_HELD: &str = "select id from task
    where node = ?3 and id < ?1 order by id desc limit ?2";
/// What connections of a node attend.
pub(crate) const LIST_ATTENDED: &str = "select id from attended
    where node = ?3 and id < ?1 order by id desc limit ?2";
/// What nobody attends any more.
pub(crate) const LIST_LEFT: &str = "select id from countdown
    where id < ?1 order by id desc limit ?2";
/// Those with a status, of whatever pool: all of them are sorted.
pub(crate) const LIST_FEW: &str = "select id, pool_id from task indexed by task_due
    where status = ?3 and id < ?1 order by id desc limit ?2";
/// The queued ones of a queue, through its lanes: all of them are sorted.
pub(crate) const LIST_QUEUED: &str = "select task.id, task.pool_id
    from lane cross join task indexed by task_place on task.lane_id = lane.id
    where lane.queue_id = ?3 and task.place is not null and task.id < ?1
    order by task.id desc limit ?2";
/// Lanes of a queue, counted up to a bound.
pub(crate) const COUNT_LANES: &str = "select count(*) from
    (select 1 from lane where queue_id = ?1 limit ?2)";
/// Tasks with a status, counted up to a bound.
pub(crate) const COUNT_FEW: &str = "select count(*) from
    (select 1 from task where status = ?1 limit ?2)";
pub(crate) const LIST_TASK: &str =
    "select id, pool_id, status, spec, life from task where id = ?1 limit 1";
pub(crate) const COUNT_STATUSES: &str = "select ifnull(sum(queued), 0), ifnull(sum(running), 0),
    ifnull(sum(waiting), 0), ifnull(sum(succeeded), 0), ifnull(sum(failed), 0),
    ifnull(sum(canceled), 0) from queue limit 1";
pub(crate) const LIST_LABELED: &str = "select id from label
    where tenant_id = ?3 and key = ?4 and value = ?5 and id < ?1 order by id desc limit ?2";
pub(crate) const LIST_TENANTS: &str = "select id from tenant limit -1";
pub(crate) const LIST_TENANT: &str = "select id from tenant where name = ?1 limit 1";

// Looking over everything; a row is as good as the one before.

pub(crate) const BEGIN_READ: &str = "begin";
pub(crate) const CHECK_QUEUES: &str = "select id, queued, running, waiting, succeeded, failed,
    canceled, ready, leases, started from queue order by id limit -1";
pub(crate) const CHECK_SOURCES: &str = "select queue_id, source, live from source limit -1";
pub(crate) const CHECK_POOLS: &str = "select id, has_ready, next_at from pool order by id limit -1";
pub(crate) const CHECK_LANES: &str = "select lane.id, pool_id, lane.queue_id, lane.key,
    tenant.name, queue.name, kind, origin, is_strict, lane.vtime, lane.leases, lane.tasks,
    lane.ready, turn, rank, first, holder, free_at, purpose from lane join pool on pool.id = pool_id
    join queue on queue.id = lane.queue_id join tenant on tenant.id = tenant_id
    order by lane.id limit -1";
pub(crate) const CHECK_TASKS: &str =
    "select task.n as n, lane_id, phase, place, sched_at, last_pos,
    spec, life, id, status, pool_id, due_at, apart, holds, event.seq as seq, node,
    (select tenant.name from early join tenant on tenant.id = tenant_id
        where early.n = task.n limit 1) as early,
    exists (select 1 from body where key = task.n * 8 + 4 limit 1) as has_early,
    exists (select 1 from countdown where countdown.id = task.id limit 1) as is_left
    from task left join event on event.pos = last_pos and event.n = task.n
    order by task.n limit -1";
pub(crate) const CHECK_ATTENDED: &str = "select attended.id, attended.node, spec, life
    from attended left join task on task.id = attended.id limit -1";
pub(crate) const CHECK_EVENTS: &str =
    "select event.pos, event.n, event.prev, event.data, event.seq,
    before.n, before.seq, event.leap, far.n, far.seq
    from event left join event as before on before.pos = event.prev
    left join event as far on far.pos = event.leap order by event.pos limit -1";
pub(crate) const CHECK_BODIES: &str = "select key, len, crc, file, data, task.id
    from body left join task on task.n = key / 8 order by key limit -1";
pub(crate) const CHECK_SESSIONS: &str = "select ends_at, data from session limit -1";
/// Rows that belong to no task.
pub(crate) const CHECK_STRAYS: &str = "select 'event ' || pos from event
        where n not in (select n from task limit -1)
    union all select 'body ' || key from body where key / 8 not in (select n from task limit -1)
    union all select 'early result ' || n from early where n not in (select n from task limit -1)
    union all select 'a countdown' from countdown where id not in (select id from task limit -1)
    union all select 'a delivery' from delivery
        where n is not null and n not in (select n from task limit -1)
    union all select 'a label' from label where id not in (select id from task limit -1)
    union all select 'a key' from idem
        where gone_at is null and id not in (select id from task limit -1) limit 100";

// Opening and housekeeping.

pub(crate) const MIGRATIONS_TABLE: &str = "create table if not exists migration (
    version integer primary key, checksum integer not null, applied_at integer not null) strict";
pub(crate) const MIGRATIONS: &str = "select version, checksum from migration
    order by version limit -1";
pub(crate) const FIRST_MIGRATION: &str = "select checksum from migration
    where version = 1 limit 1";
pub(crate) const MIGRATION_INSERT: &str = "insert into migration (version, checksum, applied_at)
    values (?1, ?2, ?3)";
pub(crate) const CHECKPOINT_PASSIVE: &str = "pragma wal_checkpoint(passive)";
pub(crate) const CHECKPOINT_RESTART: &str = "pragma wal_checkpoint(restart)";
pub(crate) const CHECKPOINT_TRUNCATE: &str = "pragma wal_checkpoint(truncate)";
pub(crate) const BODY_HAS_FILE: &str = "select 1 from body where file = ?1 limit 1";
pub(crate) const BODY_FILES: &str = "select file from body where file is not null limit -1";
/// Touches both ends of every tree: what is torn off shows at once, without reading the whole file.
pub(crate) const PROBES: &[&str] = &[
    "select min(n) from task limit 1",
    "select max(n) from task limit 1",
    "select min(id) from task limit 1",
    "select max(id) from task limit 1",
    "select min(due_at) from task where status = 0 limit 1",
    "select max(due_at) from task where status = 5 limit 1",
    "select min(pos) from event limit 1",
    "select max(pos) from event limit 1",
    "select min(key) from body limit 1",
    "select max(key) from body limit 1",
    "select max(scope) from idem limit 1",
    "select max(mac) from session limit 1",
    "select max(id) from endpoint limit 1",
    "select max(endpoint) from delivery limit 1",
    "select max(id) from lane limit 1",
];
