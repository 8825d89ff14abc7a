//! PEFT's own files (`testdata/README.md`): the factors that it trained with, and the weights that it merged.

use std::collections::BTreeMap;
use std::path::Path;

use gptoss_checkpoint::{
    Adapter, AdapterSite, Checkpoint, Dtype, FactorDtype, FactorLayout, Outline, SafetensorsFile,
    read_adapter, write_adapter, write_safetensors,
};
use half::bf16;

use crate::support::{delta, fixture};

const E: usize = 4;

type Tensors = BTreeMap<String, Vec<f32>>;

fn tensors(file: &str) -> Tensors {
    let file = SafetensorsFile::open(&fixture("train").join(file)).unwrap();
    let of = |name: &String| file.tensor(name).unwrap().to_f32().unwrap();
    file.header().entries.iter().map(|entry| (entry.name.clone(), of(&entry.name))).collect()
}

/// The golden's base as a folder; its matrices of attention are rounded, which no test here looks at.
fn base(folder: &Path) -> Checkpoint {
    std::fs::copy(fixture("train/config.json"), folder.join("config.json")).unwrap();
    let file = SafetensorsFile::open(&fixture("train/weights.safetensors")).unwrap();
    let tensors: Vec<(Outline, Vec<u8>)> = file
        .header()
        .entries
        .iter()
        .map(|entry| {
            let values = file.tensor(&entry.name).unwrap().to_f32().unwrap();
            let bytes = values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
            (Outline { name: entry.name.clone(), dtype: Dtype::Bf16, shape: entry.shape.clone() }, bytes)
        })
        .collect();
    let tensors: Vec<_> = tensors.iter().map(|(outline, bytes)| (outline.clone(), &bytes[..])).collect();
    write_safetensors(&folder.join("model.safetensors"), &tensors, &mut |_, _| {}).unwrap();
    Checkpoint::open(folder).unwrap()
}

/// What a module of the golden calls a site, and its factors there.
fn golden_factors(all: &Tensors, site: AdapterSite) -> [Vec<f32>; 2] {
    let (module, expert) = match site {
        AdapterSite::Query(layer) => (format!("{layer}.self_attn.q_proj"), None),
        AdapterSite::Key(layer) => (format!("{layer}.self_attn.k_proj"), None),
        AdapterSite::Value(layer) => (format!("{layer}.self_attn.v_proj"), None),
        AdapterSite::Out(layer) => (format!("{layer}.self_attn.o_proj"), None),
        AdapterSite::GateUp { layer, expert } => (format!("{layer}.mlp.experts.base_layer"), Some(expert)),
        AdapterSite::Down { layer, expert } => (format!("{layer}.mlp.experts"), Some(expert)),
        AdapterSite::Embedding | AdapterSite::Unembedding => unreachable!("not in the golden"),
    };
    let [a, b] = ["A", "B"]
        .map(|factor| &all[&format!("base_model.model.model.layers.{module}.lora_{factor}.default.weight")]);
    match expert {
        None => [a.clone(), b.clone()],
        Some(expert) => {
            let a = a.chunks(a.len() / E).nth(expert).unwrap().to_vec();
            [a, b.iter().skip(expert).step_by(E).copied().collect()]
        }
    }
}

#[test]
fn pefts_file_has_the_factors_of_its_training() {
    let folder = tempfile::tempdir().unwrap();
    let base = base(folder.path());
    let read = read_adapter(&fixture("train/adapter-before"), &base, None).unwrap();
    let golden = tensors("lora-before.safetensors");
    assert_eq!(read.adapter.pairs.len(), 2 * (4 + 2 * E));
    for (site, pair) in &read.adapter.pairs {
        assert_eq!((pair.rank, pair.scale), (4, 2.0), "{site:?}");
        assert_eq!([pair.a.clone(), pair.b.clone()], golden_factors(&golden, *site), "{site:?}");
    }
}

/// Written again, the file has PEFT's bytes under PEFT's names.
#[test]
fn our_file_is_pefts() {
    let folder = tempfile::tempdir().unwrap();
    let base = base(folder.path());
    let read = read_adapter(&fixture("train/adapter-after"), &base, None).unwrap();
    let out = folder.path().join("again");
    write_adapter(&out, &read.adapter, base.config(), "base", FactorDtype::F32).unwrap();
    let [ours, theirs] = [out, fixture("train/adapter-after")]
        .map(|folder| SafetensorsFile::open(&folder.join("adapter_model.safetensors")).unwrap());
    assert_eq!(ours.header().entries.len(), theirs.header().entries.len());
    for entry in &theirs.header().entries {
        let [ours, theirs] = [&ours, &theirs].map(|file| file.tensor(&entry.name).unwrap());
        assert_eq!((ours.shape, &*ours.bytes), (theirs.shape, &*theirs.bytes), "{}", entry.name);
    }
}

/// The largest difference between what an adapter adds to the experts of layer 1 and what PEFT merged there.
fn distance(adapter: &Adapter) -> f32 {
    let (merged, base) = (tensors("merged-layer-1.safetensors"), tensors("weights.safetensors"));
    let mut largest = 0.0_f32;
    for (site, pair) in &adapter.pairs {
        let (name, expert) = match site {
            AdapterSite::GateUp { layer: 1, expert } => ("gate_up_proj", *expert),
            AdapterSite::Down { layer: 1, expert } => ("down_proj", *expert),
            _ => continue,
        };
        let name = format!("model.layers.1.mlp.experts.{name}");
        let added = delta(pair);
        let [columns, rows] = [pair.a.len() / pair.rank, pair.b.len() / pair.rank];
        let of = |all: &Tensors| all[&name][expert * rows * columns..][..rows * columns].to_vec();
        let (merged, base) = (of(&merged), of(&base));
        for row in 0..rows {
            for column in 0..columns {
                // Input first in their files.
                let place = column * rows + row;
                let error = base[place] + added[row * columns + column] - merged[place];
                largest = largest.max(error.abs());
            }
        }
    }
    largest
}

#[test]
fn what_is_added_is_what_peft_merges() {
    let folder = tempfile::tempdir().unwrap();
    let base = base(folder.path());
    let read = |layout| read_adapter(&fixture("train/adapter-after"), &base, layout).unwrap().adapter;
    let right = distance(&read(None));
    assert!(right < 1e-5, "{right}");
    // The other layout of B is off by as much as the addition itself.
    let scrambled = distance(&read(Some(FactorLayout::GroupedByExpert)));
    assert!(scrambled > 1e-2, "{scrambled}");
}
