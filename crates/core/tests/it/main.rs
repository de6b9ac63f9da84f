//! The life of a task: every pair of state and command, and what holds in every history.

mod absence;
mod failures;
mod grace;
mod histories;
mod limits;
mod table;
mod world;
