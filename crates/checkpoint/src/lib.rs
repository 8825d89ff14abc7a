//! Bytes of weight files: which tensor of a gpt-oss checkpoint is where, and is it what the config promises?
//!
//! [`Checkpoint`] is the entry point: open a folder (Hugging Face layout with MXFP4 or bf16 experts, stacked
//! or one by one, or OpenAI's `original/`) or a GGUF file, take one embedded in the program, or make one of
//! random weights from a seed; then ask for a [`Part`]. Files are mapped, never read whole, so that a model
//! larger than memory opens in milliseconds and the page cache does the rest. Everything a stranger's file
//! can say wrong is found while opening and reported by an [`Error`] that says what, where and what to do.
//!
//! This room knows names, shapes and bytes. It does not know what a layer computes, which parameters are
//! active, or how weights are laid out for speed; the model room above it does.

#![expect(unsafe_code, reason = "the memory map, its bus-error handler, large pages")]

mod adapter;
mod bus_error;
mod bytes;
mod checkpoint;
mod config;
mod config_json;
mod direct_file;
mod dtype;
mod error;
mod expert_reader;
mod folder;
mod gguf;
mod mxfp4;
mod names;
mod parallel;
mod part;
mod preset;
mod safetensors;
mod shards;
mod synth;
mod synthetic;
mod unstacked;
mod write;

pub use adapter::{
    ADAPTER_CONFIG_BYTES_MAX, ADAPTER_PATTERNS_MAX, ADAPTER_RANK_MAX, Adapter, AdapterForm, AdapterPair,
    AdapterRows, AdapterSite, FactorDtype, FactorLayout, LayoutSource, ReadAdapter, TrainedFor,
    parse_adapter, read_adapter, write_adapter,
};
pub use bus_error::install_bus_error_handler;
pub use bytes::{Bytes, Tensor};
pub use checkpoint::{Checkpoint, WeightFile};
pub use config::{
    Config, HEAD_DIM_MAX, HIDDEN_SIZE_MAX, INTERMEDIATE_SIZE_MAX, LayerKind, NUM_EXPERTS_MAX, NUM_HEADS_MAX,
    NUM_LAYERS_MAX, POSITIONS_MAX, VOCAB_SIZE_MAX, Yarn,
};
pub use config_json::{ConfigForm, ParsedConfig, parse_config, parse_generation_config};
pub use dtype::Dtype;
pub use error::Error;
pub use expert_reader::{ExpertPlaces, ExpertReader};
pub use folder::{UnfinishedFolder, write_checkpoint};
pub use gguf::{
    Dialect, GGUF_ALIGNMENT_MAX, GGUF_AXES_MAX, GGUF_KEYS_MAX, GGUF_LIST_DEPTH_MAX, GGUF_LIST_LEN_MAX,
    GGUF_NAME_BYTES_MAX, GGUF_PARTS_MAX, GGUF_STRING_BYTES_MAX, GGUF_TENSORS_MAX, GgmlType, GgufExperts,
    GgufHeader, GgufList, GgufTensor, GgufTokenizer, GgufValue, Storage, gguf_part_name,
};
pub use names::{dtype as part_dtype, hugging_face as hugging_face_name, num_bytes, parts, shape};
pub use part::{ExpertFormat, LayerPart, Layout, Part};
pub use preset::{PRESETS, PUBLISHED_EOS, PUBLISHED_VOCAB_SIZE, Preset};
pub use safetensors::{Entry, HEADER_BYTES_MAX, Header, SafetensorsFile};
pub use shards::{Shards, read_at_most};
pub use synth::{SynthRequest, WriteLayout, write_synthetic};
pub use write::{Outline, safetensors_header, write_safetensors};
