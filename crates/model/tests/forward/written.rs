//! Checkpoints with random weights of any shape, written to a temporary folder in any of the three layouts.
//!
//! Entry point: [`write`]. It spells names and layouts itself, from the published formats, and shares no code
//! with the program: what the program reads wrongly cannot be written wrongly in the same way.

use std::collections::BTreeMap;
use std::path::Path;

use half::bf16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

/// The numbers of a model.
#[derive(Clone)]
pub struct Shape {
    /// One letter a layer: `w` windowed, `f` full.
    pub layers: &'static str,
    pub hidden: usize,
    pub inner: usize,
    pub heads: [usize; 2],
    pub head_dim: usize,
    /// 0 for dense layers.
    pub experts: usize,
    pub active: usize,
    pub vocab: usize,
    pub window: usize,
    pub original_context: usize,
    pub truncate: bool,
    pub seed: u64,
}

/// Odd sizes: what the published shape hides.
pub const SMALL: Shape = Shape {
    layers: "wfw",
    hidden: 96,
    inner: 64,
    heads: [6, 2],
    head_dim: 10,
    experts: 3,
    active: 2,
    vocab: 77,
    window: 5,
    original_context: 16,
    truncate: false,
    seed: 1,
};

/// How the checkpoint is written.
#[derive(Clone, Copy, PartialEq)]
pub enum Layout {
    HuggingFace,
    Bf16,
    Original,
    /// Bf16 experts one by one: `experts.E.gate_proj` and so on.
    ByExpert,
    /// The same as Unsloth names them: `experts.gate_up_projs.E`.
    ByProjection,
}

pub struct Entry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

pub type Tensors = BTreeMap<String, Entry>;

/// Writes `config.json` and one `model.safetensors` into `folder`.
pub fn write(folder: &Path, shape: &Shape, layout: Layout) {
    let tensors = match layout {
        Layout::HuggingFace => tensors(shape),
        Layout::Bf16 => with_bf16_experts(tensors(shape), shape),
        Layout::Original => with_original_names(tensors(shape), shape),
        Layout::ByExpert => one_by_one(with_bf16_experts(tensors(shape), shape), false),
        Layout::ByProjection => one_by_one(with_bf16_experts(tensors(shape), shape), true),
    };
    save(folder, &tensors, &config(shape, layout));
}

/// Writes these tensors and this config.
pub fn save(folder: &Path, tensors: &Tensors, config: &serde_json::Value) {
    let views = tensors.iter().map(|(name, entry)| {
        (name, TensorView::new(entry.dtype, entry.shape.clone(), &entry.bytes).expect("a whole tensor"))
    });
    let file = safetensors::serialize(views, None).expect("serialises");
    std::fs::write(folder.join("model.safetensors"), file).expect("writes weights");
    std::fs::write(folder.join("config.json"), config.to_string()).expect("writes config");
}

/// Writes `config.json` and one `model.safetensors` in the Hugging Face layout, all of its numbers zero: a
/// file without a block on disk, for shapes whose random weights would take long.
pub fn write_zeros(folder: &Path, shape: &Shape) {
    let Shape { hidden, inner, head_dim, experts, vocab, heads: [query, kv], .. } = *shape;
    let (query, kv, blocks) = (query * head_dim, kv * head_dim, |k: usize| k / 32);
    let mut entries = vec![
        ("model.embed_tokens.weight".to_owned(), "BF16", vec![vocab, hidden]),
        ("model.norm.weight".to_owned(), "BF16", vec![hidden]),
        ("lm_head.weight".to_owned(), "BF16", vec![vocab, hidden]),
    ];
    for layer in 0..shape.layers.len() {
        let mut add = |name: &str, dtype, shape: &[usize]| {
            entries.push((format!("model.layers.{layer}.{name}"), dtype, shape.to_vec()));
        };
        add("input_layernorm.weight", "BF16", &[hidden]);
        add("post_attention_layernorm.weight", "BF16", &[hidden]);
        for (name, n, k) in [("q", query, hidden), ("k", kv, hidden), ("v", kv, hidden), ("o", hidden, query)]
        {
            add(&format!("self_attn.{name}_proj.weight"), "BF16", &[n, k]);
            add(&format!("self_attn.{name}_proj.bias"), "BF16", &[n]);
        }
        add("self_attn.sinks", "BF16", &[shape.heads[0]]);
        add("mlp.router.weight", "BF16", &[experts, hidden]);
        add("mlp.router.bias", "BF16", &[experts]);
        for (name, n, k) in [("gate_up", 2 * inner, hidden), ("down", hidden, inner)] {
            add(&format!("mlp.experts.{name}_proj_blocks"), "U8", &[experts, n, blocks(k), 16]);
            add(&format!("mlp.experts.{name}_proj_scales"), "U8", &[experts, n, blocks(k)]);
            add(&format!("mlp.experts.{name}_proj_bias"), "BF16", &[experts, n]);
        }
    }
    let mut end = 0;
    let header = entries.into_iter().map(|(name, dtype, shape)| {
        let begin = end;
        end += shape.iter().product::<usize>() * if dtype == "BF16" { 2 } else { 1 };
        (name, json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}))
    });
    let mut header = serde_json::Value::Object(header.collect()).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let path = folder.join("model.safetensors");
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    std::fs::write(&path, &bytes).expect("writes weights");
    let file = std::fs::File::options().write(true).open(&path).expect("opens");
    file.set_len((bytes.len() + end) as u64).expect("grows");
    std::fs::write(folder.join("config.json"), config(shape, Layout::HuggingFace).to_string())
        .expect("writes config");
}

