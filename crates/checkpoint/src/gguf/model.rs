//! A gpt-oss in GGUF files: every part by its meaning, whatever the file calls it and however it is laid
//! out.
//!
//! Entry points: [`GgufModel::open`], which checks every tensor's name, type and shape against the metadata,
//! and [`GgufModel::tensor`]. What the file holds as this program computes with it is a view of the map:
//! vectors, and the dense matrices in bf16, f16, f32 or Q8_0. Dense matrices in llama.cpp's other
//! quantizations become Q8_0, and the experts are another layout (see `experts.rs`): both are new memory,
//! made when they are asked for. A file without `output.weight` has one matrix for both ends.
//!
//! Types that are not read are refused here, with the tensor's name. It does not know what a layer computes.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use gptoss_formats::NibbleOrder;

use super::element::Storage;
use super::experts::{ExpertRows, Sources};
use super::file::GgufFile;
use super::metadata::{self, Dialect};
use super::names as gguf_names;
use super::parts::{FoundTensor, GgufParts};
use crate::bytes::{Bytes, Tensor};
use crate::config::Config;
use crate::dtype::Dtype;
use crate::error::Error;
use crate::names;
use crate::part::{ExpertFormat, LayerPart, Part};

const VECTOR_TYPES: &str = "F32, F16 or BF16";
const DENSE_TYPES: &str = "BF16, F16, F32, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL or IQ4_XS";
const EXPERT_TYPES: &str = "MXFP4 or BF16";

/// The tensors of one model. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct GgufModel {
    parts: Arc<GgufParts>,
    dialect: Dialect,
}

/// Where a part is.
enum Place<'a> {
    /// All of one tensor.
    Whole(FoundTensor<'a>),
    /// Some rows of a tensor that has `.2` of them.
    Rows(FoundTensor<'a>, Range<usize>, usize),
    /// Rows of the experts, from one tensor or two.
    Experts(ExpertPlace<'a>),
}

enum ExpertPlace<'a> {
    InOrder(FoundTensor<'a>),
    Apart { gate: FoundTensor<'a>, up: FoundTensor<'a> },
    GateFirst(FoundTensor<'a>),
}

/// A stack of expert matrices, one for each expert, as the file has them.
#[derive(Clone, Debug)]
pub(crate) struct GgufStack {
    /// The tensors' names, for messages.
    pub(crate) name: String,
    order: RowOrder,
    pub(crate) storage: Storage,
    /// Where each of one or two tensors lies.
    pub(crate) tensors: Vec<GgufExtent>,
    rows_per_expert: usize,
    pub(crate) columns: usize,
}

/// Bytes of one of the files.
#[derive(Clone, Debug)]
pub(crate) struct GgufExtent {
    /// The index of the file.
    pub(crate) part: usize,
    /// Units: bytes.
    pub(crate) range: Range<usize>,
}

/// How the rows of a stack's experts are ordered.
#[derive(Clone, Copy, Debug)]
enum RowOrder {
    Published,
    /// Gate rows in one tensor, up rows in another.
    Apart,
    GateFirst,
}

/// The MXFP4 experts of a part as they lie in a GGUF file: blocks of a scale and 16 bytes of codes.
#[derive(Clone, Debug)]
pub struct GgufExperts {
    /// The tensors' names, for messages.
    pub name: String,
    /// Which values of a block share a byte.
    pub nibbles: NibbleOrder,
    order: RowOrder,
    /// One or two tensors, all experts of each.
    tensors: Vec<Bytes>,
    num_experts: usize,
}

impl GgufExperts {
    /// The rows of one expert in two stacks, whose rows alternate in the published order; the second is empty
    /// when the first has them all in that order.
    pub fn stacks(&self, expert: usize) -> [&[u8]; 2] {
        let share = |bytes| -> &[u8] {
            let bytes: &Bytes = bytes;
            let width = bytes.len() / self.num_experts;
            &bytes[expert * width..][..width]
        };
        match (self.order, &self.tensors[..]) {
            (RowOrder::Apart, [gate, up]) => [share(gate), share(up)],
            (RowOrder::GateFirst, [joined, ..]) => {
                let (gate, up) = share(joined).split_at(share(joined).len() / 2);
                [gate, up]
            }
            (_, tensors) => [tensors.first().map_or(&[], share), &[]],
        }
    }

    /// Bytes of all experts.
    pub fn num_bytes(&self) -> u64 {
        self.tensors.iter().map(|bytes| bytes.len() as u64).sum()
    }
}

impl GgufStack {
    /// One expert in bf16: in one tensor in the published order, or gate rows in one and up rows in another.
    pub(crate) fn of_expert(
        name: String,
        tensors: Vec<GgufExtent>,
        rows_per_expert: usize,
        columns: usize,
    ) -> GgufStack {
        let order = if tensors.len() == 2 { RowOrder::Apart } else { RowOrder::Published };
        GgufStack { name, order, storage: Storage::Bf16, tensors, rows_per_expert, columns }
    }

    /// The rows of `num_experts` consecutive experts, whose bytes in each tensor are given.
    pub(crate) fn rows<'a>(&self, data: &[&'a [u8]], num_experts: usize) -> ExpertRows<'a> {
        ExpertRows {
            sources: match (self.order, data) {
                (RowOrder::Apart, [gate, up]) => Sources::Apart { gate, up },
                (RowOrder::GateFirst, [joined, ..]) => Sources::GateFirst(joined),
                (_, data) => Sources::InOrder(data.first().copied().unwrap_or_default()),
            },
            storage: self.storage,
            rows_per_expert: self.rows_per_expert,
            num_rows: self.rows_per_expert * num_experts,
        }
    }
}

