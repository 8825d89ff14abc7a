//! The bytes of one tensor, wherever they live: in a mapped file, in the program itself, or in memory.
//!
//! [`Bytes`] is what the model room keeps: it derefs to `[u8]`, clones without copying, and keeps its map
//! alive. A map and not a read, because the experts of the published checkpoints are most of a small
//! machine's memory and the page cache may drop and reload them. [`Tensor`] adds the name, dtype and shape,
//! and typed views for the small tensors. Who knows how mapped pages will be used says so:
//! [`Bytes::release`], [`Bytes::will_need`], [`Bytes::read_at_random`].
//!
//! Nothing here knows what a tensor is for. What happens when a mapped file shrinks is in `bus_error.rs`.

use std::fmt;
use std::fs::{self, File};
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gptoss_formats::{BLOCK_VALUES, Q8_0Block, q8_0_dequantize};
use half::{bf16, f16};

use crate::bus_error;
use crate::dtype::Dtype;
use crate::error::Error;

/// A named tensor with its bytes, row-major, little-endian.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The name in the file (or the canonical Hugging Face name of a synthetic tensor).
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes of the axes, slowest first.
    pub shape: Vec<usize>,
    /// The elements; aligned to the element size.
    pub bytes: Bytes,
}

impl Tensor {
    /// The elements as bf16, without copying.
    ///
    /// Errors: [`Error::WrongDtype`] when the tensor is something else.
    pub fn bf16(&self) -> Result<&[bf16], Error> {
        self.elements(Dtype::Bf16)
    }

    /// The elements as f16, without copying.
    ///
    /// Errors: [`Error::WrongDtype`] when the tensor is something else.
    pub fn f16(&self) -> Result<&[f16], Error> {
        self.elements(Dtype::F16)
    }

    /// The elements as f32, without copying.
    ///
    /// Errors: [`Error::WrongDtype`] when the tensor is something else.
    pub fn f32(&self) -> Result<&[f32], Error> {
        self.elements(Dtype::F32)
    }

    /// The elements as i64, without copying.
    ///
    /// Errors: [`Error::WrongDtype`] when the tensor is something else.
    pub fn i64(&self) -> Result<&[i64], Error> {
        self.elements(Dtype::I64)
    }

    /// A copy of a bf16, f16, f32 or Q8_0 tensor in f32, exact, for the small vectors that computations want
    /// in full precision.
    ///
    /// Errors: [`Error::WrongDtype`] when the tensor is something else.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        match self.dtype {
            Dtype::F32 => Ok(self.f32()?.to_vec()),
            Dtype::F16 => Ok(self.f16()?.iter().map(|value| value.to_f32()).collect()),
            Dtype::Q8_0 => Ok(self.bytes.as_chunks().0.iter().flat_map(q8_0_numbers).collect()),
            _ => Ok(self.bf16()?.iter().map(|value| value.to_f32()).collect()),
        }
    }

    fn elements<T: bytemuck::AnyBitPattern>(&self, expected: Dtype) -> Result<&[T], Error> {
        match bytemuck::try_cast_slice(&self.bytes) {
            Ok(elements) if self.dtype == expected => Ok(elements),
            _ => Err(Error::WrongDtype {
                path: self.bytes.path().map(Path::to_path_buf).unwrap_or_default(),
                tensor: self.name.clone(),
                expected,
                found: self.dtype,
            }),
        }
    }
}

/// The numbers of one block.
fn q8_0_numbers(block: &Q8_0Block) -> [f32; BLOCK_VALUES] {
    let mut numbers = [0.0; BLOCK_VALUES];
    q8_0_dequantize(&mut numbers, block);
    numbers
}

/// A shared, immutable run of bytes.
#[derive(Clone, Debug)]
pub struct Bytes {
    owner: Owner,
    range: Range<usize>,
}

#[derive(Clone, Debug)]
enum Owner {
    Map(Arc<MappedFile>),
    Static(&'static [u8]),
    /// Whole words, so that every element type is aligned.
    Memory(Arc<Vec<u64>>),
    Lent(Lender),
}

/// Memory of a kind that this room does not know.
#[derive(Clone)]
struct Lender(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl fmt::Debug for Lender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lender").field(&(*self.0).as_ref().len()).finish()
    }
}

impl Bytes {
    /// All bytes of a mapped file.
    pub(crate) fn mapped(map: Arc<MappedFile>) -> Bytes {
        let range = 0..map.bytes().len();
        Bytes { owner: Owner::Map(map), range }
    }

    /// Bytes that are part of the program.
    pub(crate) fn embedded(bytes: &'static [u8]) -> Bytes {
        Bytes { owner: Owner::Static(bytes), range: 0..bytes.len() }
    }

    /// The first `num_bytes` bytes of owned words.
    ///
    /// Panics: when there are not so many.
    pub fn owned(words: Vec<u64>, num_bytes: usize) -> Bytes {
        assert!(num_bytes <= words.len() * 8, "owned bytes end with their words");
        Bytes { owner: Owner::Memory(Arc::new(words)), range: 0..num_bytes }
    }

