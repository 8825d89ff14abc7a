//! The header of a GGUF file: which metadata does it carry, and which tensor lies where?
//!
//! [`GgufHeader::parse`] is total: any bytes give a header or an error that names the broken rule. Strings
//! and lists are walked and checked but not copied: a value remembers where its bytes lie, so that a
//! vocabulary of 200,000 tokens costs one range until somebody asks for it. Memory is bounded by the entries
//! that are really there, whatever the counts claim.
//!
//! Rules beyond the format's own: names and keys appear once, no axis is empty, rows are whole blocks, and
//! every tensor lies inside the file. Versions 2 and 3 are read; they differ only in that 3 may be
//! big-endian, which no published file is. This module knows nothing of models.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use super::cursor::Cursor;
use super::element::GgmlType;
use super::limits::{
    GGUF_ALIGNMENT_MAX, GGUF_AXES_MAX, GGUF_KEYS_MAX, GGUF_LIST_DEPTH_MAX, GGUF_LIST_LEN_MAX,
    GGUF_NAME_BYTES_MAX, GGUF_STRING_BYTES_MAX, GGUF_TENSORS_MAX,
};
use crate::error::Error;

/// What a GGUF file starts with.
const MAGIC: [u8; 4] = *b"GGUF";
/// The key that moves tensors to other boundaries than [`DEFAULT_ALIGNMENT`].
const ALIGNMENT_KEY: &str = "general.alignment";
/// Units: bytes.
const DEFAULT_ALIGNMENT: u64 = 32;

/// The table of contents of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufHeader {
    /// Version of the format: 2 or 3.
    pub version: u32,
    /// Metadata in the order of the file.
    pub metadata: Vec<(String, GgufValue)>,
    /// Tensors in the order of the file.
    pub tensors: Vec<GgufTensor>,
}

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufValue {
    /// An unsigned number of any width.
    Unsigned(u64),
    /// A signed number of any width.
    Signed(i64),
    /// A float of either width.
    Real(f64),
    /// True or false.
    Flag(bool),
    /// Where the string's bytes lie in the file; they need not be UTF-8.
    Text(Range<usize>),
    /// A list.
    List(GgufList),
}

impl fmt::Display for GgufValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GgufValue::Unsigned(number) => write!(f, "{number}"),
            GgufValue::Signed(number) => write!(f, "{number}"),
            GgufValue::Real(number) => write!(f, "{number}"),
            GgufValue::Flag(flag) => write!(f, "{flag}"),
            GgufValue::Text(range) => write!(f, "a string of {} bytes", range.len()),
            GgufValue::List(list) => write!(f, "a list of {} elements", list.len),
        }
    }
}

/// A list of values, left where it is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufList {
    /// The type of the elements, by its number in the format.
    pub(crate) kind: u32,
    /// Number of elements.
    pub len: usize,
    /// Where the elements lie in the file.
    pub range: Range<usize>,
}

/// One tensor's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// The tensor's name.
    pub name: String,
    /// Element type.
    pub element: GgmlType,
    /// Sizes of the axes in values, slowest first (the file has them fastest first).
    pub shape: Vec<usize>,
    /// Where the bytes lie, counted from the start of the file.
    pub range: Range<usize>,
}

/// A tensor's entry before the start of the data is known.
struct Entry {
    tensor: GgufTensor,
    offset: u64,
    num_bytes: u64,
}

