//! The engine against the reference store, a clock that stands still, and scripted upstreams.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod absence;
mod attendance;
mod calls;
mod configure;
mod drain;
mod ending;
mod envelopes;
mod feed;
mod inline;
mod log;
mod moody;
mod nodes;
mod outward;
mod pauses;
mod push;
mod receiver;
mod sessions;
mod time;
mod tls;
mod undefined;
mod webhooks;
mod why;
mod workers;
mod world;
