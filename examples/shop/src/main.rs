//! examples/shop
fn main() {}
