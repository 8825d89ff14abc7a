//! Cells on systems that are not Linux: there are none, and whoever asks is told so.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use tokio::io::DuplexStream;

use crate::cell::error::CellError;
use crate::cell::limits::Limits;
use crate::cell::program::{Bind, End, Program, Ran};
use crate::cell::walls::Wall;

/// The program that plays the launcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher;

impl Launcher {
    /// This program itself.
    pub fn own() -> Self {
        Self
    }
}

/// A cell, which cannot be here.
#[derive(Debug, Clone)]
pub struct Cell {
    /// What each program may take.
    pub limits: Limits,
    /// What of the machine each program sees.
    pub binds: Vec<Bind>,
    never: Infallible,
}

impl Cell {
    /// Refuses.
    pub fn stand(_: Launcher) -> Result<Self, CellError> {
        Err(CellError::System)
    }

    /// The walls that this machine lacks.
    pub fn missing(&self) -> &[Wall] {
        match self.never {}
    }

    /// What builds the walls.
    pub fn bubblewrap(&self) -> Option<&Path> {
        match self.never {}
    }

    /// Whether what is to be shown can be.
    pub fn check(&self) -> Result<(), CellError> {
        match self.never {}
    }

    /// Starts a program.
    pub fn start(&self, _: &Program) -> Result<Running, CellError> {
        match self.never {}
    }

    /// Runs a program to its end.
    pub async fn run(&self, _: &Program, _: &[u8]) -> Result<Ran, CellError> {
        match self.never {}
    }
}

/// A program in its cell.
#[derive(Debug)]
pub struct Running {
    /// Its standard input.
    pub input: DuplexStream,
    /// Its standard output.
    pub stdout: DuplexStream,
    /// Its standard error.
    pub stderr: DuplexStream,
    never: Infallible,
}

impl Running {
    /// Waits for its end.
    pub async fn end(&mut self) -> Result<End, CellError> {
        match self.never {}
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        match self.never {}
    }
}

/// No program plays the launcher here.
pub fn launch(_: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    None
}
