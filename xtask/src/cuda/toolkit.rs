//! The compiler of CUDA C++ from PyPI's wheels, in a virtual environment of the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Programs of the toolkit.
pub struct Toolkit {
    bin: PathBuf,
}

impl Toolkit {
    /// The toolkit whose versions a file pins, installed under `out` unless it is there; `None` where Python
    /// or the wheels cannot be had, which is told.
    ///
    /// Errors: what the disk does.
    pub fn of(pinned: &Path, out: &Path) -> Result<Option<Toolkit>> {
        let (folder, versions) = (out.join("toolkit"), std::fs::read_to_string(pinned)?);
        // Written last, so that what was cut off is made again.
        let stamp = folder.join("toolkit.txt");
        if std::fs::read_to_string(&stamp).ok().as_ref() != Some(&versions) {
            if !is_installed(&folder, pinned) {
                eprintln!("cuda: no compiler: Python cannot install {} on this machine", pinned.display());
                return Ok(None);
            }
            std::fs::write(&stamp, &versions)?;
        }
        Ok(Some(Toolkit { bin: bin_of(&folder)? }))
    }

    /// A program of it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        // The disassembler looks for a part of its own.
        command.env("NVDISASM_PATH", &self.bin);
        command
    }
}

/// Makes the environment and puts the wheels into it; what went wrong is told by who did it.
fn is_installed(folder: &Path, pinned: &Path) -> bool {
    let succeeds = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))
        && succeeds(Command::new(folder.join("bin/python")).args(install).arg(pinned))
}

/// Where the wheels have put their programs: `lib/python3.N/site-packages/nvidia/cu13/bin`.
fn bin_of(folder: &Path) -> Result<PathBuf> {
    for entry in std::fs::read_dir(folder.join("lib"))? {
        let bin = entry?.path().join("site-packages/nvidia/cu13/bin");
        if bin.join("nvcc").is_file() {
            return Ok(bin);
        }
    }
    None.with_context(|| format!("no nvcc in {}: remove it, and it is made again", folder.display()))
}
