//! What does this call give back, and what can it not reach?
//!
//! Every tool that the model was trained to use, or that a person gives it. Code and commands run inside
//! walls; the browser, MCP servers and patches have none. What a tool gives back is a [`ToolReply`], whose
//! text the next turn reads. Tools know neither turns nor who asked.

pub mod browser;
pub mod cell;
pub mod mcp;
mod patch;
mod python;
mod reply;
mod shell;

pub use patch::{
    Chunk, Edit, EditKind, FileContent, FilePatch, Hunk, PATCH_INSTRUCTIONS, Patch, PatchError, Plan,
    RelativePath, Workspace, patch_function, patch_of_call,
};
pub use python::{Container, InputFile, Inputs, Interpreter, NoPython, Places, Python, PythonProgram};
#[cfg(feature = "wasm")]
pub use python::{NoWasmPython, WasmPython, run_wasm_python};
pub use reply::{ToolFile, ToolReply};
pub use shell::{Command, Outcome, Shell, ShellOutput};
