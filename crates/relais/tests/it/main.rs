//! The program from outside: its configuration, its command line, the programs it runs as workers.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod cli;
mod config;
mod demo;
mod process;
mod reference;
mod serve;
mod work;