impl GgufModel {
    /// Maps a file, and the other parts of a split one, and checks that they hold the model that the metadata
    /// describes, whole.
    ///
    /// Errors: those of [`GgufParts::open`], [`Error::BadGguf`], [`Error::Truncated`],
    /// [`Error::UnknownArchitecture`], [`Error::BadConfig`], [`Error::MissingTensor`], [`Error::WrongShape`],
    /// [`Error::UnsupportedTensorType`].
    pub(crate) fn open(path: &Path) -> Result<(GgufModel, Config, ExpertFormat), Error> {
        let parts = GgufParts::open(path)?;
        let dialect = Dialect::of(parts.first())?;
        let model = GgufModel { parts: Arc::new(parts), dialect };
        let embedding = model.whole(Part::Embedding);
        let rows = embedding.and_then(|tensor| tensor.entry.shape.first().copied());
        let mut config = metadata::config(model.first(), dialect, rows)?;
        config.tie_word_embeddings = model.whole(Part::Unembedding).is_none();
        let down = model.whole(Part::Layer(0, LayerPart::DownBlocks));
        let experts = match down.and_then(|tensor| tensor.entry.element.storage) {
            Some(Storage::Bf16) => ExpertFormat::Bf16,
            _ => ExpertFormat::Mxfp4,
        };
        model.check(&config, experts)?;
        Ok((model, config, experts))
    }

    /// All files of the model.
    pub(crate) fn files(&self) -> &[GgufFile] {
        self.parts.files()
    }

