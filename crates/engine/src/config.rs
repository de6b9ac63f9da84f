//! What an engine is told at its start, and the policies of queues.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use relais_core::outcome::PauseScope;
use relais_core::{Guard, Policy, QueueName, Rate, Runner, Spec, TenantName, limits};
use relais_store::{Pool, RunBy, SessionCapacity};

use crate::deliver::{self, Webhooks};
use crate::execute::inline::Handler;
use crate::seal::SealKey;
use crate::upstream::call::UpstreamTls;

/// What protects one upstream, across queues and tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Calls in flight.
    pub concurrency: u32,
    /// How often a call may begin.
    pub rate: Option<Rate>,
    /// What its `Retry-After` is about; `None` goes by the status of the answer.
    pub retry_after: Option<PauseScope>,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self { concurrency: 64, rate: None, retry_after: None }
    }
}

/// What an engine is told at its start.
#[derive(Clone)]
pub struct Config {
    /// Policies of the queues that the configuration defines.
    pub queues: BTreeMap<QueueName, Policy>,
    /// The policy of queues it does not define; `None` refuses them.
    pub template: Option<Policy>,
    /// Limits of upstreams, by origin; others have the default.
    pub upstreams: BTreeMap<String, UpstreamLimits>,
    /// How upstreams are called over TLS, by origin, where that is special.
    pub upstream_tls: BTreeMap<String, UpstreamTls>,
    /// Where callers and tenants may have Relais call: webhooks.
    pub outward: Guard,
    /// Handlers in this process, by queue.
    pub handlers: HashMap<QueueName, Arc<dyn Handler>>,
    /// The key that seals credentials; `None` refuses to store any.
    pub seal_key: Option<SealKey>,
    /// Largest result, bytes.
    pub result_bytes_max: u64,
    /// Tasks not yet terminal that a tenant may hold.
    pub tenant_capacity: u64,
    /// Sessions of browsers that may be kept.
    pub session_capacity: SessionCapacity,
    /// How long a drain waits for attempts that run.
    pub drain_for: Duration,
    /// How Relais names itself to upstreams (`Via`).
    pub via: String,
    /// What is told by webhooks, and how.
    pub webhooks: Webhooks,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queues: BTreeMap::new(),
            template: Some(Policy::default()),
            upstreams: BTreeMap::new(),
            upstream_tls: BTreeMap::new(),
            outward: Guard::default(),
            handlers: HashMap::new(),
            seal_key: None,
            result_bytes_max: limits::RESULT_BODY_BYTES_MAX,
            tenant_capacity: limits::TENANT_CAPACITY,
            session_capacity: SessionCapacity::default(),
            drain_for: Duration::from_secs(20),
            via: "relais".to_owned(),
            webhooks: Webhooks::default(),
        }
    }
}

/// How long the lease of an attempt that this process runs outlives the attempt's timeout. It ends
/// no attempt that this process knows of: for another process it does; those of a dead one are
/// taken back at the next start.
const OWN_LEASE_MARGIN: Duration = Duration::from_secs(30);

/// A policy as workers see it, and as this process claims by it.
#[derive(Debug)]
struct Pair {
    policy: Arc<Policy>,
    own: Arc<Policy>,
}

impl From<Policy> for Pair {
    fn from(policy: Policy) -> Self {
        let lease = policy.attempt_timeout + OWN_LEASE_MARGIN;
        let own = Arc::new(Policy { lease, ..policy.clone() });
        Self { policy: Arc::new(policy), own }
    }
}

/// Which policy a queue has: that of the configuration, else that put by the API, else the template.
#[derive(Debug)]
pub struct Policies {
    known: RwLock<Known>,
    /// Tasks may outlive the configuration of their queue.
    orphans: Pair,
}

#[derive(Debug)]
struct Known {
    configured: HashMap<QueueName, Pair>,
    put: HashMap<(TenantName, QueueName), Pair>,
    template: Option<Pair>,
    deliveries: Pair,
}

