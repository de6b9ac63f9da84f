//! What the log says of tasks, and of trouble that lasts.

pub(crate) mod told;
pub(crate) mod trouble;