    /// The file with the metadata.
    pub(crate) fn first(&self) -> &GgufFile {
        self.parts.first()
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The part's tensor: a view where the file has it as this program computes with it, else new memory.
    pub(crate) fn tensor(&self, config: &Config, part: Part) -> Option<Tensor> {
        match self.place(config, part)? {
            Place::Whole(tensor) => tensor.file.rows(tensor.entry, 0..*tensor.entry.shape.first()?),
            Place::Rows(tensor, rows, _) => tensor.file.rows(tensor.entry, rows),
            Place::Experts(place) => self.relaid(config, part, &place),
        }
    }

    /// Bytes of what [`GgufModel::tensor`] gives.
    pub(crate) fn num_bytes(&self, config: &Config, part: Part) -> u64 {
        match self.place(config, part) {
            Some(Place::Whole(tensor)) => {
                tensor.file.rows_bytes(tensor.entry, tensor.entry.shape.first().copied().unwrap_or(1))
            }
            Some(Place::Rows(tensor, rows, _)) => tensor.file.rows_bytes(tensor.entry, rows.len()),
            Some(Place::Experts(_)) if is_bias(part) => 2 * names::num_bytes(config, part) as u64,
            _ => names::num_bytes(config, part) as u64,
        }
    }

    /// Whether [`GgufModel::tensor`] gives new memory for a part.
    pub(crate) fn is_made(&self, config: &Config, part: Part) -> bool {
        match self.place(config, part) {
            Some(Place::Whole(tensor) | Place::Rows(tensor, ..)) => {
                matches!(tensor.entry.element.storage, Some(Storage::Quantized(_)))
            }
            Some(Place::Experts(_)) => true,
            None => false,
        }
    }

    /// Where the experts of a part lie, for those who read them one by one; `None` for parts that are no
    /// experts'.
    pub(crate) fn stack(&self, config: &Config, part: Part) -> Option<GgufStack> {
        match self.place(config, part)? {
            Place::Experts(place) => place.stack(config, part),
            Place::Whole(_) | Place::Rows(..) => None,
        }
    }

    /// The experts of a part where they lie; `None` when they are not MXFP4, or the part is no experts'
    /// codes.
    pub(crate) fn in_place(&self, config: &Config, part: Part) -> Option<GgufExperts> {
        if !matches!(part, Part::Layer(_, LayerPart::GateUpBlocks | LayerPart::DownBlocks)) {
            return None;
        }
        let Place::Experts(place) = self.place(config, part)? else { return None };
        let stack = place.stack(config, part)?;
        let Storage::Mxfp4(nibbles) = stack.storage else { return None };
        let tensors = place.tensors().map(|tensor| tensor.file.data(tensor.entry)).collect();
        let num_experts = config.num_local_experts.max(1);
        Some(GgufExperts { name: stack.name, nibbles, order: stack.order, tensors, num_experts })
    }

    fn relaid(&self, config: &Config, part: Part, place: &ExpertPlace<'_>) -> Option<Tensor> {
        let stack = place.stack(config, part)?;
        let mapped: Vec<Bytes> = place.tensors().map(|tensor| tensor.file.data(tensor.entry)).collect();
        let data: Vec<&[u8]> = mapped.iter().map(|bytes| &**bytes).collect();
        let rows = stack.rows(&data, config.num_local_experts);
        let (dtype, bytes): (Dtype, Bytes) = match part {
            Part::Layer(_, LayerPart::GateUpBlocks | LayerPart::DownBlocks) => {
                (Dtype::U8, rows.blocks(stack.columns))
            }
            Part::Layer(_, LayerPart::GateUpScales | LayerPart::DownScales) => {
                (Dtype::U8, rows.scales(stack.columns))
            }
            Part::Layer(_, LayerPart::GateUpBf16 | LayerPart::DownBf16) => {
                (Dtype::Bf16, rows.transposed(stack.columns))
            }
            _ => (Dtype::F32, rows.numbers()),
        };
        // What has been laid out anew is not held twice.
        mapped.iter().for_each(Bytes::release);
        Some(Tensor { name: stack.name, dtype, shape: names::shape(config, part), bytes })
    }

    fn find(&self, name: &str) -> Option<FoundTensor<'_>> {
        self.parts.find(name)
    }

