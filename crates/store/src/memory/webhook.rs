//! Endpoints of webhooks, and what waits for them.

use std::ops::Bound;

use relais_core::webhook::{NoSuchEndpoint, audience, change, others};
use relais_core::{
    DeliveryId, EndpointId, EndpointOp, Entry, News, Notice, OwnWebhook, Spec, TaskId, TenantName,
    Timestamp, Topic, limits,
};

use super::state::Inner;
use crate::change::What;
use crate::commit::{Committed, Erasure, Rejected};
use crate::webhook::{
    DROPPED_AT_ONCE, Deliveries, Delivery, DropDeliveries, EndpointDone, EndpointOf, EndpointRow,
    Endpoints, Next, Told,
};

/// A delivery, waiting or made into a task.
#[derive(Clone)]
pub(super) struct Row {
    tenant: TenantName,
    at: Timestamp,
    is_waiting: bool,
    /// The task that it tells of, while that is there.
    task: Option<TaskId>,
    /// What is told where no entry is.
    notice: Option<Notice>,
}

impl Inner {
    fn endpoints_of(&self, tenant: &TenantName) -> impl Iterator<Item = &EndpointRow> {
        self.endpoints.values().filter(move |row| row.endpoint.tenant == *tenant)
    }

    /// Writes the rows of a new entry; answers for whom.
    pub(super) fn tell_endpoints(
        &mut self,
        spec: &Spec,
        entry: &Entry,
        pos: u64,
    ) -> Vec<EndpointId> {
        let topic = Topic::Task(entry.data.kind());
        let endpoints = self.endpoints_of(&spec.tenant).map(|row| &row.endpoint);
        let mut told = Vec::new();
        for endpoint in audience(spec, topic, endpoints).collect::<Vec<_>>() {
            let (tenant, task) = (spec.tenant.clone(), Some(spec.id));
            let row = Row { tenant, at: entry.at, is_waiting: true, task, notice: None };
            told.extend(self.let_wait(DeliveryId { endpoint, pos }, row));
        }
        told
    }

    /// One more waits for an endpoint, which is told. Beyond what may, the oldest is dropped, which the
    /// others are told.
    fn let_wait(&mut self, id: DeliveryId, row: Row) -> Vec<EndpointId> {
        let (mut told, at) = (vec![id.endpoint], row.at);
        self.deliveries.insert(id, row);
        if let Some(kept) = self.endpoints.get_mut(&id.endpoint) {
            kept.waiting += 1;
            if kept.waiting > limits::DELIVERIES_WAITING_MAX {
                let oldest = self.waiting_for(id.endpoint).next().expect("many wait").0;
                told.extend(self.drop_delivery(oldest, at));
            }
        }
        told
    }

    fn waiting_for(&self, endpoint: EndpointId) -> impl Iterator<Item = (DeliveryId, &Row)> {
        let all = DeliveryId { endpoint, pos: 0 }..=DeliveryId { endpoint, pos: u64::MAX };
        let rows = self.deliveries.range(all).map(|(id, row)| (*id, row));
        rows.filter(|(_, row)| row.is_waiting)
    }

    /// A delivery that waits is given up; answers who is told.
    fn drop_delivery(&mut self, id: DeliveryId, now: Timestamp) -> Vec<EndpointId> {
        self.deliveries.remove(&id);
        let Some(kept) = self.endpoints.get_mut(&id.endpoint) else { return Vec::new() };
        kept.waiting -= 1;
        let news = kept.endpoint.note_dropped(id.pos, now);
        news.map_or_else(Vec::new, |news| self.tell_others(id.endpoint, &news, now))
    }

    /// Tells the other endpoints of its tenant what became of one, which takes a place of its own.
    fn tell_others(&mut self, about: EndpointId, news: &News, now: Timestamp) -> Vec<EndpointId> {
        self.note(What::Endpoint(about));
        let (pos, topic) = (self.last_pos, news.topic().expect("there is something to tell"));
        let tenant = self.endpoints[&about].endpoint.tenant.clone();
        let endpoints = self.endpoints_of(&tenant).map(|row| &row.endpoint);
        let mut told = Vec::new();
        for endpoint in others(about, topic, endpoints).collect::<Vec<_>>() {
            let notice = Some(Notice { news: news.clone(), own: None });
            let (tenant, task) = (tenant.clone(), None);
            let row = Row { tenant, at: now, is_waiting: true, task, notice };
            told.extend(self.let_wait(DeliveryId { endpoint, pos }, row));
        }
        told
    }

