//! Experts that a folder has one by one: which tensors make up a part, and how their bytes become it.
//!
//! Tuning libraries unroll the mixture into a module for each expert, whose weights are `[out, in]` as those
//! of any linear layer; the model library stacks all of a layer, `[E, in, out]`. Entry points:
//! [`Spelling::of`], which knows two ways to name them, and [`Spelling::tensor`], which makes the stack, in
//! new memory; reads of single experts from disk go through [`Spelling::stack`].
//!
//! Sources: Unsloth, `unsloth_zoo/temporary_patches/gpt_oss.py`, `GptOssExpertsBnb4bit` (rows alternate gate,
//! up); llm-compressor, `GptOssLinearExperts`, and slime, `megatron_to_hf/gpt_oss.py` (gate and up apart).

use std::ops::Range;

use crate::bytes::{Bytes, Tensor};
use crate::config::Config;
use crate::dtype::Dtype;
use crate::gguf::{ExpertRows, GgufExtent, GgufStack, Sources, Storage};
use crate::names;
use crate::parallel::in_parallel;
use crate::part::{LayerPart, Part};
use crate::shards::Shards;

/// How the tensors of single experts are named.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spelling {
    /// `experts.E.gate_proj`, `experts.E.up_proj`, `experts.E.down_proj`.
    ByExpert,
    /// `experts.gate_up_projs.E`, whose rows alternate gate, up, and `experts.down_projs.E`.
    ByProjection,
}

impl Spelling {
    /// The spelling of the first expert of the first layer, if it is stored alone.
    pub(crate) fn of(config: &Config, shards: &Shards) -> Option<Spelling> {
        let is_found = |spelling: &Spelling| {
            let parts = [LayerPart::GateUpBf16, LayerPart::DownBf16].into_iter();
            parts.flat_map(|part| spelling.names(0, 0, part)).any(|name| shards.find(&name).is_some())
        };
        let known = [Spelling::ByExpert, Spelling::ByProjection];
        known.into_iter().find(is_found).filter(|_| !config.is_dense())
    }

    /// The tensors of an expert that make up its share of a part: one, or gate and up; none when the part is
    /// not the experts'.
    fn names(self, layer: usize, expert: usize, part: LayerPart) -> Vec<String> {
        let end = if is_bias(part) { "bias" } else { "weight" };
        let is_down = match part {
            LayerPart::GateUpBf16 | LayerPart::GateUpBias => false,
            LayerPart::DownBf16 | LayerPart::DownBias => true,
            _ => return Vec::new(),
        };
        let name = |rest: String| format!("model.layers.{layer}.mlp.experts.{rest}.{end}");
        match (self, is_down) {
            (Spelling::ByProjection, false) => vec![name(format!("gate_up_projs.{expert}"))],
            (Spelling::ByProjection, true) => vec![name(format!("down_projs.{expert}"))],
            (Spelling::ByExpert, true) => vec![name(format!("{expert}.down_proj"))],
            (Spelling::ByExpert, false) => {
                ["gate_proj", "up_proj"].map(|half| name(format!("{expert}.{half}"))).to_vec()
            }
        }
    }

    /// All tensors of a part with the shape that each must have; none when the part is not the experts'.
    pub(crate) fn tensors(self, config: &Config, part: Part) -> Vec<(String, Vec<usize>)> {
        let Some((layer, part, [rows, columns])) = expert_part(config, part) else { return Vec::new() };
        let of_expert = |expert| {
            let names = self.names(layer, expert, part);
            let rows = rows / names.len();
            let shape = if is_bias(part) { vec![rows] } else { vec![rows, columns] };
            names.into_iter().map(move |name| (name, shape.clone()))
        };
        (0..config.num_local_experts).flat_map(of_expert).collect()
    }

    /// A part of all experts of a layer: weights stacked and transposed in bf16, biases stacked in f32;
    /// `None` when it is not the experts' or a tensor is missing.
    pub(crate) fn tensor(self, config: &Config, shards: &Shards, part: Part) -> Option<Tensor> {
        let (layer, layer_part, [rows, columns]) = expert_part(config, part)?;
        let of_expert = |expert| -> Option<Vec<Tensor>> {
            self.names(layer, expert, layer_part).iter().map(|name| shards.tensor(name)).collect()
        };
        let experts = (0..config.num_local_experts).map(of_expert).collect::<Option<Vec<_>>>()?;
        let expert_bytes = num_bytes(config, part)? as usize / experts.len();
        let bytes = in_parallel(experts.len(), expert_bytes, 1, |expert, out| {
            let rows = expert_rows(&experts[expert], rows);
            match is_bias(layer_part) {
                true => rows.write_numbers(out),
                false => rows.write_transposed(out, columns),
            }
            // What has been laid out anew is not held twice.
            experts[expert].iter().map(|tensor| &tensor.bytes).for_each(Bytes::release);
        });
        let dtype = if is_bias(layer_part) { Dtype::F32 } else { Dtype::Bf16 };
        let name = names::hugging_face(config, part);
        Some(Tensor { name, dtype, shape: names::shape(config, part), bytes })
    }

    /// Where the matrix of one expert lies; `None` when it is missing.
    pub(crate) fn stack(
        self,
        config: &Config,
        shards: &Shards,
        part: Part,
        expert: usize,
    ) -> Option<GgufStack> {
        let (layer, layer_part, [rows, columns]) = expert_part(config, part)?;
        let names = self.names(layer, expert, layer_part);
        let extent = |name: &String| -> Option<GgufExtent> {
            let (file, entry) = shards.place(name)?;
            let range: Range<usize> = entry.range.clone();
            Some(GgufExtent { part: file, range })
        };
        let tensors = names.iter().map(extent).collect::<Option<Vec<_>>>()?;
        Some(GgufStack::of_expert(names.join(" and "), tensors, rows, columns))
    }
}

/// Bytes of what [`Spelling::tensor`] gives of a part; `None` when it is not the experts'.
pub(crate) fn num_bytes(config: &Config, part: Part) -> Option<u64> {
    let (_, layer_part, _) = expert_part(config, part)?;
    let widened = if is_bias(layer_part) { 2 } else { 1 };
    Some((widened * names::num_bytes(config, part)) as u64)
}

/// The layer of an experts' part, and its rows and columns for one expert; a bias has one column.
fn expert_part(config: &Config, part: Part) -> Option<(usize, LayerPart, [usize; 2])> {
    let Part::Layer(layer, layer_part) = part else { return None };
    let shape = names::shape(config, part);
    match layer_part {
        LayerPart::GateUpBf16 | LayerPart::DownBf16 => Some((layer, layer_part, [shape[2], shape[1]])),
        LayerPart::GateUpBias | LayerPart::DownBias => Some((layer, layer_part, [shape[1], 1])),
        _ => None,
    }
}

fn expert_rows(tensors: &[Tensor], num_rows: usize) -> ExpertRows<'_> {
    let storage = match tensors.first().map(|tensor| tensor.dtype) {
        Some(Dtype::F32) => Storage::F32,
        Some(Dtype::F16) => Storage::F16,
        _ => Storage::Bf16,
    };
    let sources = match tensors {
        [gate, up] => Sources::Apart { gate: &gate.bytes, up: &up.bytes },
        tensors => Sources::InOrder(tensors.first().map_or(&[], |tensor| &tensor.bytes)),
    };
    ExpertRows { sources, storage, rows_per_expert: num_rows, num_rows }
}

fn is_bias(part: LayerPart) -> bool {
    matches!(part, LayerPart::GateUpBias | LayerPart::DownBias)
}
