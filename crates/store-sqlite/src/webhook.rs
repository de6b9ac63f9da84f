//! Endpoints of webhooks, all in the writer's memory, and the rows that wait for them.
//!
//! Not here: who is told of what (`relais_core::webhook`), and what is sent.

mod read;
pub(crate) mod sql;

use std::collections::HashMap;

use relais_core::webhook::{NoSuchEndpoint, audience, change, others};
use relais_core::{
    DeliveryId, Endpoint, EndpointId, Entry, News, Notice, OwnWebhook, Runner, Spec, Timestamp,
    Topic, limits,
};
use relais_store::{
    Committed, DROPPED_AT_ONCE, DropDeliveries, EndpointDone, EndpointOf, Erasure, Rejected, What,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::codec;
use crate::fault::Fault;
use crate::ledger::{count_at, each};
use crate::row::TaskRow;
use crate::scribe::{Scribe, position};
pub(crate) use read::{check_delivery, check_endpoint, deliveries, endpoints, next, waited_for};

type Answer = Result<Result<Committed, Rejected>, Fault>;

/// The endpoints of all tenants. Most tenants have none, and pay for nothing.
#[derive(Default)]
pub(crate) struct Endpoints {
    of_tenant: HashMap<i64, Vec<Kept>>,
    tenant_of: HashMap<EndpointId, i64>,
    dirty: Vec<EndpointId>,
}

/// An endpoint as it is stored, or will be at the end of the transaction.
struct Kept {
    endpoint: Endpoint,
    waiting: u64,
    change: Dirty,
}

/// What of it is to be written back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dirty {
    No,
    /// How much waits.
    Count,
    Whole,
}

impl Endpoints {
    /// Reads them.
    pub(crate) fn load(conn: &Connection) -> Result<Self, Fault> {
        let mut endpoints = Self::default();
        each(conn, sql::ENDPOINTS, |row| {
            let endpoint: Endpoint = codec::decode("endpoint", row.get_ref(3)?.as_blob()?)?;
            let (tenant, waiting) = (row.get(1)?, count_at(row, 2)?);
            endpoints.insert(tenant, Kept { endpoint, waiting, change: Dirty::No });
            Ok(())
        })?;
        Ok(endpoints)
    }

    fn insert(&mut self, tenant: i64, kept: Kept) {
        self.tenant_of.insert(kept.endpoint.id, tenant);
        let all = self.of_tenant.entry(tenant).or_default();
        let at = all.partition_point(|other| other.endpoint.id < kept.endpoint.id);
        all.insert(at, kept);
    }

    fn remove(&mut self, id: EndpointId) {
        let Some(tenant) = self.tenant_of.remove(&id) else { return };
        let Some(kept) = self.of_tenant.get_mut(&tenant) else { return };
        kept.retain(|kept| kept.endpoint.id != id);
        if kept.is_empty() {
            self.of_tenant.remove(&tenant);
        }
    }

    fn are_none_of(&self, tenant: i64) -> bool {
        self.of_tenant.is_empty() || !self.of_tenant.contains_key(&tenant)
    }

    fn of(&self, tenant: i64) -> impl Iterator<Item = &Endpoint> {
        self.of_tenant.get(&tenant).into_iter().flatten().map(|kept| &kept.endpoint)
    }

    fn get(&self, id: EndpointId) -> Option<&Kept> {
        let tenant = self.tenant_of.get(&id)?;
        self.of_tenant.get(tenant)?.iter().find(|kept| kept.endpoint.id == id)
    }

    /// An endpoint that changes, and is written back.
    fn touch(&mut self, id: EndpointId, change: Dirty) -> Option<&mut Kept> {
        let tenant = self.tenant_of.get(&id)?;
        let kept =
            self.of_tenant.get_mut(tenant)?.iter_mut().find(|kept| kept.endpoint.id == id)?;
        if kept.change == Dirty::No {
            self.dirty.push(id);
        }
        if kept.change != Dirty::Whole {
            kept.change = change;
        }
        Some(kept)
    }
}

/// Where a delivery's row is.
const fn key_of(id: DeliveryId) -> (i64, i64) {
    (id.endpoint.as_u64().cast_signed(), id.pos.cast_signed())
}

/// A row that comes into being.
struct New {
    id: DeliveryId,
    tenant: i64,
    n: Option<i64>,
    at: Timestamp,
    notice: Option<Notice>,
}