fn config(shape: &Shape, layout: Layout) -> serde_json::Value {
    if layout == Layout::Original {
        return json!({
            "num_hidden_layers": shape.layers.len(), "num_experts": shape.experts,
            "experts_per_token": shape.active, "vocab_size": shape.vocab, "hidden_size": shape.hidden,
            "intermediate_size": shape.inner, "swiglu_limit": 7.0, "head_dim": shape.head_dim,
            "num_attention_heads": shape.heads[0], "num_key_value_heads": shape.heads[1],
            "sliding_window": shape.window, "initial_context_length": shape.original_context,
            "rope_theta": 150000, "rope_scaling_factor": 32.0, "rope_ntk_alpha": 1.0, "rope_ntk_beta": 32.0,
        });
    }
    let kinds = shape.layers.chars().map(|kind| match kind {
        'w' => "sliding_attention",
        _ => "full_attention",
    });
    let mut config = json!({
        "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "attention_bias": true,
        "hidden_act": "silu", "tie_word_embeddings": false, "eos_token_id": 2,
        "num_hidden_layers": shape.layers.len(), "num_local_experts": shape.experts,
        "num_experts_per_tok": shape.active, "experts_per_token": shape.active, "vocab_size": shape.vocab,
        "hidden_size": shape.hidden, "intermediate_size": shape.inner, "swiglu_limit": 7.0,
        "head_dim": shape.head_dim, "num_attention_heads": shape.heads[0],
        "num_key_value_heads": shape.heads[1], "sliding_window": shape.window,
        "layer_types": kinds.collect::<Vec<_>>(), "rms_norm_eps": 1e-5, "rope_theta": 150000,
        "initial_context_length": shape.original_context,
        "max_position_embeddings": shape.original_context * 32,
        "rope_scaling": {
            "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0,
            "original_max_position_embeddings": shape.original_context, "truncate": shape.truncate,
        },
    });
    if layout == Layout::HuggingFace {
        config["quantization_config"] = json!({"quant_method": "mxfp4"});
    }
    config
}

/// xorshift64*, summed for something near a normal distribution.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn normal(&mut self) -> f32 {
        let uniform = |bits: u64| (bits >> 40) as f32 / (1_u64 << 24) as f32;
        (0..12).map(|_| uniform(self.bits())).sum::<f32>() - 6.0
    }

    fn bf16(&mut self, shape: &[usize], mean: f32, deviation: f32) -> Entry {
        let count = shape.iter().product();
        let number = |random: &mut Random| bf16::from_f32(random.normal() * deviation + mean);
        let bytes = (0..count).flat_map(|_| number(self).to_le_bytes()).collect();
        Entry { dtype: Dtype::BF16, shape: shape.to_vec(), bytes }
    }

    /// Bytes from `first` on, `width` different ones.
    fn bytes(&mut self, shape: &[usize], first: u8, width: u64) -> Entry {
        let count = shape.iter().product::<usize>();
        let bytes = (0..count).map(|_| first + (self.bits() % width) as u8).collect();
        Entry { dtype: Dtype::U8, shape: shape.to_vec(), bytes }
    }
}

