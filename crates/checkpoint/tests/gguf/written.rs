//! A small writer of GGUF files: any keys and tensors, and the fixture's model in each layout.
//!
//! Entry points: [`Gguf`], which writes what it is told without asking whether it is sensible, and [`model`].

use std::path::{Path, PathBuf};

use gptoss_checkpoint::{Checkpoint, Config, LayerPart, Part};
use gptoss_formats::GgmlQuant;

pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const OLLAMA_MXFP4: u32 = 4;
pub const Q4_K: u32 = 12;
pub const IQ2_S: u32 = 22;
pub const BF16: u32 = 30;
pub const MXFP4: u32 = 39;

/// A metadata value.
#[derive(Clone)]
pub enum Value {
    U32(u32),
    F32(f32),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
}

/// One tensor: its axes slowest first, as the checkpoint has them.
#[derive(Clone)]
pub struct Entry {
    pub name: String,
    pub kind: u32,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// A file to be written.
#[derive(Clone)]
pub struct Gguf {
    pub version: u32,
    pub alignment: usize,
    pub keys: Vec<(String, Value)>,
    pub tensors: Vec<Entry>,
}

impl Gguf {
    pub fn new() -> Gguf {
        Gguf { version: 3, alignment: 32, keys: Vec::new(), tensors: Vec::new() }
    }

    pub fn key(&mut self, key: &str, value: Value) {
        self.keys.push((key.to_string(), value));
    }

    pub fn tensor(&mut self, name: &str) -> &mut Entry {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).expect("such a tensor")
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            string(&mut out, key);
            match value {
                Value::U32(number) => pair(&mut out, 4, &number.to_le_bytes()),
                Value::F32(number) => pair(&mut out, 6, &number.to_le_bytes()),
                Value::Text(text) => {
                    out.extend(8u32.to_le_bytes());
                    string(&mut out, text);
                }
                Value::Texts(texts) => {
                    list(&mut out, 8, texts.len());
                    texts.iter().for_each(|text| string(&mut out, text));
                }
                Value::I32s(numbers) => {
                    list(&mut out, 5, numbers.len());
                    numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
                }
            }
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            string(&mut out, &tensor.name);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().rev().for_each(|&size| out.extend((size as u64).to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend((offset as u64).to_le_bytes());
            offset += tensor.bytes.len().next_multiple_of(self.alignment);
        }
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(self.alignment), 0);
            out.extend(&tensor.bytes);
        }
        out
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn pair(out: &mut Vec<u8>, kind: u32, bytes: &[u8]) {
    out.extend(kind.to_le_bytes());
    out.extend(bytes);
}

fn list(out: &mut Vec<u8>, kind: u32, len: usize) {
    out.extend(9u32.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend((len as u64).to_le_bytes());
}

/// Replaces a tensor's numbers by random blocks, whose largest are about half of 1.
pub fn quantize(tensor: &mut Entry, quant: GgmlQuant, seed: u64) {
    let (kind, halves, largest): (u32, &[usize], f32) = match quant {
        GgmlQuant::Q4_0 => (2, &[0], 8.0),
        GgmlQuant::Q4_1 => (3, &[0, 2], 16.0),
        GgmlQuant::Q5_0 => (6, &[0], 16.0),
        GgmlQuant::Q5_1 => (7, &[0, 2], 32.0),
        GgmlQuant::Q2K => (10, &[80, 82], 45.0),
        GgmlQuant::Q3K => (11, &[108], 128.0),
        GgmlQuant::Q4K => (Q4_K, &[0, 2], 945.0),
        GgmlQuant::Q5K => (13, &[0, 2], 1953.0),
        GgmlQuant::Q6K => (14, &[208], 4064.0),
        GgmlQuant::Iq4Nl => (20, &[0], 127.0),
        GgmlQuant::Iq4Xs => (23, &[0], 4064.0),
    };
    let num_blocks = tensor.shape.iter().product::<usize>() / quant.block_values();
    let mut bits = seed | 1;
    let mut byte = || {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        (bits >> 32) as u8
    };
    let scale = half::f16::from_f32(0.5 / largest).to_le_bytes();
    let mut bytes: Vec<u8> = (0..num_blocks * quant.block_bytes()).map(|_| byte()).collect();
    for block in bytes.chunks_mut(quant.block_bytes()) {
        halves.iter().for_each(|&at| block[at..at + 2].copy_from_slice(&scale));
    }
    (tensor.kind, tensor.bytes) = (kind, bytes);
}

/// A tensor's type in a written file, and where the number stands.
pub fn kind_of(name: &str, bytes: &[u8]) -> (u32, usize) {
    let at = bytes.windows(name.len()).position(|window| window == name.as_bytes()).expect("the name");
    let axes = at + name.len();
    let num_axes = u32::from_le_bytes(bytes[axes..axes + 4].try_into().expect("a number")) as usize;
    let from = axes + 4 + 8 * num_axes;
    (u32::from_le_bytes(bytes[from..from + 4].try_into().expect("a number")), from)
}

/// The layouts that files of this family have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// llama.cpp: gate and up apart, f32 vectors.
    LlamaCpp,
    /// The same with gate and up in one tensor, one behind the other.
    Joined,
    /// Ollama's first converter from Hugging Face: its own names, gate and up in one tensor in the published
    /// order, codes in the published order, bf16 biases of the experts.
    Ollama,
    /// Ollama's first converter from `original/`: as above, the projections of attention in one tensor.
    OllamaFused,
    /// Experts in bf16.
    Bf16Experts,
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

/// The fixture's model as a GGUF file.
pub fn model(source: &Checkpoint, form: Form) -> Gguf {
    let mut file = Gguf::new();
    let ollama = matches!(form, Form::Ollama | Form::OllamaFused);
    metadata(&mut file, source.config(), ollama);
    let mut writer = Writer { source, file, form, ollama };
    writer.dense("token_embd.weight", Part::Embedding);
    for layer in 0..source.config().num_hidden_layers {
        writer.attention(layer);
        writer.mlp(layer);
    }
    writer.vector("output_norm.weight", Part::FinalNorm);
    writer.dense("output.weight", Part::Unembedding);
    writer.file
}

fn metadata(file: &mut Gguf, config: &Config, ollama: bool) {
    let arch = if ollama { "gptoss" } else { "gpt-oss" };
    file.key("general.architecture", Value::Text(arch.into()));
    let mut number = |key: &str, value: usize| file.key(&format!("{arch}.{key}"), Value::U32(value as u32));
    number("block_count", config.num_hidden_layers);
    number("context_length", config.max_position_embeddings);
    number("embedding_length", config.hidden_size);
    number("feed_forward_length", config.intermediate_size);
    number("attention.head_count", config.num_attention_heads);
    number("attention.head_count_kv", config.num_key_value_heads);
    number("attention.key_length", config.head_dim);
    number("attention.value_length", config.head_dim);
    number("attention.sliding_window", config.sliding_window);
    number("expert_count", config.num_local_experts);
    number("expert_used_count", config.experts_per_token);
    number("rope.scaling.original_context_length", config.rope.original_max_position_embeddings);
    if !ollama {
        number("expert_feed_forward_length", config.intermediate_size);
        file.key("gpt-oss.rope.scaling.type", Value::Text("yarn".into()));
    }
    for (key, value) in [
        ("attention.layer_norm_rms_epsilon", config.rms_norm_eps),
        ("rope.freq_base", config.rope_theta as f32),
        ("rope.scaling.factor", config.rope.factor as f32),
    ] {
        file.key(&format!("{arch}.{key}"), Value::F32(value));
    }
}

struct Writer<'a> {
    source: &'a Checkpoint,
    file: Gguf,
    form: Form,
    ollama: bool,
}

impl Writer<'_> {
    fn push(&mut self, name: &str, kind: u32, shape: &[usize], bytes: Vec<u8>) {
        self.file.tensors.push(Entry { name: name.to_string(), kind, shape: shape.to_vec(), bytes });
    }

