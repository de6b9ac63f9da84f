//! What is read of a request: its body within bounds of bytes and time, and the fields and parameters
//! that say what the client would like.

pub(crate) mod accept;
pub(crate) mod bodies;
pub(crate) mod fetch;
pub(crate) mod heavy;
pub(crate) mod incoming;
pub(crate) mod lists;
pub(crate) mod params;
pub(crate) mod pieces;
pub(crate) mod prefer;
pub(crate) mod sent_by;
