//! How does a result reach a file without ever being there by half?
//!
//! [`write_atomically`] writes to a temporary file in the target's own folder and renames it when everything is on disk; on any error
//! the temporary file is gone and an older target is untouched.
//!
//! It does not know what is written.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

/// Bytes buffered before they go to the file.
const BUFFER_BYTES: usize = 1 << 20;

/// Writes `target` as a whole or not at all.
///
/// Errors: the folder cannot be written to, the disk is full, or what `write` says; with the target's name.
pub fn write_atomically(target: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let context = || format!("cannot write {}", target.display());
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".gptoss-");
    if let Some(permissions) = ordinary_file() {
        builder.permissions(permissions);
    }
    let file = builder.tempfile_in(folder).with_context(context)?;
    let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, file);
    write(&mut buffered).with_context(context)?;
    let file = buffered.into_inner().map_err(|error| error.into_error()).with_context(context)?;
    file.as_file().sync_all().with_context(context)?;
    file.persist(target).map_err(|error| error.error).with_context(context)?;
    Ok(())
}

/// Temporary files are private to their owner; a result is an ordinary file, as far as the umask lets it be.
#[cfg(unix)]
fn ordinary_file() -> Option<std::fs::Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(std::fs::Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn ordinary_file() -> Option<std::fs::Permissions> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.txt");
        write_atomically(&target, |out| Ok(out.write_all(b"old")?)).unwrap();
        let failed = write_atomically(&target, |out| {
            out.write_all(b"new")?;
            anyhow::bail!("the source ended")
        });
        assert!(format!("{:#}", failed.unwrap_err()).contains("out.txt"));
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
