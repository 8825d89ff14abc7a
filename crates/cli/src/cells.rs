//! The walls around a model's programs and the Python within them: what `gptoss doctor` finds about them, and
//! that Python, opened for the tools of its name.

use std::env;
use std::path::Path;

use anyhow::{Context, Result};
#[cfg(feature = "wasm")]
use gptoss_tools::WasmPython;
use gptoss_tools::cell::{Cell, Launcher, Wall};
use gptoss_tools::{Interpreter, Places, Python, PythonProgram};

use crate::failure::usage;
use crate::finding::Finding;
#[cfg(feature = "wasm")]
use crate::state_folder;

/// Whether tools can run programs here.
pub fn findings() -> [Finding; 2] {
    [walls(), found_python()]
}

/// All walls are built once.
fn walls() -> Finding {
    let cell = match Cell::stand(Launcher::own()) {
        Ok(cell) => cell,
        Err(error) => return off("cells", &error.to_string()),
    };
    let name = |walls: &[Wall]| walls.iter().map(|wall| wall.name()).collect::<Vec<_>>().join(", ");
    let standing: Vec<Wall> = Wall::ALL.into_iter().filter(|wall| !cell.missing().contains(wall)).collect();
    let by = cell.bubblewrap().map_or(String::new(), |path| format!(" by {}", path.display()));
    let says = format!("a model's programs run behind {} walls{by}: {}", standing.len(), name(&standing));
    match cell.missing() {
        [] => Finding::ok("cells", says),
        missing => Finding::warn(
            "cells",
            format!("{says}; not {}", name(missing)),
            "the other walls hold without it; Linux 5.13 and newer have it where `lsm=` names landlock",
        ),
    }
}

/// Whether `--python-wasm` and `--tools python` go together; the file, where both are.
///
/// Errors: a usage error where the file is given and Python is off.
pub fn check(wasm: Option<&Path>, is_on: bool) -> Result<Option<&Path>> {
    match (wasm, is_on) {
        (Some(_), false) => Err(usage("--python-wasm: Python is off\nadd --tools python")),
        _ => Ok(wasm),
    }
}

/// The Python of this machine, or one in WebAssembly, within walls.
///
/// Errors: walls that do not stand; no Python that can be used.
pub fn python(wasm: Option<&Path>) -> Result<Python> {
    let cell = Cell::stand(Launcher::own()).context("python: no walls stand around it")?;
    Ok(match wasm {
        Some(file) => Python::new(cell, wasm_python(file)?),
        None => Python::new(cell, Interpreter::find(&programs()).context("python")?),
    })
}

#[cfg(feature = "wasm")]
fn wasm_python(file: &Path) -> Result<PythonProgram> {
    let folder =
        state_folder::made().context("--python-wasm: there is no folder to keep what is compiled in")?;
    eprintln!("python: {} is compiled, unless it was before", file.display());
    Ok(WasmPython::open(file, &folder.join("wasm")).context("--python-wasm")?.into())
}

#[cfg(not(feature = "wasm"))]
fn wasm_python(file: &Path) -> Result<PythonProgram> {
    let file = file.display();
    Err(usage(format!(
        "--python-wasm {file}: this program was built without WebAssembly; build it with --features wasm, or leave the flag out for the machine's Python"
    )))
}

fn found_python() -> Finding {
    match Interpreter::find(&programs()) {
        Ok(found) => {
            let (major, minor) = found.version;
            Finding::ok("python", format!("{} ({major}.{minor}) for the tool", found.path.display()))
        }
        Err(error) => off("python", &error.to_string()),
    }
}

/// Where programs are, and where none is taken from.
pub fn programs() -> Places {
    let folders = env::var_os("PATH").map_or(Vec::new(), |path| env::split_paths(&path).collect());
    Places { folders, current: env::current_dir().ok(), home: env::home_dir() }
}

/// Nothing but a tool fails: what follows the first line is what to do.
fn off(about: &'static str, error: &str) -> Finding {
    let (says, remedy) =
        error.split_once('\n').unwrap_or((error, "tools that run programs are refused here"));
    Finding::warn(about, says, remedy)
}
