//! The shop seen from outside.

mod http;
mod import;
mod invoice;
mod process;
mod service;
