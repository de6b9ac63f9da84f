//! Which queues there are, and those that nothing defines any more.

pub(crate) mod known;
pub(crate) mod undefined;
