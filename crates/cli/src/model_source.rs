//! Where a model comes from, and what comes with it.
//!
//! [`ModelSource::parse`] reads a `--model` value, everywhere the same: the embedded demo model, a checkpoint
//! folder, a GGUF file, `synthetic:PRESET`, or a repository in the local Hugging Face cache. [`Opened::open`]
//! turns it into a checkpoint with its vocabulary and its sampling defaults, and [`Opened::load`] into a
//! model ready to compute. Opening reads headers only; commands that need no weights stop there. Nothing is
//! fetched here: `gptoss pull` does that.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use gptoss_checkpoint::{Checkpoint, Config, Layout, PUBLISHED_VOCAB_SIZE, Preset};
use gptoss_engine::KvPlan;
use gptoss_harmony::{GgufTokens, MultiDigit, Vocab};
use gptoss_kernels::Pool;
use gptoss_model::{AdapterId, DenseMode, KvFormat, LoadOptions, Model, Precision};

use crate::args::{ComputeArgs, DenseArg, KvArg, PrecisionArg};
use crate::device::ChosenCard;
use crate::failure::usage;
use crate::generation_config::GenerationConfig;
use crate::memory_budget::{self, Needs, Place, Subject};
use crate::opened_adapter::OpenedAdapter;
use crate::progress::{Progress, Unit};
use crate::{demo, device, gguf_files, hub, last_used, machine, ollama};

/// The number of control tokens that follow the ranks of a truncated vocabulary.
const NUM_CONTROLS: usize = 9;
/// Most tokens of context that are kept room for unless the user asks for more: 0.8 GB of KV cache for
/// gpt-oss-20b.
const DEFAULT_CONTEXT_MAX: usize = 32_768;
/// A file that `gptoss synth` leaves in its folder, so that nobody takes the weights for a model's.
pub const RANDOM_WEIGHTS_FILE: &str = "RANDOM_WEIGHTS.txt";
/// The first bytes of every GGUF file.
const GGUF_MAGIC: &[u8; 4] = b"GGUF";
const ACCEPTED: &str = "demo, gpt-oss-20b, a checkpoint folder, a .gguf file, synthetic:PRESET[@SEED], or ORG/NAME[:QUANT][@REVISION] after `gptoss pull ORG/NAME`";

/// A `--model` value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The demo model in the binary.
    Demo,
    /// A checkpoint on disk.
    Folder(PathBuf),
    /// A GGUF file.
    Gguf(PathBuf),
    /// Random weights of a known shape.
    Synthetic(Preset, u64),
    /// A GGUF file in Ollama's own store, by the name that Ollama gives it.
    Ollama {
        /// `NAME:TAG`.
        name: String,
        /// The blob.
        file: PathBuf,
    },
    /// A repository in the local cache.
    Repository {
        /// `org/name`.
        name: String,
        /// A branch, tag or commit.
        revision: String,
        /// Which of several GGUF models.
        quantization: Option<String>,
    },
}

impl ModelSource {
    /// Reads a `--model` value; looks at the file system only to tell a folder from a repository's name.
    ///
    /// Errors: an unknown preset or a word that means nothing is a usage error; a file where a folder should
    /// be is not.
    pub fn parse(text: &str) -> Result<ModelSource> {
        let path = Path::new(text);
        if text == "demo" {
            return Ok(ModelSource::Demo);
        }
        if let Some(rest) = text.strip_prefix("synthetic:") {
            return synthetic(rest);
        }
        if path.is_dir() {
            return Ok(ModelSource::Folder(path.to_owned()));
        }
        if path.is_file() {
            return gguf(path);
        }
        if text.to_ascii_lowercase().ends_with(".gguf") {
            return Err(anyhow!("{text}: there is no such GGUF file\nexpected {ACCEPTED}"));
        }
        if let Some(file) = ollama::find(text) {
            return Ok(ModelSource::Ollama { name: text.to_owned(), file });
        }
        if let Some(repository) = repository(text) {
            return Ok(repository);
        }
        if text.contains(['/', '\\']) {
            return Err(anyhow!("{text}: there is no such folder\nexpected {ACCEPTED}"));
        }
        Err(usage(format!("`{text}` is not a model: there is no such folder\n{}", advice(text))))
    }

