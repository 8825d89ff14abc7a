//! Project scripting.
fn main() {}
