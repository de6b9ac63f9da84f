//! The program from outside: its configuration, its command line, the programs it runs as workers.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod bench;
mod certificates;
mod cli;
mod config;
mod demo;
mod killed;
mod large;
mod leaks;
mod leaving;
mod live;
mod logs;
mod look;
mod policies;
mod process;
mod reference;
mod reload;
mod secrets;
mod serve;
mod usage;
mod work;
