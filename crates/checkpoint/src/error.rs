//! What can be wrong with a checkpoint, and what to do about it.
//!
//! Every failure of this room is one variant of [`Error`], and every variant carries the facts: which file,
//! which tensor or field, what was expected and what was found. The message ends with the remedy, because the
//! person who reads it has a folder of files and no debugger. All variants but [`Error::Io`] and
//! [`Error::DiskFull`] describe the caller's files or the caller's request; those two describe the machine.
//! No variant means "our fault": a broken invariant inside this room is a bug and shows as a failing test.
//!
//! This module does not know how a message is shown, nor which exit code it becomes.

use std::path::PathBuf;

use crate::Dtype;

/// Everything that can go wrong while a checkpoint is read, checked or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("{path}: cannot {action}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb phrase: `open the file`.
        action: &'static str,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A file that every checkpoint has is not there.
    #[error("{folder}: there is no {file} here; {remedy}", folder = .folder.display())]
    MissingFile {
        /// The folder that was searched.
        folder: PathBuf,
        /// The file's name.
        file: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The shard index names a file that is not in the folder.
    #[error(
        "{folder}: the shard {shard} named by {index} is missing; download it again (an interrupted download leaves \
         such gaps)", folder = .folder.display()
    )]
    MissingShard {
        /// The checkpoint's folder.
        folder: PathBuf,
        /// The index file that names the shard.
        index: String,
        /// The missing file's name.
        shard: String,
    },
    /// The shard index names something that is not a plain file name.
    #[error(
        "{index}: the entry for {tensor} names {shard:?}, which is not the name of a file in the same folder; \
         the index is damaged or hostile: do not use it, download the checkpoint again", index = .index.display()
    )]
    IndexEscapes {
        /// The index file.
        index: PathBuf,
        /// The tensor whose entry it is.
        tensor: String,
        /// The path found there.
        shard: String,
    },
    /// The shard index promises a tensor that its file does not hold.
    #[error(
        "{index}: {tensor} should be in {shard}, but that file does not hold it; index and shards come from different \
         downloads: download the checkpoint again", index = .index.display()
    )]
    IndexDisagrees {
        /// The index file.
        index: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The file that should hold it.
        shard: String,
    },
    /// A JSON file cannot be read as what it should be.
    #[error("{path}: damaged JSON: {detail}; restore the file from where the checkpoint came from", path = .path.display())]
    BadJson {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        detail: String,
    },
    /// A file ends before its contents do.
    #[error(
        "{path}: truncated: it holds {found} bytes, but {expected} are needed; download the file again",
        path = .path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes the header promises, the header included.
        expected: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// A safetensors header breaks the format's rules.
    #[error("{path}: not a valid safetensors file: {detail}; download or export the file again", path = .path.display())]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// Which rule, and at which tensor.
        detail: String,
    },
    /// A GGUF file breaks the format's rules or holds what is no gpt-oss.
    #[error("{path}: not a GGUF file that can be read: {detail}; download or convert the file again", path = .path.display())]
    BadGguf {
        /// The file.
        path: PathBuf,
        /// Which rule, and at which key or tensor.
        detail: String,
    },
    /// A GGUF file is one of several that make up a model, and is not named like one.
    #[error(
        "{path}: this is one of the {count} parts of a split GGUF file, and its name does not say which the others are; \
         give the parts their names back (NAME-00001-of-{count:05}.gguf), or join them into one file \
         (llama.cpp: llama-gguf-split --merge FIRST-PART OUT.gguf)",
        path = .path.display()
    )]
    SplitGguf {
        /// The file.
        path: PathBuf,
        /// How many files there are.
        count: u64,
    },
    /// A GGUF file holds another kind of model.
    #[error(
        "{path}: general.architecture is {found:?}; this program runs gpt-oss files only (\"gpt-oss\", or \"gptoss\" from \
         Ollama)", path = .path.display()
    )]
    UnknownArchitecture {
        /// The file.
        path: PathBuf,
        /// The value found, or `missing`.
        found: String,
    },
    /// A tensor of a GGUF file is in a quantisation that is not read.
    #[error(
        "{path}: the tensor {tensor} is {found}, which is not read; {accepted} can be: use a file of this model whose experts \
         are MXFP4, or the published safetensors", path = .path.display()
    )]
    UnsupportedTensorType {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its type.
        found: &'static str,
        /// The types that are read there.
        accepted: &'static str,
    },
    /// A file is larger than anything this program would read whole.
    #[error("{path}: {found} bytes is more than the {limit} that such a file may have; this is not a checkpoint's file", path = .path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The bound in bytes.
        limit: u64,
    },
    /// The config describes another kind of model.
    #[error(
        "{path}: model_type is {found:?}; this program runs gpt-oss checkpoints only (model_type \"gpt_oss\")",
        path = .path.display()
    )]
    UnknownModelType {
        /// The config file.
        path: PathBuf,
        /// The value found.
        found: String,
    },
    /// A value in the config is missing, absurd or unsupported.
    #[error("{path}: {field} is {found}, but must be {expected}; correct the config or download it again", path = .path.display())]
    BadConfig {
        /// The config file.
        path: PathBuf,
        /// The key.
        field: &'static str,
        /// The value found, or `missing`.
        found: String,
        /// The rule.
        expected: String,
    },
    /// The config and the tensors disagree on how experts are stored.
    #[error("{folder}: {detail}; config.json and weights belong to different exports: download both again", folder = .folder.display())]
    ExpertFormatDisagrees {
        /// The checkpoint's folder.
        folder: PathBuf,
        /// Which side says what.
        detail: String,
    },
    /// A tensor the config asks for is in none of the files.
    #[error("{folder}: the tensor {tensor} is missing; {remedy}", folder = .folder.display())]
    MissingTensor {
        /// The checkpoint's folder (or file).
        folder: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The same tensor is in two files.
    #[error(
        "{first} and {second} both hold the tensor {tensor}; files of two exports are mixed in one folder: keep one set",
        first = .first.display(), second = .second.display()
    )]
    DuplicateTensor {
        /// The tensor's name.
        tensor: String,
        /// One file.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// A tensor that would change what the model computes, and that the config does not speak of.
    #[error(
        "{path}: the tensor {tensor} is not part of the model that config.json describes; config and weights belong to \
         different models: download both again", path = .path.display()
    )]
    UnexpectedTensor {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor has another element type than the format prescribes.
    #[error("{path}: the tensor {tensor} is {found}, but must be {expected}; convert it or download the file again", path = .path.display())]
    WrongDtype {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The dtype the format prescribes.
        expected: Dtype,
        /// The dtype found.
        found: Dtype,
    },
    /// A tensor has another shape than the config prescribes.
    #[error(
        "{path}: the tensor {tensor} has shape {found:?}, but the config asks for {expected:?}; config and weights \
         belong to different models: download both again", path = .path.display()
    )]
    WrongShape {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The shape the config prescribes.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A part that this checkpoint does not have was asked for.
    #[error("this checkpoint has no {part}: it has {layers} layers and {experts}")]
    NoSuchPart {
        /// The part asked for.
        part: String,
        /// Number of layers.
        layers: usize,
        /// How its MLP is stored, in words.
        experts: &'static str,
    },
    /// The name of a preset is not known.
    #[error(
        "unknown preset {found:?}; the presets are tiny, gpt-oss-20b, gpt-oss-120b, gpt-oss-15b and gpt-oss-90b"
    )]
    UnknownPreset {
        /// The word given.
        found: String,
    },
    /// An adapter that is damaged, for another model, or of a kind that is not read.
    #[error("{path}: not an adapter for this model: {detail}", path = .path.display())]
    BadAdapter {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, where, and where it helps what to do.
        detail: String,
    },
    /// An adapter whose bytes mean two things.
    #[error(
        "{path}: the experts of a layer are one tensor here, and Unsloth, which is named beside it, has laid B \
         out in two ways: say which with --lora-b-layout rank-major (PEFT's, and Unsloth's since September \
         2026) or --lora-b-layout grouped-by-expert (Unsloth's before); `gptoss adapter check --data` prints \
         the loss under both",
        path = .path.display()
    )]
    AmbiguousAdapter {
        /// The file.
        path: PathBuf,
    },
    /// The target of a write exists already.
    #[error("{path}: exists already and is not an empty folder; choose another name or remove it first", path = .path.display())]
    TargetExists {
        /// The target.
        path: PathBuf,
    },
    /// The file system has less room than the write needs.
    #[error(
        "{path}: {needed} bytes are needed, but the file system has {available} free; free some space or write elsewhere",
        path = .path.display()
    )]
    DiskFull {
        /// The target.
        path: PathBuf,
        /// Bytes to be written.
        needed: u64,
        /// Bytes free for this user.
        available: u64,
    },
}

impl Error {
    /// Wraps an operating-system error with the path and the attempted action.
    pub(crate) fn io(path: &std::path::Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { path, action, source }
    }
}
