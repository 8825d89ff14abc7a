//! Programs of a model's in their cells: which pass, and what those that harm come to.
//!
//! The target has a main of its own, because it is the launcher of its cells too.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

/// There are no cells to run programs in.
#[cfg(not(target_os = "linux"))]
fn main() {}
