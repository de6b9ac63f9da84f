//! Makes the decisions of `relais-core` happen: stores them, then acts.
//!
//! Read in this order: [`engine`] (the handle: submit, cancel, retry, lease, settle, follow),
//! [`dispatcher`] (who starts what, when), [`timekeeper`] (what time does), [`execute`] (how an attempt
//! runs), [`feed`] (how followers learn of it), [`document`] (what they are shown), [`drain`] (how it ends). Not here: the HTTP interface, SQL, the rules themselves.

mod attendance;
mod changes;
pub mod clock;
mod coalesce;
pub mod config;
mod deliver;
mod dispatcher;
pub mod document;
mod drain;
pub mod engine;
pub mod envelope;
pub mod execute;
pub mod feed;
pub mod headers;
mod log;
pub mod measure;
mod node;
mod queue;
pub mod seal;
mod session;
mod submit;
pub mod template;
mod timekeeper;
pub mod upstream;
mod work;

pub use attendance::Attending;
pub use clock::{
    Chance, Clock, Gap, LOOK_EVERY, ManualClock, SeededChance, Sleep, SystemChance, SystemClock,
};
pub use config::{Config, Policies, UpstreamLimits};
pub use deliver::Webhooks;
pub use engine::{Engine, EngineError};
pub use envelope::{Access, Calling, Context, Field, Presented, RequestHead, ResultHead, Sight};
pub use execute::inline::{Handler, InlineAttempt, InlineOutcome};
pub use feed::{Channel, Follower, Happening, Inbox, LogPart, Many, Published, Subscription, View};
pub use measure::estimate::Estimate;
pub use measure::why::{Obstacle, Why};
pub use queue::undefined::{Undefined, undefined};
pub use submit::{Claim, Submission, Submitted};
pub use upstream::call::{TlsFault, UpstreamTls};
pub use upstream::pause::Hold;
pub use work::{Outcome, Report, Settle, Unread};