impl Known {
    /// What a configuration says, and what was put before.
    fn of(config: &Config, put: HashMap<(TenantName, QueueName), Pair>) -> Self {
        let queues = config.queues.iter();
        let pair = |(queue, policy): (&QueueName, &Policy)| (queue.clone(), policy.clone().into());
        let template = config.template.clone().map(Pair::from);
        let deliveries = deliver::policy(&config.webhooks).into();
        Self { configured: queues.map(pair).collect(), put, template, deliveries }
    }

    fn pair(&self, tenant: &TenantName, queue: &QueueName) -> Option<&Pair> {
        if let Some(pair) = self.configured.get(queue) {
            return Some(pair);
        }
        // Most have put none: no names are copied to ask then.
        let is_any_put = !self.put.is_empty();
        let put = is_any_put.then(|| self.put.get(&(tenant.clone(), queue.clone())));
        put.flatten().or(self.template.as_ref())
    }
}

impl Policies {
    /// The policies that a configuration says; none is put yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let known = RwLock::new(Known::of(config, HashMap::new()));
        Self { known, orphans: Policy::default().into() }
    }

    /// Goes by another configuration from now on; what was put by the API stays.
    pub(crate) fn configure(&self, config: &Config) {
        let mut known = self.change();
        *known = Known::of(config, std::mem::take(&mut known.put));
    }

    /// The policy of a queue; `None` if there is no such queue and no template.
    #[must_use]
    pub fn find(&self, tenant: &TenantName, queue: &QueueName) -> Option<Arc<Policy>> {
        self.known().pair(tenant, queue).map(|pair| pair.policy.clone())
    }

    /// The policy that tasks already accepted live by, even if their queue is no longer configured.
    #[must_use]
    pub fn of(&self, tenant: &TenantName, queue: &QueueName) -> Arc<Policy> {
        self.find(tenant, queue).unwrap_or_else(|| self.of_undefined())
    }

    /// The policy of tasks whose queue nothing defines any more.
    pub(crate) fn of_undefined(&self) -> Arc<Policy> {
        self.orphans.policy.clone()
    }

    /// The policy by which attempts of a pool are leased, and their leases extended: leases of this
    /// process outlive the attempt's timeout.
    pub(crate) fn leasing(&self, pool: &Pool) -> Arc<Policy> {
        let known = self.known();
        let pair = known.pair(&pool.tenant, &pool.queue).unwrap_or(&self.orphans);
        match pool.run_by {
            RunBy::Workers => pair.policy.clone(),
            RunBy::Upstream(_) | RunBy::Inline => pair.own.clone(),
            RunBy::Delivery => known.deliveries.own.clone(),
        }
    }

    /// The policy of a task; `None` if its queue is not defined any more, and there is no template.
    pub(crate) fn find_of(&self, spec: &Spec) -> Option<Arc<Policy>> {
        match spec.runner {
            Runner::Delivery => Some(self.of_deliveries()),
            Runner::Upstream { .. } | Runner::Workers | Runner::Inline => {
                self.find(&spec.tenant, &spec.queue)
            }
        }
    }

    /// The policy of deliveries of webhooks, whatever queues are called.
    pub(crate) fn of_deliveries(&self) -> Arc<Policy> {
        self.known().deliveries.policy.clone()
    }

    /// Whether the configuration defines the queue, so that the API may not change it.
    #[must_use]
    pub fn is_defined(&self, queue: &QueueName) -> bool {
        self.known().configured.contains_key(queue)
    }

    pub(crate) fn put(&self, tenant: TenantName, queue: QueueName, policy: Option<Policy>) {
        let put = &mut self.change().put;
        match policy {
            Some(policy) => put.insert((tenant, queue), policy.into()),
            None => put.remove(&(tenant, queue)),
        };
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().expect("nothing panics while it is held")
    }

    fn change(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().expect("nothing panics while it is held")
    }
}