    fn whole(&self, part: Part) -> Option<FoundTensor<'_>> {
        gguf_names::spellings(part).iter().find_map(|name| self.find(name))
    }

    fn place(&self, config: &Config, part: Part) -> Option<Place<'_>> {
        let Part::Layer(layer, layer_part) = part else {
            let is_shared = part == Part::Unembedding && config.tie_word_embeddings;
            return self.whole(if is_shared { Part::Embedding } else { part }).map(Place::Whole);
        };
        match layer_part {
            LayerPart::GateUpBlocks
            | LayerPart::GateUpScales
            | LayerPart::GateUpBf16
            | LayerPart::GateUpBias => {
                self.gate_up(layer, if is_bias(part) { "bias" } else { "weight" }).map(Place::Experts)
            }
            LayerPart::DownBlocks | LayerPart::DownScales | LayerPart::DownBf16 => {
                self.whole(part).map(|tensor| Place::Experts(ExpertPlace::InOrder(tensor)))
            }
            _ => self.whole(part).map(Place::Whole).or_else(|| self.fused(config, layer, layer_part)),
        }
    }

    fn fused(&self, config: &Config, layer: usize, part: LayerPart) -> Option<Place<'_>> {
        let (which, end) = match part {
            LayerPart::QWeight => (0, "weight"),
            LayerPart::KWeight => (1, "weight"),
            LayerPart::VWeight => (2, "weight"),
            LayerPart::QBias => (0, "bias"),
            LayerPart::KBias => (1, "bias"),
            LayerPart::VBias => (2, "bias"),
            _ => return None,
        };
        let tensor = self.find(&gguf_names::fused_attention(layer, end))?;
        Some(Place::Rows(tensor, names::fused_rows(config, which), names::num_fused_rows(config)))
    }

    /// Ollama's converter kept the published order when it joined the two; llama.cpp's puts one behind the
    /// other.
    fn gate_up(&self, layer: usize, end: &str) -> Option<ExpertPlace<'_>> {
        let [gate, up] = gguf_names::gate_and_up(layer, end).map(|name| self.find(&name));
        if let (Some(gate), Some(up)) = (gate, up) {
            return Some(ExpertPlace::Apart { gate, up });
        }
        let joined = self.find(&gguf_names::joined_gate_up(layer, end))?;
        Some(match self.dialect {
            Dialect::LlamaCpp => ExpertPlace::GateFirst(joined),
            Dialect::Ollama => ExpertPlace::InOrder(joined),
        })
    }

    fn check(&self, config: &Config, experts: ExpertFormat) -> Result<(), Error> {
        let mut known = HashSet::new();
        for part in names::parts(config, experts) {
            let place = self.place(config, part).ok_or_else(|| self.missing(part))?;
            self.check_place(config, part, &place)?;
            known.extend(place.tensors().map(|tensor| tensor.entry.name.as_str()));
        }
        let is_foreign = |name: &str| !known.contains(name) && gguf_names::changes_the_model(name);
        match self.parts.tensors().find(|tensor| is_foreign(&tensor.entry.name)) {
            None => Ok(()),
            Some(tensor) => {
                let detail = format!(
                    "the tensor {} is no part of the gpt-oss that the metadata describes",
                    tensor.entry.name
                );
                Err(Error::BadGguf { path: tensor.file.path().to_path_buf(), detail })
            }
        }
    }

    fn check_place(&self, config: &Config, part: Part, place: &Place<'_>) -> Result<(), Error> {
        let is_vector = names::shape(config, part).len() == 1 || is_bias(part);
        let expected = file_shape(config, part, place);
        for tensor in place.tensors() {
            let accepted = match place {
                _ if is_vector => VECTOR_TYPES,
                Place::Experts(_) => EXPERT_TYPES,
                _ => DENSE_TYPES,
            };
            let is_read = match tensor.entry.element.storage {
                None => false,
                Some(Storage::F32 | Storage::F16) => accepted != EXPERT_TYPES,
                Some(Storage::Bf16) => true,
                Some(Storage::Q8_0 | Storage::Quantized(_)) => accepted == DENSE_TYPES,
                Some(Storage::Mxfp4(_)) => accepted == EXPERT_TYPES,
            };
            if !is_read {
                return Err(unsupported(tensor, accepted));
            }
            if tensor.entry.shape != expected {
                return Err(Error::WrongShape {
                    path: tensor.file.path().to_path_buf(),
                    tensor: tensor.entry.name.clone(),
                    expected,
                    found: tensor.entry.shape.clone(),
                });
            }
        }
        self.check_one_format(config, part, place)
    }

    /// All tensors of a part must be of one type, and the experts of all layers of the format of the first.
    fn check_one_format(&self, config: &Config, part: Part, place: &Place<'_>) -> Result<(), Error> {
        let Place::Experts(place) = place else { return Ok(()) };
        let mut storages = place.tensors().map(|tensor| tensor.entry.element.storage);
        let first = storages.next().flatten();
        let is_uniform = storages.all(|storage| storage == first);
        let is_expected = match part {
            _ if is_bias(part) => true,
            Part::Layer(_, LayerPart::GateUpBf16 | LayerPart::DownBf16) => first == Some(Storage::Bf16),
            _ => matches!(first, Some(Storage::Mxfp4(_))),
        };
        if is_uniform && is_expected {
            return Ok(());
        }
        let name = place.tensors().last().map_or("?", |tensor| tensor.entry.name.as_str());
        let layers = config.num_hidden_layers;
        let detail =
            format!("{name} has another type than the experts beside it; all {layers} layers must agree");
        Err(Error::BadGguf { path: self.first().path().to_path_buf(), detail })
    }

    fn missing(&self, part: Part) -> Error {
        let layer = match part {
            Part::Layer(layer, _) => layer,
            _ => 0,
        };
        let end = if is_bias(part) { "bias" } else { "weight" };
        let tensor = gguf_names::spellings(part).into_iter().next();
        let tensor = tensor.unwrap_or_else(|| {
            let [gate, up] = gguf_names::gate_and_up(layer, end);
            if self.find(&gate).is_some() { up } else { gate }
        });
        let remedy = "the file is incomplete or another kind of model: download or convert it again";
        Error::MissingTensor { folder: self.first().path().to_path_buf(), tensor, remedy }
    }
}

