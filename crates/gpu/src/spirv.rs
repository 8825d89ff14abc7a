//! What a kernel's words say about its buffers, constants and workgroups.
//!
//! A storage buffer that the WGSL declares `read` is decorated NonWritable. So what a dispatch reads and
//! writes, from which barriers are derived, is taken from the kernel and cannot be declared wrongly beside
//! it. **Source:** SPIR-V 1.3, sections 2.3, 2.4, 3.20 and 3.32.

use std::collections::BTreeMap;

use crate::hazards::Access;

const HEADER_WORDS: usize = 5;
const MAGIC: u32 = 0x0723_0203;

const OP_EXECUTION_MODE: u32 = 16;
const OP_TYPE_INT: u32 = 21;
const OP_TYPE_FLOAT: u32 = 22;
const OP_TYPE_VECTOR: u32 = 23;
const OP_TYPE_ARRAY: u32 = 28;
const OP_TYPE_STRUCT: u32 = 30;
const OP_TYPE_POINTER: u32 = 32;
const OP_CONSTANT: u32 = 43;
const OP_VARIABLE: u32 = 59;
const OP_DECORATE: u32 = 71;

const LOCAL_SIZE: u32 = 17;
const NON_WRITABLE: u32 = 24;
const BINDING: u32 = 33;
const WORKGROUP: u32 = 4;
const PUSH_CONSTANT: u32 = 9;

/// What a dispatch must give a kernel, and what it takes of a device.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    /// The access of each binding, which are numbered from 0 on.
    pub(crate) bindings: Vec<Access>,
    /// Bytes of its constants.
    pub(crate) constant_bytes: u32,
    /// Bytes that a workgroup shares.
    pub(crate) shared_bytes: u32,
    /// Invocations of a workgroup.
    pub(crate) invocations: u32,
}

