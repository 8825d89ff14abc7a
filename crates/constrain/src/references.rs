//! The depth of a schema through its references.
//!
//! llguidance compiles what a reference names by recursion, once for each name, so a chain of definitions is
//! as deep as it is long. [`levels`] adds up what any order of visits can meet: no path is deeper.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::subschemas::children;

/// Levels of subschemas of the root and of each target, in which the targets' own references count by
/// themselves.
pub(crate) fn levels(schema: &Value, targets: &BTreeSet<String>) -> u64 {
    let of_target = |target: &String| {
        // A reference is `#` and a pointer; one that names nothing is refused by the compiler.
        let found = target.get(1..).and_then(|pointer| schema.pointer(pointer));
        1 + found.map_or(0, height)
    };
    height(schema) + targets.iter().map(of_target).sum::<u64>()
}

/// Levels of subschemas below a schema; their depth was bounded before.
fn height(schema: &Value) -> u64 {
    children(schema).iter().map(|(_, child)| 1 + height(child)).max().unwrap_or(0)
}
