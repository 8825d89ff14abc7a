//! `cargo xtask gpu`: a folder for a machine that has a card and no Rust.
//!
//! It holds the stripped release binary, the script and the requests of `bench/card`, the commit, and this
//! machine's Vulkan loader for one that has none. The binary has the kernels in CUDA C++ where their compiler
//! can be had.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::cuda;

/// Where the folder goes, from the target folder.
const OUT: &str = "gpu-run";
/// Where a loader is on Debian and on Fedora.
const LOADERS: [&str; 2] = ["/usr/lib/x86_64-linux-gnu/libvulkan.so.1", "/usr/lib64/libvulkan.so.1"];

/// Makes the folder, of a program that is there or of one that is built now.
///
/// Errors: the build, the files.
pub fn run(root: &Path, binary: Option<&Path>) -> anyhow::Result<PathBuf> {
    let metadata = cargo_metadata::MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let target = metadata.target_directory.as_std_path();
    let built = target.join("release/gptoss");
    if binary.is_none() {
        build(root, target)?;
    }
    let folder = target.join(OUT);
    fs::create_dir_all(folder.join("lib"))?;
    copy(binary.unwrap_or(&built), &folder.join("gptoss"))?;
    for name in ["run.sh", "requests.jsonl"] {
        copy(&root.join("bench/card").join(name), &folder.join(name))?;
    }
    fs::write(folder.join("commit"), commit(root)?)?;
    match LOADERS.iter().map(Path::new).find(|loader| loader.is_file()) {
        Some(loader) => copy(loader, &folder.join("lib/libvulkan.so.1"))?,
        None => {
            eprintln!("note: there is no Vulkan loader on this machine, so the other one must have its own")
        }
    }
    Ok(folder)
}

/// Builds the program.
fn build(root: &Path, target: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--bin", "gptoss"]).current_dir(root);
    match cuda::run(root, false, None)? {
        Some(wrong) if wrong.is_empty() => {
            command.args(["--features", "gptoss-cli/cuda"]).env("GPTOSS_CUDA_KERNELS", target.join("cuda"));
        }
        Some(wrong) => bail!("kernels in CUDA C++: {}", wrong.join("; ")),
        None => eprintln!("note: the program has no kernels for CUDA, so its cards are those of Vulkan"),
    }
    if !command.status().context("starting cargo")?.success() {
        bail!("the program was not built");
    }
    Ok(())
}

/// The commit that is built, marked when the tree is not what it says.
fn commit(root: &Path) -> anyhow::Result<String> {
    let git = |args: &[&str]| -> anyhow::Result<String> {
        let output = Command::new("git").args(args).current_dir(root).output().context("starting git")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let mark = if git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() { "" } else { "+" };
    Ok(format!("{}{mark}\n", git(&["rev-parse", "--short", "HEAD"])?))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).map(|_| ()).with_context(|| format!("copying {} to {}", from.display(), to.display()))
}
