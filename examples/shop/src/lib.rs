//! The demo shop: a slow HTTP service with a page for people, and an import worker.
//!
//! No program here knows Relais: no crate of it is used and no `Relais-*` field is read. The service
//! is what one finds in the wild, and the worker is a plain program: input on standard input,
//! result on standard output, where to go on in an environment variable. The scripts of the page,
//! which run in browsers, follow tasks by the interface of Relais.

mod assistant;
mod checkout;
pub mod import;
mod imports;
pub mod invoice;
pub mod limits;
pub mod orders;
mod page;
pub mod pdf;
pub mod price;
pub mod random;
pub mod sample;
pub mod serve;
pub mod suppliers;
