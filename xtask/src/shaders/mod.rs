//! `cargo xtask shaders`: the kernels of `gpu`, from WGSL to what drivers take.
//!
//! Every file of `crates/gpu/wgsl` becomes SPIR-V in `crates/gpu/spirv` and MSL in `crates/gpu/msl`, both
//! checked in, so that no build and no user needs a shader compiler; `--check` makes them again and compares
//! the bytes. The translator (naga) takes a minute to build and is behind the feature `shaders`, which this
//! command turns on by calling cargo once more; no other command pays for it.
//!
//! It also makes the mutants of `crates/gpu/tests/mutants.txt`, kernels with one mistake each, into the
//! target folder, where the tests of `gpu` look for them.

#[cfg(any(test, feature = "shaders"))]
mod contraction;
#[cfg(feature = "shaders")]
mod generate;
#[cfg(any(test, feature = "shaders"))]
mod mutants;
#[cfg(any(test, feature = "shaders"))]
mod source;

use std::path::Path;

/// Makes the kernels, or with `check` compares those that are there. The lines say what differs.
///
/// Errors: a kernel that does not translate, with the translator's message.
#[cfg(feature = "shaders")]
pub fn run(root: &Path, check: bool) -> anyhow::Result<Vec<String>> {
    generate::run(root, check)
}

/// Calls this program again with the translator built in.
///
/// Errors: when cargo cannot be started, or the kernels differ or do not translate.
#[cfg(not(feature = "shaders"))]
pub fn run(root: &Path, check: bool) -> anyhow::Result<Vec<String>> {
    use anyhow::Context;

    let mut command = std::process::Command::new("cargo");
    command.args(["run", "--quiet", "--package", "xtask", "--features", "shaders", "--", "shaders"]);
    command.args(check.then_some("--check")).current_dir(root);
    let status = command.status().context("starting cargo for the translator of shaders")?;
    Ok(if status.success() { Vec::new() } else { vec!["the translator reported the above".to_owned()] })
}
