//! The shop seen from outside.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod http;
mod import;
mod invoice;
mod page;
mod process;
mod service;
