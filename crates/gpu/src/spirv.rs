//! What a kernel's words say about its buffers.
//!
//! A storage buffer that the WGSL declares `read` is decorated NonWritable. So what a dispatch reads and
//! writes, from which barriers are derived, is taken from the kernel and cannot be declared wrongly beside
//! it. **Source:** SPIR-V 1.3, sections 2.3 and 3.20.

use std::collections::BTreeMap;

use crate::hazards::Access;

const HEADER_WORDS: usize = 5;
const MAGIC: u32 = 0x0723_0203;
const OP_DECORATE: u32 = 71;
const NON_WRITABLE: u32 = 24;
const BINDING: u32 = 33;

/// The access of each binding, which are numbered from 0 on.
///
/// Errors: when the words are not a module, or its bindings have gaps.
pub(crate) fn bindings(words: &[u32]) -> Result<Vec<Access>, String> {
    if words.len() <= HEADER_WORDS || words[0] != MAGIC {
        return Err("not a SPIR-V module".to_owned());
    }
    let (mut binding_of, mut read_only) = (BTreeMap::new(), Vec::new());
    let mut at = HEADER_WORDS;
    while at < words.len() {
        let (op, len) = (words[at] & 0xffff, (words[at] >> 16) as usize);
        if len == 0 || at + len > words.len() {
            return Err(format!("an instruction of {len} words at word {at}"));
        }
        match words[at..at + len] {
            [_, variable, BINDING, binding] if op == OP_DECORATE => {
                binding_of.insert(binding, variable);
            }
            [_, variable, NON_WRITABLE] if op == OP_DECORATE => read_only.push(variable),
            _ => {}
        }
        at += len;
    }
    if !binding_of.keys().copied().eq(0..binding_of.len() as u32) {
        return Err("its bindings are not numbered from 0 on".to_owned());
    }
    let access = |variable| if read_only.contains(variable) { Access::Read } else { Access::Write };
    Ok(binding_of.values().map(access).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(decorations: &[&[u32]]) -> Vec<u32> {
        let mut words = vec![MAGIC, 0x0001_0300, 0, 20, 0];
        for operands in decorations {
            words.push((operands.len() as u32 + 1) << 16 | OP_DECORATE);
            words.extend(*operands);
        }
        words
    }

    #[test]
    fn bindings_come_in_their_order_with_their_access() {
        let words = module(&[&[7, BINDING, 1], &[9, BINDING, 0], &[7, NON_WRITABLE], &[7, 34, 0]]);
        assert_eq!(bindings(&words), Ok(vec![Access::Write, Access::Read]));
    }

    #[test]
    fn gaps_and_cut_words_are_refused() {
        assert!(bindings(&module(&[&[7, BINDING, 1]])).is_err());
        assert!(bindings(&[1, 2, 3]).is_err());
        let words = module(&[&[7, BINDING, 0]]);
        assert!(bindings(&words[..words.len() - 1]).is_err());
    }
}
