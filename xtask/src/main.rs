//! Project scripts: `cargo xtask tidy` checks the house rules, `cargo xtask size` prints the size of each
//! room, `cargo xtask shaders` makes the kernels of `gpu`, `cargo xtask cuda` those in CUDA C++, `cargo xtask
//! gpu` what a machine with a card runs, `cargo xtask dist` what people install.
//!
//! They read the working tree, and write there and in the target folder alone: no network (but for the
//! compiler that `cuda` installs), no weights, no GPU. `cargo test --workspace` runs the check of house rules
//! through the test at the end of this file.

#![expect(clippy::disallowed_methods, reason = "a program with arguments of its own")]

mod card;
mod cuda;
mod dist;
mod shaders;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

commands:
  tidy           check floors, names, sizes, module heads and the rest of the house rules
  tidy --write   first rewrite the generated block of ARCHITECTURE.md, then check
  size           print code lines by crate, and the longest files and functions
  shaders        make SPIR-V and MSL from the WGSL of crates/gpu (builds naga first: a minute)
  shaders --check  only compare them with what is checked in
  cuda           compile the CUDA C++ of crates/gpu (installs its compiler first: 320 MB)
  cuda --check   also look at the disassembly; all end with 77 where there is no compiler
  cuda --check --only 90a  one architecture, and that nothing has changed since all were checked
  gpu            build the program and put it with a script into target/gpu-run, for a machine with a card
  gpu --binary FILE  take this program in place of building it
  dist           build the program and make archive, wheel, npm, Debian, formula, bill of materials in target/dist
  dist --binary FILE --out DIR --address URL  of this program, to there, for archives that will lie at the address";

/// The exit status of what could check nothing on this machine, as `.ci/run` knows it.
const SKIPPED: u8 = 77;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["tidy"] => run_tidy(),
        ["tidy", "--write"] => tidy::write_generated(repository()).and_then(|()| run_tidy()),
        ["size"] => tidy::print_sizes(repository()).map(|()| ExitCode::SUCCESS),
        ["shaders"] => run_shaders(false),
        ["shaders", "--check"] => run_shaders(true),
        ["cuda"] => run_cuda(false, None),
        ["cuda", "--check"] => run_cuda(true, None),
        ["cuda", "--check", "--only", architecture] => run_cuda(true, Some(architecture)),
        ["gpu"] => run_card(None),
        ["gpu", "--binary", file] => run_card(Some(Path::new(file))),
        ["dist", ref rest @ ..] => run_dist(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

/// Prints every violation, one a line, and how many there are.
fn run_tidy() -> anyhow::Result<ExitCode> {
    let violations = tidy::check(repository())?;
    for violation in &violations {
        eprintln!("{violation}");
    }
    match violations.len() {
        0 => println!("tidy: the house is in order"),
        count => eprintln!("tidy: {count} to put right"),
    }
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints every kernel that differs from its source.
fn run_shaders(check: bool) -> anyhow::Result<ExitCode> {
    let differences = shaders::run(repository(), check)?;
    for difference in &differences {
        eprintln!("{difference}");
    }
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says where the folder for a machine with a card is.
fn run_card(binary: Option<&Path>) -> anyhow::Result<ExitCode> {
    let folder = card::run(repository(), binary)?;
    println!("{}: copy it to the machine with the card, and start its run.sh there", folder.display());
    Ok(ExitCode::SUCCESS)
}

/// Says where the packages are.
fn run_dist(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let folder = dist::run(repository(), &dist::Asked::parse(arguments)?)?;
    println!("{}: check them with sha256sum -c SHA256SUMS", folder.display());
    Ok(ExitCode::SUCCESS)
}

/// Prints what is wrong with each kernel in CUDA C++.
fn run_cuda(check: bool, only: Option<&str>) -> anyhow::Result<ExitCode> {
    let Some(wrong) = cuda::run(repository(), check, only)? else { return Ok(ExitCode::from(SKIPPED)) };
    for line in &wrong {
        eprintln!("{line}");
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The repository this program was built from: the parent of its own crate.
fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[cfg(test)]
mod tests {
    /// The rules hold in this very tree; `cargo xtask tidy` prints the same list.
    #[test]
    fn the_house_is_in_order() {
        let violations = super::tidy::check(super::repository()).unwrap();
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(list.is_empty(), "{} to put right:\n{}", list.len(), list.join("\n"));
    }
}
