//! A model's weights as one value: ask for a [`Part`], get its bytes.
//!
//! [`Checkpoint::open`] sees the layout from the files, maps them, and checks every tensor's name, dtype and
//! shape against the config before anything is computed: a wrong file fails here, with a name, and not as
//! noise in the logits. [`Checkpoint::embedded`] does the same over bytes in the program.
//! [`Checkpoint::synthetic`] has no files; its tensors come into being when they are asked for.
//!
//! Scales that mean NaN are not looked for here, because that reads every scale (0.8 GB for 20b): the model
//! room does it where it loads. This module does not know what a layer computes.

use std::path::{Path, PathBuf};

use crate::bytes::{Bytes, MappedFile, Tensor};
use crate::config::Config;
use crate::config_json::{ConfigForm, parse_config, parse_generation_config};
use crate::direct_file::DirectFile;
use crate::error::Error;
use crate::expert_reader::{ExpertReader, Place};
use crate::gguf::{GgufExperts, GgufFile, GgufModel, GgufTokenizer};
use crate::names;
use crate::part::{ExpertFormat, LayerPart, Layout, Part};
use crate::preset::Preset;
use crate::safetensors::{Entry, SafetensorsFile};
use crate::shards::{Shards, read_bounded};
use crate::synthetic;
use crate::unstacked::{self, Spelling};

const CONFIG_FILE: &str = "config.json";
const GENERATION_FILE: &str = "generation_config.json";
const TOKENIZER_FILE: &str = "tokenizer.json";

/// The weights of one model.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    config: Config,
    experts: ExpertFormat,
    /// Where the checkpoint is, for messages.
    place: PathBuf,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    HuggingFace(Shards),
    /// As `HuggingFace`, but for the experts.
    Unstacked(Shards, Spelling),
    Original(Shards),
    Synthetic {
        preset: Preset,
        seed: u64,
    },
    Embedded {
        shards: Shards,
        files: EmbeddedFiles,
    },
    Gguf(GgufModel),
}

/// Name and contents of each embedded file.
type EmbeddedFiles = &'static [(&'static str, &'static [u8])];

/// A weight file and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightFile {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes, header included.
    pub num_bytes: u64,
    /// How many tensors it holds.
    pub num_tensors: usize,
}

impl Checkpoint {
    /// Opens a folder in the Hugging Face or the `original/` layout, or a GGUF file; any
    /// part of a split one opens all of it.
    ///
    /// Errors: every variant of [`Error`] that speaks of reading.
    pub fn open(folder: &Path) -> Result<Checkpoint, Error> {
        if folder.is_file() {
            let (model, config, experts) = GgufModel::open(folder)?;
            return Ok(Checkpoint {
                config,
                experts,
                place: folder.to_path_buf(),
                source: Source::Gguf(model),
            });
        }
        let config_path = folder.join(CONFIG_FILE);
        if !config_path.exists() {
            return Err(Error::MissingFile {
                folder: folder.to_path_buf(),
                file: CONFIG_FILE.to_string(),
                remedy: "point at the folder that holds a checkpoint's config.json and weights",
            });
        }
        let mut parsed = parse_config(&read_bounded(&config_path)?, &config_path)?;
        let generation_path = folder.join(GENERATION_FILE);
        if generation_path.exists() {
            parse_generation_config(&read_bounded(&generation_path)?, &generation_path, &mut parsed.config)?;
        }
        let shards = Shards::open(folder)?;
        let (experts, source) = match parsed.form {
            ConfigForm::Original => (ExpertFormat::Mxfp4, Source::Original(shards)),
            ConfigForm::HuggingFace(said) => {
                check_expert_format(&parsed.config, said, &shards, folder)?;
                // Of two matrices and a word, the matrices count, as in the model library.
                parsed.config.tie_word_embeddings &= shards.find(names::LM_HEAD).is_none();
                match Spelling::of(&parsed.config, &shards) {
                    Some(spelling) => (said, Source::Unstacked(shards, spelling)),
                    None => (said, Source::HuggingFace(shards)),
                }
            }
        };
        let checkpoint = Checkpoint { config: parsed.config, experts, place: folder.to_path_buf(), source };
        checkpoint.check_tensors()?;
        Ok(checkpoint)
    }

