//! The safetensors header: which tensor lies where in a file.
//!
//! [`Header::parse`] is total: any bytes give a header or an error that names the broken rule and the tensor.
//! It is our own and not the `safetensors` crate's, because a person with a damaged 5 GB download needs to
//! hear *which* tensor is wrong and whether the file is merely cut short; the crate's errors carry no tensor
//! name, treat a truncated file and a file with trailing bytes alike, and let a repeated name pass. The crate
//! stays as the oracle of the tests.
//!
//! Rules: 8 bytes of little-endian header length, a JSON object of that length, then the data, which the
//! tensors tile without hole or overlap. Every allocation is bounded by the header's length, and that by the
//! file's. [`SafetensorsFile`] maps one file and hands out its tensors; it knows nothing of models.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::bytes::{Bytes, MappedFile, Tensor};
use crate::dtype::Dtype;
use crate::error::Error;

/// Bytes a header may have, as in the reference implementation.
pub const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Axes a tensor may have.
const RANK_MAX: usize = 16;
/// Bytes before the header.
const LENGTH_BYTES: usize = 8;

/// One tensor's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The tensor's name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// Where the bytes lie, counted from the start of the file.
    pub range: Range<usize>,
}

/// The table of contents of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Entries in the order of their bytes.
    pub entries: Vec<Entry>,
}

impl Header {
    /// Reads and checks the header of a whole file's bytes; `path` only labels errors.
    ///
    /// Errors: [`Error::Truncated`] when the file ends before its header or its data, [`Error::BadHeader`]
    /// for every other broken rule.
    pub fn parse(file: &[u8], path: &Path) -> Result<Header, Error> {
        let truncated = |expected| Error::Truncated { path: path.into(), expected, found: file.len() as u64 };
        let bad = |detail: String| Error::BadHeader { path: path.into(), detail };
        let length_bytes = file.first_chunk::<LENGTH_BYTES>().ok_or(truncated(LENGTH_BYTES as u64))?;
        let header_bytes = u64::from_le_bytes(*length_bytes);
        if header_bytes > HEADER_BYTES_MAX {
            return Err(bad(format!("its header claims {header_bytes} bytes, above {HEADER_BYTES_MAX}")));
        }
        let data_start = LENGTH_BYTES + header_bytes as usize;
        let json = file.get(LENGTH_BYTES..data_start).ok_or(truncated(data_start as u64))?;
        let raw: RawHeader = serde_json::from_slice(json).map_err(|error| bad(format!("header: {error}")))?;
        let mut entries = Vec::with_capacity(raw.0.len());
        for (name, entry) in raw.0 {
            entries.push(checked_entry(name, entry, data_start).map_err(bad)?);
        }
        entries.sort_by_key(|entry| (entry.range.start, entry.range.end));
        let mut end = data_start;
        for entry in &entries {
            if entry.range.start != end {
                let kind =
                    if entry.range.start < end { "overlaps the bytes of" } else { "leaves a hole after" };
                return Err(bad(format!("the tensor {} {kind} the tensor before it", entry.name)));
            }
            end = entry.range.end;
        }
        if end > file.len() {
            return Err(truncated(end as u64));
        }
        if end < file.len() {
            return Err(bad(format!("{} bytes follow the last tensor", file.len() - end)));
        }
        Ok(Header { entries })
    }
}

/// One mapped safetensors file.
#[derive(Clone, Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    bytes: Bytes,
    header: Header,
}

impl SafetensorsFile {
    /// Maps a file and checks its header.
    ///
    /// Errors: [`Error::Io`], [`Error::Truncated`], [`Error::BadHeader`].
    pub fn open(path: &Path) -> Result<SafetensorsFile, Error> {
        SafetensorsFile::from_bytes(Bytes::mapped(Arc::new(MappedFile::open(path)?)), path)
    }

    /// The same over bytes that are already there; `path` labels errors.
    pub(crate) fn from_bytes(bytes: Bytes, path: &Path) -> Result<SafetensorsFile, Error> {
        let header = Header::parse(&bytes, path)?;
        Ok(SafetensorsFile { path: path.to_path_buf(), bytes, header })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the whole file.
    pub fn num_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Its table of contents.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// A tensor by name, for files that are not checkpoints (recorded logits, for example).
    ///
    /// Errors: [`Error::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        let found = self.header.entries.iter().find(|entry| entry.name == name);
        found.map(|entry| self.view(entry)).ok_or_else(|| Error::MissingTensor {
            folder: self.path.clone(),
            tensor: name.to_string(),
            remedy: "look at what the file holds and ask for one of those tensors",
        })
    }

    /// The tensor of an entry of this file's own header: a view, copied only when the file left it unaligned.
    pub(crate) fn view(&self, entry: &Entry) -> Tensor {
        let bytes =
            self.bytes.slice(entry.range.clone()).expect("entries were checked against the file's length");
        Tensor {
            name: entry.name.clone(),
            dtype: entry.dtype,
            shape: entry.shape.clone(),
            bytes: bytes.aligned(entry.dtype.num_bytes()),
        }
    }
}

/// Turns a raw entry into a checked one, or says in words what is wrong with it.
fn checked_entry(name: String, raw: RawEntry, data_start: usize) -> Result<Entry, String> {
    let dtype = Dtype::from_name(&raw.dtype)
        .ok_or_else(|| format!("the tensor {name} has the unknown dtype {:?}", raw.dtype))?;
    if raw.shape.len() > RANK_MAX {
        return Err(format!("the tensor {name} has {} axes, above {RANK_MAX}", raw.shape.len()));
    }
    let too_large = || format!("the shape {:?} of the tensor {name} overflows", raw.shape);
    let mut num_bytes = dtype.num_bytes();
    let mut shape = Vec::with_capacity(raw.shape.len());
    for &size in &raw.shape {
        let size = usize::try_from(size).map_err(|_| too_large())?;
        num_bytes = num_bytes.checked_mul(size).ok_or_else(too_large)?;
        shape.push(size);
    }
    let [begin, end] = raw.data_offsets;
    if end.checked_sub(begin) != Some(num_bytes as u64) {
        return Err(format!(
            "the tensor {name} has the data offsets {begin}..{end}, but {dtype} {shape:?} takes {num_bytes} bytes"
        ));
    }
    let place = |offset: u64| usize::try_from(offset).ok().and_then(|offset| offset.checked_add(data_start));
    match (place(begin), place(end)) {
        (Some(begin), Some(end)) => Ok(Entry { name, dtype, shape, range: begin..end }),
        _ => Err(format!("the data offsets {begin}..{end} of the tensor {name} overflow")),
    }
}

/// The header as JSON, repeated names refused.
struct RawHeader(Vec<(String, RawEntry)>);

#[derive(Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawHeader, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        use serde::de::Error as _;
        let mut entries = Vec::new();
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let entry =
                map.next_value().map_err(|error| A::Error::custom(format!("tensor {name}: {error}")))?;
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("the tensor {name} is listed twice")));
            }
            entries.push((name, entry));
        }
        Ok(RawHeader(entries))
    }
}
