//! The client against a scripted server: it answers what a test says, and remembers what it was asked.

mod follow;
mod server;
mod submit;
mod wait;
mod worker;