/// The tensors under their Hugging Face names, experts in MXFP4.
fn tensors(shape: &Shape) -> Tensors {
    let mut random = Random(shape.seed | 1);
    let mut tensors = Tensors::new();
    let [c, f, d] = [shape.hidden, shape.inner, shape.head_dim];
    let [q, kv] = shape.heads.map(|heads| heads * d);
    let mut put = |name: String, entry: Entry| tensors.insert(name, entry);
    put("model.embed_tokens.weight".into(), random.bf16(&[shape.vocab, c], 0.0, 1.0));
    put("model.norm.weight".into(), random.bf16(&[c], 1.0, 0.1));
    put("lm_head.weight".into(), random.bf16(&[shape.vocab, c], 0.0, 2.0 / (c as f32).sqrt()));
    for layer in 0..shape.layers.len() {
        let mut put = |name: &str, entry| put(format!("model.layers.{layer}.{name}"), entry);
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            put(&format!("{norm}.weight"), random.bf16(&[c], 1.0, 0.1));
        }
        for (name, rows, columns) in [("q", q, c), ("k", kv, c), ("v", kv, c), ("o", c, q)] {
            put(&format!("self_attn.{name}_proj.weight"), random.bf16(&[rows, columns], 0.0, 0.15));
            put(&format!("self_attn.{name}_proj.bias"), random.bf16(&[rows], 0.0, 0.15));
        }
        put("self_attn.sinks", random.bf16(&[shape.heads[0]], 0.0, 1.0));
        let (mlp, stack) = match shape.experts {
            0 => ("mlp", vec![]),
            experts => {
                put("mlp.router.weight", random.bf16(&[experts, c], 0.0, 0.2));
                put("mlp.router.bias", random.bf16(&[experts], 0.0, 0.2));
                ("mlp.experts", vec![experts])
            }
        };
        let stacked = |rest: &[usize]| [&stack[..], rest].concat();
        for (name, rows, columns) in [("gate_up", 2 * f, c), ("down", c, f)] {
            let name = |suffix| format!("{mlp}.{name}_proj_{suffix}");
            put(&name("blocks"), random.bytes(&stacked(&[rows, columns / 32, 16]), 0, 256));
            put(&name("scales"), random.bytes(&stacked(&[rows, columns / 32]), 121, 4));
            put(&name("bias"), random.bf16(&stacked(&[rows]), 0.0, 0.3));
        }
    }
    tensors
}

/// The value of an E2M1 code, by its definition: sign, two exponent bits, one mantissa bit.
pub fn e2m1(code: u8) -> f64 {
    let mantissa = f64::from(code & 1);
    let magnitude = match (code >> 1) & 3 {
        0 => mantissa * 0.5,
        exponent => (1.0 + mantissa * 0.5) * f64::from(1 << (exponent - 1)),
    };
    if code & 8 == 0 { magnitude } else { -magnitude }
}

pub fn with_bf16_experts(mut tensors: Tensors, shape: &Shape) -> Tensors {
    let names: Vec<String> = tensors.keys().filter(|name| name.ends_with("_blocks")).cloned().collect();
    for name in names {
        let stem = name.trim_end_matches("_blocks");
        let blocks = tensors.remove(&name).expect("blocks");
        let scales = tensors.remove(&format!("{stem}_scales")).expect("scales");
        let [rows, groups] = [0, 1].map(|axis| scales.shape[scales.shape.len() - 2 + axis]);
        let columns = groups * 32;
        let experts = shape.experts.max(1);
        let mut bytes = vec![0; experts * rows * columns * 2];
        for (index, &byte) in blocks.bytes.iter().enumerate() {
            let scale = f64::from(scales.bytes[index / 16]) - 127.0;
            for (half, code) in [byte & 15, byte >> 4].into_iter().enumerate() {
                let (expert, place) = (2 * index / (rows * columns), (2 * index + half) % (rows * columns));
                let (row, column) = (place / columns, place % columns);
                let transposed = expert * rows * columns + column * rows + row;
                let number = bf16::from_f64(e2m1(code) * scale.exp2());
                bytes[2 * transposed..2 * transposed + 2].copy_from_slice(&number.to_le_bytes());
            }
        }
        let stack = &scales.shape[..scales.shape.len() - 2];
        let entry = Entry { dtype: Dtype::BF16, shape: [stack, &[columns, rows]].concat(), bytes };
        tensors.insert(stem.to_string(), entry);
    }
    tensors
}

