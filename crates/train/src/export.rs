//! A model that was trained in full, as the folder that any program of its family opens.

use std::fs;
use std::path::Path;

use gptoss_checkpoint::{
    Checkpoint, ConfigForm, ExpertFormat, LayerPart, Outline, Part, hugging_face_name, part_dtype, shape,
    write_safetensors,
};
use gptoss_formats::{BLOCK_VALUES, NAN_SCALE, mxfp4_dequantize, mxfp4_nearest};
use half::bf16;

use crate::error::Error;
use crate::network::{Expert, Linear, Network, Weight};
use crate::trained::Trained;

/// What rounding took of the trained numbers, as the root of the mean square beside theirs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounding {
    /// Of what is bf16.
    pub bf16: f64,
    /// Of the experts, where the base has them in MXFP4.
    pub mxfp4: Option<f64>,
}

/// Writes config and weights in the Hugging Face layout, experts as the base has them; a tokenizer is the
/// caller's to add.
///
/// Errors: the disk's.
pub fn write_folder(
    folder: &Path,
    base: &Checkpoint,
    network: &Network<'_>,
    trained: &Trained,
) -> Result<Rounding, Error> {
    let (config, format) = (base.config(), base.expert_format());
    let mut writer =
        Writer { network, trained, files: Vec::new(), bf16: Loss::default(), mxfp4: Loss::default() };
    for part in base.parts() {
        let (name, shape) = (hugging_face_name(config, part), shape(config, part));
        writer.part(part, Outline { name, dtype: part_dtype(part), shape });
    }
    let Writer { files, bf16, mxfp4, .. } = writer;
    let tensors: Vec<(Outline, &[u8])> =
        files.iter().map(|(outline, bytes)| (outline.clone(), &bytes[..])).collect();
    write_safetensors(&folder.join("model.safetensors"), &tensors, &mut |_, _| {})?;
    let text = |name: &str, text: String| {
        let path = folder.join(name);
        let failed = |source| Error::Io { path: path.clone(), action: "write the file", source };
        fs::write(&path, text).map_err(failed)
    };
    text("config.json", config.to_json(ConfigForm::HuggingFace(format)))?;
    text("generation_config.json", config.generation_json())?;
    let mxfp4 = (format == ExpertFormat::Mxfp4).then(|| mxfp4.relative());
    Ok(Rounding { bf16: bf16.relative(), mxfp4 })
}

/// Squares of what there was, and of what rounding took.
#[derive(Default)]
struct Loss {
    all: f64,
    lost: f64,
}

impl Loss {
    fn take(&mut self, value: f32, rounded: f32) {
        self.all += f64::from(value).powi(2);
        self.lost += (f64::from(value) - f64::from(rounded)).powi(2);
    }

    fn relative(&self) -> f64 {
        if self.all == 0.0 { 0.0 } else { (self.lost / self.all).sqrt() }
    }
}

struct Writer<'a> {
    network: &'a Network<'a>,
    trained: &'a Trained,
    files: Vec<(Outline, Vec<u8>)>,
    bf16: Loss,
    mxfp4: Loss,
}

