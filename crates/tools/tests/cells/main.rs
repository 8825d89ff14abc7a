//! Cells as a host sees them: what a program gets, what it cannot reach, and what each wall holds.
//!
//! The target has a main of its own, because it is the launcher of its cells too.

#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod escapes;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod runs;
#[cfg(target_os = "linux")]
mod tools;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

/// There is one thing to test where there are no cells.
#[cfg(not(target_os = "linux"))]
fn main() {
    use gptoss_tools::cell::{Cell, CellError, Launcher};
    assert!(matches!(Cell::stand(Launcher::own()), Err(CellError::System)));
}
