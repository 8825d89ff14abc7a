//! Results that reach a file as a whole or not at all.
//!
//! [`Target::at`] looks at the name before anything is computed, so that a folder, or a place that does not
//! exist, is refused at once and not after the work. [`Target::write`] then writes to a temporary file in the
//! target's own folder and renames it when everything is on disk; on any error the temporary file is gone and
//! an older target is untouched. A link stays a link: what it leads to is replaced.
//!
//! Only a file can be replaced so. A device, a pipe or a socket (`/dev/null`, a FIFO) would become a file; it
//! is written straight into.

use std::fs::{self, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Bytes buffered before they go to the file.
const BUFFER_BYTES: usize = 1 << 20;
/// Links in a row that are followed to a file that does not exist yet.
const LINKS_MAX: usize = 40;

/// A name that a result can be written to.
#[derive(Debug)]
pub struct Target {
    /// As the user wrote it.
    name: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// A file, there or to be made, with no link in its last part.
    File(PathBuf),
    /// Something that takes bytes and is no file.
    Stream,
}

impl Target {
    /// Looks at what is there.
    ///
    /// Errors: a folder has the name, or the folder that would hold it is not there; with the name.
    pub fn at(name: &Path) -> Result<Target> {
        let place = place(name).with_context(|| format!("cannot write {}", name.display()))?;
        Ok(Target { name: name.to_owned(), place })
    }

    /// The name, as the user wrote it.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Writes a file as a whole or not at all, anything else as it comes.
    ///
    /// Errors: the folder cannot be written to, the disk is full, or what `write` says; with the target's
    /// name.
    pub fn write(&self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let written = match &self.place {
            Place::File(file) => replace(file, write),
            Place::Stream => feed(&self.name, write),
        };
        written.with_context(|| format!("cannot write {}", self.name.display()))
    }
}

fn place(name: &Path) -> Result<Place> {
    let found = match fs::metadata(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => return new_file(name),
        found => found?,
    };
    if found.is_dir() {
        bail!("it is a folder: give the name of a file");
    }
    Ok(if found.is_file() { Place::File(fs::canonicalize(name)?) } else { Place::Stream })
}

/// The place of a file that is not there yet, behind links if need be.
fn new_file(name: &Path) -> Result<Place> {
    let mut file = name.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&file) {
            Ok(target) => file = folder_of(&file).join(target),
            Err(_) => break,
        }
    }
    let ends_as_folder = file.as_os_str().as_encoded_bytes().ends_with(b"/");
    if ends_as_folder || file.file_name().is_none() {
        bail!("it is not a name of a file");
    }
    let folder = folder_of(&file);
    if !folder.is_dir() {
        bail!("there is no folder {}", folder.display());
    }
    Ok(Place::File(file))
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn replace(target: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".gptoss-");
    if let Some(permissions) = ordinary_file() {
        builder.permissions(permissions);
    }
    let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, builder.tempfile_in(folder_of(target))?);
    write(&mut buffered)?;
    let file = buffered.into_inner().map_err(|error| error.into_error())?;
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    Ok(())
}

fn feed(target: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, OpenOptions::new().write(true).open(target)?);
    write(&mut buffered)?;
    Ok(buffered.flush()?)
}

/// Temporary files are private to their owner; a result is an ordinary file, as far as the umask lets it be.
#[cfg(unix)]
fn ordinary_file() -> Option<fs::Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(fs::Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn ordinary_file() -> Option<fs::Permissions> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(target: &Path, bytes: &[u8]) -> Result<()> {
        Target::at(target)?.write(|out| Ok(out.write_all(bytes)?))
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.txt");
        write(&target, b"old").unwrap();
        let failed = Target::at(&target).unwrap().write(|out| {
            out.write_all(b"new")?;
            bail!("the source ended")
        });
        assert!(format!("{:#}", failed.unwrap_err()).contains("out.txt"));
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_can_never_be_a_file_is_refused_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |target: &Path, expect: &str| {
            let message = format!("{:#}", Target::at(target).unwrap_err());
            assert!(message.contains(expect) && message.contains(target.to_str().unwrap()), "{message}");
        };
        refused(folder.path(), "is a folder");
        refused(&folder.path().join("none/out.txt"), "there is no folder");
        refused(&folder.path().join("out/"), "not a name of a file");
        refused(Path::new(""), "not a name of a file");
    }

    /// The file took the link's place, and what the link led to stayed as it was.
    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        std::os::unix::fs::symlink("file", &link).unwrap();
        for text in ["made through the link", "replaced through the link"] {
            write(&link, text.as_bytes()).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new("file"));
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        std::os::unix::fs::symlink(".", folder.path().join("here")).unwrap();
        assert!(Target::at(&folder.path().join("here")).is_err());
    }

    /// A pipe was replaced by a file, and so was `/dev/null` for a user who may write to its folder.
    #[cfg(unix)]
    #[test]
    fn a_pipe_is_written_into_and_stays() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        use std::os::unix::fs::FileTypeExt;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let reader = pipe.clone();
        let reader = std::thread::spawn(move || fs::read(reader).unwrap());
        write(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