impl Writer<'_> {
    fn part(&mut self, part: Part, outline: Outline) {
        use LayerPart as P;
        let (network, trained) = (self.network, self.trained);
        let Part::Layer(index, layer_part) = part else {
            let values = match part {
                Part::Embedding => numbers(network.embedding, trained),
                Part::Unembedding => numbers(network.head, trained),
                _ => network.norm.view(trained),
            };
            return self.rounded(outline, values.iter().copied());
        };
        let layer = &network.layers[index];
        let attention = &layer.attention;
        match layer_part {
            P::AttentionNorm => self.rounded(outline, attention.norm.view(trained).iter().copied()),
            P::Sinks => self.rounded(outline, attention.sinks.view(trained).iter().copied()),
            P::MlpNorm => self.rounded(outline, layer.norm.view(trained).iter().copied()),
            P::QWeight => self.weight(outline, &attention.query),
            P::KWeight => self.weight(outline, &attention.key),
            P::VWeight => self.weight(outline, &attention.value),
            P::OutWeight => self.weight(outline, &attention.out),
            P::RouterWeight => self.weight(outline, &layer.router),
            P::QBias => self.biases(outline, &[attention.query]),
            P::KBias => self.biases(outline, &[attention.key]),
            P::VBias => self.biases(outline, &[attention.value]),
            P::OutBias => self.biases(outline, &[attention.out]),
            P::RouterBias => self.biases(outline, &[layer.router]),
            P::GateUpBias => self.biases(outline, &layer.experts.iter().map(gate_up).collect::<Vec<_>>()),
            P::DownBias => self.biases(outline, &layer.experts.iter().map(down).collect::<Vec<_>>()),
            P::GateUpBf16 => self.transposed(outline, layer.experts.iter().map(gate_up)),
            P::DownBf16 => self.transposed(outline, layer.experts.iter().map(down)),
            P::GateUpBlocks | P::GateUpScales => {
                self.packed(outline, layer.experts.iter().map(gate_up), layer_part == P::GateUpBlocks);
            }
            P::DownBlocks | P::DownScales => {
                self.packed(outline, layer.experts.iter().map(down), layer_part == P::DownBlocks);
            }
        }
    }

    /// Numbers as bf16.
    fn rounded(&mut self, outline: Outline, values: impl Iterator<Item = f32>) {
        let mut bytes = Vec::with_capacity(outline.num_bytes());
        for value in values {
            let rounded = bf16::from_f32(value);
            self.bf16.take(value, rounded.to_f32());
            bytes.extend(rounded.to_le_bytes());
        }
        self.files.push((outline, bytes));
    }

    fn weight(&mut self, outline: Outline, linear: &Linear<'_>) {
        self.rounded(outline, numbers(linear.weight, self.trained).iter().copied());
    }

    fn biases(&mut self, outline: Outline, linears: &[Linear<'_>]) {
        let trained = self.trained;
        let biases = linears.iter().filter_map(|linear| linear.bias);
        self.rounded(outline, biases.flat_map(|bias| bias.view(trained).iter().copied()));
    }

    /// Experts with their inputs first.
    fn transposed<'b>(&mut self, outline: Outline, linears: impl Iterator<Item = Linear<'b>>) {
        let trained = self.trained;
        let all = linears.flat_map(|linear| {
            let (values, n, k) = (numbers(linear.weight, trained), linear.num_outputs, linear.num_inputs);
            (0..n * k).map(move |place| values[place % n * k + place / n])
        });
        self.rounded(outline, all);
    }

    /// The codes of experts, or their scales.
    fn packed<'b>(&mut self, outline: Outline, linears: impl Iterator<Item = Linear<'b>>, is_codes: bool) {
        let mut file = Vec::with_capacity(outline.num_bytes());
        for linear in linears {
            let values = numbers(linear.weight, self.trained);
            let (mut blocks, mut scales) = (Vec::<u8>::new(), Vec::<u8>::new());
            for block in values.as_chunks::<BLOCK_VALUES>().0 {
                // By the rule of a pass that sees the weights as they will be stored (`seen.rs`).
                let [scale, codes @ ..] = mxfp4_nearest(block, NAN_SCALE);
                blocks.extend(codes);
                scales.push(scale);
            }
            if is_codes {
                let mut rounded = vec![0.0; values.len()];
                mxfp4_dequantize(&mut rounded, &blocks, &scales);
                values.iter().zip(&rounded).for_each(|(value, rounded)| self.mxfp4.take(*value, *rounded));
            }
            file.extend(if is_codes { blocks } else { scales });
        }
        self.files.push((outline, file));
    }
}

fn gate_up<'a>(expert: &Expert<'a>) -> Linear<'a> {
    expert.gate_up
}

fn down<'a>(expert: &Expert<'a>) -> Linear<'a> {
    expert.down
}

/// The numbers of a matrix that is trained.
///
/// Panics: when it is frozen: this file is for what was trained in full.
fn numbers<'a>(weight: Weight<'_>, trained: &'a Trained) -> &'a [f32] {
    let span = weight.span().expect("every matrix was trained");
    trained.of(span)
}