    /// The same, and the bare name of a preset means its shape: for commands that read no weights.
    pub fn parse_or_preset(text: &str) -> Result<ModelSource> {
        match Preset::from_str(text) {
            Ok(preset) if !Path::new(text).exists() => Ok(ModelSource::Synthetic(preset, 0)),
            _ => ModelSource::parse(text).map_err(|error| match Preset::from_str(text) {
                Err(unknown) if error.is::<crate::failure::Usage>() && !text.starts_with("synthetic:") => {
                    usage(format!("{error}\n{unknown}"))
                }
                _ => error,
            }),
        }
    }

    /// Whether it is the demo, which must be called so wherever a user sees it.
    pub fn is_demo(&self) -> bool {
        *self == ModelSource::Demo
    }

    /// What must be said of its answers, if anything must: random weights write noise.
    pub fn caveat(&self) -> Option<String> {
        let is_random = match self {
            ModelSource::Synthetic(..) => true,
            ModelSource::Folder(folder) => folder.join(RANDOM_WEIGHTS_FILE).exists(),
            ModelSource::Demo
            | ModelSource::Gguf(_)
            | ModelSource::Ollama { .. }
            | ModelSource::Repository { .. } => false,
        };
        is_random.then(|| format!("{} has random weights: what it writes is noise", self.name()))
    }

    /// What a memory plan must know of it.
    pub fn subject(&self) -> Subject {
        let place = match self {
            ModelSource::Demo => Place::Program,
            ModelSource::Synthetic(..) => Place::Nowhere,
            ModelSource::Folder(_)
            | ModelSource::Gguf(_)
            | ModelSource::Ollama { .. }
            | ModelSource::Repository { .. } => Place::Files,
        };
        Subject { name: self.name(), place }
    }

    /// How it is called to people.
    pub fn name(&self) -> String {
        match self {
            ModelSource::Demo => "demo".to_owned(),
            ModelSource::Folder(path) | ModelSource::Gguf(path) => path.display().to_string(),
            ModelSource::Synthetic(preset, 0) => format!("synthetic:{preset}"),
            ModelSource::Synthetic(preset, seed) => format!("synthetic:{preset}@{seed}"),
            ModelSource::Ollama { name, .. } => name.clone(),
            ModelSource::Repository { name, revision, quantization } => {
                let quantization = quantization.as_ref().map_or(String::new(), |word| format!(":{word}"));
                match revision.as_str() {
                    hub::DEFAULT_REVISION => format!("{name}{quantization}"),
                    revision => format!("{name}{quantization}@{revision}"),
                }
            }
        }
    }
}

/// `ORG/NAME[:QUANT][@REVISION]`, or one of the names that people have for a released model.
fn repository(text: &str) -> Option<ModelSource> {
    let (rest, revision) = text.split_once('@').unwrap_or((text, hub::DEFAULT_REVISION));
    let (name, quantization) = hub::name_and_quantization(rest);
    let is_one =
        is_repository_name(&name) && hub::is_safe_revision(revision) && quantization.is_none_or(hub::is_word);
    let (revision, quantization) = (revision.to_owned(), quantization.map(str::to_owned));
    is_one.then_some(ModelSource::Repository { name, revision, quantization })
}

/// What a name may have meant.
fn advice(text: &str) -> String {
    match Preset::from_str(&text.to_ascii_lowercase()) {
        Ok(preset) => format!("write synthetic:{preset} for random weights of that shape"),
        Err(_) => format!("expected {ACCEPTED}"),
    }
}

