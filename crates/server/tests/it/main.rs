//! The server over HTTP: one binary for all integration tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod abandoned;
mod api;
mod asked;
mod auth;
mod bounds;
mod broken;
mod codes;
mod connections;
mod cors;
mod disk_full;
mod drain;
mod events;
mod front_door_handover;
mod front_door_killed;
mod front_door_proxy;
mod front_door_requests;
mod front_door_wire;
mod house;
mod http2;
mod idempotency;
mod links;
mod local;
mod log;
mod logged;
mod metrics;
mod misplaced;
mod odd_store;
mod options;
mod people;
mod pitfalls;
mod queues;
mod reload;
mod results;
mod same_events;
mod service;
mod shares;
mod sockets;
mod submit;
mod tasks;
mod tls;
mod told;
mod uploads;
mod wire;
mod workers;
