//! One mapped GGUF file: typed access to its metadata and views of its tensors.
//!
//! Entry point: [`GgufFile::open`]. A missing key is `None`; a key of the wrong kind is an error that names
//! it. Numbers are taken from any width, because writers differ; a list of one number that repeats is taken
//! for that number, because some writers store per-layer values. Strings are borrowed from the map.
//!
//! This module does not know which keys a model needs.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gptoss_formats::{BLOCK_VALUES, GgmlQuant, Q8_0_BLOCK_BYTES};

use super::cursor::Cursor;
use super::element::Storage;
use super::header::{GgufHeader, GgufList, GgufTensor, GgufValue, number_bytes};
use super::limits::GGUF_STRING_BYTES_MAX;
use crate::bytes::{Bytes, MappedFile, Tensor};
use crate::dtype::Dtype;
use crate::error::Error;
use crate::parallel::in_parallel;

/// Elements of a list of numbers that are taken into memory; per-layer values are the only such lists that
/// are read.
const NUMBERS_MAX: usize = 1 << 12;

/// A file with its header.
#[derive(Clone, Debug)]
pub(crate) struct GgufFile {
    path: PathBuf,
    bytes: Bytes,
    header: GgufHeader,
}

impl GgufFile {
    /// Maps a file and checks its header.
    pub(crate) fn open(path: &Path) -> Result<GgufFile, Error> {
        let bytes = Bytes::mapped(Arc::new(MappedFile::open(path)?));
        let header = GgufHeader::parse(&bytes, path)?;
        Ok(GgufFile { path: path.to_path_buf(), bytes, header })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the whole file.
    pub(crate) fn num_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The tensors in the order of the file.
    pub(crate) fn tensors(&self) -> &[GgufTensor] {
        &self.header.tensors
    }

    /// A tensor's bytes in the map.
    pub(crate) fn data(&self, tensor: &GgufTensor) -> Bytes {
        self.bytes.slice(tensor.range.clone()).expect("tensors were checked against the file's length")
    }

    /// Some rows of a tensor as they lie in the file, copied only if they are not aligned to their elements,
    /// or as Q8_0 in new memory; `None` for MXFP4 and for types that are not read.
    pub(crate) fn rows(&self, tensor: &GgufTensor, rows: Range<usize>) -> Option<Tensor> {
        let data = self.data(tensor);
        let row_bytes = data.len() / tensor.shape.first()?;
        let data = data.slice(rows.start * row_bytes..rows.end * row_bytes)?;
        // Blocks of Q8_0 are read byte by byte.
        let (dtype, bytes) = match tensor.element.storage? {
            Storage::F32 => (Dtype::F32, data.aligned(4)),
            Storage::F16 => (Dtype::F16, data.aligned(2)),
            Storage::Bf16 => (Dtype::Bf16, data.aligned(2)),
            Storage::Q8_0 => (Dtype::Q8_0, data),
            Storage::Quantized(quant) => (Dtype::Q8_0, as_q8_0(quant, &data)),
            Storage::Mxfp4(_) => return None,
        };
        let mut shape = tensor.shape.clone();
        if let Some(row) = shape.last_mut().filter(|_| dtype == Dtype::Q8_0) {
            *row /= BLOCK_VALUES;
        }
        shape[0] = rows.len();
        Some(Tensor { name: tensor.name.clone(), dtype, shape, bytes })
    }

    /// Bytes of what [`GgufFile::rows`] gives.
    pub(crate) fn rows_bytes(&self, tensor: &GgufTensor, num_rows: usize) -> u64 {
        let bytes = tensor.range.len() / tensor.shape.first().copied().unwrap_or(1) * num_rows;
        match tensor.element.storage {
            Some(Storage::Quantized(quant)) => q8_0_bytes(quant, bytes) as u64,
            _ => bytes as u64,
        }
    }

    /// The error for a value that breaks a rule.
    pub(crate) fn broken(&self, field: &'static str, found: impl ToString, expected: &str) -> Error {
        let path = self.path.clone();
        let found = found.to_string().chars().take(80).collect();
        Error::BadConfig { path, field, found, expected: expected.to_string() }
    }

    /// A value by its full key.
    pub(crate) fn value(&self, key: &str) -> Option<&GgufValue> {
        self.header.value(key)
    }

    /// A string; `None` also when it is not UTF-8.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.value(key)? {
            GgufValue::Text(range) => std::str::from_utf8(&self.bytes[range.clone()]).ok(),
            _ => None,
        }
    }

    /// The numbers of a list, or the one number that stands for all; `None` when it is something else or too
    /// long.
    pub(crate) fn numbers(&self, value: &GgufValue) -> Option<Vec<f64>> {
        match value {
            GgufValue::Unsigned(number) => Some(vec![*number as f64]),
            GgufValue::Signed(number) => Some(vec![*number as f64]),
            GgufValue::Real(number) => Some(vec![*number]),
            GgufValue::Flag(_) | GgufValue::Text(_) => None,
            GgufValue::List(list) => {
                let size = number_bytes(list.kind)? as usize;
                if list.len > NUMBERS_MAX {
                    return None;
                }
                let elements = self.bytes[list.range.clone()].chunks_exact(size);
                elements.map(|element| number(list.kind, element)).collect()
            }
        }
    }

    /// The elements of a list of 32-bit numbers; `None` when it is something else.
    pub(crate) fn small_numbers(&self, value: &GgufValue) -> Option<Vec<i32>> {
        let GgufValue::List(list) = value else { return None };
        let is_32_bit = matches!(list.kind, 4 | 5);
        let elements = self.bytes[list.range.clone()].as_chunks::<4>().0;
        is_32_bit.then(|| elements.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect())
    }

    /// A list of strings, borrowed; `key` labels errors.
    ///
    /// Errors: [`Error::BadGguf`] when it holds something else.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&str>>, Error> {
        const TEXT: u32 = 8;
        let wrong = |detail: String| Error::BadGguf { path: self.path.clone(), detail };
        let list = match self.value(key) {
            None => return Ok(None),
            Some(GgufValue::List(list)) if list.kind == TEXT => list,
            Some(_) => return Err(wrong(format!("{key} is no list of strings"))),
        };
        self.read_texts(list).map(Some).map_err(|at| wrong(format!("the string {at} of {key} is not UTF-8")))
    }

    /// Errors: the index of the first string that is not text.
    fn read_texts(&self, list: &GgufList) -> Result<Vec<&str>, usize> {
        let bytes = &self.bytes[list.range.clone()];
        let mut cursor = Cursor::new(bytes, &self.path);
        let mut texts = Vec::with_capacity(list.len);
        for index in 0..list.len {
            let range = cursor.string("a string", GGUF_STRING_BYTES_MAX).map_err(|_| index)?;
            texts.push(std::str::from_utf8(&bytes[range]).map_err(|_| index)?);
        }
        Ok(texts)
    }
}

