//! Which queues there are, how they stand, and those that nothing defines any more.

pub(crate) mod known;
mod settings;
pub(crate) mod undefined;