/// A file is a model if it begins as GGUF files do, whatever it is called: Ollama names its files by their
/// hashes.
fn gguf(path: &Path) -> Result<ModelSource> {
    let name = path.display();
    let mut magic = [0; GGUF_MAGIC.len()];
    let mut file = File::open(path).with_context(|| format!("cannot open {name}"))?;
    match file.read_exact(&mut magic) {
        Ok(()) if magic == *GGUF_MAGIC => Ok(ModelSource::Gguf(path.to_owned())),
        _ if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf")) => {
            // What is wrong with it is said by who reads it.
            Ok(ModelSource::Gguf(path.to_owned()))
        }
        _ => Err(anyhow!(
            "{name} is a file, and not a GGUF file\ngive the checkpoint's folder, the one that holds config.json"
        )),
    }
}

/// `PRESET` or `PRESET@SEED`.
fn synthetic(text: &str) -> Result<ModelSource> {
    let (preset, seed) = match text.split_once('@') {
        None => (text, 0),
        Some((preset, seed)) => {
            let number = seed
                .parse()
                .map_err(|_| usage(format!("synthetic:{text}: the seed `{seed}` is not a number")))?;
            (preset, number)
        }
    };
    let preset = Preset::from_str(preset).map_err(|error| usage(format!("synthetic:{text}: {error}")))?;
    Ok(ModelSource::Synthetic(preset, seed))
}

/// Two words with one slash between them, of the characters that the hub allows.
pub fn is_repository_name(text: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    text.split_once('/').is_some_and(|(org, name)| word(org) && word(name))
}

/// A model whose files have been looked at and found to fit together.
pub struct Opened {
    /// What was asked for.
    pub source: ModelSource,
    /// The weights, not yet read.
    pub checkpoint: Checkpoint,
    /// Where its files are, if they are in a folder.
    folder: Option<PathBuf>,
    /// What is loaded beside the weights.
    pub adapters: Vec<OpenedAdapter>,
}

impl Opened {
    /// The same model with an adapter, if there is a folder of one.
    ///
    /// Errors: those of [`OpenedAdapter::open`].
    pub fn with_adapter(mut self, folder: Option<&Path>) -> Result<Opened> {
        if let Some(folder) = folder {
            self.adapters.push(OpenedAdapter::open("", folder, &self.checkpoint)?);
        }
        Ok(self)
    }

    /// Opens a source with adapters that were looked at before.
    ///
    /// Errors: those of [`Opened::open`].
    pub fn again(source: &ModelSource, adapters: &[OpenedAdapter]) -> Result<Opened> {
        Ok(Opened { adapters: adapters.to_vec(), ..Opened::open(source.clone())? })
    }

    /// The one adapter of a command that takes one.
    pub fn adapter(&self) -> Option<AdapterId> {
        self.adapters.first().map(|adapter| adapter.id)
    }

    /// What all adapters take in memory. Units: bytes.
    pub fn adapter_bytes(&self) -> u64 {
        self.adapters.iter().map(|adapter| adapter.bytes).sum()
    }

    /// Where its files are, if they are in a folder.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Opens a source.
    ///
    /// Errors: what is missing or does not fit, with the file.
    pub fn open(source: ModelSource) -> Result<Opened> {
        let folder = match &source {
            ModelSource::Folder(folder) => Some(folder.clone()),
            ModelSource::Repository { name, revision, .. } => Some(hub::cached_snapshot(name, revision)?),
            ModelSource::Demo
            | ModelSource::Synthetic(..)
            | ModelSource::Gguf(_)
            | ModelSource::Ollama { .. } => None,
        };
        let checkpoint = match (&source, &folder) {
            (_, Some(folder)) => Checkpoint::open(&weights(&source, folder)?)?,
            (ModelSource::Gguf(file) | ModelSource::Ollama { file, .. }, None) => Checkpoint::open(file)?,
            (ModelSource::Synthetic(preset, seed), None) => Checkpoint::synthetic(*preset, *seed, None)?,
            (_, None) => {
                Checkpoint::embedded(demo::FILES).context("the embedded demo model cannot be opened")?
            }
        };
        Ok(Opened { source, checkpoint, folder, adapters: Vec::new() })
    }