/// A module's words.
///
/// Errors: when the bytes are not whole words.
pub(crate) fn words(bytes: &[u8]) -> Result<Vec<u32>, String> {
    let (words, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err("not whole words".to_owned());
    }
    Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

/// Reads a module's words.
///
/// Errors: when they are not a module, its bindings have gaps, or its constants or what its workgroups share
/// are of no size that is known.
pub(crate) fn interface(words: &[u32]) -> Result<Interface, String> {
    if words.len() <= HEADER_WORDS || words[0] != MAGIC {
        return Err("not a SPIR-V module".to_owned());
    }
    let mut module = Module::default();
    let mut at = HEADER_WORDS;
    while at < words.len() {
        let (op, len) = (words[at] & 0xffff, (words[at] >> 16) as usize);
        if len == 0 || at + len > words.len() {
            return Err(format!("an instruction of {len} words at word {at}"));
        }
        module.take(op, &words[at + 1..at + len])?;
        at += len;
    }
    module.finish()
}

/// What has been read of a module. Decorations come before types, and these before what is made of them.
#[derive(Default)]
struct Module {
    found: Interface,
    /// Variables by their binding.
    variables: BTreeMap<u32, u32>,
    read_only: Vec<u32>,
    /// Bytes of types; none of those without a size.
    sizes: BTreeMap<u32, u32>,
    /// What pointers point to.
    pointees: BTreeMap<u32, u32>,
    /// Constants of one word.
    constants: BTreeMap<u32, u32>,
}

impl Module {
    fn take(&mut self, op: u32, operands: &[u32]) -> Result<(), String> {
        match (op, operands) {
            (OP_DECORATE, [variable, BINDING, binding]) => {
                self.variables.insert(*binding, *variable);
            }
            (OP_DECORATE, [variable, NON_WRITABLE]) => self.read_only.push(*variable),
            (OP_EXECUTION_MODE, [_, LOCAL_SIZE, sizes @ ..]) => {
                let all = sizes.iter().try_fold(1_u32, |all, size| all.checked_mul(*size));
                self.found.invocations = all.ok_or("a workgroup of too many invocations")?;
            }
            (OP_TYPE_INT | OP_TYPE_FLOAT, [id, bits, ..]) => self.size(*id, Some(bits / 8)),
            (OP_TYPE_VECTOR, [id, of, count]) => {
                self.size(*id, self.sizes.get(of).and_then(|bytes| bytes.checked_mul(*count)));
            }
            (OP_TYPE_ARRAY, [id, of, count]) => {
                let count = self.constants.get(count).copied();
                let bytes = self.sizes.get(of).zip(count);
                self.size(*id, bytes.and_then(|(bytes, count)| bytes.checked_mul(count)));
            }
            (OP_TYPE_STRUCT, [id, members @ ..]) => {
                // Members of this room's kernels are words without gaps.
                let mut sizes = members.iter().map(|member| self.sizes.get(member));
                self.size(*id, sizes.try_fold(0_u32, |all, bytes| all.checked_add(*bytes?)));
            }
            (OP_TYPE_POINTER, [id, _, to]) => {
                self.pointees.insert(*id, *to);
            }
            (OP_CONSTANT, [_, id, value]) => {
                self.constants.insert(*id, *value);
            }
            (OP_VARIABLE, [pointer, _, WORKGROUP, ..]) => {
                let shared = self.found.shared_bytes.checked_add(self.pointee_bytes(*pointer)?);
                self.found.shared_bytes = shared.ok_or("workgroups share too many bytes")?;
            }
            (OP_VARIABLE, [pointer, _, PUSH_CONSTANT, ..]) => {
                self.found.constant_bytes = self.pointee_bytes(*pointer)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn size(&mut self, id: u32, bytes: Option<u32>) {
        if let Some(bytes) = bytes {
            self.sizes.insert(id, bytes);
        }
    }

    /// Bytes of what a variable of this type holds.
    fn pointee_bytes(&self, pointer: u32) -> Result<u32, String> {
        let bytes = self.pointees.get(&pointer).and_then(|to| self.sizes.get(to));
        bytes.copied().ok_or_else(|| format!("type {pointer} of a variable has no size"))
    }

    fn finish(mut self) -> Result<Interface, String> {
        if !self.variables.keys().copied().eq(0..self.variables.len() as u32) {
            return Err("its bindings are not numbered from 0 on".to_owned());
        }
        let access = |variable| if self.read_only.contains(variable) { Access::Read } else { Access::Write };
        self.found.bindings = self.variables.values().map(access).collect();
        Ok(self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(instructions: &[(u32, &[u32])]) -> Vec<u32> {
        let mut words = vec![MAGIC, 0x0001_0300, 0, 20, 0];
        for (op, operands) in instructions {
            words.push((operands.len() as u32 + 1) << 16 | op);
            words.extend(*operands);
        }
        words
    }

    fn decorated(decorations: &[&[u32]]) -> Vec<u32> {
        let instructions: Vec<_> = decorations.iter().map(|operands| (OP_DECORATE, *operands)).collect();
        module(&instructions)
    }

    #[test]
    fn bindings_come_in_their_order_with_their_access() {
        let words = decorated(&[&[7, BINDING, 1], &[9, BINDING, 0], &[7, NON_WRITABLE], &[7, 34, 0]]);
        assert_eq!(interface(&words).unwrap().bindings, [Access::Write, Access::Read]);
    }

    /// 256 invocations, constants of three words, and a shared array of ten pairs beside one word.
    const SIZED: [(u32, &[u32]); 12] = [
        (OP_EXECUTION_MODE, &[1, LOCAL_SIZE, 64, 2, 2]),
        (OP_TYPE_INT, &[2, 32, 0]),
        (OP_TYPE_FLOAT, &[3, 32]),
        (OP_TYPE_VECTOR, &[4, 3, 2]),
        (OP_CONSTANT, &[2, 5, 10]),
        (OP_TYPE_ARRAY, &[6, 4, 5]),
        (OP_TYPE_STRUCT, &[7, 2, 4]),
        (OP_TYPE_POINTER, &[8, WORKGROUP, 6]),
        (OP_TYPE_POINTER, &[9, WORKGROUP, 2]),
        (OP_TYPE_POINTER, &[10, PUSH_CONSTANT, 7]),
        (OP_VARIABLE, &[8, 11, WORKGROUP]),
        (OP_VARIABLE, &[10, 12, PUSH_CONSTANT]),
    ];

    #[test]
    fn sizes_are_those_of_the_types() {
        let mut instructions = SIZED.to_vec();
        instructions.push((OP_VARIABLE, &[9, 13, WORKGROUP]));
        let found = interface(&module(&instructions)).unwrap();
        let expected =
            Interface { bindings: Vec::new(), constant_bytes: 12, shared_bytes: 84, invocations: 256 };
        assert_eq!(found, expected);
    }

    #[test]
    fn gaps_and_cut_words_are_refused() {
        assert!(interface(&decorated(&[&[7, BINDING, 1]])).is_err());
        assert!(interface(&[1, 2, 3]).is_err());
        let words = decorated(&[&[7, BINDING, 0]]);
        assert!(interface(&words[..words.len() - 1]).is_err());
    }

    /// Without any one of the types, or with numbers that are too large, there is an error and no panic.
    #[test]
    fn types_without_a_size_are_refused() {
        for missing in 2..10 {
            let mut instructions = SIZED.to_vec();
            instructions.remove(missing);
            let is_used = missing != 8;
            assert_eq!(interface(&module(&instructions)).is_err(), is_used, "without {missing}");
        }
        let large: [(usize, (u32, &[u32])); 3] = [
            (0, (OP_EXECUTION_MODE, &[1, LOCAL_SIZE, u32::MAX, 2, 1])),
            (3, (OP_TYPE_VECTOR, &[4, 3, u32::MAX])),
            (4, (OP_CONSTANT, &[2, 5, u32::MAX])),
        ];
        for (place, instruction) in large {
            let mut instructions = SIZED.to_vec();
            instructions[place] = instruction;
            assert!(interface(&module(&instructions)).is_err(), "{instruction:?}");
        }
    }
}
