//! Element types of tensors, with their names and sizes.

use std::fmt;

use gptoss_formats::Q8_0_BLOCK_BYTES;

/// Element type of a tensor: the whole-byte types of the safetensors format, and the block type of GGUF's
/// dense tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Unsigned byte; also MXFP4 codes and scales.
    U8,
    /// Signed byte.
    I8,
    /// Unsigned 16 bit.
    U16,
    /// Signed 16 bit.
    I16,
    /// Unsigned 32 bit.
    U32,
    /// Signed 32 bit.
    I32,
    /// Unsigned 64 bit.
    U64,
    /// Signed 64 bit.
    I64,
    /// One byte, 0 or 1.
    Bool,
    /// 8-bit float, 5 exponent bits.
    F8E5M2,
    /// 8-bit float, 4 exponent bits.
    F8E4M3,
    /// Blocks of 32 signed bytes behind one f16 scale, 34 bytes each; from GGUF files only. The block is the
    /// element: the last axis of a shape counts blocks.
    Q8_0,
}

/// Every dtype with its name in a safetensors header.
const DTYPE_NAMES: [(Dtype, &str); 15] = [
    (Dtype::Bf16, "BF16"),
    (Dtype::F16, "F16"),
    (Dtype::F32, "F32"),
    (Dtype::F64, "F64"),
    (Dtype::U8, "U8"),
    (Dtype::I8, "I8"),
    (Dtype::U16, "U16"),
    (Dtype::I16, "I16"),
    (Dtype::U32, "U32"),
    (Dtype::I32, "I32"),
    (Dtype::U64, "U64"),
    (Dtype::I64, "I64"),
    (Dtype::Bool, "BOOL"),
    (Dtype::F8E5M2, "F8_E5M2"),
    (Dtype::F8E4M3, "F8_E4M3"),
];

impl Dtype {
    /// Bytes of one element.
    pub fn num_bytes(self) -> usize {
        match self {
            Dtype::U8 | Dtype::I8 | Dtype::Bool | Dtype::F8E5M2 | Dtype::F8E4M3 => 1,
            Dtype::Bf16 | Dtype::F16 | Dtype::U16 | Dtype::I16 => 2,
            Dtype::F32 | Dtype::U32 | Dtype::I32 => 4,
            Dtype::F64 | Dtype::U64 | Dtype::I64 => 8,
            Dtype::Q8_0 => Q8_0_BLOCK_BYTES,
        }
    }

    /// The name in a safetensors header; `Q8_0`, which has none there, is called by its own.
    pub fn name(self) -> &'static str {
        DTYPE_NAMES.iter().find(|(dtype, _)| *dtype == self).map_or("Q8_0", |(_, name)| name)
    }

    /// The dtype with this header name; `None` for types that this program has no use for (sub-byte floats).
    pub fn from_name(name: &str) -> Option<Dtype> {
        DTYPE_NAMES.iter().find(|(_, known)| *known == name).map(|(dtype, _)| *dtype)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