    /// All bytes of memory that somebody else allocated. It begins at a multiple of 8, and is always the
    /// same.
    pub fn lent(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Bytes {
        let range = 0..owner.as_ref().len();
        Bytes { owner: Owner::Lent(Lender(Arc::new(owner))), range }
    }

    /// A part of these bytes, sharing their owner; `None` when it does not fit.
    pub fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        let start = self.range.start.checked_add(range.start)?;
        let end = self.range.start.checked_add(range.end)?;
        let fits = start <= end && end <= self.range.end;
        fits.then(|| Bytes { owner: self.owner.clone(), range: start..end })
    }

    /// The same bytes at an address that is a multiple of `alignment` (at most 8), copied only if they have
    /// to be.
    ///
    /// Published files are aligned; the format does not promise it, and bytes embedded in a program are
    /// anywhere.
    pub(crate) fn aligned(self, alignment: usize) -> Bytes {
        if (self.as_ptr() as usize).is_multiple_of(alignment) {
            return self;
        }
        let mut words = vec![0u64; self.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..self.len()].copy_from_slice(&self);
        Bytes::owned(words, self.range.len())
    }

    /// The file these bytes are mapped from, if they are.
    pub fn path(&self) -> Option<&Path> {
        match &self.owner {
            Owner::Map(map) => Some(&map.path),
            Owner::Static(_) | Owner::Memory(_) | Owner::Lent(_) => None,
        }
    }

    /// Gives the mapped pages of these bytes back to the system; they are read from the file again when they
    /// are used again. Nothing happens to bytes that are not mapped from a file, and nothing goes wrong if
    /// the system declines.
    ///
    /// Pages at both ends that hold neighbouring bytes too go with them.
    pub fn release(&self) {
        let Owner::Map(map) = &self.owner else { return };
        let advice = memmap2::UncheckedAdvice::DontNeed;
        // SAFETY: the map is a read-only view of a file, so pages that are dropped come back with the file's
        // bytes: what a slice of them shows does not change, and no write can be lost.
        let _ = unsafe { map.map.unchecked_advise_range(advice, self.range.start, self.range.len()) };
    }

    /// Has the system read the mapped pages of these bytes ahead of their use, as far as it likes to.
    pub fn will_need(&self) {
        self.advise(memmap2::Advice::WillNeed);
    }

    /// Tells the system that a few places of these mapped bytes will be read, so that it reads nothing around
    /// them.
    pub fn read_at_random(&self) {
        #[cfg(target_os = "linux")]
        self.advise(memmap2::Advice::NoHugePage);
        self.advise(memmap2::Advice::Random);
    }

    fn advise(&self, advice: memmap2::Advice) {
        if let Owner::Map(map) = &self.owner {
            // Advice that is not taken costs time and nothing else.
            let _ = map.map.advise_range(advice, self.range.start, self.range.len());
        }
    }

    /// Whether these bytes are memory of this process's own, as opposed to a file's or the program's.
    pub fn is_owned(&self) -> bool {
        matches!(self.owner, Owner::Memory(_) | Owner::Lent(_))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all = match &self.owner {
            Owner::Map(map) => map.bytes(),
            Owner::Static(bytes) => bytes,
            Owner::Memory(words) => bytemuck::cast_slice(words.as_slice()),
            Owner::Lent(lender) => (*lender.0).as_ref(),
        };
        &all[self.range.clone()]
    }
}

/// Opens a regular file; its size with it. Anything else is refused before it is opened: opening a pipe waits
/// for a writer, and a device may have no end.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64), Error> {
    let metadata = fs::metadata(path).map_err(Error::io(path, "read the file's size"))?;
    if !metadata.is_file() {
        let source = std::io::Error::other("it is not a regular file");
        return Err(Error::io(path, "open the file")(source));
    }
    let file = File::open(path).map_err(Error::io(path, "open the file"))?;
    Ok((file, metadata.len()))
}

/// A whole file in the address space, read-only, known to the bus-error handler while it lives.
#[derive(Debug)]
pub(crate) struct MappedFile {
    map: memmap2::Mmap,
    slot: Option<bus_error::Slot>,
    path: PathBuf,
}

impl MappedFile {
    /// Maps a file; an empty file gives an empty map.
    pub(crate) fn open(path: &Path) -> Result<MappedFile, Error> {
        let (file, _) = open_regular(path)?;
        // SAFETY: the map is read-only and private to this value. Its bytes can still change if another
        // process writes the file; every bit pattern is a valid value of the types these bytes are viewed as,
        // so that is a wrong result and not undefined layout. If the file shrinks, access raises SIGBUS,
        // which `bus_error` turns into a message that names the file.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io(path, "map the file"))?;
        // Files that are not in the page cache yet come into it on large pages, which cost fewer walks
        // through the page tables. A system or a file system without them says no.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let slot = bus_error::register(&map, path);
        Ok(MappedFile { map, slot, path: path.to_path_buf() })
    }

    fn bytes(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // Before the map goes: the addresses may belong to something else a moment later.
        if let Some(slot) = self.slot.take() {
            bus_error::unregister(slot);
        }
    }
}
