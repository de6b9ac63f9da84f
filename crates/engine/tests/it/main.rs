//! The engine against the reference store, a clock that stands still, and scripted upstreams.

mod inline;
mod moody;
mod push;
mod time;
mod workers;
mod world;
