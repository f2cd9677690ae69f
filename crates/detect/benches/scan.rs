//! Placeholder until the engine is complete.
fn main() {}
