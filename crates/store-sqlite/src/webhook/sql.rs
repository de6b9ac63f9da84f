//! Statements on endpoints and deliveries that the writer seldom uses, and those of readers.

pub(crate) const ENDPOINTS: &str = "select id, tenant_id, waiting, data from endpoint limit -1";
pub(crate) const ENDPOINT_PUT: &str = "insert into endpoint (id, tenant_id, waiting, data)
    values (?1, ?2, ?3, ?4) on conflict (id) do update set waiting = ?3, data = ?4";
pub(crate) const ENDPOINT_DELETE: &str = "delete from endpoint where id = ?1";
/// What waits for an endpoint since a moment or longer, the oldest first.
pub(crate) const DELIVERIES_UNTIL: &str = "select pos, at from delivery
    where endpoint = ?1 and waits is not null order by pos limit ?2";
pub(crate) const DELIVERY_DELETE: &str = "delete from delivery where endpoint = ?1 and pos = ?2";
/// What is told depends on no task any more.
pub(crate) const DELIVERY_OUTLIVES: &str = "update delivery set n = null, data = ?3
    where endpoint = ?1 and pos = ?2";
/// A delivery that a task was made of.
pub(crate) const DELIVERY_MADE: &str = "select n, tenant_id, at, data from delivery
    where endpoint = ?1 and pos = ?2 and waits is null limit 1";
pub(crate) const ENTRY_AT: &str = "select seq, data from event where pos = ?1 and n = ?2 limit 1";

pub(crate) const READ_ENDPOINTS: &str = "select data, waiting from endpoint
    join tenant on tenant.id = tenant_id where (?1 is null or tenant.name = ?1)
    order by tenant.name, endpoint.id limit -1";
pub(crate) const READ_ENDPOINT: &str = "select data, waiting from endpoint where id = ?1 limit 1";
/// The next endpoint for which something waits: one step in the index.
pub(crate) const READ_WAITED_FOR: &str = "select endpoint from delivery
    where waits is not null and endpoint >= ?1 order by endpoint limit 1";
pub(crate) const READ_NEXT: &str = "select pos, at, tenant.name from delivery
    join tenant on tenant.id = tenant_id
    where endpoint = ?1 and waits is not null order by pos limit ?2";

/// A delivery with what it tells. The spec of its task says where a task's own webhook goes.
macro_rules! read_deliveries {
    ($which:literal) => {
        concat!(
            "select endpoint, delivery.pos, tenant.name, at, waits, delivery.data,
                task.id, event.seq, event.data, case when endpoint < 0 then task.spec end
            from delivery join tenant on tenant.id = delivery.tenant_id
            left join task on task.n = delivery.n
            left join event on event.pos = delivery.pos and event.n = delivery.n ",
            $which
        )
    };
}

pub(crate) const READ_ONE: &str =
    read_deliveries!("where endpoint = ?1 and delivery.pos = ?2 limit 1");
pub(crate) const READ_TO: &str = read_deliveries!(
    "where endpoint = ?1 and delivery.pos < ?2 order by delivery.pos desc limit ?3"
);
pub(crate) const READ_OF: &str = read_deliveries!(
    "where delivery.n = (select n from task where id = ?1 limit 1)
        and (delivery.pos, endpoint) < (?2, ?3)
        order by delivery.pos desc, endpoint desc limit ?4"
);

pub(crate) const CHECK_ENDPOINTS: &str = "select id, waiting, data,
    (select count(*) from delivery where endpoint = endpoint.id and waits is not null)
    from endpoint order by id limit -1";
pub(crate) const CHECK_DELIVERIES: &str = "select endpoint, pos, n, waits, data,
    exists (select 1 from event where event.pos = delivery.pos and event.n = delivery.n limit 1)
    from delivery order by endpoint, pos limit -1";
