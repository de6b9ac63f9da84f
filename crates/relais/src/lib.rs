//! The program `relais` as a library, so that its parts can be tested.
//!
//! Read [`config`] for what an operator may say, [`cli`] for what the command line does, and
//! [`start`] for how the parts are wired together. Not here: what any of those parts does.

mod bench;
pub mod cli;
pub mod config;
mod demo;
mod exec;
#[cfg(feature = "faults")]
mod faults;
mod logs;
mod open_files;
mod program;
mod reload;
mod seal_file;
mod signals;
mod start;
