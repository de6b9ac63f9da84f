//! Upstreams as services: calls, limits, and pauses they asked for.

pub mod call;
pub(crate) mod origin;
pub(crate) mod pause;
