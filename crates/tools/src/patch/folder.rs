//! Files beneath one folder.
//!
//! Every path is walked part by part from the folder's own descriptor, and no part may be a symbolic link, so
//! that nothing outside is reached whatever the names are made to mean in the meantime. On Linux the kernel
//! is asked for the same once more (`openat2` with `RESOLVE_BENEATH`).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::edit::FileContent;
use super::error::PatchError;
use super::relative_path::RelativePath;

/// Largest file that is changed. Units: bytes.
pub(super) const FILE_BYTES_MAX: u64 = 8 << 20;

/// How long the lock of another run is waited for, and how often it is asked for.
const LOCK_MAX: Duration = Duration::from_secs(10);
const LOCK_LOOK: Duration = Duration::from_millis(20);

/// The bits of a mode that a file keeps.
const MODE_BITS: u32 = 0o777;

/// A folder and all beneath it.
#[derive(Debug)]
pub(super) struct Folder {
    root: OwnedFd,
    /// Changes that still happen before this process is as good as killed.
    #[cfg(test)]
    pub(super) changes_left: std::cell::Cell<usize>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Folder, PatchError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| io_error(path.display().to_string(), "open the workspace", errno))?;
        Ok(Folder {
            root,
            #[cfg(test)]
            changes_left: std::cell::Cell::new(usize::MAX),
        })
    }

    /// Whether something of this name is there, whatever it is.
    pub(super) fn has(&self, path: &RelativePath) -> Result<bool, PatchError> {
        let Some(parent) = self.parent(path)? else { return Ok(false) };
        match rustix::fs::statat(&parent, path.split().1, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.error(path, "look for the file", errno)),
        }
    }

    /// What is in a file; None when there is none.
    pub(super) fn read(&self, path: &RelativePath) -> Result<Option<FileContent>, PatchError> {
        let Some(parent) = self.parent(path)? else { return Ok(None) };
        // A pipe would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = match open_in(parent.as_fd(), path.split().1, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.error(path, "open the file", errno)),
        };
        let refused = |what: &str| PatchError::File { path: path.clone(), what: what.to_owned() };
        let stat = rustix::fs::fstat(&file).map_err(|errno| self.error(path, "look at the file", errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(refused("it is a folder; a patch names files")),
            _ => return Err(refused("it is a device or a pipe; a patch changes regular files")),
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| self.io(path, "read the file", source))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(refused(&format!("it has more than {FILE_BYTES_MAX} bytes, which no patch changes")));
        }
        Ok(Some(FileContent { bytes, mode: Some(stat.st_mode & MODE_BITS) }))
    }

    /// Writes a file that is not there, to the disk.
    pub(super) fn create(&self, path: &RelativePath, content: &FileContent) -> Result<(), PatchError> {
        self.change(path)?;
        let parent = self.existing_parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::from_raw_mode(0o666);
        let file = open_in(parent.as_fd(), path.split().1, flags, mode)
            .map_err(|errno| self.error(path, "create the file", errno))?;
        if let Some(mode) = content.mode {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode as _))
                .map_err(|errno| self.error(path, "set the mode of the file", errno))?;
        }
        let mut file = File::from(file);
        file.write_all(&content.bytes)
            .and_then(|()| file.sync_data())
            .map_err(|source| self.io(path, "write the file", source))
    }

    /// Moves a file or folder, over what is there.
    pub(super) fn rename(&self, from: &RelativePath, to: &RelativePath) -> Result<(), PatchError> {
        self.change(to)?;
        let (old, new) = (self.existing_parent(from)?, self.existing_parent(to)?);
        rustix::fs::renameat(&old, from.split().1, &new, to.split().1)
            .map_err(|errno| self.error(to, "put the file in its place", errno))
    }

    /// Removes a file; fine when there is none.
    pub(super) fn remove(&self, path: &RelativePath) -> Result<(), PatchError> {
        self.unlink(path, AtFlags::empty(), &[Errno::NOENT])
    }

    /// Removes a folder; fine when there is none, or when something is in it.
    pub(super) fn remove_folder(&self, path: &RelativePath) -> Result<(), PatchError> {
        self.unlink(path, AtFlags::REMOVEDIR, &[Errno::NOENT, Errno::NOTEMPTY, Errno::EXIST])
    }

    fn unlink(&self, path: &RelativePath, flags: AtFlags, fine: &[Errno]) -> Result<(), PatchError> {
        self.change(path)?;
        let Some(parent) = self.parent(path)? else { return Ok(()) };
        match rustix::fs::unlinkat(&parent, path.split().1, flags) {
            Err(errno) if !fine.contains(&errno) => Err(self.error(path, "remove it", errno)),
            _ => Ok(()),
        }
    }

    /// Makes a folder; fine when it is there.
    pub(super) fn make_folder(&self, path: &RelativePath) -> Result<(), PatchError> {
        self.change(path)?;
        let parent = self.existing_parent(path)?;
        match rustix::fs::mkdirat(&parent, path.split().1, Mode::from_raw_mode(0o777)) {
            Err(errno) if errno != Errno::EXIST => Err(self.error(path, "make the folder", errno)),
            _ => Ok(()),
        }
    }

    /// The names in a folder; none when it is not there.
    pub(super) fn names(&self, path: &RelativePath) -> Result<Vec<String>, PatchError> {
        let failed = |errno| self.error(path, "read the folder", errno);
        let Some(parent) = self.parent(path)? else { return Ok(Vec::new()) };
        let folder = match open_in(parent.as_fd(), path.split().1, FOLDER, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            opened => opened.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// A file that exists for its lock, which holds until it is dropped. Waits a while for whoever has it.
    pub(super) fn lock(&self, path: &RelativePath) -> Result<OwnedFd, PatchError> {
        self.lock_within(path, LOCK_MAX)
    }

    pub(super) fn lock_within(&self, path: &RelativePath, time: Duration) -> Result<OwnedFd, PatchError> {
        let failed = |errno| self.error(path, "lock it", errno);
        let refused = |what: &str| PatchError::File { path: path.clone(), what: what.to_owned() };
        let parent = self.existing_parent(path)?;
        // A pipe would wait for its other end.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK;
        let file =
            open_in(parent.as_fd(), path.split().1, flags, Mode::from_raw_mode(0o666)).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(refused("it is not a regular file, and cannot be a lock; remove it"));
        }
        let end = Instant::now() + time;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < end => thread::sleep(LOCK_LOOK),
                Err(Errno::WOULDBLOCK) => {
                    return Err(refused("another run holds the folder; try again when it has ended"));
                }
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    fn existing_parent(&self, path: &RelativePath) -> Result<OwnedFd, PatchError> {
        self.parent(path)?.ok_or_else(|| self.error(path, "find its folder", Errno::NOENT))
    }

    /// The folder that a path's file is in; None when it is not there.
    fn parent(&self, path: &RelativePath) -> Result<Option<OwnedFd>, PatchError> {
        let failed = |errno| self.error(path, "open its folder", errno);
        let mut folder = self.root.try_clone().map_err(|source| self.io(path, "open its folder", source))?;
        for part in path.split().0 {
            folder = match open_in(folder.as_fd(), part, FOLDER, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(None),
                // A link that should be a folder is told as if it were a file.
                Err(Errno::NOTDIR) if is_link(folder.as_fd(), part) => return Err(failed(Errno::LOOP)),
                opened => opened.map_err(failed)?,
            };
        }
        Ok(Some(folder))
    }

    fn error(&self, path: &RelativePath, action: &'static str, errno: Errno) -> PatchError {
        let what = match errno {
            Errno::LOOP => "it is a symbolic link, or lies behind one; name the file that it leads to",
            Errno::NOTDIR => "a part of its path is not a folder",
            Errno::XDEV => {
                "it lies on another file system than the workspace, so it cannot be replaced in one step"
            }
            _ => return io_error(path.to_string(), action, errno),
        };
        PatchError::File { path: path.clone(), what: what.to_owned() }
    }

    fn io(&self, path: &RelativePath, action: &'static str, source: io::Error) -> PatchError {
        PatchError::Io { path: path.to_string(), action, source }
    }

    /// Says that something is about to change: tests kill here.
    fn change(&self, _path: &RelativePath) -> Result<(), PatchError> {
        #[cfg(test)]
        match self.changes_left.get().checked_sub(1) {
            Some(left) => self.changes_left.set(left),
            None => return Err(self.error(_path, "go on after its end", Errno::INTR)),
        }
        Ok(())
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

fn io_error(path: String, action: &'static str, errno: Errno) -> PatchError {
    PatchError::Io { path, action, source: errno.into() }
}

fn is_link(folder: BorrowedFd, name: &str) -> bool {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Opens what has this name in the folder, unless it is a symbolic link.
#[cfg(target_os = "linux")]
fn open_in(folder: BorrowedFd, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::openat2(folder, name, flags, mode, beneath) {
        // A kernel before 5.6, or a wall that does not know the call: one name that is not a link stays
        // beneath.
        Err(Errno::NOSYS | Errno::PERM) => open_name(folder, name, flags, mode),
        opened => opened,
    }
}

/// Opens what has this name in the folder, unless it is a symbolic link.
#[cfg(not(target_os = "linux"))]
fn open_in(folder: BorrowedFd, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    open_name(folder, name, flags, mode)
}

fn open_name(folder: BorrowedFd, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(folder, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, mode)
}