    /// What the model's own files say about sampling; only those who sample need ask.
    ///
    /// Errors: the file is there and is not what it should be.
    pub fn generation_config(&self) -> Result<GenerationConfig> {
        match &self.folder {
            Some(folder) => GenerationConfig::in_folder(folder),
            None if self.source.is_demo() => {
                let file = Path::new("the embedded generation_config.json");
                GenerationConfig::parse(demo::generation_config(), file)
            }
            None => Ok(GenerationConfig::default()),
        }
    }

    /// Parses and opens in one step; whoever may ask a question first takes `offer::opened`.
    pub fn from_argument(text: &str) -> Result<Opened> {
        Opened::open(ModelSource::parse(text)?)
    }

    /// The vocabulary that belongs to the model: its own `tokenizer.json`, else a built-in one when the size
    /// says which.
    ///
    /// Errors: there is none, or it does not fit the model.
    pub fn vocab(&self) -> Result<Arc<Vocab>> {
        let name = self.source.name();
        let model_size = self.checkpoint.config().vocab_size;
        if let Some(bytes) = self.checkpoint.tokenizer_json()? {
            let vocab =
                Vocab::from_tokenizer_json(&bytes).with_context(|| format!("{name}: no usable tokenizer"))?;
            if vocab.len() > model_size {
                let sizes = format!("the tokenizer has {} ids, the model {model_size}", vocab.len());
                return Err(anyhow!(
                    "{name}: {sizes}\nput the tokenizer.json beside it that belongs to the model"
                ));
            }
            return Ok(Arc::new(vocab));
        }
        if let Some(vocab) = self.gguf_vocab()? {
            return Ok(vocab);
        }
        match self.source {
            _ if model_size == PUBLISHED_VOCAB_SIZE => Ok(Vocab::o200k_harmony()),
            ModelSource::Synthetic(Preset::Tiny, _) => Ok(Arc::new(tiny_vocab())),
            _ if matches!(self.checkpoint.layout(), Layout::Gguf(_)) => {
                let what =
                    format!("{name} has no tokenizer in its metadata, and {model_size} ids of its own");
                Err(anyhow!("{what}\nuse a command that takes token ids, or a file with a tokenizer"))
            }
            _ => {
                let what = format!(
                    "{name} has no tokenizer.json, and its {model_size} ids are not the published vocabulary"
                );
                Err(anyhow!(
                    "{what}\nput its tokenizer.json into the folder, or use a command that takes token ids"
                ))
            }
        }
    }

    /// The vocabulary in a GGUF file's metadata, if the model is such a file and has one.
    fn gguf_vocab(&self) -> Result<Option<Arc<Vocab>>> {
        let name = self.source.name();
        let Some(list) = self.checkpoint.gguf_tokenizer()? else { return Ok(None) };
        let (tokens, merges, token_types) = (&*list.tokens, &*list.merges, &*list.token_types);
        let list = GgufTokens { model: list.model, pre: list.pre, tokens, merges, token_types };
        let vocab = Vocab::from_gguf(&list)
            .with_context(|| format!("{name}: no usable tokenizer in the file's metadata"))?;
        let model_size = self.checkpoint.config().vocab_size;
        if vocab.len() > model_size {
            let sizes = format!("the tokenizer has {} ids, the model {model_size}", vocab.len());
            return Err(anyhow!("{name}: {sizes}\nconvert or download the file again"));
        }
        Ok(Some(vocab))
    }

    /// Reads the weights, with a progress bar where that takes time; `--memory` is planned for `context`
    /// tokens, and for an engine's keys and values where there is one.
    pub fn load(&self, compute: &ComputeArgs, context: usize, kv: Option<&KvPlan>) -> Result<Model> {
        let (precision, dense) = (precision(compute.precision), dense(compute.dense, compute.precision)?);
        let cannot = || format!("cannot load {}", self.source.name());
        let needs = Needs { context, precision, dense, kv, adapters: self.adapter_bytes() };
        let card = device::choose(compute, &self.checkpoint, &needs, kv_format(compute))?;
        let expert_slots = match compute.memory {
            None => None,
            Some(size) => {
                let plan = memory_budget::plan(&self.checkpoint, &self.source.subject(), &needs, size)
                    .with_context(cannot)?;
                memory_budget::print(&plan, context, size)?;
                plan.expert_slots
            }
        };
        self.load_planned(compute, expert_slots, card.as_ref())
    }

