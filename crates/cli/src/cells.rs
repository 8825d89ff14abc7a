//! The walls around a model's programs and the Python within them: what `gptoss doctor` finds about them, and
//! that Python, opened for the tools of its name.

use std::env;

use anyhow::{Context, Result};
use gptoss_tools::cell::{Cell, Launcher, Wall};
use gptoss_tools::{Interpreter, Places, Python};

use crate::finding::Finding;

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

/// The Python of this machine, within walls.
///
/// Errors: walls that do not stand; no Python that can be used.
pub fn python() -> Result<Python> {
    let cell = Cell::stand(Launcher::own()).context("python: no walls stand around it")?;
    Ok(Python::new(cell, Interpreter::find(&programs()).context("python")?))
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
