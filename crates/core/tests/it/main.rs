//! The life of a task: every pair of state and command, and what holds in every history; and the
//! sessions of browsers.

mod absence;
mod by_hand;
mod failures;
mod grace;
mod histories;
mod limits;
mod sessions;
mod table;
mod world;
