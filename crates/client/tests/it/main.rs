//! The client against a scripted server: it answers what a test says, and
//! remembers what it was asked.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod follow;
mod server;
mod submit;
mod wait;
mod worker;
