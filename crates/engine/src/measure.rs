//! What the engine measures, and what it makes of it: counts, pace, estimates, and why a task waits.

pub(crate) mod estimate;
pub mod meters;
pub mod pace;
pub mod tally;
pub(crate) mod why;
