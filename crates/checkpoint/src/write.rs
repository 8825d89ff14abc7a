//! Writing safetensors files so that a reader sees the whole file or none.
//!
//! [`write_safetensors`] writes tensors that are in memory; [`write_file`] is the same for tensors that come
//! piece by piece. Both write to a sibling `NAME.partial` and rename it at the end; on an error the partial
//! file is removed, and only a killed process can leave one, which the next write of the same name replaces.
//! [`check_space`] asks the file system first, because a disk that fills up after ten gigabytes is a bad
//! messenger.
//!
//! Tensors are laid out in the order given, without gaps, after a header padded to a multiple of 8 bytes.
//! This module does not know what the tensors mean.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::dtype::Dtype;
use crate::error::Error;

/// Bytes handed to the operating system, and reported as progress, at a time.
const STEP_BYTES: usize = 16 << 20;

/// Name, dtype and shape of a tensor to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The tensor's name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes of the axes.
    pub shape: Vec<usize>,
}

impl Outline {
    /// Bytes of the tensor.
    pub fn num_bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.num_bytes()
    }
}

/// Writes tensors that are in memory to one file, whole or not at all; an existing file is replaced.
///
/// Each tensor is its outline and its little-endian bytes. `progress` hears bytes done and bytes in all.
///
/// Errors: [`Error::Io`], [`Error::DiskFull`], and [`Error::BadHeader`] when a tensor's bytes do not fit its
/// outline.
pub fn write_safetensors(
    path: &Path,
    tensors: &[(Outline, &[u8])],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), Error> {
    for (outline, bytes) in tensors {
        if bytes.len() != outline.num_bytes() {
            let detail = format!(
                "the tensor {} has {} bytes, but {} {:?} takes {}",
                outline.name,
                bytes.len(),
                outline.dtype,
                outline.shape,
                outline.num_bytes()
            );
            return Err(Error::BadHeader { path: path.to_path_buf(), detail });
        }
    }
    let outlines: Vec<Outline> = tensors.iter().map(|(outline, _)| outline.clone()).collect();
    let total: u64 = tensors.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    check_space(path, total)?;
    let partial = Partial::file(path)?;
    let mut done = 0;
    write_file(partial.path(), &outlines, &mut |index, sink| {
        for step in tensors[index].1.chunks(STEP_BYTES) {
            sink.write_all(step)?;
            done += step.len() as u64;
            progress(done, total);
        }
        Ok(())
    })?;
    partial.finish()
}

/// Writes one file; `body` is called once for each outline, in order, and must write exactly its bytes.
pub(crate) fn write_file(
    path: &Path,
    outlines: &[Outline],
    body: &mut dyn FnMut(usize, &mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let file = File::create(path).map_err(Error::io(path, "create the file"))?;
    let mut sink = BufWriter::with_capacity(1 << 20, file);
    let mut write_all = || -> io::Result<()> {
        sink.write_all(&safetensors_header(outlines))?;
        for index in 0..outlines.len() {
            body(index, &mut sink)?;
        }
        sink.flush()
    };
    write_all().map_err(Error::io(path, "write the file"))
}

/// Everything of a safetensors file before its data: length and JSON of the header, padded so that the data
/// starts at a multiple of 8. The tensors' little-endian bytes follow in order, without gaps.
pub fn safetensors_header(outlines: &[Outline]) -> Vec<u8> {
    let mut entries = Map::new();
    entries.insert("__metadata__".to_string(), json!({ "format": "pt" }));
    let mut offset = 0;
    for outline in outlines {
        let end = offset + outline.num_bytes();
        let entry =
            json!({ "dtype": outline.dtype.name(), "shape": outline.shape, "data_offsets": [offset, end] });
        entries.insert(outline.name.clone(), entry);
        offset = end;
    }
    let mut json = Value::Object(entries).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json);
    bytes
}

