//! A pass over the words of a SPIR-V module that forbids contraction.
//!
//! A compiler may join a multiplication and an addition into one rounding, or take floats for real numbers
//! and cancel what rounds on purpose, unless the result is decorated with NoContraction. WGSL has no word for
//! that and naga writes none, so [`exact`] decorates the result of every instruction that computes a float.
//! **Source:** SPIR-V 1.3, sections 2.2 (words), 2.4 (order of a module) and 3.20 (decorations).

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

/// Words before the first instruction.
const HEADER_WORDS: usize = 5;
const MAGIC: u32 = 0x0723_0203;

const OP_EXT_INST: u32 = 12;
const OP_TYPE_FLOAT: u32 = 22;
const OP_TYPE_VECTOR: u32 = 23;
const OP_DECORATE: u32 = 71;
/// OpFNegate to OpFMod, OpVectorTimesScalar and OpDot, with the integer instructions that lie between them,
/// which the type of the result leaves out.
const ARITHMETIC: [std::ops::RangeInclusive<u32>; 3] = [126..=141, 142..=142, 148..=148];
/// The first of the instructions that may follow the annotations of a module, and the last: types, constants
/// and global variables.
const DECLARATIONS: std::ops::RangeInclusive<u32> = 19..=61;
const DECORATION_NO_CONTRACTION: u32 = 42;

/// The module with every float computation decorated.
///
/// Errors: when the words are not a module.
pub fn exact(words: &[u32]) -> Result<Vec<u32>> {
    ensure!(words.len() > HEADER_WORDS && words[0] == MAGIC, "not a SPIR-V module");
    let mut floats = BTreeSet::new();
    let mut computed = Vec::new();
    let mut annotations_end = None;
    let mut at = HEADER_WORDS;
    while at < words.len() {
        let (op, len) = (words[at] & 0xffff, (words[at] >> 16) as usize);
        ensure!(len > 0 && at + len <= words.len(), "instruction of {len} words at word {at}");
        let operands = &words[at + 1..at + len];
        if DECLARATIONS.contains(&op) {
            annotations_end.get_or_insert(at);
        }
        match (op, operands) {
            (OP_TYPE_FLOAT, [id, ..]) => {
                floats.insert(*id);
            }
            (OP_TYPE_VECTOR, [id, element, ..]) if floats.contains(element) => {
                floats.insert(*id);
            }
            (_, [kind, id, ..]) if is_arithmetic(op) && floats.contains(kind) => computed.push(*id),
            _ => {}
        }
        at += len;
    }
    let (before, after) = words.split_at(annotations_end.unwrap_or(words.len()));
    let decorations =
        computed.into_iter().flat_map(|id| [3 << 16 | OP_DECORATE, id, DECORATION_NO_CONTRACTION]);
    Ok(before.iter().copied().chain(decorations).chain(after.iter().copied()).collect())
}

fn is_arithmetic(op: u32) -> bool {
    op == OP_EXT_INST || ARITHMETIC.iter().any(|range| range.contains(&op))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(op: u32, operands: &[u32]) -> Vec<u32> {
        let mut words = vec![(operands.len() as u32 + 1) << 16 | op];
        words.extend(operands);
        words
    }

    /// float 1, int 2, vector of floats 3; then an addition of each, and an extended instruction.
    fn module() -> Vec<u32> {
        let parts = [
            vec![MAGIC, 0x0001_0300, 0, 20, 0],
            instruction(OP_DECORATE, &[9, 33, 0]),
            instruction(OP_TYPE_FLOAT, &[1, 32]),
            instruction(21, &[2, 32, 0]),
            instruction(OP_TYPE_VECTOR, &[3, 1, 4]),
            instruction(129, &[1, 10, 5, 5]),
            instruction(128, &[2, 11, 5, 5]),
            instruction(133, &[3, 12, 5, 5]),
            instruction(OP_EXT_INST, &[1, 13, 7, 50, 5, 5, 5]),
        ];
        parts.concat()
    }

    #[test]
    fn floats_are_decorated_behind_the_other_annotations_and_integers_are_not() {
        let words = module();
        let exact = exact(&words).unwrap();
        let decorated: Vec<u32> =
            [10, 12, 13].into_iter().flat_map(|id| [3 << 16 | OP_DECORATE, id, 42]).collect();
        assert_eq!(exact[..9], words[..9]);
        assert_eq!(exact[9..18], decorated);
        assert_eq!(exact[18..], words[9..]);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let words = module();
        assert!(exact(&words[1..]).is_err());
        assert!(exact(&words[..words.len() - 1]).is_err());
    }
}
