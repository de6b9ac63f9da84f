//! The server over HTTP: one binary for all integration tests.

mod api;
mod auth;
mod events;
mod idempotency;
mod queues;
mod service;
mod submit;
mod tasks;
mod workers;