/// Bytes that blocks of so many bytes take in Q8_0.
fn q8_0_bytes(quant: GgmlQuant, num_bytes: usize) -> usize {
    num_bytes / quant.block_bytes() * (quant.block_values() / BLOCK_VALUES * Q8_0_BLOCK_BYTES)
}

/// Blocks as Q8_0; the pages of the file go back, so that nothing is held twice.
fn as_q8_0(quant: GgmlQuant, source: &Bytes) -> Bytes {
    let block_bytes = quant.block_bytes();
    let num_blocks = source.len() / block_bytes;
    let all: &[u8] = source;
    let bytes = in_parallel(num_blocks, q8_0_bytes(quant, block_bytes), 1, |block, out| {
        quant.to_q8_0(out.as_chunks_mut().0, &all[block * block_bytes..][..block_bytes]);
    });
    source.release();
    bytes
}

/// One little-endian number of a list.
fn number(kind: u32, bytes: &[u8]) -> Option<f64> {
    Some(match kind {
        0 | 7 => u8::from_le_bytes(bytes.try_into().ok()?).into(),
        1 => i8::from_le_bytes(bytes.try_into().ok()?).into(),
        2 => u16::from_le_bytes(bytes.try_into().ok()?).into(),
        3 => i16::from_le_bytes(bytes.try_into().ok()?).into(),
        4 => u32::from_le_bytes(bytes.try_into().ok()?).into(),
        5 => i32::from_le_bytes(bytes.try_into().ok()?).into(),
        6 => f32::from_le_bytes(bytes.try_into().ok()?).into(),
        10 => u64::from_le_bytes(bytes.try_into().ok()?) as f64,
        11 => i64::from_le_bytes(bytes.try_into().ok()?) as f64,
        12 => f64::from_le_bytes(bytes.try_into().ok()?),
        _ => return None,
    })
}
