//! `cargo xtask cuda`: the kernels of `gpu` in CUDA C++, for five architectures ahead of time.
//!
//! Every file of `crates/gpu/cuda` becomes a fat binary in the target folder. The compiler comes from PyPI's
//! wheels, in versions that `crates/gpu/cuda/toolkit.txt` pins; where they cannot be had the command says so
//! and ends with 77, as a step of CI that is skipped. A kernel that spills registers or takes more than
//! [`REGISTERS_MAX`] is an error. `--check` also looks for the instructions of
//! `crates/gpu/cuda/instructions.txt` in the disassembly, and writes the digest of what it found in order
//! into `checked.txt` there. With `--only` it looks at one architecture, and at that digest for the others:
//! CI takes half a minute for it instead of four.

mod report;
mod toolkit;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use report::{Compiled, Disassembly};
use toolkit::Toolkit;

/// Where the kernels are, from the root.
const SOURCES: &str = "crates/gpu/cuda";
/// From data centres of 2020 to cards and data centres of 2025.
const ARCHITECTURES: [&str; 5] = ["80", "89", "90a", "100", "120"];
/// The digest of the files when they were last checked for all architectures.
const RECORD: &str = "checked.txt";
/// Registers of a thread: what kernels name as their threads then fits a multiprocessor four times for
/// products and twice for attention.
const REGISTERS_MAX: u32 = 128;

/// Makes the kernels, for one architecture if one is named; the lines say what is wrong with them. `None`
/// where there is no compiler.
///
/// Errors: a kernel that does not compile, with the compiler's message; an architecture that is not one of
/// [`ARCHITECTURES`].
pub fn run(root: &Path, check: bool, only: Option<&str>) -> Result<Option<Vec<String>>> {
    let wanted: Vec<&str> =
        ARCHITECTURES.into_iter().filter(|one| only.is_none_or(|only| only == *one)).collect();
    ensure!(!wanted.is_empty(), "an architecture is one of {}", ARCHITECTURES.join(", "));
    let metadata = cargo_metadata::MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let target = metadata.target_directory.into_std_path_buf();
    let out = target.join(only.map_or("cuda".to_owned(), |only| format!("cuda-{only}")));
    std::fs::create_dir_all(&out)?;
    let sources = root.join(SOURCES);
    let Some(toolkit) = Toolkit::of(&sources.join("toolkit.txt"), &target.join("cuda"))? else {
        return Ok(None);
    };
    let expected = std::fs::read_to_string(sources.join("instructions.txt"))?;
    let (mut compiled, mut disassembly, mut bytes) = (Vec::new(), Disassembly::default(), 0);
    for source in kernel_files(&sources)? {
        let binary =
            out.join(source.file_stem().context("a file of kernels has a name")?).with_extension("fatbin");
        compiled.extend(report::compiled(&compile(&toolkit, &wanted, &source, &binary)?));
        bytes += std::fs::metadata(&binary)?.len();
        if check {
            disassembly.add(&disassemble(&toolkit, &binary)?);
        }
    }
    let of =
        |number: &str| compiled.iter().filter(|kernel| kernel.architecture == format!("sm_{number}")).count();
    let each: Vec<usize> = wanted.iter().map(|number| of(number)).collect();
    ensure!(each[0] > 0, "the assembler's report names no kernel");
    ensure!(each.iter().all(|count| *count == each[0]), "an architecture lacks kernels: {each:?}");
    let mut wrong = wrong_resources(&compiled);
    if check {
        wrong.extend(disassembly.lacks(&expected, &wanted)?);
        let (record, digest) = (sources.join(RECORD), digest(&sources)?);
        if only.is_none() && wrong.is_empty() {
            std::fs::write(&record, format!("{digest:016x}\n"))?;
        } else if only.is_some() && std::fs::read_to_string(&record)?.trim() != format!("{digest:016x}") {
            wrong.push(format!(
                "{SOURCES} is not as it was checked: `cargo xtask cuda --check`, and commit {RECORD}"
            ));
        }
    }
    let most = compiled.iter().map(|kernel| kernel.registers).max().unwrap_or(0);
    let (kernels, architectures) = (each[0], wanted.join(", "));
    println!("cuda: {kernels} kernels for {architectures}; {bytes} bytes, at most {most} registers");
    Ok(Some(wrong))
}

/// Every file of kernels, sorted.
fn kernel_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    files.sort();
    Ok(files)
}

/// FNV-1a of every file that kernels are made from, names included.
fn digest(folder: &Path) -> Result<u64> {
    let mut files = Vec::new();
    for folder in [folder.to_owned(), folder.join("parts")] {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_file() && path.file_name().is_some_and(|name| name != RECORD) {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for file in files {
        let name = file.strip_prefix(folder)?.to_string_lossy().into_owned();
        for byte in name.into_bytes().into_iter().chain(std::fs::read(&file)?) {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(digest)
}

/// Compiles a file for some architectures; what the assembler says of its kernels.
fn compile(toolkit: &Toolkit, architectures: &[&str], source: &Path, binary: &Path) -> Result<String> {
    let mut command = toolkit.command("nvcc");
    // Multiply-add is fused where a kernel says so, and nowhere else.
    command.args(["-std=c++17", "-O3", "--fmad=false", "--threads=0", "--resource-usage"]);
    command.args(["--Werror=all-warnings", "--fatbin", "--compress-mode=size"]);
    for architecture in architectures {
        command.arg(format!("--generate-code=arch=compute_{architecture},code=sm_{architecture}"));
    }
    output_of(command.arg("-o").arg(binary).arg(source))
}

fn disassemble(toolkit: &Toolkit, binary: &Path) -> Result<String> {
    output_of(toolkit.command("cuobjdump").arg("--dump-sass").arg(binary))
}

/// What a program writes to either output.
fn output_of(command: &mut Command) -> Result<String> {
    let out = command.output().with_context(|| format!("starting {command:?}"))?;
    let text = [out.stdout, out.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    ensure!(out.status.success(), "{command:?}: {}\n{text}", out.status);
    Ok(text)
}

/// Kernels that spill or take too many registers.
fn wrong_resources(compiled: &[Compiled]) -> Vec<String> {
    let mut wrong = Vec::new();
    for kernel in compiled {
        let Compiled { name, architecture, registers, spilled_bytes } = kernel;
        if *spilled_bytes > 0 {
            wrong.push(format!("{name} for {architecture}: {spilled_bytes} bytes of registers are spilled"));
        }
        if *registers > REGISTERS_MAX {
            wrong.push(format!("{name} for {architecture}: {registers} registers, at most {REGISTERS_MAX}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spills_and_too_many_registers_are_told() {
        let kernel = |registers, spilled_bytes| Compiled {
            name: "k".to_owned(),
            architecture: "sm_80".to_owned(),
            registers,
            spilled_bytes,
        };
        assert_eq!(wrong_resources(&[kernel(REGISTERS_MAX, 0)]), Vec::<String>::new());
        assert_eq!(wrong_resources(&[kernel(40, 8)]), ["k for sm_80: 8 bytes of registers are spilled"]);
        assert_eq!(wrong_resources(&[kernel(129, 0)]), ["k for sm_80: 129 registers, at most 128"]);
    }
}
