//! Writing a synthetic checkpoint to a folder, in any of the three layouts.
//!
//! [`write_synthetic`] plans which tensor goes into which file, then streams: memory stays at one buffer (for
//! bf16 one expert), whatever the model's size. All layouts say the same bits as [`Checkpoint::synthetic`]:
//! `original/` glues q, k and v together, bf16 is the dequantised and transposed MXFP4, so each layout's
//! reader can be tested against the others.
//!
//! The folder appears under its name only when it is complete. Until then it is `NAME.partial`; an empty
//! folder that exists is filled instead, from `checkpoint.partial` inside it, with the config last. An error
//! removes the partial folder, and what a killed run leaves there is removed by the next run for the same
//! name. An existing non-empty target is refused.
//!
//! [`Checkpoint::synthetic`]: crate::Checkpoint::synthetic

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use half::bf16;
use serde_json::{Map, Value};

use crate::config::Config;
use crate::config_json::ConfigForm;
use crate::dtype::Dtype;
use crate::error::Error;
use crate::folder::{HF_SHARD_BYTES, Planned, is_written_here, shard, write_shards, write_text};
use crate::names;
use crate::part::{ExpertFormat, LayerPart, Part};
use crate::preset::Preset;
use crate::synthetic;
use crate::write::{Outline, Partial, check_space};

/// Bytes made and written at a time.
const STEP_BYTES: usize = 32 << 20;
/// Up to this size the `original/` layout is one file, as the published 20b is.
const ORIGINAL_SINGLE_BYTES: usize = 16_000_000_000;
/// Bytes of tensors in one file of a larger `original/` checkpoint.
const ORIGINAL_SHARD_BYTES: usize = 10_000_000_000;

/// The layouts that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteLayout {
    /// Hugging Face names, MXFP4 experts.
    Hf,
    /// OpenAI's `original/` names, MXFP4 experts.
    Original,
    /// Hugging Face names, bf16 experts.
    Bf16,
}

/// What to write, and where.
#[derive(Clone, Debug)]
pub struct SynthRequest {
    /// The shape.
    pub preset: Preset,
    /// The seed; the same seed gives the same bits everywhere.
    pub seed: u64,
    /// Replaces the preset's number of layers.
    pub layers: Option<usize>,
    /// The naming and the expert format.
    pub layout: WriteLayout,
    /// The folder to make; it may exist if it is empty.
    pub folder: PathBuf,
}

/// Writes a checkpoint with random weights; `progress` hears bytes done and bytes in all.
///
/// Errors: [`Error::BadConfig`] for a number of layers out of bounds, [`Error::TargetExists`],
/// [`Error::DiskFull`], [`Error::Io`]. After an error nothing is left behind.
pub fn write_synthetic(request: &SynthRequest, progress: &mut dyn FnMut(u64, u64)) -> Result<(), Error> {
    let config = synthetic::config(request.preset, request.layers)?;
    let planned = plan(&config, request.layout);
    let shard_bytes = published_shard_bytes(&planned, request.layout);
    write_planned(&config, request, planned, shard_bytes, progress)
}

/// The same for any config and shard size; the request's preset and layers are not looked at.
fn write_planned(
    config: &Config,
    request: &SynthRequest,
    planned: Vec<Planned<Content>>,
    shard_bytes: usize,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), Error> {
    let total: u64 = planned.iter().map(|tensor| tensor.outline.num_bytes() as u64).sum();
    check_space(&request.folder, total)?;
    let partial = Partial::folder(&request.folder, is_written_here)?;
    write_json_files(config, request.layout, &planned, partial.path())?;
    let shards = shard(planned, |index, count| shard_name(request.layout, index, count), shard_bytes);
    let mut writer = Writer { config, seed: request.seed, buffer: Vec::new(), done: 0, total, progress };
    write_shards(partial.path(), &shards, &mut |content, sink| writer.write(content, sink))?;
    partial.finish()
}

/// What a written tensor is made of.
#[derive(Clone, Debug)]
enum Content {
    /// The bytes of these parts, one after the other.
    Parts(Vec<Part>),
    /// The dequantised, transposed matrix of these MXFP4 parts, expert by expert; `columns` counts its
    /// inputs.
    Dequantised { blocks: Part, scales: Part, columns: usize },
}

fn plan(config: &Config, layout: WriteLayout) -> Vec<Planned<Content>> {
    let experts = if layout == WriteLayout::Bf16 { ExpertFormat::Bf16 } else { ExpertFormat::Mxfp4 };
    names::parts(config, experts).into_iter().filter_map(|part| planned(config, layout, part)).collect()
}