/// Fails when the file system of `path`, or of the folder that `path` is to be made in, has fewer than
/// `needed` bytes free for this user.
///
/// Errors: [`Error::DiskFull`]. A file system that cannot be asked is not an error: the write itself will
/// tell.
pub(crate) fn check_space(path: &Path, needed: u64) -> Result<(), Error> {
    let folder = if path.is_dir() { path.to_path_buf() } else { parent(path) };
    match available_bytes(&folder) {
        Some(available) if available < needed => {
            Err(Error::DiskFull { path: path.to_path_buf(), needed, available })
        }
        _ => Ok(()),
    }
}

fn available_bytes(folder: &Path) -> Option<u64> {
    let folder = CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut answer = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `folder` is a NUL-terminated string, `answer` has room for the result, and it is read only when
    // the call reports that it was filled in.
    let answer = unsafe {
        if libc::statvfs(folder.as_ptr(), answer.as_mut_ptr()) != 0 {
            return None;
        }
        answer.assume_init()
    };
    // The field widths differ between systems, hence the casts.
    Some((answer.f_bavail as u64).saturating_mul(answer.f_frsize as u64))
}

/// The folder that holds `path`.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// A file or folder in the making, removed unless it is finished.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    target: PathBuf,
    is_finished: bool,
}

impl Partial {
    /// The sibling `NAME.partial` for a file; an old one is overwritten.
    pub(crate) fn file(target: &Path) -> Result<Partial, Error> {
        if target.is_dir() {
            return Err(Error::TargetExists { path: target.to_path_buf() });
        }
        Ok(Partial { path: partial_path(target), target: target.to_path_buf(), is_finished: false })
    }

    /// A new and empty folder: the sibling `NAME.partial`, or `checkpoint.partial` inside a target that
    /// exists.
    ///
    /// Inside, because an empty folder may be where somebody stands, a mount point, or behind a link: it
    /// cannot be replaced, only filled. What an interrupted run left is removed, but only when every file in
    /// it is one that `is_ours` claims.
    pub(crate) fn folder(target: &Path, is_ours: impl Fn(&str) -> bool) -> Result<Partial, Error> {
        let (target, path) = if target.is_dir() {
            let target = fs::canonicalize(target).map_err(Error::io(target, "find the folder"))?;
            let path = target.join(PARTIAL_INSIDE);
            (target, path)
        } else {
            // Without a dot at the end, which a rename does not take.
            let target: PathBuf = target.components().collect();
            if target.file_name().is_none() {
                let nameless = io::Error::other("this path does not name a folder that could be made");
                return Err(Error::io(&target, "create the folder")(nameless));
            }
            let path = partial_path(&target);
            (target, path)
        };
        // A link that leads nowhere does not exist for `exists`, but it is in the way.
        if target.symlink_metadata().is_ok() && !holds_only(&target, PARTIAL_INSIDE) {
            return Err(Error::TargetExists { path: target });
        }
        remove_leftover(&path, is_ours)?;
        fs::create_dir(&path).map_err(Error::io(&path, "create the folder"))?;
        Ok(Partial { path, target, is_finished: false })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the finished work its name, or moves it into the folder that was there.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        if self.path.parent() == Some(&self.target) {
            self.move_out()?;
            // Drop removes the emptied folder.
            return Ok(());
        }
        fs::rename(&self.path, &self.target)
            .map_err(Error::io(&self.target, "move the finished files into place"))?;
        self.is_finished = true;
        Ok(())
    }

