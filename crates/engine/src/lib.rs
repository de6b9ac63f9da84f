//! Makes the decisions of `relais-core` happen: stores them, then acts.
//!
//! Read in this order: [`engine`] (the handle: submit, cancel, retry, lease, settle, follow),
//! [`dispatcher`] (who starts what, when), [`timekeeper`] (what time does), [`execute`] (how an attempt
//! runs), [`feed`] (how followers learn of it), [`drain`] (how it ends). Not here: the HTTP interface, SQL, the rules themselves.

pub mod call;
pub mod clock;
mod coalesce;
pub mod config;
mod dispatcher;
mod drain;
pub mod engine;
pub mod envelope;
mod estimate;
pub mod execute;
pub mod feed;
pub mod headers;
mod known;
pub mod meters;
mod origin;
pub mod pace;
mod pause;
pub mod seal;
mod submit;
pub mod tally;
mod timekeeper;
mod told;
mod trouble;
mod undefined;
mod why;
mod work;

pub use call::{TlsFault, UpstreamTls};
pub use clock::{
    Chance, Clock, Gap, LOOK_EVERY, ManualClock, SeededChance, Sleep, SystemChance, SystemClock,
};
pub use config::{Config, Policies, UpstreamLimits};
pub use engine::{Engine, EngineError};
pub use envelope::{Access, Context, Field, Grants, RequestHead, ResultHead};
pub use estimate::Estimate;
pub use execute::inline::{Handler, InlineAttempt, InlineOutcome};
pub use execute::tap::{Tap, TapEvent};
pub use feed::{Follower, Published};
pub use pause::Hold;
pub use submit::{Submission, Submitted};
pub use undefined::{Undefined, undefined};
pub use why::{Obstacle, Why};
pub use work::{Outcome, Report, Settle, Unread};