impl GgufHeader {
    /// Reads and checks the header of a whole file's bytes; `path` only labels errors.
    ///
    /// Errors: [`Error::Truncated`] when the file ends before its header or its data, [`Error::BadGguf`] for
    /// every other broken rule.
    pub fn parse(file: &[u8], path: &Path) -> Result<GgufHeader, Error> {
        let mut cursor = Cursor::new(file, path);
        let magic = cursor.array::<4>()?;
        if magic != MAGIC {
            return Err(cursor
                .bad(format!("it starts with {:?} and not with GGUF", magic.escape_ascii().to_string())));
        }
        let version = version(&mut cursor)?;
        let num_tensors = cursor.count("tensors", GGUF_TENSORS_MAX)?;
        let num_keys = cursor.count("metadata keys", GGUF_KEYS_MAX)?;
        let metadata = metadata(&mut cursor, num_keys)?;
        let alignment = alignment(&cursor, &metadata)?;
        let entries = entries(&mut cursor, num_tensors)?;
        let tensors = placed(&cursor, entries, alignment)?;
        Ok(GgufHeader { version, metadata, tensors })
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&GgufValue> {
        self.metadata.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }
}

fn version(cursor: &mut Cursor<'_>) -> Result<u32, Error> {
    match cursor.u32()? {
        version @ 2..=3 => Ok(version),
        1 => {
            Err(cursor.bad("version 1 of the format is not read: convert the file with current tools".into()))
        }
        version if version.swap_bytes() < 16 => Err(cursor.bad("it is big-endian, which is not read".into())),
        version => Err(cursor.bad(format!("version {version} of the format is not known"))),
    }
}

fn metadata(cursor: &mut Cursor<'_>, num_keys: u64) -> Result<Vec<(String, GgufValue)>, Error> {
    let mut metadata = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..num_keys {
        let key = cursor.text("a metadata key", GGUF_NAME_BYTES_MAX)?;
        if !seen.insert(key) {
            return Err(cursor.bad(format!("the metadata key {key:?} is listed twice")));
        }
        let kind = cursor.u32()?;
        let value = value(cursor, kind, key)?;
        metadata.push((key.to_string(), value));
    }
    Ok(metadata)
}

fn value(cursor: &mut Cursor<'_>, kind: u32, key: &str) -> Result<GgufValue, Error> {
    Ok(match kind {
        0 => GgufValue::Unsigned(u8::from_le_bytes(cursor.array()?).into()),
        1 => GgufValue::Signed(i8::from_le_bytes(cursor.array()?).into()),
        2 => GgufValue::Unsigned(u16::from_le_bytes(cursor.array()?).into()),
        3 => GgufValue::Signed(i16::from_le_bytes(cursor.array()?).into()),
        4 => GgufValue::Unsigned(cursor.u32()?.into()),
        5 => GgufValue::Signed(i32::from_le_bytes(cursor.array()?).into()),
        6 => GgufValue::Real(f32::from_le_bytes(cursor.array()?).into()),
        7 => GgufValue::Flag(cursor.array::<1>()? != [0]),
        8 => GgufValue::Text(cursor.string(&format!("the value of {key}"), GGUF_STRING_BYTES_MAX)?),
        9 => GgufValue::List(list(cursor, key, GGUF_LIST_DEPTH_MAX)?),
        10 => GgufValue::Unsigned(cursor.u64()?),
        11 => GgufValue::Signed(i64::from_le_bytes(cursor.array()?)),
        12 => GgufValue::Real(f64::from_le_bytes(cursor.array()?)),
        _ => return Err(cursor.bad(format!("the metadata key {key:?} has the unknown type {kind}"))),
    })
}

/// Bytes of a number of this type.
pub(crate) fn number_bytes(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Steps over a list that may hold lists, `depth` levels of them.
fn list(cursor: &mut Cursor<'_>, key: &str, depth: usize) -> Result<GgufList, Error> {
    if depth == 0 {
        return Err(cursor.bad(format!("the lists of {key} nest deeper than {GGUF_LIST_DEPTH_MAX} levels")));
    }
    let kind = cursor.u32()?;
    let len = cursor.count(&format!("elements in a list of {key}"), GGUF_LIST_LEN_MAX)?;
    let start = cursor.position();
    match kind {
        8 => {
            let what = format!("a string of {key}");
            for _ in 0..len {
                cursor.string(&what, GGUF_STRING_BYTES_MAX)?;
            }
        }
        9 => {
            for _ in 0..len {
                list(cursor, key, depth - 1)?;
            }
        }
        _ => {
            let size = number_bytes(kind)
                .ok_or_else(|| cursor.bad(format!("the list {key:?} has the unknown type {kind}")))?;
            cursor.skip(len, size)?;
        }
    }
    Ok(GgufList { kind, len: len as usize, range: start..cursor.position() })
}

fn alignment(cursor: &Cursor<'_>, metadata: &[(String, GgufValue)]) -> Result<u64, Error> {
    match metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some((_, GgufValue::Unsigned(bytes))) if bytes.is_power_of_two() && *bytes <= GGUF_ALIGNMENT_MAX => {
            Ok(*bytes)
        }
        Some((_, found)) => Err(cursor.bad(format!(
            "{ALIGNMENT_KEY} is {found}, but must be a power of two from 1 to {GGUF_ALIGNMENT_MAX}"
        ))),
    }
}

fn entries(cursor: &mut Cursor<'_>, num_tensors: u64) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..num_tensors {
        let name = cursor.text("a tensor's name", GGUF_NAME_BYTES_MAX)?;
        if !seen.insert(name) {
            return Err(cursor.bad(format!("the tensor {name} is listed twice")));
        }
        entries.push(entry(cursor, name)?);
    }
    Ok(entries)
}