    /// Moves the files of the partial folder one level up; after an error none of them is there.
    fn move_out(&self) -> Result<(), Error> {
        if !holds_only(&self.target, PARTIAL_INSIDE) {
            return Err(Error::TargetExists { path: self.target.clone() });
        }
        let failed = || Error::io(&self.target, "move the finished files into place");
        let entries = fs::read_dir(&self.path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut names: Vec<OsString> =
            entries.map_err(failed())?.into_iter().map(|entry| entry.file_name()).collect();
        // The config last: a folder without one is no checkpoint yet.
        names.sort_by_key(|name| (name == "config.json", name.clone()));
        for (index, name) in names.iter().enumerate() {
            if let Err(error) = fs::rename(self.path.join(name), self.target.join(name)) {
                for moved in &names[..index] {
                    // Failing to clean up must not hide the error that led here.
                    let _ = fs::remove_file(self.target.join(moved));
                }
                return Err(failed()(error));
            }
        }
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        // Failing to clean up must not hide the error that led here.
        let _ = if self.path.is_dir() { fs::remove_dir_all(&self.path) } else { fs::remove_file(&self.path) };
    }
}

/// The partial folder inside a target that exists.
const PARTIAL_INSIDE: &str = "checkpoint.partial";

/// Whether a path is a folder in which there is nothing, or nothing but this name.
fn holds_only(folder: &Path, name: &str) -> bool {
    fs::read_dir(folder)
        .is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == name)))
}

/// Removes the folder that an interrupted run left, when nothing in it is somebody else's.
fn remove_leftover(path: &Path, is_ours: impl Fn(&str) -> bool) -> Result<(), Error> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(Error::io(path, "list the folder"))?;
    let foreign = |entry: io::Result<fs::DirEntry>| {
        !entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(&is_ours))
    };
    if entries.into_iter().any(foreign) {
        return Err(Error::TargetExists { path: path.to_path_buf() });
    }
    fs::remove_dir_all(path).map_err(Error::io(path, "remove what an interrupted run left"))
}

fn partial_path(target: &Path) -> PathBuf {
    let mut name = target.file_name().map_or_else(|| OsString::from("checkpoint"), OsString::from);
    name.push(".partial");
    target.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_bytes_than_any_disk_has_is_refused_with_both_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let error = check_space(&folder.path().join("big"), u64::MAX).unwrap_err();
        assert!(matches!(error, Error::DiskFull { needed: u64::MAX, .. }));
        check_space(&folder.path().join("small"), 1).unwrap();
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.safetensors");
        let partial = Partial::file(&target).unwrap();
        let outline = Outline { name: "a".to_string(), dtype: Dtype::U8, shape: vec![4] };
        let result =
            write_file(partial.path(), &[outline], &mut |_, _| Err(io::Error::other("the disk is on fire")));
        assert!(result.unwrap_err().to_string().contains("on fire"));
        drop(partial);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_abandoned_folder_is_removed_with_its_files() {
        let parent = tempfile::tempdir().unwrap();
        let partial = Partial::folder(&parent.path().join("big"), |_| false).unwrap();
        fs::write(partial.path().join("model.safetensors"), "half of it").unwrap();
        drop(partial);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    /// The moved files go again when one of them cannot be moved: here a folder with something in it is in
    /// the way.
    #[test]
    fn a_failed_move_leaves_nothing_of_ours() {
        let target = tempfile::tempdir().unwrap();
        let partial = Partial::folder(target.path(), |_| false).unwrap();
        for name in ["a", "b", "config.json"] {
            fs::write(partial.path().join(name), name).unwrap();
        }
        // Made while we wrote.
        fs::create_dir_all(target.path().join("b/theirs")).unwrap();
        assert!(matches!(partial.finish().unwrap_err(), Error::TargetExists { .. }));
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);

        let target = tempfile::tempdir().unwrap();
        let partial = Partial::folder(target.path(), |_| false).unwrap();
        fs::write(partial.path().join("a"), "a").unwrap();
        // A name that the move itself frees for nothing: the partial folder's own.
        fs::write(partial.path().join(PARTIAL_INSIDE), "in the way").unwrap();
        assert!(matches!(partial.finish().unwrap_err(), Error::Io { .. }));
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_tensor_that_does_not_fit_its_outline_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let outline = Outline { name: "a".to_string(), dtype: Dtype::F32, shape: vec![4] };
        let error = write_safetensors(&folder.path().join("x"), &[(outline, &[0; 15])], &mut |_, _| {});
        assert!(error.unwrap_err().to_string().contains("15 bytes"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