/// The stacked experts `[E, in, out]` as `[out, in]` each.
pub fn one_by_one(mut tensors: Tensors, by_projection: bool) -> Tensors {
    let is_stack = |name: &&String| name.ends_with("gate_up_proj") || name.ends_with("down_proj");
    let names: Vec<String> = tensors.keys().filter(is_stack).cloned().collect();
    for name in names {
        let weight = tensors.remove(&name).expect("weights");
        let bias = tensors.remove(&format!("{name}_bias")).expect("biases");
        let [experts, columns, rows] = weight.shape[..] else { panic!("three axes") };
        let (stem, projection) = name.rsplit_once('.').expect("dots");
        let halves: &[&str] = match (projection, by_projection) {
            ("gate_up_proj", false) => &["gate_proj", "up_proj"],
            _ => &[projection],
        };
        let number = |bytes: &[u8], at: usize| [bytes[2 * at], bytes[2 * at + 1]];
        for (expert, (first, half)) in
            (0..experts).flat_map(|e| halves.iter().enumerate().map(move |h| (e, h)))
        {
            let name = match by_projection {
                true => format!("{stem}.{half}s.{expert}"),
                false => format!("{stem}.{expert}.{half}"),
            };
            let of_half = || (first..rows).step_by(halves.len());
            let row = |row| (0..columns).flat_map(move |column| [(expert * columns + column) * rows + row]);
            let bytes = of_half().flat_map(row).flat_map(|at| number(&weight.bytes, at)).collect();
            let shape = vec![rows / halves.len(), columns];
            tensors.insert(format!("{name}.weight"), Entry { dtype: Dtype::BF16, shape, bytes });
            let bytes = of_half().flat_map(|row| number(&bias.bytes, expert * rows + row)).collect();
            let shape = vec![rows / halves.len()];
            tensors.insert(format!("{name}.bias"), Entry { dtype: Dtype::BF16, shape, bytes });
        }
    }
    tensors
}

fn with_original_names(mut tensors: Tensors, shape: &Shape) -> Tensors {
    let mut renamed = Tensors::new();
    let mut rename = |tensors: &mut Tensors, from: String, to: String| {
        renamed.insert(to, tensors.remove(&from).expect("a tensor by its published name"));
    };
    for (from, to) in [("model.embed_tokens", "embedding"), ("lm_head", "unembedding")] {
        rename(&mut tensors, format!("{from}.weight"), format!("{to}.weight"));
    }
    rename(&mut tensors, "model.norm.weight".into(), "norm.scale".into());
    for layer in 0..shape.layers.len() {
        for part in ["weight", "bias"] {
            let mut fused = Entry { dtype: Dtype::BF16, shape: vec![], bytes: vec![] };
            for name in ["q", "k", "v"] {
                let from = format!("model.layers.{layer}.self_attn.{name}_proj.{part}");
                let entry = tensors.remove(&from).expect("a projection");
                let rows = fused.shape.first().copied().unwrap_or(0) + entry.shape[0];
                fused.shape = [&[rows], &entry.shape[1..]].concat();
                fused.bytes.extend(entry.bytes);
            }
            tensors.insert(format!("model.layers.{layer}.qkv.{part}"), fused);
        }
        for (from, to) in ORIGINAL_NAMES {
            rename(&mut tensors, format!("model.layers.{layer}.{from}"), format!("block.{layer}.{to}"));
        }
    }
    assert!(tensors.is_empty(), "every tensor has an original name");
    renamed
}

const ORIGINAL_NAMES: [(&str, &str); 15] = [
    ("input_layernorm.weight", "attn.norm.scale"),
    ("qkv.weight", "attn.qkv.weight"),
    ("qkv.bias", "attn.qkv.bias"),
    ("self_attn.sinks", "attn.sinks"),
    ("self_attn.o_proj.weight", "attn.out.weight"),
    ("self_attn.o_proj.bias", "attn.out.bias"),
    ("post_attention_layernorm.weight", "mlp.norm.scale"),
    ("mlp.router.weight", "mlp.gate.weight"),
    ("mlp.router.bias", "mlp.gate.bias"),
    ("mlp.experts.gate_up_proj_blocks", "mlp.mlp1_weight.blocks"),
    ("mlp.experts.gate_up_proj_scales", "mlp.mlp1_weight.scales"),
    ("mlp.experts.gate_up_proj_bias", "mlp.mlp1_bias"),
    ("mlp.experts.down_proj_blocks", "mlp.mlp2_weight.blocks"),
    ("mlp.experts.down_proj_scales", "mlp.mlp2_weight.scales"),
    ("mlp.experts.down_proj_bias", "mlp.mlp2_bias"),
];
