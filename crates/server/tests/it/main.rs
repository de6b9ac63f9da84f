//! The server over HTTP: one binary for all integration tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod api;
mod auth;
mod broken;
mod events;
mod front_door_handover;
mod house;
mod idempotency;
mod queues;
mod service;
mod submit;
mod tasks;
mod wire;
mod workers;