    /// Reads the weights as planned, and the adapters: with room for so many experts, or for all, or to a
    /// card.
    pub fn load_planned(
        &self,
        compute: &ComputeArgs,
        expert_slots: Option<usize>,
        card: Option<&ChosenCard>,
    ) -> Result<Model> {
        let (precision, dense) = (precision(compute.precision), dense(compute.dense, compute.precision)?);
        let expert_slots = card.map_or(expert_slots, |card| card.plan.expert_slots);
        let options = LoadOptions { precision, dense, expert_slots };
        let mut progress = Progress::new(format!("opening {}", self.source.name()), Unit::Bytes);
        if let ModelSource::Repository { name, .. } | ModelSource::Ollama { name, .. } = &self.source {
            last_used::mark(name);
        }
        let pool = Pool::new(machine::threads(compute.threads));
        let mut tell = |done, total| progress.set(done, total);
        let model = match card {
            None => Model::load_with(&self.checkpoint, &options, pool, &mut tell),
            Some(card) => Model::load_on(&card.device, &self.checkpoint, &options, pool, &mut tell),
        };
        let model = model.with_context(|| format!("cannot load {}", self.source.name()))?;
        for adapter in &self.adapters {
            adapter.load(&model, &self.checkpoint)?;
        }
        Ok(model.with_kv_format(kv_format(compute)))
    }
}

/// What to open of a folder: itself, or the GGUF file in it when it holds no other weights.
fn weights(source: &ModelSource, folder: &Path) -> Result<PathBuf> {
    let (quantization, how) = match source {
        ModelSource::Repository { name, quantization, .. } => {
            (quantization.as_deref(), format!("name one of them: {name}:QUANT"))
        }
        _ => (None, "give the file that is meant".to_owned()),
    };
    if quantization.is_none() && hub::has_safetensors(folder)? {
        return Ok(folder.to_owned());
    }
    let models = gguf_files::in_folder(folder)?;
    if quantization.is_none() && models.is_empty() {
        return Ok(folder.to_owned());
    }
    let chosen = gguf_files::choose(&models, quantization, &how)
        .map_err(|error| anyhow!("{}: {error}", folder.display()))?;
    Ok(folder.join(&chosen.files[0].0))
}

/// The numeric mode in the model's words.
pub fn precision(argument: PrecisionArg) -> Precision {
    match argument {
        PrecisionArg::Fast => Precision::Fast,
        PrecisionArg::Exact => Precision::Exact,
    }
}

/// The format of dense matrices: what `--dense` says, else what suits the precision; see decision 0009.
///
/// Errors: rounded matrices in exact precision.
pub fn dense(argument: Option<DenseArg>, precision: PrecisionArg) -> Result<DenseMode> {
    match (argument, precision) {
        (Some(DenseArg::Q8), PrecisionArg::Exact) => {
            Err(usage("--dense q8 rounds weights and --precision exact does not; leave one of them out"))
        }
        (Some(DenseArg::Q8) | None, PrecisionArg::Fast) => Ok(DenseMode::Q8),
        (Some(DenseArg::Bf16), _) | (None, PrecisionArg::Exact) => Ok(DenseMode::AsStored),
    }
}

/// The format of keys and values: what `--kv` says, else what suits the precision.
pub fn kv_format(compute: &ComputeArgs) -> KvFormat {
    match compute.kv {
        None => precision(compute.precision).kv_format(),
        Some(KvArg::F32) => KvFormat::F32,
        Some(KvArg::Bf16) => KvFormat::Bf16,
        Some(KvArg::Q8) => KvFormat::Q8,
    }
}

