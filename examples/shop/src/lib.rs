//! The demo shop: a slow HTTP service and an import worker.
//!
//! Nothing here knows Relais: no crate of it is used and no `Relais-*` field is read. The service
//! is what one finds in the wild, and the worker is a plain program: input on standard input,
//! result on standard output, where to go on in an environment variable.

pub mod import;
pub mod invoice;
pub mod limits;
pub mod orders;
pub mod pdf;
pub mod price;
pub mod random;
pub mod sample;
pub mod serve;
pub mod suppliers;