impl Scribe<'_> {
    /// Writes the rows of new entries of a task, of which the first is at `first`; answers for whom.
    /// Nothing is read for it.
    pub(crate) fn tell_endpoints(
        &mut self,
        (n, queue): (i64, usize),
        spec: &Spec,
        entries: &[Entry],
        first: i64,
    ) -> Result<Vec<EndpointId>, Fault> {
        let tenant = self.ledger.tenant_id(queue);
        if spec.webhook.is_none() && self.endpoints.are_none_of(tenant) {
            return Ok(Vec::new());
        }
        let mut told = Vec::new();
        for (pos, entry) in (first..).zip(entries) {
            let topic = Topic::Task(entry.data.kind());
            let audience: Vec<_> = audience(spec, topic, self.endpoints.of(tenant)).collect();
            for endpoint in audience {
                let id = DeliveryId { endpoint, pos: position(pos) };
                let new = New { id, tenant, n: Some(n), at: entry.at, notice: None };
                told.extend(self.let_wait(&new)?);
            }
        }
        Ok(told)
    }

    /// One more waits for an endpoint, which is told. Beyond what may, the oldest is dropped, which the
    /// others are told.
    fn let_wait(&mut self, new: &New) -> Result<Vec<EndpointId>, Fault> {
        let mut told = vec![new.id.endpoint];
        let (endpoint, pos) = key_of(new.id);
        let data = new.notice.as_ref().map(|notice| codec::encode(notice, self.format));
        let row = params![endpoint, pos, new.n, new.tenant, new.at.as_ms(), data];
        self.hot.delivery_insert.execute(row)?;
        let Some(kept) = self.endpoints.touch(new.id.endpoint, Dirty::Count) else {
            return Ok(told);
        };
        kept.waiting += 1;
        if kept.waiting > limits::DELIVERIES_WAITING_MAX
            && let Some((oldest, _)) = self.oldest_for(new.id.endpoint, 1)?.pop()
        {
            told.extend(self.drop_delivery(oldest, new.at)?);
        }
        Ok(told)
    }

    /// What waits for an endpoint, and since when, the oldest first.
    fn oldest_for(
        &self,
        endpoint: EndpointId,
        max: usize,
    ) -> Result<Vec<(DeliveryId, Timestamp)>, Fault> {
        let mut select = self.conn.prepare_cached(sql::DELIVERIES_UNTIL)?;
        let mut rows = select.query(params![endpoint.as_u64().cast_signed(), max as i64])?;
        let mut oldest = Vec::new();
        while let Some(row) = rows.next()? {
            let id = DeliveryId { endpoint, pos: position(row.get(0)?) };
            oldest.push((id, Timestamp::from_ms(row.get(1)?)));
        }
        Ok(oldest)
    }

    /// A delivery that waits is given up; answers who is told.
    fn drop_delivery(&mut self, id: DeliveryId, now: Timestamp) -> Result<Vec<EndpointId>, Fault> {
        self.delete_delivery(id)?;
        let Some(kept) = self.endpoints.touch(id.endpoint, Dirty::Whole) else {
            return Ok(Vec::new());
        };
        kept.waiting -= 1;
        match kept.endpoint.note_dropped(id.pos, now) {
            Some(news) => self.tell_others(id.endpoint, &news, now),
            None => Ok(Vec::new()),
        }
    }

    fn delete_delivery(&self, id: DeliveryId) -> Result<(), Fault> {
        self.conn.prepare_cached(sql::DELIVERY_DELETE)?.execute(key_of(id))?;
        Ok(())
    }

    /// Tells the other endpoints of its tenant what became of one, which takes a place of its own.
    fn tell_others(
        &mut self,
        about: EndpointId,
        news: &News,
        now: Timestamp,
    ) -> Result<Vec<EndpointId>, Fault> {
        self.note(What::Endpoint(about));
        let (pos, topic) = (self.head(), news.topic().expect("there is something to tell"));
        let tenant = self.endpoints.tenant_of[&about];
        let others: Vec<_> = others(about, topic, self.endpoints.of(tenant)).collect();
        let mut told = Vec::new();
        for endpoint in others {
            let notice = Some(Notice { news: news.clone(), own: None });
            let id = DeliveryId { endpoint, pos };
            told.extend(self.let_wait(&New { id, tenant, n: None, at: now, notice })?);
        }
        Ok(told)
    }

    pub(crate) fn endpoint(&mut self, of: &EndpointOf) -> Answer {
        let stored = self.endpoints.get(of.id);
        let waiting = stored.map_or(0, |kept| kept.waiting);
        let stored = stored.map(|kept| kept.endpoint.clone());
        if let (Some(stored), Some(tenant)) = (&stored, &of.tenant)
            && stored.tenant != *tenant
        {
            return Ok(Err(NoSuchEndpoint.into()));
        }
        let is_new = stored.is_none();
        let step = match change(stored, of.op.clone(), of.now) {
            Ok(step) => step,
            Err(error) => return Ok(Err(error.into())),
        };
        let mut told = Vec::new();
        match &step.endpoint {
            Some(endpoint) => {
                if is_new && let Err(full) = self.add_endpoint(endpoint)? {
                    return Ok(Err(full));
                }
                if let Some(kept) = self.endpoints.touch(of.id, Dirty::Whole) {
                    kept.endpoint = endpoint.clone();
                }
                if waiting > 0 && endpoint.standing.is_active() {
                    told.push(of.id);
                }
            }
            None => {
                self.endpoints.remove(of.id);
                let id = of.id.as_u64().cast_signed();
                self.conn.prepare_cached(sql::ENDPOINT_DELETE)?.execute([id])?;
                if waiting > 0 {
                    told.push(of.id);
                }
            }
        }
        match &step.news {
            Some(news) => told.extend(self.tell_others(of.id, news, of.now)?),
            None => self.note(What::Endpoint(of.id)),
        }
        Ok(Ok(Committed::Endpoint(Box::new(EndpointDone { step, told }))))
    }

    fn add_endpoint(&mut self, endpoint: &Endpoint) -> Result<Result<(), Rejected>, Fault> {
        let tenant = self.ledger.tenant_for(self.conn, &endpoint.tenant)?;
        if let Err(full) = EndpointOf::has_room(self.endpoints.of(tenant).count()) {
            return Ok(Err(full));
        }
        let kept = Kept { endpoint: endpoint.clone(), waiting: 0, change: Dirty::No };
        self.endpoints.insert(tenant, kept);
        Ok(Ok(()))
    }

    pub(crate) fn drop_deliveries(&mut self, drop: DropDeliveries) -> Answer {
        let (mut count, mut told) = (0, Vec::new());
        for (id, at) in self.oldest_for(drop.endpoint, DROPPED_AT_ONCE)? {
            if at > drop.until {
                break;
            }
            count += 1;
            told.extend(self.drop_delivery(id, drop.now)?);
        }
        Ok(Ok(Committed::Dropped(count, told)))
    }

    /// A delivery becomes a task, if it waits, and its endpoint is delivered to.
    pub(crate) fn take_delivery(&mut self, id: DeliveryId) -> Result<Result<(), Rejected>, Fault> {
        let is_open = match self.endpoints.get(id.endpoint) {
            Some(kept) => kept.endpoint.standing.is_active(),
            None => id.endpoint.is_own(),
        };
        if !is_open || self.hot.delivery_take.execute(key_of(id))? == 0 {
            return Ok(Err(Rejected::NotWaiting));
        }
        if let Some(kept) = self.endpoints.touch(id.endpoint, Dirty::Count) {
            kept.waiting -= 1;
        }
        Ok(Ok(()))
    }

    /// The task that was made of a delivery is forgotten, and it waits as before.
    pub(crate) fn let_wait_again(&mut self, id: DeliveryId) -> Answer {
        let mut select = self.conn.prepare_cached(sql::DELIVERY_MADE)?;
        let made = select.query_row(key_of(id), |row| {
            let at = Timestamp::from_ms(row.get(2)?);
            Ok((row.get(0)?, row.get(1)?, at, row.get::<_, Option<Vec<u8>>>(3)?))
        });
        let Some((n, tenant, at, data)) = made.optional()? else {
            return Ok(Err(Rejected::NotFound));
        };
        drop(select);
        let notice = data.map(|data| codec::decode("delivery", &data)).transpose()?;
        if let Err(rejected) = self.erase(id.task(), Erasure::Expired)? {
            return Ok(Err(rejected));
        }
        self.let_wait(&New { id, tenant, n, at, notice })?;
        Ok(Ok(Committed::Put))
    }

    /// What becomes of what was to be told of a task that is to be forgotten, and of its own row, if it
    /// is itself a delivery. Called while it is there.
    pub(crate) fn part_from(&mut self, row: &TaskRow, why: Erasure) -> Result<(), Fault> {
        let spec = &row.task.spec;
        if spec.runner == Runner::Delivery {
            return self.delete_delivery(DeliveryId::of_task(spec.id));
        }
        let mut rows = self.hot.deliveries_of.query([row.n])?;
        let mut of_task = Vec::new();
        while let Some(found) = rows.next()? {
            let endpoint = EndpointId::from_u64(found.get::<_, i64>(0)?.cast_unsigned());
            let id = DeliveryId { endpoint, pos: position(found.get(1)?) };
            of_task.push((id, found.get::<_, Option<i64>>(2)?.is_some()));
        }
        drop(rows);
        for (id, is_waiting) in of_task {
            match why {
                Erasure::Asked { .. } => self.withdraw(id, is_waiting, why)?,
                Erasure::Expired => {
                    if let Some(entry) = self.entry_at(id.pos, row)? {
                        let own = own_of(spec, id.endpoint);
                        self.outlive(id, News::outliving(entry), own)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Nothing of an erased task is told any more.
    fn withdraw(&mut self, id: DeliveryId, is_waiting: bool, why: Erasure) -> Result<(), Fault> {
        if is_waiting {
            self.delete_delivery(id)?;
            if let Some(kept) = self.endpoints.touch(id.endpoint, Dirty::Count) {
                kept.waiting -= 1;
            }
            return Ok(());
        }
        let is_over = match self.find(id.task())? {
            Some(row) => {
                let is_over = row.task.life.status().is_terminal();
                self.recent.keep(row);
                is_over
            }
            None => return self.delete_delivery(id),
        };
        if is_over {
            return self.erase(id.task(), why).map(drop);
        }
        self.outlive(id, News::Withdrawn, None)
    }

    /// What is told does not depend on its task any more.
    fn outlive(&self, id: DeliveryId, news: News, own: Option<OwnWebhook>) -> Result<(), Fault> {
        let (endpoint, pos) = key_of(id);
        let data = codec::encode(&Notice { news, own }, self.format);
        let mut update = self.conn.prepare_cached(sql::DELIVERY_OUTLIVES)?;
        update.execute(params![endpoint, pos, data])?;
        Ok(())
    }

    fn entry_at(&self, pos: u64, of: &TaskRow) -> Result<Option<Entry>, Fault> {
        let mut select = self.conn.prepare_cached(sql::ENTRY_AT)?;
        let mut rows = select.query(params![pos.cast_signed(), of.n])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let seq = position(row.get(0)?);
        let entry = codec::decode_entry(of.task.spec.id, seq, row.get_ref(1)?.as_blob()?);
        // One that cannot be read is told to nobody; `check` names it.
        Ok(entry.ok())
    }

    /// Tells that a task was erased, at the place of that.
    pub(crate) fn tell_erasure(
        &mut self,
        spec: &Spec,
        tenant: i64,
        now: Timestamp,
    ) -> Result<Vec<EndpointId>, Fault> {
        let (pos, mut told) = (self.head(), Vec::new());
        let audience: Vec<_> = audience(spec, Topic::Erased, self.endpoints.of(tenant)).collect();
        for endpoint in audience {
            let (news, own) = (News::Erased { task: spec.id }, own_of(spec, endpoint));
            let (id, notice) = (DeliveryId { endpoint, pos }, Some(Notice { news, own }));
            told.extend(self.let_wait(&New { id, tenant, n: None, at: now, notice })?);
        }
        Ok(told)
    }

    /// Writes back the endpoints that a transaction changed, once each.
    pub(crate) fn flush_endpoints(&mut self) -> Result<(), Fault> {
        for id in std::mem::take(&mut self.endpoints.dirty) {
            let Some(tenant) = self.endpoints.tenant_of.get(&id).copied() else { continue };
            let all = self.endpoints.of_tenant.get_mut(&tenant).into_iter().flatten();
            let Some(kept) = all.into_iter().find(|kept| kept.endpoint.id == id) else { continue };
            let (key, waiting) = (id.as_u64().cast_signed(), kept.waiting.cast_signed());
            match std::mem::replace(&mut kept.change, Dirty::No) {
                Dirty::No => {}
                Dirty::Count => _ = self.hot.endpoint_note.execute([key, waiting])?,
                Dirty::Whole => {
                    let data = codec::encode(&kept.endpoint, self.format);
                    let mut put = self.conn.prepare_cached(sql::ENDPOINT_PUT)?;
                    put.execute(params![key, tenant, waiting, data])?;
                }
            }
        }
        Ok(())
    }
}

/// The task's own webhook, if that is where a delivery goes.
fn own_of(spec: &Spec, endpoint: EndpointId) -> Option<OwnWebhook> {
    spec.webhook.clone().filter(|own| own.endpoint == endpoint)
}
