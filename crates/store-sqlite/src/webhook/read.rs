//! What readers ask of endpoints and deliveries.

use relais_core::{DeliveryId, Endpoint, EndpointId, Notice, Spec, TenantName, Timestamp};
use relais_store::{Deliveries, Delivery, EndpointRow, Endpoints, Next, Told};
use rusqlite::{Connection, Row, params};

use super::{own_of, sql};
use crate::codec;
use crate::fault::Fault;
use crate::ledger::{count_at, name_of};
use crate::scribe::position;

pub(crate) fn endpoints(conn: &Connection, which: &Endpoints) -> Result<Vec<EndpointRow>, Fault> {
    let mut select = match which {
        Endpoints::One(_) => conn.prepare_cached(sql::READ_ENDPOINT)?,
        Endpoints::All | Endpoints::Of(_) => conn.prepare_cached(sql::READ_ENDPOINTS)?,
    };
    let mut rows = match which {
        Endpoints::One(id) => select.query([id.as_u64().cast_signed()])?,
        Endpoints::All => select.query([None::<&str>])?,
        Endpoints::Of(tenant) => select.query([tenant.as_str()])?,
    };
    let mut endpoints = Vec::new();
    while let Some(row) = rows.next()? {
        let endpoint: Endpoint = codec::decode("endpoint", row.get_ref(0)?.as_blob()?)?;
        endpoints.push(EndpointRow { endpoint, waiting: count_at(row, 1)? });
    }
    Ok(endpoints)
}

pub(crate) fn waited_for(conn: &Connection) -> Result<Vec<EndpointId>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_WAITED_FOR)?;
    let (mut endpoints, mut from) = (Vec::new(), Some(i64::MIN));
    while let Some(first) = from {
        let mut rows = select.query([first])?;
        let Some(row) = rows.next()? else { break };
        let endpoint: i64 = row.get(0)?;
        endpoints.push(EndpointId::from_u64(endpoint.cast_unsigned()));
        from = endpoint.checked_add(1);
    }
    endpoints.sort_unstable();
    Ok(endpoints)
}

pub(crate) fn next(
    conn: &Connection,
    endpoint: EndpointId,
    limit: usize,
) -> Result<Option<Next>, Fault> {
    let mut select = conn.prepare_cached(sql::READ_NEXT)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = select.query(params![endpoint.as_u64().cast_signed(), limit])?;
    let mut next: Option<Next> = None;
    while let Some(row) = rows.next()? {
        let place = position(row.get(0)?);
        match &mut next {
            Some(next) => next.places.push(place),
            None => {
                let tenant: TenantName = name_of(row.get_ref(2)?.as_str()?)?;
                let since = Timestamp::from_ms(row.get(1)?);
                next = Some(Next { tenant, since, places: vec![place] });
            }
        }
    }
    Ok(next)
}

pub(crate) fn deliveries(conn: &Connection, which: Deliveries) -> Result<Vec<Delivery>, Fault> {
    let signed = |bits: u64| bits.cast_signed();
    let rows = |limit: usize| i64::try_from(limit).unwrap_or(i64::MAX);
    match which {
        Deliveries::One(DeliveryId { endpoint, pos }) => {
            read(conn, sql::READ_ONE, params![signed(endpoint.as_u64()), signed(pos)])
        }
        Deliveries::To { endpoint, before, limit } => {
            let before = before.map_or(i64::MAX, signed);
            read(conn, sql::READ_TO, params![signed(endpoint.as_u64()), before, rows(limit)])
        }
        Deliveries::Of { task, before, limit } => {
            let (pos, endpoint) = before.map_or((i64::MAX, i64::MAX), |before| {
                (signed(before.pos), signed(before.endpoint.as_u64()))
            });
            let task = codec::id_bytes(task);
            read(conn, sql::READ_OF, params![task, pos, endpoint, rows(limit)])
        }
    }
}

fn read(
    conn: &Connection,
    statement: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Delivery>, Fault> {
    let mut select = conn.prepare_cached(statement)?;
    let mut rows = select.query(params)?;
    let mut deliveries = Vec::new();
    while let Some(row) = rows.next()? {
        deliveries.push(delivery(row)?);
    }
    Ok(deliveries)
}

fn delivery(row: &Row<'_>) -> Result<Delivery, Fault> {
    let endpoint = EndpointId::from_u64(row.get::<_, i64>(0)?.cast_unsigned());
    let (told, own) = match row.get_ref(5)?.as_blob_or_null()? {
        Some(data) => {
            let Notice { news, own } = codec::decode("delivery", data)?;
            (Some(Told::News(news)), own)
        }
        None => {
            let own = match row.get_ref(9)?.as_blob_or_null()? {
                Some(spec) => own_of(&codec::decode::<Spec>("task", spec)?, endpoint),
                None => None,
            };
            (entry(row)?.map(Told::Entry), own)
        }
    };
    Ok(Delivery {
        id: DeliveryId { endpoint, pos: position(row.get(1)?) },
        tenant: name_of(row.get_ref(2)?.as_str()?)?,
        at: Timestamp::from_ms(row.get(3)?),
        is_waiting: row.get::<_, Option<i64>>(4)?.is_some(),
        told,
        own,
    })
}

/// The entry that is told; `None` if it cannot be read.
fn entry(row: &Row<'_>) -> Result<Option<relais_core::Entry>, Fault> {
    let (Some(task), Some(data)) =
        (row.get_ref(6)?.as_blob_or_null()?, row.get_ref(8)?.as_blob_or_null()?)
    else {
        return Ok(None);
    };
    let seq = position(row.get(7)?);
    Ok(codec::decode_entry(codec::id_of(task)?, seq, data).ok())
}

/// Whether a row of [`sql::CHECK_ENDPOINTS`] is as it should be.
pub(crate) fn check_endpoint(row: &Row<'_>) -> Result<(), Fault> {
    let id: i64 = row.get(0)?;
    let endpoint: Endpoint = codec::decode("endpoint", row.get_ref(2)?.as_blob()?)?;
    if endpoint.id.as_u64().cast_signed() != id {
        return Err(Fault::damaged(format!("{} is stored under another number", endpoint.id)));
    }
    let (kept, counted): (i64, i64) = (row.get(1)?, row.get(3)?);
    if kept != counted {
        let id = endpoint.id;
        return Err(Fault::damaged(format!("{counted} deliveries wait for {id}, not {kept}")));
    }
    Ok(())
}

/// Whether a row of [`sql::CHECK_DELIVERIES`] has something to tell.
pub(crate) fn check_delivery(row: &Row<'_>) -> Result<(), Fault> {
    let endpoint = EndpointId::from_u64(row.get::<_, i64>(0)?.cast_unsigned());
    let id = DeliveryId { endpoint, pos: position(row.get(1)?) };
    match row.get_ref(4)?.as_blob_or_null()? {
        Some(data) => codec::decode::<Notice>("delivery", data).map(drop),
        None if row.get(5)? => Ok(()),
        None => Err(Fault::damaged(format!("{id} tells of an event that is not there"))),
    }
}
