//! Webhooks: what waits for endpoints is made into internal tasks, and each attempt of one is a call.
//!
//! Read in this order: [`pump`] (rows become tasks), [`attempt`] (what an attempt does), [`body`] (what is
//! sent), [`sign`]. Not here: who is told of what, which the stores know by the rules in
//! `relais_core::webhook`, and what becomes of an endpoint, which these decide.

mod attempt;
mod body;
mod call;
mod pump;
mod sign;

use std::time::Duration;

use bytes::Bytes;
use relais_core::{
    EndpointId, EndpointOp, LaneKey, Policy, QueueName, RetryPolicy, Standing, TenantName, limits,
};
use relais_store::{Commit, Committed, EndpointDone, EndpointOf, EndpointRow, Endpoints};

use crate::engine::{Engine, EngineError};
use crate::seal::CannotOpen;

pub(crate) use pump::Pumps;

/// What an engine is told of webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Under which problems have their pages; empty for paths alone.
    pub base: String,
    /// How long all that is sent to an endpoint must have failed before it is held.
    pub hold_after: Duration,
    /// How long a receiver may take for an answer.
    pub timeout: Duration,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            base: String::new(),
            hold_after: Duration::from_secs(24 * 3600),
            timeout: limits::DELIVERY_TIMEOUT,
        }
    }
}

/// Calls to one endpoint at a time.
const CALLS_PER_ENDPOINT: u32 = 16;

/// How deliveries are tried: within seconds at first, and for three days in all. Standard Webhooks.
#[must_use]
pub(crate) fn policy(webhooks: &Webhooks) -> Policy {
    Policy {
        concurrency_per_lane: Some(CALLS_PER_ENDPOINT),
        retry: RetryPolicy {
            max_attempts: 20,
            initial: Duration::from_secs(5),
            max: Duration::from_secs(10 * 3600),
            factor: 4.0,
        },
        attempt_timeout: webhooks.timeout,
        deadline: Duration::from_secs(76 * 3600),
        ..Policy::default()
    }
}

/// The queue of deliveries, which only internal tasks come into.
fn queue() -> QueueName {
    "webhooks".parse().expect("a good name")
}

/// The lane of what goes to one endpoint.
fn lane(endpoint: EndpointId) -> LaneKey {
    endpoint.to_string().parse().expect("numbers have no control characters")
}

impl Engine {
    /// Endpoints of webhooks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn endpoints(&self, which: Endpoints) -> Result<Vec<EndpointRow>, EngineError> {
        Ok(self.store().endpoints(which).await?)
    }

    /// One of them, if it is this tenant's.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn endpoint(
        &self,
        tenant: &TenantName,
        id: EndpointId,
    ) -> Result<Option<EndpointRow>, EngineError> {
        let found = self.endpoints(Endpoints::One(id)).await?.pop();
        Ok(found.filter(|row| row.endpoint.tenant == *tenant))
    }

    /// Changes an endpoint of a tenant.
    ///
    /// # Errors
    /// When there is none, or there are too many.
    pub async fn change_endpoint(
        &self,
        tenant: &TenantName,
        id: EndpointId,
        op: EndpointOp,
    ) -> Result<EndpointDone, EngineError> {
        let of = EndpointOf { id, tenant: Some(tenant.clone()), op, now: self.now() };
        let committed = self.commit_one(Commit::Endpoint(Box::new(of))).await?;
        let Committed::Endpoint(done) = committed else { unreachable!("answered in kind") };
        self.act_on_endpoint(id, &done);
        Ok(*done)
    }

    /// A number for an endpoint that is about to be made.
    #[must_use]
    pub fn draw_endpoint(&self) -> EndpointId {
        EndpointId::kept(u64::try_from(self.chance().bits() >> 64).expect("the upper half fits"))
    }

    /// Seals what signs for an endpoint.
    ///
    /// # Errors
    /// When there is no key to seal with.
    pub fn seal_for(&self, endpoint: EndpointId, secret: &[u8]) -> Result<Bytes, EngineError> {
        let config = self.config();
        let key = config.seal_key.as_ref().ok_or(EngineError::NoSealKey)?;
        Ok(key.seal_as(u128::from(endpoint.as_u64()), self.chance().bits(), secret))
    }

    /// Opens it; `None` without any key.
    pub(crate) fn open_for(
        &self,
        endpoint: EndpointId,
        sealed: &[u8],
    ) -> Option<Result<Bytes, CannotOpen>> {
        let config = self.config();
        let key = config.seal_key.as_ref()?;
        Some(key.open_as(u128::from(endpoint.as_u64()), sealed))
    }

    /// The clock was set: for how long an endpoint has failed does not follow it.
    pub(crate) async fn shift_endpoints(&self, by_ms: i64) -> Result<(), EngineError> {
        let is_failing = |row: &EndpointRow| {
            matches!(row.endpoint.standing, Standing::Active { failing_since: Some(_) })
        };
        let now = self.now();
        let failing = self.endpoints(Endpoints::All).await?.into_iter().filter(is_failing);
        let shifts = failing.map(|row| {
            let (id, op) = (row.endpoint.id, EndpointOp::Shift { by_ms });
            Commit::Endpoint(Box::new(EndpointOf { id, tenant: None, op, now }))
        });
        let shifts: Vec<_> = shifts.collect();
        if !shifts.is_empty() {
            self.store().commit(shifts).await?;
        }
        Ok(())
    }

    /// What follows from a change of an endpoint.
    pub(crate) fn act_on_endpoint(&self, id: EndpointId, done: &EndpointDone) {
        self.be_quick(id);
        done.told.iter().for_each(|endpoint| self.pump(*endpoint));
    }
}