    fn dense(&mut self, name: &str, part: Part) {
        let tensor = self.source.tensor(part).unwrap();
        self.push(name, BF16, &tensor.shape, tensor.bytes.to_vec());
    }

    fn numbers(&self, part: Part) -> (Vec<usize>, Vec<f32>) {
        let tensor = self.source.tensor(part).unwrap();
        (tensor.shape.clone(), tensor.to_f32().unwrap())
    }

    fn vector(&mut self, name: &str, part: Part) {
        let (shape, numbers) = self.numbers(part);
        self.push(name, F32, &shape, numbers.iter().flat_map(|number| number.to_le_bytes()).collect());
    }

    fn attention(&mut self, layer: usize) {
        let part = |part| Part::Layer(layer, part);
        let name = |rest: &str| format!("blk.{layer}.{rest}");
        let (out, sinks) =
            if self.ollama { ("attn_out", "attn_sinks") } else { ("attn_output", "attn_sinks.weight") };
        self.vector(&name("attn_norm.weight"), part(LayerPart::AttentionNorm));
        let weights = [LayerPart::QWeight, LayerPart::KWeight, LayerPart::VWeight];
        let biases = [LayerPart::QBias, LayerPart::KBias, LayerPart::VBias];
        if self.form == Form::OllamaFused {
            let hidden = self.source.config().hidden_size;
            let weights =
                weights.map(|weight| self.source.tensor(part(weight)).unwrap().bytes.to_vec()).concat();
            self.push(&name("attn_qkv.weight"), BF16, &[weights.len() / 2 / hidden, hidden], weights);
            let biases = biases.map(|bias| self.source.tensor(part(bias)).unwrap().bytes.to_vec()).concat();
            self.push(&name("attn_qkv.bias"), BF16, &[biases.len() / 2], biases);
        } else {
            for (letter, (weight, bias)) in ["q", "k", "v"].into_iter().zip(weights.into_iter().zip(biases)) {
                self.dense(&name(&format!("attn_{letter}.weight")), part(weight));
                self.vector(&name(&format!("attn_{letter}.bias")), part(bias));
            }
        }
        self.dense(&name(&format!("{out}.weight")), part(LayerPart::OutWeight));
        self.vector(&name(&format!("{out}.bias")), part(LayerPart::OutBias));
        self.vector(&name(sinks), part(LayerPart::Sinks));
    }

