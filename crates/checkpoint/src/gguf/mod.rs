//! GGUF: the one-file format of llama.cpp and Ollama, read in place.
//!
//! Three questions, three layers. `header.rs`: what is in the file, whatever its bytes ([`GgufHeader::parse`]
//! is total), and `parts.rs` joins the files of a split one. `metadata.rs` and `tokenizer.rs`: which gpt-oss
//! do the keys describe? `model.rs`: which tensor is which part, and how do its bytes become what the room
//! above computes with? Two dialects exist, llama.cpp's and Ollama's older one; they differ in key prefix and
//! a few names.
//!
//! Nothing here writes GGUF, runs a template, or knows how a product is computed.

mod cursor;
mod element;
mod experts;
mod file;
mod header;
mod limits;
mod metadata;
mod model;
mod names;
mod parts;
mod tokenizer;

pub use element::{GgmlType, Storage};
pub(crate) use experts::{ExpertRows, Sources};
pub(crate) use file::GgufFile;
pub use header::{GgufHeader, GgufList, GgufTensor, GgufValue};
pub use limits::{
    GGUF_ALIGNMENT_MAX, GGUF_AXES_MAX, GGUF_KEYS_MAX, GGUF_LIST_DEPTH_MAX, GGUF_LIST_LEN_MAX,
    GGUF_NAME_BYTES_MAX, GGUF_PARTS_MAX, GGUF_STRING_BYTES_MAX, GGUF_TENSORS_MAX,
};
pub use metadata::Dialect;
pub use model::GgufExperts;
pub(crate) use model::{GgufExtent, GgufModel, GgufStack};
pub use parts::gguf_part_name;
pub use tokenizer::GgufTokenizer;
