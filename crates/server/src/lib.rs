//! HTTP: the front door, the task API, the followers.
pub mod config;
