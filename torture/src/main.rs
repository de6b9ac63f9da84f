//! The judge; being written.
fn main() {}