    /// Opens a Hugging Face checkpoint that is part of the program: `config.json`, `model.safetensors`, and
    /// optionally `generation_config.json` and `tokenizer.json`, by name.
    ///
    /// Errors: as [`Checkpoint::open`].
    pub fn embedded(files: EmbeddedFiles) -> Result<Checkpoint, Error> {
        let place = PathBuf::from("(embedded)");
        let required = |file: &'static str| {
            embedded_file(files, file).ok_or_else(|| Error::MissingFile {
                folder: place.clone(),
                file: file.to_string(),
                remedy: "embed the file",
            })
        };
        let mut parsed = parse_config(required(CONFIG_FILE)?, &place.join(CONFIG_FILE))?;
        if let Some(bytes) = embedded_file(files, GENERATION_FILE) {
            parse_generation_config(bytes, &place.join(GENERATION_FILE), &mut parsed.config)?;
        }
        let shards = Shards::embedded(crate::shards::SINGLE_FILE, required(crate::shards::SINGLE_FILE)?)?;
        let ConfigForm::HuggingFace(experts) = parsed.form else {
            let found = "missing".to_string();
            return Err(Error::UnknownModelType { path: place.join(CONFIG_FILE), found });
        };
        check_expert_format(&parsed.config, experts, &shards, &place)?;
        parsed.config.tie_word_embeddings &= shards.find(names::LM_HEAD).is_none();
        let source = Source::Embedded { shards, files };
        let checkpoint = Checkpoint { config: parsed.config, experts, place, source };
        checkpoint.check_tensors()?;
        Ok(checkpoint)
    }

    /// Random weights of a preset's shape; `layers` replaces the preset's number of layers.
    ///
    /// Allocates nothing: each tensor is made, always the same for the same seed, when [`Checkpoint::tensor`]
    /// asks.
    ///
    /// Errors: [`Error::BadConfig`] when `layers` is out of bounds.
    pub fn synthetic(preset: Preset, seed: u64, layers: Option<usize>) -> Result<Checkpoint, Error> {
        let config = synthetic::config(preset, layers)?;
        let place = PathBuf::from(format!("synthetic:{preset}@{seed}"));
        let source = Source::Synthetic { preset, seed };
        Ok(Checkpoint { config, experts: ExpertFormat::Mxfp4, place, source })
    }

    /// The architecture.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the tensors come from.
    pub fn layout(&self) -> Layout {
        match (&self.source, self.experts) {
            (Source::Original(_), _) => Layout::Original,
            (Source::Synthetic { preset, seed }, _) => Layout::Synthetic(*preset, *seed),
            (Source::Gguf(model), _) => Layout::Gguf(model.dialect()),
            (_, ExpertFormat::Mxfp4) => Layout::HuggingFaceMxfp4,
            (_, ExpertFormat::Bf16) => Layout::HuggingFaceBf16,
        }
    }

    /// How the MLP weights are stored.
    pub fn expert_format(&self) -> ExpertFormat {
        self.experts
    }

    /// The folder or file, or a label in its place: `synthetic:tiny@0`, `(embedded)`.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Every part this checkpoint has, in the order of the published files.
    pub fn parts(&self) -> Vec<Part> {
        names::parts(&self.config, self.experts)
    }

    /// The weight files; none for synthetic and embedded checkpoints.
    pub fn files(&self) -> Vec<WeightFile> {
        if let Source::Gguf(model) = &self.source {
            let describe = |file: &GgufFile| WeightFile {
                path: file.path().to_path_buf(),
                num_bytes: file.num_bytes(),
                num_tensors: file.tensors().len(),
            };
            return model.files().iter().map(describe).collect();
        }
        let (Source::HuggingFace(shards) | Source::Unstacked(shards, _) | Source::Original(shards)) =
            &self.source
        else {
            return Vec::new();
        };
        let describe = |file: &SafetensorsFile| WeightFile {
            path: file.path().to_path_buf(),
            num_bytes: file.num_bytes(),
            num_tensors: file.header().entries.len(),
        };
        shards.files().iter().map(describe).collect()
    }

    /// Every part with the bytes that [`Checkpoint::tensor`] gives for it, in the order of
    /// [`Checkpoint::parts`].
    pub fn part_bytes(&self) -> Vec<(Part, u64)> {
        self.parts().into_iter().map(|part| (part, self.num_bytes(part))).collect()
    }

    fn num_bytes(&self, part: Part) -> u64 {
        let published = names::num_bytes(&self.config, part);
        let as_stored = |shards: &Shards| {
            let (name, _) = self.name_and_shape(shards, part);
            let dtype = shards.find(&name).map_or(names::dtype(part), |(_, entry)| entry.dtype);
            (published / names::dtype(part).num_bytes() * dtype.num_bytes()) as u64
        };
        match &self.source {
            Source::Gguf(model) => model.num_bytes(&self.config, part),
            Source::Synthetic { .. } => published as u64,
            Source::Unstacked(shards, _) => {
                unstacked::num_bytes(&self.config, part).unwrap_or_else(|| as_stored(shards))
            }
            Source::HuggingFace(shards) | Source::Original(shards) | Source::Embedded { shards, .. } => {
                as_stored(shards)
            }
        }
    }

    /// Whether [`Checkpoint::tensor`] makes a part in new memory and does not show what a file holds.
    pub fn is_made(&self, part: Part) -> bool {
        match &self.source {
            Source::Gguf(model) => model.is_made(&self.config, part),
            Source::Synthetic { .. } => true,
            Source::Unstacked(..) => unstacked::num_bytes(&self.config, part).is_some(),
            Source::HuggingFace(_) | Source::Original(_) | Source::Embedded { .. } => false,
        }
    }

    /// Bytes of all tensors as [`Checkpoint::tensor`] gives them, headers not counted.
    pub fn tensor_bytes(&self) -> u64 {
        self.part_bytes().into_iter().map(|(_, bytes)| bytes).sum()
    }

    /// The bytes of a part: a view of a map, or new memory for a synthetic one, for the experts of a GGUF
    /// file or of a folder that has them one by one, and for dense matrices in a GGUF file's quantizations.
    ///
    /// Vectors and dense matrices have the type that the file has them in: bf16, f16, f32, matrices of a GGUF
    /// file also Q8_0.
    ///
    /// Errors: [`Error::NoSuchPart`] for a layer beyond the last, a router in a dense model, or the other
    /// expert format.
    pub fn tensor(&self, part: Part) -> Result<Tensor, Error> {
        if !names::has_part(&self.config, self.experts, part) {
            return Err(self.no_such_part(part));
        }
        let found = match &self.source {
            Source::Synthetic { seed, .. } => Some(synthetic::tensor(&self.config, *seed, part)),
            Source::Unstacked(shards, spelling) if unstacked::num_bytes(&self.config, part).is_some() => {
                spelling.tensor(&self.config, shards, part)
            }
            Source::HuggingFace(shards) | Source::Unstacked(shards, _) | Source::Embedded { shards, .. } => {
                shards.tensor(&self.name_and_shape(shards, part).0)
            }
            Source::Original(shards) => self.original_tensor(shards, part),
            Source::Gguf(model) => model.tensor(&self.config, part),
        };
        found.ok_or_else(|| self.no_such_part(part))
    }

    /// The MXFP4 experts of a GGUF file where they lie, for `GateUpBlocks` and `DownBlocks` (with the scales
    /// of each); `None` for every other part and every other checkpoint.
    pub fn gguf_experts(&self, part: Part) -> Option<GgufExperts> {
        match &self.source {
            Source::Gguf(model) if names::has_part(&self.config, self.experts, part) => {
                model.in_place(&self.config, part)
            }
            _ => None,
        }
    }

    /// A reader of single experts past the page cache; `None` for a checkpoint that is in no file.
    ///
    /// Errors: [`Error::Io`] when a weight file cannot be opened once more.
    pub fn expert_reader(&self) -> Result<Option<ExpertReader>, Error> {
        match &self.source {
            Source::Synthetic { .. } | Source::Embedded { .. } => Ok(None),
            Source::HuggingFace(shards) | Source::Original(shards) => {
                let open = |file: &SafetensorsFile| DirectFile::open(file.path());
                let files = shards.files().iter().map(open).collect::<Result<_, _>>()?;
                let layers = (0..self.config.num_hidden_layers).map(|layer| {
                    let parts = ExpertReader::parts(self.experts).iter();
                    parts.map(|&part| self.expert_place(shards, Part::Layer(layer, part))).collect()
                });
                let layers = layers.collect::<Result<_, _>>()?;
                Ok(Some(ExpertReader::published(&self.config, self.experts, files, layers)))
            }
            Source::Unstacked(shards, spelling) => {
                let open = |file: &SafetensorsFile| DirectFile::open(file.path());
                let files = shards.files().iter().map(open).collect::<Result<_, _>>()?;
                let stack = |layer, part, expert| {
                    let part = Part::Layer(layer, part);
                    let found = spelling.stack(&self.config, shards, part, expert);
                    found.ok_or_else(|| self.no_such_part(part))
                };
                let layers = 0..self.config.num_hidden_layers;
                let experts =
                    layers.flat_map(|layer| (0..self.config.num_local_experts).map(move |e| (layer, e)));
                let stacks = experts.map(|(layer, expert)| {
                    Ok([
                        stack(layer, LayerPart::GateUpBf16, expert)?,
                        stack(layer, LayerPart::DownBf16, expert)?,
                    ])
                });
                let stacks = stacks.collect::<Result<_, Error>>()?;
                Ok(Some(ExpertReader::relaid(&self.config, self.experts, files, stacks, 1)))
            }
            Source::Gguf(model) => {
                let (gate_up, down) = match self.experts {
                    ExpertFormat::Mxfp4 => (LayerPart::GateUpBlocks, LayerPart::DownBlocks),
                    ExpertFormat::Bf16 => (LayerPart::GateUpBf16, LayerPart::DownBf16),
                };
                let stack = |layer, part| {
                    let part = Part::Layer(layer, part);
                    model.stack(&self.config, part).ok_or_else(|| self.no_such_part(part))
                };
                let layers = (0..self.config.num_hidden_layers)
                    .map(|layer| Ok([stack(layer, gate_up)?, stack(layer, down)?]))
                    .collect::<Result<_, Error>>()?;
                let open = |file: &GgufFile| DirectFile::open(file.path());
                let files = model.files().iter().map(open).collect::<Result<_, _>>()?;
                let all = self.config.num_local_experts;
                Ok(Some(ExpertReader::relaid(&self.config, self.experts, files, layers, all)))
            }
        }
    }

    fn expert_place(&self, shards: &Shards, part: Part) -> Result<Place, Error> {
        let (name, _) = self.name_and_shape(shards, part);
        let (file, entry) = shards.place(&name).ok_or_else(|| self.missing(shards, &name))?;
        Ok(Place { name, file, offset: entry.range.start as u64 })
    }

    /// The folder's `tokenizer.json`, if it has one.
    ///
    /// Errors: [`Error::Io`].
    pub fn tokenizer_json(&self) -> Result<Option<Bytes>, Error> {
        match &self.source {
            Source::Synthetic { .. } | Source::Gguf(_) => Ok(None),
            Source::Embedded { files, .. } => Ok(embedded_file(files, TOKENIZER_FILE).map(Bytes::embedded)),
            Source::HuggingFace(_) | Source::Unstacked(..) | Source::Original(_) => {
                let path = self.place.join(TOKENIZER_FILE);
                if !path.exists() {
                    return Ok(None);
                }
                Ok(Some(Bytes::mapped(MappedFile::open(&path)?.into())))
            }
        }
    }

    /// The vocabulary in the metadata of a GGUF file, if it has one; other checkpoints have none there.
    ///
    /// Errors: [`Error::BadGguf`].
    pub fn gguf_tokenizer(&self) -> Result<Option<GgufTokenizer<'_>>, Error> {
        match &self.source {
            Source::Gguf(model) => GgufTokenizer::of(model.first()),
            _ => Ok(None),
        }
    }

    /// The license that a GGUF file's metadata names; other checkpoints say it nowhere.
    pub fn gguf_license(&self) -> Option<&str> {
        match &self.source {
            Source::Gguf(model) => model.first().text("general.license"),
            _ => None,
        }
    }

    fn original_tensor(&self, shards: &Shards, part: Part) -> Option<Tensor> {
        let place = names::original(&self.config, part);
        let tensor = shards.tensor(&place.name)?;
        let Some(rows) = place.rows else { return Some(tensor) };
        let row_bytes = tensor.bytes.len() / tensor.shape.first()?;
        let bytes = tensor.bytes.slice(rows.start * row_bytes..rows.end * row_bytes)?;
        Some(Tensor { shape: names::shape(&self.config, part), bytes, ..tensor })
    }

    /// Compares every tensor with what the config asks for, and refuses tensors it does not ask for.
    fn check_tensors(&self) -> Result<(), Error> {
        let (shards, spelling) = match &self.source {
            Source::HuggingFace(shards) | Source::Original(shards) | Source::Embedded { shards, .. } => {
                (shards, None)
            }
            Source::Unstacked(shards, spelling) => (shards, Some(spelling)),
            Source::Synthetic { .. } | Source::Gguf(_) => return Ok(()),
        };
        let mut known = std::collections::HashSet::new();
        for part in self.parts() {
            let single = spelling.map(|spelling| spelling.tensors(&self.config, part)).unwrap_or_default();
            let tensors = if single.is_empty() { vec![self.name_and_shape(shards, part)] } else { single };
            let mut first = None;
            for (name, shape) in tensors {
                let (file, entry) = shards.find(&name).ok_or_else(|| self.missing(shards, &name))?;
                check_entry(file.path(), entry, part, shape)?;
                // All experts' numbers of a part are read in one way.
                let (expected, found) = (*first.get_or_insert(entry.dtype), entry.dtype);
                if found != expected {
                    let path = file.path().to_path_buf();
                    return Err(Error::WrongDtype { path, tensor: name, expected, found });
                }
                known.insert(name);
            }
        }
        let foreign = shards.names().find(|(_, name)| !known.contains(*name) && changes_the_model(name));
        match foreign {
            None => Ok(()),
            Some((file, tensor)) => {
                let (path, tensor) = (file.path().to_path_buf(), tensor.to_string());
                Err(Error::UnexpectedTensor { path, tensor })
            }
        }
    }

    /// The tensor that holds a part in this checkpoint's files, and the shape it must have there.
    fn name_and_shape(&self, shards: &Shards, part: Part) -> (String, Vec<usize>) {
        let mut shape = names::shape(&self.config, part);
        if !matches!(self.source, Source::Original(_)) {
            let name = names::hugging_face(&self.config, part);
            let other = names::other_hugging_face(part)
                .filter(|other| shards.find(&name).is_none() && shards.find(other).is_some());
            return (other.unwrap_or(name), shape);
        }
        let place = names::original(&self.config, part);
        if place.rows.is_some() {
            shape[0] = names::num_fused_rows(&self.config);
        }
        (place.name, shape)
    }

    fn missing(&self, shards: &Shards, tensor: &str) -> Error {
        let is_single = |name: &str| name.contains(".experts.0.");
        let is_expert = tensor.contains(".experts.");
        let remedy = if is_expert && shards.names().any(|(_, name)| is_single(name)) {
            "the experts are stored one by one here, and not all of them as gate_proj, up_proj and down_proj with \
             weight and bias: export the checkpoint again, or stack them, one tensor a layer, as the model library does"
        } else {
            "the download is incomplete or config.json belongs to another model: download the checkpoint again"
        };
        Error::MissingTensor { folder: self.place.clone(), tensor: tensor.to_string(), remedy }
    }

    fn no_such_part(&self, part: Part) -> Error {
        let experts = match (self.config.is_dense(), self.experts) {
            (true, ExpertFormat::Mxfp4) => "a dense MLP in MXFP4",
            (true, ExpertFormat::Bf16) => "a dense MLP in bf16",
            (false, ExpertFormat::Mxfp4) => "experts in MXFP4",
            (false, ExpertFormat::Bf16) => "experts in bf16",
        };
        Error::NoSuchPart { part: format!("{part:?}"), layers: self.config.num_hidden_layers, experts }
    }
}

