//! What an operator sees of requests: metrics, the access log, and refusals.

pub(crate) mod access;
pub(crate) mod logged;
pub(crate) mod metrics;
pub(crate) mod refusals;