fn entry(cursor: &mut Cursor<'_>, name: &str) -> Result<Entry, Error> {
    let num_axes = cursor.u32()?;
    if num_axes > GGUF_AXES_MAX {
        return Err(cursor.bad(format!("the tensor {name} has {num_axes} axes, above {GGUF_AXES_MAX}")));
    }
    let mut shape = Vec::new();
    for _ in 0..num_axes {
        let size = cursor.u64()?;
        match usize::try_from(size) {
            Ok(size) if size > 0 => shape.insert(0, size),
            _ => return Err(cursor.bad(format!("the tensor {name} has an axis of size {size}"))),
        }
    }
    let id = cursor.u32()?;
    let element = GgmlType::from_id(id).ok_or_else(|| {
        cursor.bad(format!(
            "the tensor {name} has the unknown element type {id}; the file may need a newer program"
        ))
    })?;
    let row = shape.last().copied().unwrap_or(1);
    if !row.is_multiple_of(element.block_values) {
        let (type_name, block) = (element.name, element.block_values);
        let detail =
            format!("the tensor {name} has rows of {row} values, but {type_name} has blocks of {block}");
        return Err(cursor.bad(detail));
    }
    let num_values = shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size as u64));
    let num_bytes = num_values
        .and_then(|values| (values / element.block_values as u64).checked_mul(element.block_bytes as u64))
        .ok_or_else(|| cursor.bad(format!("the shape {shape:?} of the tensor {name} overflows")))?;
    let offset = cursor.u64()?;
    Ok(Entry {
        tensor: GgufTensor { name: name.to_string(), element, shape, range: 0..0 },
        offset,
        num_bytes,
    })
}

/// Gives every tensor its place in the file.
fn placed(cursor: &Cursor<'_>, entries: Vec<Entry>, alignment: u64) -> Result<Vec<GgufTensor>, Error> {
    let data_start = (cursor.position() as u64).next_multiple_of(alignment);
    let mut tensors = Vec::with_capacity(entries.len());
    let mut file_end = 0;
    for Entry { mut tensor, offset, num_bytes } in entries {
        if !offset.is_multiple_of(alignment) {
            let name = tensor.name;
            return Err(
                cursor.bad(format!("the tensor {name} lies at offset {offset}, no multiple of {alignment}"))
            );
        }
        let start = data_start.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(num_bytes));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(cursor.bad(format!("the offset {offset} of the tensor {} overflows", tensor.name)));
        };
        file_end = file_end.max(end);
        tensor.range = start as usize..end as usize;
        tensors.push(tensor);
    }
    if file_end > cursor.len() as u64 {
        return Err(cursor.truncated(file_end));
    }
    Ok(tensors)
}
