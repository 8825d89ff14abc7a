//! What the assembler says of kernels, and the instructions of their disassembly.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

/// A kernel for an architecture.
#[derive(Debug, PartialEq, Eq)]
pub struct Compiled {
    pub name: String,
    pub architecture: String,
    /// Of a thread.
    pub registers: u32,
    /// Stores and loads.
    pub spilled_bytes: u32,
}

/// The kernels of an assembler's report.
pub fn compiled(report: &str) -> Vec<Compiled> {
    let mut kernels: Vec<Compiled> = Vec::new();
    for line in report.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '")
            && let Some((name, rest)) = rest.split_once("' for '")
        {
            let (name, architecture) = (name.to_owned(), rest.trim_end_matches('\'').to_owned());
            kernels.push(Compiled { name, architecture, registers: 0, spilled_bytes: 0 });
        }
        let Some(kernel) = kernels.last_mut() else { continue };
        kernel.registers = kernel.registers.max(number_before(line, " registers").unwrap_or(0));
        for what in [" bytes spill stores", " bytes spill loads"] {
            kernel.spilled_bytes += number_before(line, what).unwrap_or(0);
        }
    }
    kernels
}

/// The number that stands right before some words.
fn number_before(line: &str, words: &str) -> Option<u32> {
    line.split_once(words)?.0.rsplit(' ').next()?.parse().ok()
}

/// Which instructions kernels have, by architecture.
#[derive(Debug, Default)]
pub struct Disassembly {
    /// By kernel and architecture.
    instructions: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Disassembly {
    /// Takes what the disassembler writes of a file.
    pub fn add(&mut self, text: &str) {
        let (mut architecture, mut place) = (String::new(), None);
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("arch = sm_") {
                architecture = name.to_owned();
            } else if let Some(name) = line.strip_prefix("Function : ") {
                place = Some((name.to_owned(), architecture.clone()));
            } else if let (Some(place), Some(instruction)) = (&place, instruction(line)) {
                let instructions = self.instructions.entry(place.clone()).or_default();
                instructions.insert(instruction.to_owned());
            }
        }
    }

    /// What a list of kernels and the beginnings of their instructions asks for and is not there.
    ///
    /// Errors: a line without a kernel.
    pub fn lacks(&self, expected: &str, architectures: &[&str]) -> Result<Vec<String>> {
        let mut lacks = Vec::new();
        for line in expected.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let name = words.next().with_context(|| format!("a line without a kernel: `{line}`"))?;
            for wanted in words {
                for architecture in architectures {
                    let place = (name.to_owned(), (*architecture).to_owned());
                    let of_kernel = self.instructions.get(&place);
                    if !of_kernel.is_some_and(|all| all.iter().any(|one| one.starts_with(wanted))) {
                        lacks.push(format!("{name} for sm_{architecture}: no {wanted}"));
                    }
                }
            }
        }
        Ok(lacks)
    }
}

/// `LDG.E.128` of `/*0120*/ @!P0 LDG.E.128 R4, [R2] ; /* 0x... */`.
fn instruction(line: &str) -> Option<&str> {
    let (_, code) = line.strip_prefix("/*")?.split_once("*/")?;
    let mut words = code.split_whitespace().skip_while(|word| word.starts_with('@'));
    words.next().filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_and_spills_are_read() {
        let report = "ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'a' for 'sm_80'
ptxas info    : Function properties for a
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 48 registers, used 0 barriers, 448 bytes cmem[0]
ptxas info    : Compiling entry function 'b' for 'sm_90a'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 96 registers\n";
        let kernel = |name: &str, architecture: &str, registers, spilled_bytes| Compiled {
            name: name.to_owned(),
            architecture: architecture.to_owned(),
            registers,
            spilled_bytes,
        };
        assert_eq!(compiled(report), [kernel("a", "sm_80", 48, 20), kernel("b", "sm_90a", 96, 0)]);
    }

    #[test]
    fn instructions_that_a_kernel_lacks_are_told() {
        let mut disassembly = Disassembly::default();
        disassembly.add(
            "Fatbin elf code:
arch = sm_80
\t\tFunction : a
        /*0000*/                   MOV R1, c[0x0][0x28] ;    /* 0x00000a0000017a02 */
                                                              /* 0x000fe40000000f00 */
        /*0010*/              @!P0 LDG.E.128.CONSTANT R4, [R2.64] ; /* 0x0000000402048981 */\n",
        );
        let lacks =
            |expected: &str, architectures: &[&str]| disassembly.lacks(expected, architectures).unwrap();
        assert_eq!(lacks("# why\na MOV LDG.E.128\n", &["80"]), Vec::<String>::new());
        assert_eq!(lacks("a IDP.4A\n", &["80"]), ["a for sm_80: no IDP.4A"]);
        assert_eq!(lacks("a MOV\n", &["80", "89"]), ["a for sm_89: no MOV"]);
        assert_eq!(lacks("b MOV\n", &["80"]), ["b for sm_80: no MOV"]);
    }
}