    fn mlp(&mut self, layer: usize) {
        let part = |part| Part::Layer(layer, part);
        let name = |rest: &str| format!("blk.{layer}.{rest}");
        let norm = if self.ollama { "ffn_norm.weight" } else { "post_attention_norm.weight" };
        self.vector(&name(norm), part(LayerPart::MlpNorm));
        self.vector(&name("ffn_gate_inp.weight"), part(LayerPart::RouterWeight));
        self.vector(&name("ffn_gate_inp.bias"), part(LayerPart::RouterBias));
        self.vector(&name("ffn_down_exps.bias"), part(LayerPart::DownBias));
        let (kind, down) = self.expert_rows(layer, LayerPart::DownBlocks, LayerPart::DownScales);
        let (_, gate_up) = self.expert_rows(layer, LayerPart::GateUpBlocks, LayerPart::GateUpScales);
        let config = self.source.config().clone();
        let [experts, hidden, inner] =
            [config.num_local_experts, config.hidden_size, config.intermediate_size];
        self.push(&name("ffn_down_exps.weight"), kind, &[experts, hidden, inner], down.concat());
        let (_, bias) = self.numbers(part(LayerPart::GateUpBias));
        let bias: Vec<Vec<u8>> = bias.iter().map(|number| number.to_le_bytes().to_vec()).collect();
        match self.form {
            Form::Ollama | Form::OllamaFused => {
                self.push(
                    &name("ffn_gate_up_exps.weight"),
                    kind,
                    &[experts, 2 * inner, hidden],
                    gate_up.concat(),
                );
                self.dense(&name("ffn_gate_up_exps.bias"), part(LayerPart::GateUpBias));
            }
            Form::Joined => {
                let rows = |rows: &[Vec<u8>]| -> Vec<u8> {
                    let turn = |expert: &[Vec<u8>]| [every_other(expert, 0), every_other(expert, 1)].concat();
                    rows.chunks(2 * inner).flat_map(turn).collect()
                };
                let weight = rows(&gate_up);
                self.push(&name("ffn_gate_up_exps.weight"), kind, &[experts, 2 * inner, hidden], weight);
                self.push(&name("ffn_gate_up_exps.bias"), F32, &[experts, 2 * inner], rows(&bias));
            }
            Form::LlamaCpp | Form::Bf16Experts => {
                for (first, which) in ["gate", "up"].into_iter().enumerate() {
                    let weight = every_other(&gate_up, first);
                    self.push(
                        &name(&format!("ffn_{which}_exps.weight")),
                        kind,
                        &[experts, inner, hidden],
                        weight,
                    );
                    let bias = every_other(&bias, first);
                    self.push(&name(&format!("ffn_{which}_exps.bias")), F32, &[experts, inner], bias);
                }
            }
        }
    }

    /// The rows of the experts' matrices in the published order, as this form stores a row.
    fn expert_rows(&self, layer: usize, blocks: LayerPart, scales: LayerPart) -> (u32, Vec<Vec<u8>>) {
        let [blocks, scales] =
            [blocks, scales].map(|part| self.source.tensor(Part::Layer(layer, part)).unwrap());
        let per_row = scales.shape.last().copied().unwrap();
        let codes: Vec<&[u8]> = blocks.bytes.chunks(16).collect();
        let mut rows = Vec::new();
        for (codes, scales) in codes.chunks(per_row).zip(scales.bytes.chunks(per_row)) {
            let block = |(codes, &scale): (&&[u8], &u8)| match self.form {
                Form::Bf16Experts => bf16_block(codes, scale),
                _ if self.ollama => [&[scale], *codes].concat(),
                _ => [vec![scale], halves(codes)].concat(),
            };
            rows.push(codes.iter().zip(scales).flat_map(block).collect());
        }
        let kind = match self.form {
            Form::Bf16Experts => BF16,
            _ if self.ollama => OLLAMA_MXFP4,
            _ => MXFP4,
        };
        (kind, rows)
    }
}

fn every_other(rows: &[Vec<u8>], first: usize) -> Vec<u8> {
    rows.iter().skip(first).step_by(2).flatten().copied().collect()
}

/// The 32 codes of a published block.
fn code(codes: &[u8], value: usize) -> u8 {
    codes[value / 2] >> (value % 2 * 4) & 15
}

/// llama.cpp's order of codes: values `i` and `i + 16` share a byte.
fn halves(codes: &[u8]) -> Vec<u8> {
    (0..16).map(|byte| code(codes, byte) | code(codes, byte + 16) << 4).collect()
}

fn bf16_block(codes: &[u8], scale: u8) -> Vec<u8> {
    let number = |value| half::bf16::from_f32(gptoss_formats::mxfp4_value(code(codes, value), scale));
    (0..32).flat_map(|value| number(value).to_le_bytes()).collect()
}