/// `None` for the parts that the `original/` layout has inside the fused projection of another part.
fn planned(config: &Config, layout: WriteLayout, part: Part) -> Option<Planned<Content>> {
    let mut shape = names::shape(config, part);
    let mut name = names::hugging_face(config, part);
    let mut content = Content::Parts(vec![part]);
    if layout == WriteLayout::Original {
        let place = names::original(config, part);
        name = place.name;
        if let Some(rows) = place.rows {
            if rows.start > 0 {
                return None;
            }
            shape[0] = names::num_fused_rows(config);
            content = Content::Parts(fused_parts(part));
        }
    }
    if let Part::Layer(layer, layer_part) = part {
        let dequantised = |blocks, scales, columns| Content::Dequantised {
            blocks: Part::Layer(layer, blocks),
            scales: Part::Layer(layer, scales),
            columns,
        };
        match layer_part {
            LayerPart::GateUpBf16 => {
                content = dequantised(LayerPart::GateUpBlocks, LayerPart::GateUpScales, config.hidden_size);
            }
            LayerPart::DownBf16 => {
                content = dequantised(LayerPart::DownBlocks, LayerPart::DownScales, config.intermediate_size);
            }
            _ => {}
        }
    }
    Some(Planned { outline: Outline { name, dtype: names::dtype(part), shape }, content })
}

/// The parts of the fused projection that starts with this one.
fn fused_parts(first: Part) -> Vec<Part> {
    let (layer, rest) = match first {
        Part::Layer(layer, LayerPart::QWeight) => (layer, [LayerPart::KWeight, LayerPart::VWeight]),
        Part::Layer(layer, LayerPart::QBias) => (layer, [LayerPart::KBias, LayerPart::VBias]),
        other => return vec![other],
    };
    let rest = rest.map(|part| Part::Layer(layer, part));
    std::iter::once(first).chain(rest).collect()
}

/// How many bytes of tensors the published checkpoints put into one file.
fn published_shard_bytes(planned: &[Planned<Content>], layout: WriteLayout) -> usize {
    let total: usize = planned.iter().map(|tensor| tensor.outline.num_bytes()).sum();
    match layout {
        WriteLayout::Original if total <= ORIGINAL_SINGLE_BYTES => ORIGINAL_SINGLE_BYTES,
        WriteLayout::Original => ORIGINAL_SHARD_BYTES,
        WriteLayout::Hf | WriteLayout::Bf16 => HF_SHARD_BYTES,
    }
}

/// The published conventions of `original/`: a double dash, one-based.
fn shard_name(layout: WriteLayout, index: usize, count: usize) -> String {
    match layout {
        WriteLayout::Original if count > 1 => format!("model--{:05}-of-{count:05}.safetensors", index + 1),
        _ => crate::folder::shard_name(index, count),
    }
}

fn write_json_files(
    config: &Config,
    layout: WriteLayout,
    planned: &[Planned<Content>],
    folder: &Path,
) -> Result<(), Error> {
    let form = match layout {
        WriteLayout::Hf => ConfigForm::HuggingFace(ExpertFormat::Mxfp4),
        WriteLayout::Bf16 => ConfigForm::HuggingFace(ExpertFormat::Bf16),
        WriteLayout::Original => ConfigForm::Original,
    };
    write_text(&folder.join("config.json"), &config.to_json(form))?;
    if layout == WriteLayout::Original {
        let label = |tensor: &Planned<Content>| {
            (tensor.outline.name.clone(), Value::from(dtype_label(&tensor.outline)))
        };
        let labels: Map<String, Value> = planned.iter().map(label).collect();
        return write_text(&folder.join("dtypes.json"), &format!("{:#}\n", Value::Object(labels)));
    }
    write_text(&folder.join("generation_config.json"), &config.generation_json())
}

/// The label in `dtypes.json`, which tells codes from scales.
fn dtype_label(outline: &Outline) -> &'static str {
    match outline.dtype {
        Dtype::U8 if outline.name.ends_with(".scales") => "UE8",
        Dtype::U8 => "FP4",
        other => other.name(),
    }
}

