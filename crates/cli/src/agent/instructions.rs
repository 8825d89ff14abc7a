//! What the agent is told beside the task.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use gptoss_harmony::Message;

/// Most of an AGENTS.md that is read, as Codex has it. Units: bytes.
const AGENTS_BYTES_MAX: u64 = 32 << 10;

const OWN: &str = "\
You work on the files of one folder, the workspace, until the task is done. Look at files before you change them. Keep \
changes small and in the style of what is there, and check them where you can. Nobody answers questions before you are \
done: decide yourself. End with a short summary of what you did.";

/// The developer's instructions, behind the agent's own.
pub fn with_own(instructions: Option<String>) -> String {
    [Some(OWN.to_owned()), instructions].into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

/// What the workspace's AGENTS.md says, as the user's words; None where there is none.
///
/// Passed over, with a warning, when it is a link or no regular file: it could be any file of the machine, or
/// never end.
///
/// Errors: it cannot be read.
pub fn of_workspace(workspace: &Path) -> Result<Option<Message>> {
    let path = workspace.join("AGENTS.md");
    let opened = || format!("{}: cannot be opened", path.display());
    let meta = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        meta => meta.with_context(opened)?,
    };
    if !meta.is_file() {
        let path = path.display();
        let _ =
            writeln!(io::stderr(), "warning: {path}: not read, because it is a link or not a regular file");
        return Ok(None);
    }
    let file = File::open(&path).with_context(opened)?;
    let mut bytes = Vec::new();
    file.take(AGENTS_BYTES_MAX)
        .read_to_end(&mut bytes)
        .with_context(|| format!("{}: cannot be read", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    Ok((!text.is_empty()).then(|| Message::user(format!("# AGENTS.md of the workspace\n\n{text}"))))
}
