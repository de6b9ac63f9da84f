//! The documents of the contract, from the outside.

mod asyncapi;
mod codes;
mod decode;
mod documents;
mod openapi;
mod sse;
mod time;