fn embedded_file(files: EmbeddedFiles, name: &str) -> Option<&'static [u8]> {
    files.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// Whether a tensor with this name would take part in the computation if the config spoke of it.
fn changes_the_model(name: &str) -> bool {
    let ours = ["model.", "lm_head.", "block.", "embedding.", "unembedding.", "norm."];
    ours.iter().any(|prefix| name.starts_with(prefix)) && !name.ends_with("rotary_emb.inv_freq")
}

fn check_entry(path: &Path, entry: &Entry, part: Part, shape: Vec<usize>) -> Result<(), Error> {
    if !names::accepted_dtypes(part).contains(&entry.dtype) {
        let (path, tensor) = (path.to_path_buf(), entry.name.clone());
        return Err(Error::WrongDtype { path, tensor, expected: names::dtype(part), found: entry.dtype });
    }
    if entry.shape != shape {
        let (path, tensor) = (path.to_path_buf(), entry.name.clone());
        return Err(Error::WrongShape { path, tensor, expected: shape, found: entry.shape.clone() });
    }
    Ok(())
}

/// The tensors of the first layer must be those that `config.json` announces.
fn check_expert_format(
    config: &Config,
    said: ExpertFormat,
    shards: &Shards,
    folder: &Path,
) -> Result<(), Error> {
    let has = |part| shards.find(&names::hugging_face(config, Part::Layer(0, part))).is_some();
    let is_single = Spelling::of(config, shards).is_some();
    let (mxfp4, bf16) = (has(LayerPart::GateUpBlocks), has(LayerPart::GateUpBf16) || is_single);
    let detail = match (said, mxfp4, bf16) {
        (_, true, true) => "the files hold the experts both as MXFP4 blocks and as bf16",
        (ExpertFormat::Mxfp4, false, true) => {
            "config.json announces MXFP4 experts (quantization_config), but the files hold bf16 experts"
        }
        (ExpertFormat::Bf16, true, false) => {
            "config.json announces bf16 experts (no quantization_config), but the files hold MXFP4 blocks"
        }
        _ => return Ok(()),
    };
    Err(Error::ExpertFormatDisagrees { folder: folder.to_path_buf(), detail: detail.to_string() })
}
