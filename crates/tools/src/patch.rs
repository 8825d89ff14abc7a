//! Edits of files that the model writes as patches: `apply_patch`.
//!
//! A patch is read whole ([`Patch`]), then what it does to the files beneath a folder is computed
//! ([`Workspace::plan`]) and can be shown, and only then is anything written ([`Workspace::apply`]), all of
//! it or nothing. What was there before is kept in the folder `.gptoss` beneath the workspace, so that the
//! last patch can be taken back, and so that one that was killed in its middle is.
//!
//! The matching rules are those of the `apply_patch` that the model was trained with; where that one would
//! write outside of its folder, over files that the patch does not name, or with other line endings, this one
//! refuses or keeps what was there.

mod call;
mod edit;
mod error;
mod folder;
mod grammar;
mod hunk;
mod journal;
mod relative_path;
#[cfg(test)]
mod tests;
mod workspace;

pub use call::{INSTRUCTIONS as PATCH_INSTRUCTIONS, patch_function, patch_of_call};
pub use edit::{Edit, EditKind, FileContent, Plan};
pub use error::PatchError;
pub use grammar::{FilePatch, Patch};
pub use hunk::{Chunk, Hunk};
pub use relative_path::RelativePath;
pub use workspace::Workspace;