    pub(super) fn change_endpoint(&mut self, of: &EndpointOf) -> Result<Committed, Rejected> {
        let stored = self.endpoints.get(&of.id);
        let is_theirs = |row: &&EndpointRow| {
            of.tenant.as_ref().is_none_or(|tenant| row.endpoint.tenant == *tenant)
        };
        if stored.is_some() && stored.filter(is_theirs).is_none() {
            return Err(NoSuchEndpoint.into());
        }
        let waiting = stored.map_or(0, |row| row.waiting);
        let step = change(stored.map(|row| row.endpoint.clone()), of.op.clone(), of.now)?;
        if let (None, EndpointOp::Create(new)) = (stored, &of.op) {
            EndpointOf::has_room(self.endpoints_of(&new.tenant).count())?;
        }
        let mut told = Vec::new();
        match &step.endpoint {
            Some(endpoint) => {
                let row = EndpointRow { endpoint: endpoint.clone(), waiting };
                self.endpoints.insert(of.id, row);
                if waiting > 0 && endpoint.standing.is_active() {
                    told.push(of.id);
                }
            }
            None => {
                self.endpoints.remove(&of.id);
                if waiting > 0 {
                    told.push(of.id);
                }
            }
        }
        match &step.news {
            Some(news) => told.extend(self.tell_others(of.id, news, of.now)),
            None => self.note(What::Endpoint(of.id)),
        }
        Ok(Committed::Endpoint(Box::new(EndpointDone { step, told })))
    }

    pub(super) fn drop_deliveries(&mut self, drop: DropDeliveries) -> Committed {
        let waiting = self.waiting_for(drop.endpoint).take_while(|(_, row)| row.at <= drop.until);
        let ids: Vec<_> = waiting.map(|(id, _)| id).take(DROPPED_AT_ONCE).collect();
        let mut told = Vec::new();
        for id in &ids {
            told.extend(self.drop_delivery(*id, drop.now));
        }
        Committed::Dropped(ids.len() as u64, told)
    }

    /// A delivery becomes a task.
    pub(super) fn take_delivery(&mut self, id: DeliveryId) -> Result<(), Rejected> {
        let kept = self.endpoints.get_mut(&id.endpoint);
        let is_open = match &kept {
            Some(kept) => kept.endpoint.standing.is_active(),
            None => id.endpoint.is_own(),
        };
        match self.deliveries.get_mut(&id).filter(|row| row.is_waiting && is_open) {
            Some(row) => row.is_waiting = false,
            None => return Err(Rejected::NotWaiting),
        }
        if let Some(kept) = kept {
            kept.waiting -= 1;
        }
        Ok(())
    }

    /// The task that was made of a delivery is forgotten, and it waits as before.
    pub(super) fn let_wait_again(&mut self, id: DeliveryId) -> Result<Committed, Rejected> {
        let row = self.deliveries.get(&id).filter(|row| !row.is_waiting);
        let row = row.ok_or(Rejected::NotFound)?.clone();
        self.erase(id.task(), Erasure::Expired)?;
        self.let_wait(id, Row { is_waiting: true, ..row });
        Ok(Committed::Put)
    }

    /// The task of a delivery is forgotten.
    pub(super) fn forget_delivery(&mut self, id: DeliveryId) {
        self.deliveries.remove(&id);
    }

    /// What becomes of what was to be told of a task that is to be forgotten. Called while it is there.
    pub(super) fn part_from(&mut self, spec: &Spec, why: Erasure) {
        let of_task = self.deliveries.iter().filter(|(_, row)| row.task == Some(spec.id));
        for id in of_task.map(|(id, _)| *id).collect::<Vec<_>>() {
            let is_over = |task| {
                let row = self.tasks.get(&task);
                row.is_none_or(|row| row.task.life.status().is_terminal())
            };
            let is_waiting = self.deliveries[&id].is_waiting;
            match why {
                Erasure::Asked { .. } if is_waiting => {
                    self.deliveries.remove(&id);
                    if let Some(kept) = self.endpoints.get_mut(&id.endpoint) {
                        kept.waiting -= 1;
                    }
                }
                Erasure::Asked { .. } if is_over(id.task()) => {
                    self.deliveries.remove(&id);
                    if self.tasks.contains_key(&id.task()) {
                        self.erase(id.task(), why).expect("it is over");
                    }
                }
                Erasure::Asked { .. } => self.outlive(id, News::Withdrawn, None),
                Erasure::Expired => {
                    if let Some(entry) = self.entry_at(id.pos) {
                        self.outlive(id, News::outliving(entry), own_of(spec, id));
                    }
                }
            }
        }
    }