/// Streams tensors and counts what is done.
struct Writer<'a> {
    config: &'a Config,
    seed: u64,
    buffer: Vec<u8>,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Writer<'_> {
    fn write(&mut self, content: &Content, sink: &mut dyn Write) -> io::Result<()> {
        match content {
            Content::Parts(parts) => parts.iter().try_for_each(|&part| self.write_part(part, sink)),
            Content::Dequantised { blocks, scales, columns } => {
                self.write_dequantised(*blocks, *scales, *columns, sink)
            }
        }
    }

    fn write_part(&mut self, part: Part, sink: &mut dyn Write) -> io::Result<()> {
        let num_bytes = names::num_bytes(self.config, part);
        for start in (0..num_bytes).step_by(STEP_BYTES) {
            self.buffer.resize(STEP_BYTES.min(num_bytes - start), 0);
            synthetic::fill(self.config, self.seed, part, start, &mut self.buffer);
            sink.write_all(&self.buffer)?;
            self.report(self.buffer.len());
        }
        Ok(())
    }

    fn write_dequantised(
        &mut self,
        blocks: Part,
        scales: Part,
        columns: usize,
        sink: &mut dyn Write,
    ) -> io::Result<()> {
        let experts = self.config.num_local_experts.max(1);
        let mut expert_blocks = vec![0; names::num_bytes(self.config, blocks) / experts];
        let mut expert_scales = vec![0; names::num_bytes(self.config, scales) / experts];
        let mut matrix = vec![bf16::ZERO; expert_blocks.len() * 2];
        for expert in 0..experts {
            synthetic::fill(self.config, self.seed, blocks, expert * expert_blocks.len(), &mut expert_blocks);
            synthetic::fill(self.config, self.seed, scales, expert * expert_scales.len(), &mut expert_scales);
            crate::mxfp4::dequantize_transposed(&mut matrix, &expert_blocks, &expert_scales, columns);
            for step in bytemuck::cast_slice::<bf16, u8>(&matrix).chunks(STEP_BYTES) {
                sink.write_all(step)?;
                self.report(step.len());
            }
        }
        Ok(())
    }

    fn report(&mut self, num_bytes: usize) {
        self.done += num_bytes as u64;
        (self.progress)(self.done, self.total);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::shards::INDEX_FILE;

    /// A dense member of the family, small enough to write.
    fn dense() -> Config {
        Config { num_local_experts: 0, experts_per_token: 0, intermediate_size: 96, ..Preset::Tiny.config() }
    }

    fn write_dense(layout: WriteLayout, folder: PathBuf) -> Checkpoint {
        let request = SynthRequest { preset: Preset::Tiny, seed: 3, layers: None, layout, folder };
        let planned = plan(&dense(), layout);
        write_planned(&dense(), &request, planned, 300_000, &mut |_, _| {}).unwrap();
        Checkpoint::open(&request.folder).unwrap()
    }

    #[test]
    fn a_dense_model_is_the_same_in_every_layout() {
        let folder = tempfile::tempdir().unwrap();
        let hf = write_dense(WriteLayout::Hf, folder.path().join("hf"));
        let original = write_dense(WriteLayout::Original, folder.path().join("original"));
        let bf16 = write_dense(WriteLayout::Bf16, folder.path().join("bf16"));
        assert!(hf.config().is_dense() && original.config().is_dense());
        for checkpoint in [&hf, &original, &bf16] {
            let files = checkpoint.files();
            assert!(files.len() > 2, "{files:?}");
            assert!(checkpoint.place().join(INDEX_FILE).exists());
            assert_eq!(fs::read_dir(checkpoint.place()).unwrap().count(), files.len() + 3);
        }
        for part in hf.parts() {
            let tensor = hf.tensor(part).unwrap();
            assert_eq!(*tensor.bytes, *synthetic::tensor(&dense(), 3, part).bytes, "{part:?}");
            assert_eq!(*tensor.bytes, *original.tensor(part).unwrap().bytes, "{part:?}");
        }
        let gate_up = bf16.tensor(Part::Layer(0, LayerPart::GateUpBf16)).unwrap();
        assert_eq!(gate_up.shape, [128, 192]);
        let names: Vec<String> = hf.parts().into_iter().map(|part| hf.tensor(part).unwrap().name).collect();
        assert!(names.iter().any(|name| name == "model.layers.3.mlp.down_proj_blocks"));
        assert!(!names.iter().any(|name| name.contains("router") || name.contains("experts")));
    }

    #[test]
    fn files_are_named_as_published() {
        let names = |preset: Preset, layout| -> Vec<String> {
            let planned = plan(&preset.config(), layout);
            let limit = published_shard_bytes(&planned, layout);
            let name = |index, count| shard_name(layout, index, count);
            shard(planned, name, limit).into_iter().map(|(name, _)| name).collect()
        };
        let hf = names(Preset::GptOss20b, WriteLayout::Hf);
        let published = [
            "model-00000-of-00002.safetensors",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ];
        assert_eq!(hf, published);
        assert_eq!(names(Preset::GptOss20b, WriteLayout::Original), ["model.safetensors"]);
        let original = names(Preset::GptOss120b, WriteLayout::Original);
        assert_eq!((original.len(), original[0].as_str()), (7, "model--00001-of-00007.safetensors"));
        assert_eq!(names(Preset::Tiny, WriteLayout::Bf16), ["model.safetensors"]);
    }

    #[test]
    fn the_original_layout_has_the_published_tensors() {
        let tensors = plan(&Preset::GptOss20b.config(), WriteLayout::Original);
        assert_eq!(tensors.len(), 363);
        let count = |label| tensors.iter().filter(|tensor| dtype_label(&tensor.outline) == label).count();
        assert_eq!((count("FP4"), count("UE8"), count("BF16")), (48, 48, 267));
        let fused = tensors.iter().find(|tensor| tensor.outline.name == "block.7.attn.qkv.weight").unwrap();
        assert_eq!(fused.outline.shape, [5120, 2880]);
    }
}