/// The vocabulary of the preset `tiny`: as many ranks as leave room for the control tokens.
pub fn tiny_vocab() -> Vocab {
    Vocab::truncated(Preset::Tiny.config().vocab_size - NUM_CONTROLS, MultiDigit::Keep)
}

/// The context to keep room for: what `--context` says, else the model's own up to a bound. Units: tokens.
///
/// Errors: more than the model was made for.
pub fn context(argument: Option<u32>, config: &Config, source: &ModelSource) -> Result<usize> {
    let most = config.max_position_embeddings;
    match argument.map(|context| context as usize) {
        None => Ok(most.min(DEFAULT_CONTEXT_MAX)),
        Some(context) if context <= most => Ok(context),
        Some(context) => {
            Err(usage(format!("--context {context} is more than {} holds: at most {most}", source.name())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Usage;

    #[test]
    fn every_kind_of_source() {
        let check = |text: &str, expect: ModelSource| assert_eq!(ModelSource::parse(text).unwrap(), expect);
        check("demo", ModelSource::Demo);
        check("synthetic:tiny", ModelSource::Synthetic(Preset::Tiny, 0));
        check("synthetic:gpt-oss-120b@7", ModelSource::Synthetic(Preset::GptOss120b, 7));
        let repository = |revision: &str| ModelSource::Repository {
            name: "openai/gpt-oss-20b".into(),
            revision: revision.into(),
            quantization: None,
        };
        check("openai/gpt-oss-20b", repository("main"));
        check("openai/gpt-oss-20b@refs/pr/1", repository("refs/pr/1"));
        assert_eq!(repository("main").name(), "openai/gpt-oss-20b");
        assert_eq!(repository("v2").name(), "openai/gpt-oss-20b@v2");
        // People know the released models by these names.
        for name in ["gpt-oss-20b", "GPT-OSS:20b", "gpt-oss:20b-latest", "gpt-oss:latest"] {
            check(name, repository("main"));
        }
        let quantized = ModelSource::parse("org/name-GGUF:Q8_0@v2").unwrap();
        assert_eq!(quantized.name(), "org/name-GGUF:Q8_0@v2");
        check("src", ModelSource::Folder(PathBuf::from("src")));
        let preset = ModelSource::parse_or_preset("gpt-oss-20b").unwrap();
        assert_eq!(preset, ModelSource::Synthetic(Preset::GptOss20b, 0));
    }

    #[test]
    fn what_is_no_source_is_said() {
        let check = |text: &str, is_usage: bool, expect: &str| {
            let error = ModelSource::parse_or_preset(text).unwrap_err();
            assert_eq!(error.is::<Usage>(), is_usage, "{text}");
            assert!(format!("{error:#}").contains(expect), "{error:#}");
        };
        check("gpt-oss-7b", true, "unknown preset");
        check("synthetic:gpt-oss-7b", true, "unknown preset");
        check("synthetic:tiny@x", true, "the seed `x`");
        check("model.gguf", false, "GGUF");
        check("openai/gpt-oss-20b@../..", false, "no such folder");
        check("openai/gpt-oss-20b@", false, "no such folder");
        check("openai/gpt-oss-20b:", false, "no such folder");
        check("./nowhere/at/all", false, "no such folder");
        check("Cargo.toml", false, "is a file");
    }

    /// A file of Ollama's, named by its hash, was refused because its name does not end in .gguf.
    #[test]
    fn a_gguf_file_is_known_by_its_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sha256-0123");
        std::fs::write(&file, b"GGUF\x03\0\0\0").unwrap();
        let name = file.to_str().unwrap();
        assert_eq!(ModelSource::parse(name).unwrap(), ModelSource::Gguf(file.clone()));
        std::fs::write(&file, b"GG").unwrap();
        assert!(ModelSource::parse(name).unwrap_err().to_string().contains("not a GGUF file"));
    }
}