fn unsupported(tensor: FoundTensor<'_>, accepted: &'static str) -> Error {
    Error::UnsupportedTensorType {
        path: tensor.file.path().to_path_buf(),
        tensor: tensor.entry.name.clone(),
        found: tensor.entry.element.name,
        accepted,
    }
}

impl<'a> Place<'a> {
    fn tensors(&self) -> impl Iterator<Item = FoundTensor<'a>> {
        let (first, second) = match self {
            Place::Whole(tensor) | Place::Rows(tensor, ..) => (*tensor, None),
            Place::Experts(place) => place.pair(),
        };
        std::iter::once(first).chain(second)
    }
}

impl<'a> ExpertPlace<'a> {
    fn stack(&self, config: &Config, part: Part) -> Option<GgufStack> {
        let order = match self {
            ExpertPlace::InOrder(_) => RowOrder::Published,
            ExpertPlace::Apart { .. } => RowOrder::Apart,
            ExpertPlace::GateFirst(_) => RowOrder::GateFirst,
        };
        let names: Vec<&str> = self.tensors().map(|tensor| tensor.entry.name.as_str()).collect();
        let extent =
            |tensor: FoundTensor<'_>| GgufExtent { part: tensor.part, range: tensor.entry.range.clone() };
        Some(GgufStack {
            name: names.join(" and "),
            order,
            storage: self.tensors().next()?.entry.element.storage?,
            tensors: self.tensors().map(extent).collect(),
            rows_per_expert: rows_per_expert(config, part),
            columns: columns(config, part),
        })
    }

    fn pair(&self) -> (FoundTensor<'a>, Option<FoundTensor<'a>>) {
        match self {
            ExpertPlace::InOrder(tensor) | ExpertPlace::GateFirst(tensor) => (*tensor, None),
            ExpertPlace::Apart { gate, up } => (*gate, Some(*up)),
        }
    }

    fn tensors(&self) -> impl Iterator<Item = FoundTensor<'a>> {
        let (first, second) = self.pair();
        std::iter::once(first).chain(second)
    }
}

/// The shape in the file of each tensor that a part lies in.
fn file_shape(config: &Config, part: Part, place: &Place<'_>) -> Vec<usize> {
    let mut shape = match place {
        Place::Whole(_) => return names::shape(config, part),
        Place::Rows(_, _, num_rows) => {
            let mut shape = names::shape(config, part);
            shape[0] = *num_rows;
            return shape;
        }
        Place::Experts(_) => vec![config.num_local_experts, rows_per_expert(config, part)],
    };
    if matches!(place, Place::Experts(ExpertPlace::Apart { .. })) {
        shape[1] /= 2;
    }
    if !is_bias(part) {
        shape.push(columns(config, part));
    }
    shape
}

fn is_bias(part: Part) -> bool {
    matches!(part, Part::Layer(_, LayerPart::GateUpBias | LayerPart::DownBias))
}

fn is_down(part: Part) -> bool {
    matches!(part, Part::Layer(_, LayerPart::DownBlocks | LayerPart::DownScales | LayerPart::DownBf16))
}

/// Outputs of one expert's projection.
fn rows_per_expert(config: &Config, part: Part) -> usize {
    if is_down(part) { config.hidden_size } else { 2 * config.intermediate_size }
}

/// Inputs of one expert's projection.
fn columns(config: &Config, part: Part) -> usize {
    if is_down(part) { config.intermediate_size } else { config.hidden_size }
}