    /// What is told does not depend on its task any more.
    fn outlive(&mut self, id: DeliveryId, news: News, own: Option<OwnWebhook>) {
        let row = self.deliveries.get_mut(&id).expect("the caller found it");
        row.task = None;
        row.notice = Some(Notice { news, own });
    }

    /// Tells that a task was erased, at the place of that.
    pub(super) fn tell_erasure(&mut self, spec: &Spec, now: Timestamp) -> Vec<EndpointId> {
        let endpoints = self.endpoints_of(&spec.tenant).map(|row| &row.endpoint);
        let (pos, mut told) = (self.last_pos, Vec::new());
        for endpoint in audience(spec, Topic::Erased, endpoints).collect::<Vec<_>>() {
            let id = DeliveryId { endpoint, pos };
            let (news, own) = (News::Erased { task: spec.id }, own_of(spec, id));
            let (tenant, notice) = (spec.tenant.clone(), Some(Notice { news, own }));
            let row = Row { tenant, at: now, is_waiting: true, task: None, notice };
            told.extend(self.let_wait(id, row));
        }
        told
    }

    fn entry_at(&self, pos: u64) -> Option<Entry> {
        let (task, seq) = self.log.get(&pos)?;
        let events = &self.tasks.get(task)?.events;
        Some(events.iter().find(|logged| logged.entry.seq == *seq)?.entry.clone())
    }

    pub(super) fn read_endpoints(&self, which: &Endpoints) -> Vec<EndpointRow> {
        let is_meant = |row: &&EndpointRow| match which {
            Endpoints::All => true,
            Endpoints::Of(tenant) => row.endpoint.tenant == *tenant,
            Endpoints::One(id) => row.endpoint.id == *id,
        };
        let mut rows: Vec<_> = self.endpoints.values().filter(is_meant).cloned().collect();
        rows.sort_by_key(|row| (row.endpoint.tenant.clone(), row.endpoint.id));
        rows
    }

    pub(super) fn waited_for(&self) -> Vec<EndpointId> {
        let waiting = self.deliveries.iter().filter(|(_, row)| row.is_waiting);
        let mut endpoints: Vec<_> = waiting.map(|(id, _)| id.endpoint).collect();
        endpoints.dedup();
        endpoints
    }

    pub(super) fn next_deliveries(&self, endpoint: EndpointId, limit: usize) -> Option<Next> {
        let mut waiting = self.waiting_for(endpoint).take(limit).peekable();
        let (tenant, since) = waiting.peek().map(|(_, row)| (row.tenant.clone(), row.at))?;
        Some(Next { tenant, since, places: waiting.map(|(id, _)| id.pos).collect() })
    }

    pub(super) fn read_deliveries(&self, which: Deliveries) -> Vec<Delivery> {
        let all = || self.deliveries.iter();
        match which {
            Deliveries::One(one) => {
                all().filter(|(id, _)| **id == one).map(|it| self.delivery(it)).collect()
            }
            Deliveries::To { endpoint, before, limit } => {
                let before = DeliveryId { endpoint, pos: before.unwrap_or(u64::MAX) };
                let first = Bound::Included(DeliveryId { endpoint, pos: 0 });
                let rows = self.deliveries.range((first, Bound::Excluded(before))).rev();
                rows.take(limit).map(|it| self.delivery(it)).collect()
            }
            Deliveries::Of { task, before, limit } => {
                let key = |id: &DeliveryId| (id.pos, id.endpoint.as_u64().cast_signed());
                let mut rows: Vec<_> = all()
                    .filter(|(id, row)| {
                        row.task == Some(task) && before.is_none_or(|before| key(id) < key(&before))
                    })
                    .collect();
                rows.sort_by_key(|(id, _)| std::cmp::Reverse(key(id)));
                rows.into_iter().take(limit).map(|it| self.delivery(it)).collect()
            }
        }
    }

    fn delivery(&self, (id, row): (&DeliveryId, &Row)) -> Delivery {
        let of_task = row.task.and_then(|task| own_of(&self.tasks.get(&task)?.task.spec, *id));
        let of_notice = row.notice.as_ref().and_then(|notice| notice.own.clone());
        let told = match &row.notice {
            Some(notice) => Some(Told::News(notice.news.clone())),
            None => self.entry_at(id.pos).map(Told::Entry),
        };
        let (tenant, at, is_waiting) = (row.tenant.clone(), row.at, row.is_waiting);
        Delivery { id: *id, tenant, at, is_waiting, told, own: of_task.or(of_notice) }
    }
}

/// The task's own webhook, if that is where a delivery goes.
fn own_of(spec: &Spec, id: DeliveryId) -> Option<OwnWebhook> {
    spec.webhook.clone().filter(|own| own.endpoint == id.endpoint)
}
