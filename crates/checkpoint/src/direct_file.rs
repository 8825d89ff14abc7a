//! How do bytes of a file come into memory without filling the page cache as well?
//!
//! Entry point: [`DirectFile::read`]. A model larger than memory keeps its experts in buffers of its own; a
//! second copy in the page cache would push them out. So files are opened with `O_DIRECT`, where the device
//! writes into our pages, and where a file system refuses that (tmpfs, some network ones), reads go through
//! the cache, which is then told that their pages are not needed any more.
//!
//! Direct reads want whole pages at both ends: the bytes come to lie somewhere behind the start of the
//! caller's region, and [`DirectFile::read`] says where. Measured 2026-11-23 (ext4 on virtio, three other
//! jobs running): 4 MB and more at a time into huge pages 2.3 to 2.6 GB/s with one thread or six; into small
//! pages 0.7 to 1.6; through the cache with `FADV_DONTNEED` 0.4 to 0.9 at three times the processor time.
//!
//! It does not know what the bytes are.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;

/// Multiple of addresses, offsets and lengths of direct reads: a page, which every device takes.
pub(crate) const PAGE_BYTES: usize = 4096;

/// A file that is read past the page cache where that is possible.
#[derive(Debug)]
pub(crate) struct DirectFile {
    path: PathBuf,
    /// `None` where the file system has no direct reads.
    direct: Option<File>,
    /// Set once a direct read was refused.
    is_refused: AtomicBool,
    buffered: File,
}

impl DirectFile {
    /// Opens a file.
    ///
    /// Errors: [`Error::Io`].
    pub(crate) fn open(path: &Path) -> Result<DirectFile, Error> {
        let buffered = File::open(path).map_err(Error::io(path, "open the file"))?;
        let direct = open_direct(path).ok();
        Ok(DirectFile { path: path.to_path_buf(), direct, is_refused: AtomicBool::new(false), buffered })
    }

    /// Bytes of region that a read of `num_bytes` from any offset may touch, whole pages.
    pub(crate) const fn room(num_bytes: usize) -> usize {
        num_bytes.next_multiple_of(PAGE_BYTES) + PAGE_BYTES
    }

    /// Reads bytes of the file into `region`, which starts at a multiple of a page and has the
    /// [`DirectFile::room`]; where in it they lie then, at an address that is a multiple of `alignment` (at
    /// most 8).
    ///
    /// Errors: [`Error::Io`]; [`Error::Truncated`] when the file ends before them.
    pub(crate) fn read(
        &self,
        region: &mut [u8],
        bytes: Range<u64>,
        alignment: usize,
    ) -> Result<Range<usize>, Error> {
        let num_bytes = (bytes.end - bytes.start) as usize;
        let lead = (bytes.start % PAGE_BYTES as u64) as usize;
        if let Some(file) = &self.direct
            && lead.is_multiple_of(alignment)
            && !self.is_refused.load(Ordering::Relaxed)
        {
            let pages = &mut region[..(lead + num_bytes).next_multiple_of(PAGE_BYTES)];
            match read_up_to(file, pages, bytes.start - lead as u64) {
                Ok(found) if found >= lead + num_bytes => return Ok(lead..lead + num_bytes),
                Ok(_) => return Err(self.truncated(bytes.end)),
                Err(error) if error.kind() == ErrorKind::InvalidInput => {
                    self.is_refused.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(Error::io(&self.path, "read the file")(error)),
            }
        }
        let region = &mut region[..num_bytes];
        let found = read_up_to(&self.buffered, region, bytes.start)
            .map_err(Error::io(&self.path, "read the file"))?;
        forget_pages(&self.buffered, &bytes);
        if found < num_bytes { Err(self.truncated(bytes.end)) } else { Ok(0..num_bytes) }
    }

    fn truncated(&self, expected: u64) -> Error {
        let found = self.buffered.metadata().map_or(0, |metadata| metadata.len());
        Error::Truncated { path: self.path.clone(), expected, found }
    }
}

/// Fills `region` from `offset` on, or as much of it as the file has.
fn read_up_to(file: &File, region: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < region.len() {
        match file.read_at(&mut region[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(found) => filled += found,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // After the last part of a page, the rest of a direct read has no aligned place to go on from.
            Err(_) if filled % PAGE_BYTES != 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path) -> io::Result<File> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn forget_pages(file: &File, bytes: &Range<u64>) {
    let length = std::num::NonZeroU64::new(bytes.end - bytes.start);
    // Advice that is not taken costs memory of the system's, nothing else.
    let _ = rustix::fs::fadvise(file, bytes.start, length, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn forget_pages(_file: &File, _bytes: &Range<u64>) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(num_bytes: usize) -> memmap2::MmapMut {
        memmap2::MmapMut::map_anon(DirectFile::room(num_bytes)).unwrap()
    }

    #[test]
    fn any_range_comes_whole_directly_and_through_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let contents: Vec<u8> = (0..3 * PAGE_BYTES + 777).map(|i| (i * 31 % 251) as u8).collect();
        std::fs::write(&path, &contents).unwrap();
        let mut file = DirectFile::open(&path).unwrap();
        for is_direct in [true, false] {
            if !is_direct {
                file.direct = None;
            }
            for (start, end) in [(0, 10), (1, PAGE_BYTES), (4095, 4097), (777, contents.len()), (8192, 8192)]
            {
                let mut region = region(end - start);
                let found = file.read(&mut region, start as u64..end as u64, 1).unwrap();
                assert!(region[found] == contents[start..end], "{is_direct}: {start}..{end}");
            }
            let mut region = region(20);
            let odd = file.read(&mut region, 5..15, 2).unwrap();
            assert!(odd.start.is_multiple_of(2) && region[odd] == contents[5..15]);
        }
    }

    #[test]
    fn an_end_that_came_too_early_is_said_with_both_lengths() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 5000]).unwrap();
        let mut file = DirectFile::open(&path).unwrap();
        for _ in 0..2 {
            let error = file.read(&mut region(1000), 4500..5500, 1).unwrap_err();
            assert!(matches!(error, Error::Truncated { expected: 5500, found: 5000, .. }), "{error}");
            file.direct = None;
        }
    }
}
