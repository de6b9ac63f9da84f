//! crates/relais
fn main() {}
