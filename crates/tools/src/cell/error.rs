//! Why a program did not run in a cell.

use std::io;
use std::path::PathBuf;

/// What went wrong before a program ran, or took away how it ended. That a program failed is not an error.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// There are no such walls on this system.
    #[error("programs of a model run on Linux alone: this system has no walls to put around them")]
    System,
    /// The program that builds the walls did not start.
    #[error("the launcher of cells, {}, cannot be started: {source}", path.display())]
    Launcher {
        /// The launcher.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A wall cannot be built here.
    #[error("no cell can be built on this machine: {what}: {why}\n{remedy}")]
    Refused {
        /// The wall, or the step to it.
        what: String,
        /// What the system said.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// Something that was to be shown in a cell cannot be.
    #[error("{} cannot be shown in a cell: {why}", path.display())]
    Bind {
        /// The folder or file.
        path: PathBuf,
        /// What stands against it.
        why: String,
    },
    /// The walls stood, and the program could not be started.
    #[error("{program} cannot be started: {why}")]
    Program {
        /// Its name.
        program: String,
        /// What the system said.
        why: String,
    },
    /// The cell ended without a word about its program.
    #[error(
        "the cell ended without saying how its program did: it was killed from outside, or ran out of memory"
    )]
    Lost,
}
