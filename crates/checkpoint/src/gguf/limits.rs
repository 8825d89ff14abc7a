//! How large may the header of a GGUF file be?
//!
//! Every number in such a header is a stranger's, so each has a named bound that is asked before memory is
//! taken or a loop is run. None of them is reached by published files. What a header can claim is bounded a
//! second time by the file itself: a list of a million strings needs a file that holds a million string
//! lengths.
//!
//! Beyond a bound the answer is [`Error::BadGguf`](crate::Error::BadGguf), which names it.

/// Entries of the metadata. Units: keys.
pub const GGUF_KEYS_MAX: u64 = 1 << 16;
/// Entries of the table of tensors. Units: tensors.
pub const GGUF_TENSORS_MAX: u64 = 1 << 16;
/// Length of one string. Units: bytes.
pub const GGUF_STRING_BYTES_MAX: u64 = 16 << 20;
/// Length of the name of a key or a tensor. Units: bytes.
pub const GGUF_NAME_BYTES_MAX: u64 = (1 << 16) - 1;
/// Length of one list. Units: elements.
pub const GGUF_LIST_LEN_MAX: u64 = 1 << 26;
/// Lists inside lists, the outermost counted. Units: levels.
pub const GGUF_LIST_DEPTH_MAX: usize = 4;
/// Axes of a tensor.
pub const GGUF_AXES_MAX: u32 = 4;
/// Alignment of tensors, which is a power of two. Units: bytes.
pub const GGUF_ALIGNMENT_MAX: u64 = 4096;
/// Files that one model is split into. Units: files.
pub const GGUF_PARTS_MAX: u64 = 1024;
