//! What Relais asks of a store, the reference in memory, and the suite that defines both.
//!
//! A store compares, orders and remembers; it never decides. Where a task changes, it calls
//! [`relais_core::step`] inside its own transaction, on the task as it is then (ADR 0002): there is no
//! version to race for, and no transition in SQL. Not here: SQL, files, HTTP.

mod body;
mod change;
mod claim;
mod commit;
#[cfg(feature = "conformance")]
pub mod conformance;
mod growing;
mod memory;
mod node;
mod query;
pub mod row;
mod webhook;

use std::future::Future;
use std::pin::Pin;

pub use body::{Body, BodyRead, BodySource, Data, SEAL_KEY_ID_BYTES, Spool, StoredBody, Unclaimed};
pub use change::{Change, Changes, Notices, What};
pub use claim::{Claim, Claimed, Claims, Due, DueQuery, Pool, RunBy};
pub use commit::{
    Accept, Changed, Commit, Committed, Erasure, Idempotency, Kept, QueueChange, Rejected,
    SessionCapacity, SessionOf, StepOf, Stepped, has_room_for_early,
};
pub use growing::{GrowingAnswer, GrowingAnswers, Growth, Shown, ShownAs, WatchedAnswer};
pub use memory::MemoryStore;
pub use node::{Beat, NodeRow, Nodes, Roll};
pub use query::{
    Attended, Disk, EventQuery, Figures, Filter, Health, Logged, Page, Place, QueueStats, Queues,
    Waiting,
};
use relais_core::{BodyKind, EndpointId, QueueName, Session, Task, TaskId, TenantName};
pub use row::FORMAT;
pub use webhook::{
    DROPPED_AT_ONCE, Deliveries, Delivery, DropDeliveries, EndpointDone, EndpointOf, EndpointRow,
    Endpoints, Next, Told,
};

/// What every verb returns.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a whole call failed. Coarse, and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Try again later; whether the call was carried out is not known.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The disk is full: refuse what is new, go on with what is there. Nothing was changed.
    #[error("the store is full")]
    Full,
    /// One body is damaged or missing; everything else is as it should be.
    #[error("a stored body cannot be read: {0}")]
    BodyDamaged(String),
    /// What is stored is damaged: an operator must look. Nothing was changed.
    #[error("the store is corrupt: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether the same call may do better later: the store is away, or full. What is damaged stays
    /// so.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Full => true,
            Self::BodyDamaged(_) | Self::Corrupt(_) => false,
        }
    }
}

/// A place where tasks survive.
///
/// Every call is bounded, batches are applied in order, and `now` is always the caller's.
pub trait Store: Send + Sync + 'static {
    /// Applies each commit or none of it; one answer per commit, in order. Durable when it returns.
    fn commit(&self, commits: Vec<Commit>) -> StoreFuture<'_, Vec<Result<Committed, Rejected>>>;

    /// Starts attempts: tasks of one pool that may run now, those whose turn it is first.
    /// Durable when it returns.
    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claims>;

    /// Tasks to which time has something to do, pools in which scheduled tasks have become ready,
    /// and when to ask again.
    fn due(&self, query: DueQuery) -> StoreFuture<'_, Due>;

    /// The pools with ready tasks: of one queue, or of all (at a start, and after a leap of time).
    /// The work of the first does not depend on other queues.
    fn pools(&self, of: Option<(TenantName, QueueName)>) -> StoreFuture<'_, Vec<Pool>>;

    /// A node is alive. Durable when it returns. A heartbeat is no change of anything else.
    fn beat(&self, beat: Beat) -> StoreFuture<'_, Nodes>;

    /// What was committed after a position, by whomever, in order; of entries at most `limit`, which
    /// is more than none.
    fn changes(&self, after: u64, limit: usize) -> StoreFuture<'_, Changes>;

    /// Resolves once another node may have committed something after a position; until then nothing
    /// is asked again and again. Where a node is alone it does not resolve: what that one did it
    /// knows from its answers.
    fn changed(&self, after: u64) -> StoreFuture<'_, ()>;

    /// The tasks with these ids, in order; `None` where there is none.
    fn read(&self, ids: Vec<TaskId>) -> StoreFuture<'_, Vec<Option<Task>>>;

    /// A page of tasks, newest first.
    fn list(&self, filter: Filter) -> StoreFuture<'_, Page>;

    /// Events after a cursor, in order.
    fn events(&self, query: EventQuery) -> StoreFuture<'_, Vec<Logged>>;

    /// The last place that the store's order has given, also to what was erased since; 0 at first.
    fn last_pos(&self) -> StoreFuture<'_, u64>;

    /// One body of a task.
    fn body(&self, task: TaskId, kind: BodyKind) -> StoreFuture<'_, Option<StoredBody>>;

    /// Begins a body whose length is not known yet. What was not finished is gone with the spool.
    fn spool(&self) -> StoreFuture<'_, Box<dyn Spool>>;

    /// Watches the answers of a task that grow, by whichever node they come; it need not exist yet. What
    /// a commit means for them they learn before its answer is given.
    fn watch_answer(&self, task: TaskId) -> WatchedAnswer;

    /// One queue of clients' tasks with its counts, read without looking at others; `None` until something came into
    /// it, or a setting of it was stored.
    fn queue(&self, tenant: TenantName, queue: QueueName) -> StoreFuture<'_, Option<QueueStats>>;

    /// Queues that exist, with their counts, by tenant and name.
    fn queues(&self, which: Queues) -> StoreFuture<'_, Vec<QueueStats>>;

    /// What operators watch, beside the counts of queues.
    fn figures(&self) -> StoreFuture<'_, Figures>;

    /// The place of a task, read without looking at other queues; `None` unless it waits.
    fn place(&self, task: TaskId) -> StoreFuture<'_, Option<Place>>;

    /// Small named values that survive (signing keys, API keys): those whose names begin so, by
    /// name. No others are read.
    fn secrets(&self, prefix: &str) -> StoreFuture<'_, Vec<(String, bytes::Bytes)>>;

    /// The session of a browser, by the HMAC of its id, as it was stored: what of it has ended may
    /// still be there.
    fn session(&self, id_mac: [u8; 32]) -> StoreFuture<'_, Option<Session>>;

    /// Endpoints of webhooks, by tenant and number, each with how much waits for it.
    fn endpoints(&self, which: Endpoints) -> StoreFuture<'_, Vec<EndpointRow>>;

    /// The endpoints, and tasks' own webhooks, for which something waits. Its work does not depend on how
    /// much.
    fn waited_for(&self) -> StoreFuture<'_, Vec<EndpointId>>;

    /// What waits for an endpoint, the oldest first, at most as many; `None` if nothing does. No log is read.
    fn next_deliveries(&self, endpoint: EndpointId, limit: usize) -> StoreFuture<'_, Option<Next>>;

    /// Deliveries with what they tell, waiting or made into tasks.
    fn deliveries(&self, which: Deliveries) -> StoreFuture<'_, Vec<Delivery>>;

    /// Whether the store can be relied on right now. It may look: for whoever watches, not for
    /// each request.
    fn health(&self) -> Health;

    /// Whether something new may bring a body of so many bytes, or with none: whether anything new
    /// may come. What is left after it must do for the outcomes of what is there. Asked for each
    /// request and each piece of a body: as good as free while there is room.
    fn has_room_for(&self, bytes: u64) -> bool;
}
