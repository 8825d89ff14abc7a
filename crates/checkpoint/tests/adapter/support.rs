//! Bases, adapters and folders that tests make.

use std::path::{Path, PathBuf};

use gptoss_checkpoint::{
    Adapter, AdapterPair, AdapterSite, Checkpoint, Config, Dtype, Error, Outline, ReadAdapter, read_adapter,
    write_safetensors,
};
use half::bf16;
use serde_json::{Value, json};

pub const RANK: usize = 3;
pub const ALPHA: f64 = 6.0;

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

/// 2 layers, 4 experts, hidden 64, intermediate 96: no two sides of a matrix are the same.
pub fn base() -> Checkpoint {
    Checkpoint::open(&fixture("tiny-yarn")).unwrap()
}

/// Numbers from -1 to 1, exact in bf16, different for each seed.
pub fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bf16::from_f32((state >> 40) as f32 / (1 << 23) as f32 - 1.0).to_f32()
    };
    (0..len).map(|_| next()).collect()
}

pub fn pair(config: &Config, site: AdapterSite, rank: usize, scale: f32, seed: u64) -> AdapterPair {
    let [rows, columns] = site.shape(config).unwrap();
    AdapterPair { rank, scale, a: numbers(rank * columns, seed), b: numbers(rows * rank, seed + 1000) }
}

pub fn attention(layer: usize) -> [AdapterSite; 4] {
    [AdapterSite::Query(layer), AdapterSite::Key(layer), AdapterSite::Value(layer), AdapterSite::Out(layer)]
}

/// Factors beside attention and all experts.
pub fn full(config: &Config) -> Adapter {
    let mut sites = Vec::new();
    for layer in 0..config.num_hidden_layers {
        sites.extend(attention(layer));
        for expert in 0..config.num_local_experts {
            sites.extend([AdapterSite::GateUp { layer, expert }, AdapterSite::Down { layer, expert }]);
        }
    }
    let scale = (ALPHA / RANK as f64) as f32;
    let pairs = sites.into_iter().zip(1..).map(|(site, seed)| (site, pair(config, site, RANK, scale, seed)));
    Adapter { pairs: pairs.collect(), ..Adapter::default() }
}

/// What a pair adds, `[N, K]`.
pub fn delta(pair: &AdapterPair) -> Vec<f32> {
    let columns = pair.a.len() / pair.rank;
    let mut out = vec![0.0; pair.b.len() / pair.rank * columns];
    for (out, b) in out.chunks_mut(columns).zip(pair.b.chunks(pair.rank)) {
        for (b, a) in b.iter().zip(pair.a.chunks(columns)) {
            out.iter_mut().zip(a).for_each(|(out, a)| *out += pair.scale * b * a);
        }
    }
    out
}

/// Tensors of a file to be: name, shape, numbers.
pub type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// A config with what every stack has in it.
pub fn settings(more: Value) -> Value {
    let mut settings = json!({"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none"});
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    settings
}

pub fn write(folder: &Path, settings: &Value, tensors: &Tensors) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("adapter_config.json"), settings.to_string()).unwrap();
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let outlines: Vec<(Outline, &[u8])> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| {
            (Outline { name: name.clone(), dtype: Dtype::F32, shape: shape.clone() }, &bytes[..])
        })
        .collect();
    write_safetensors(&folder.join("adapter_model.safetensors"), &outlines, &mut |_, _| {}).unwrap();
}

/// Reads what a stack would have written.
pub fn read(settings: &Value, tensors: &Tensors) -> Result<ReadAdapter, Error> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), settings, tensors);
    read_adapter(folder.path(), &base(), None)
}
