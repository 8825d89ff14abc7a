//! Merged weights: those that PEFT makes, the bytes that must not change, and what MXFP4 keeps of a change.

use std::io::Write;
use std::path::{Path, PathBuf};

use gptoss_checkpoint::{
    Adapter, AdapterPair, AdapterRows, AdapterSite, Checkpoint, Dtype, ExpertFormat, LayerPart, Outline,
    Part, SafetensorsFile, read_adapter, write_checkpoint, write_safetensors,
};
use gptoss_formats::mxfp4_dequantize;
use gptoss_kernels::Pool;
use gptoss_model::{MergedTensor, Merger, Tally, adapter_distance, merged_distance, site_norms};
use half::bf16;

const E: usize = 4;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

/// The golden's base as a folder, rounded to bf16: the experts are exact in it.
fn golden_base(folder: &Path) -> Checkpoint {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::copy(fixture("train/config.json"), folder.join("config.json")).expect("a config");
    let file = SafetensorsFile::open(&fixture("train/weights.safetensors")).expect("weights");
    let rounded = |name: &str| -> Vec<u8> {
        let values = file.tensor(name).expect("a tensor").to_f32().expect("f32");
        values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()
    };
    let tensors: Vec<(Outline, Vec<u8>)> = (file.header().entries.iter())
        .map(|entry| {
            let outline =
                Outline { name: entry.name.clone(), dtype: Dtype::Bf16, shape: entry.shape.clone() };
            (outline, rounded(&entry.name))
        })
        .collect();
    let tensors: Vec<_> = tensors.iter().map(|(outline, bytes)| (outline.clone(), &bytes[..])).collect();
    write_safetensors(&folder.join("model.safetensors"), &tensors, &mut |_, _| {}).expect("written");
    Checkpoint::open(folder).expect("a checkpoint")
}

/// Merges, opens the result, and says what was kept.
fn merge(
    base: &Checkpoint,
    adapter: &Adapter,
    experts: ExpertFormat,
    out: &Path,
) -> (Checkpoint, Vec<MergedTensor>) {
    let pool = Pool::new(2);
    let mut merger = Merger::new(base, adapter, experts, &pool);
    let body = &mut |part: Part, sink: &mut dyn Write| merger.write(part, sink);
    let beside = [("note.txt".to_owned(), b"merged".to_vec())];
    let written = write_checkpoint(out, base.config(), experts, &beside, body).expect("written");
    assert!(!out.exists(), "it has its name when it is finished");
    written.finish().expect("finished");
    assert_eq!(std::fs::read(out.join("note.txt")).expect("beside"), b"merged");
    (Checkpoint::open(out).expect("it opens"), merger.changes().to_vec())
}

#[test]
fn merged_bf16_is_pefts_merge_rounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = golden_base(&folder.path().join("base"));
    let adapter = read_adapter(&fixture("train/adapter-after"), &base, None).expect("an adapter").adapter;
    let (merged, changes) = merge(&base, &adapter, ExpertFormat::Bf16, &folder.path().join("merged"));
    assert_eq!(changes.len(), 2 * 6);
    let golden = SafetensorsFile::open(&fixture("train/merged-layer-1.safetensors")).expect("the golden");
    let weights = SafetensorsFile::open(&fixture("train/weights.safetensors")).expect("the base");
    use LayerPart as P;
    for part in [P::QWeight, P::KWeight, P::VWeight, P::OutWeight, P::GateUpBf16, P::DownBf16] {
        let tensor = merged.tensor(Part::Layer(1, part)).expect("a tensor");
        let of = |file: &SafetensorsFile| file.tensor(&tensor.name).expect("a tensor").to_f32().expect("f32");
        let (golden, before) = (of(&golden), of(&weights));
        let rounded = base.tensor(Part::Layer(1, part)).expect("a tensor").to_f32().expect("numbers");
        for (index, found) in tensor.to_f32().expect("numbers").into_iter().enumerate() {
            // What PEFT added, to the base that was rounded; then one rounding, from 1e-5 on either side.
            let wanted = golden[index] - before[index] + rounded[index];
            let range = bf16::from_f32(wanted - 1e-5).to_f32()..=bf16::from_f32(wanted + 1e-5).to_f32();
            assert!(range.contains(&found), "{} at {index}: {found}, not {wanted}", tensor.name);
        }
    }
    let kept = Tally::of_all(changes.iter().map(|change| &change.tally)).share_kept();
    assert!((kept - 1.0).abs() < 1e-3, "{kept}");
    let distance = merged_distance(&base, &merged, &adapter, &Pool::new(1)).expect("read");
    assert!(distance < 1e-2, "{distance}");
}

/// The comparison of an export sees what a wrong order of experts and ranks would do.
#[test]
fn a_scrambled_adapter_is_far_from_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = golden_base(folder.path());
    let read = |layout| read_adapter(&fixture("train/adapter-after"), &base, layout).expect("read").adapter;
    let right = read(None);
    let scrambled = read(Some(gptoss_checkpoint::FactorLayout::GroupedByExpert));
    assert_eq!(adapter_distance(&right, &right), 0.0);
    assert!(adapter_distance(&scrambled, &right) > 0.5);
    let (merged, _) = merge(&base, &scrambled, ExpertFormat::Bf16, &folder.path().join("merged"));
    let distance = merged_distance(&base, &merged, &right, &Pool::new(1)).expect("read");
    assert!(distance > 2e-2, "{distance}");
}

/// Factors of about this size, beside some sites.
fn adapter(base: &Checkpoint, size: f32, sites: &[AdapterSite]) -> Adapter {
    let numbers = |len: usize, seed: usize| -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
    };
    let pair = |site: &AdapterSite| {
        let [rows, columns] = site.shape(base.config()).expect("in the model");
        AdapterPair { rank: 2, scale: size, a: numbers(2 * columns, 1), b: numbers(2 * rows, 2) }
    };
    Adapter { pairs: sites.iter().map(|site| (*site, pair(site))).collect(), ..Adapter::default() }
}

fn experts(layer: usize) -> Vec<AdapterSite> {
    let both = |expert| [AdapterSite::GateUp { layer, expert }, AdapterSite::Down { layer, expert }];
    (0..E).flat_map(both).collect()
}

#[test]
fn nothing_else_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = Checkpoint::open(&fixture("tiny-yarn")).expect("a checkpoint");
    let site = AdapterSite::Down { layer: 0, expert: 1 };
    let (merged, changes) =
        merge(&base, &adapter(&base, 0.3, &[site]), ExpertFormat::Mxfp4, &folder.path().join("merged"));
    assert_eq!(changes.len(), 1);
    for part in base.parts() {
        let [before, after] =
            [&base, &merged].map(|checkpoint| checkpoint.tensor(part).expect("a tensor").bytes);
        let is_changed = matches!(part, Part::Layer(0, LayerPart::DownBlocks | LayerPart::DownScales));
        let size = before.len() / E;
        for expert in 0..E {
            let of = |bytes: &[u8]| bytes[expert * size..][..size].to_vec();
            assert_eq!(of(&before) != of(&after), is_changed && expert == 1, "{part:?}, expert {expert}");
        }
    }
    // Nothing added is nothing changed, blocks with a zero of either sign among them.
    let zero = adapter(&base, 0.0, &experts(1));
    let (same, changes) = merge(&base, &zero, ExpertFormat::Mxfp4, &folder.path().join("same"));
    for part in base.parts() {
        let [before, after] =
            [&base, &same].map(|checkpoint| checkpoint.tensor(part).expect("a tensor").bytes);
        assert_eq!(*before, *after, "{part:?}");
    }
    assert!(changes.iter().all(|change| change.tally.share_kept() == 1.0 && change.tally.changed == 0));
}

fn dequantized(checkpoint: &Checkpoint, layer: usize) -> Vec<f32> {
    let [blocks, scales] = [LayerPart::GateUpBlocks, LayerPart::GateUpScales]
        .map(|part| checkpoint.tensor(Part::Layer(layer, part)).expect("a tensor").bytes);
    let mut values = vec![0.0; 2 * blocks.len()];
    mxfp4_dequantize(&mut values, &blocks, &scales);
    values
}

/// Small changes fall back onto the grid; large ones stay. The figures are those of the definition.
#[test]
fn mxfp4_tells_what_it_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = Checkpoint::open(&fixture("tiny-yarn")).expect("a checkpoint");
    for (size, kept) in [(1e-4, 0.0..0.1), (0.3, 0.9..1.1)] {
        let adapter = adapter(&base, size, &experts(0));
        let out = folder.path().join(format!("merged-{size}"));
        let (merged, changes) = merge(&base, &adapter, ExpertFormat::Mxfp4, &out);
        let tally = changes.iter().find(|change| change.name.contains("gate_up")).expect("merged").tally;
        assert!(kept.contains(&tally.share_kept()), "{size}: {}", tally.share_kept());
        let (before, after) = (dequantized(&base, 0), dequantized(&merged, 0));
        let [mut dot, mut squares, mut lost, mut changed] = [0.0_f64; 4];
        for expert in 0..E {
            let pair = &adapter.pairs[&AdapterSite::GateUp { layer: 0, expert }];
            let (columns, rows) = (pair.a.len() / 2, pair.b.len() / 2);
            for index in 0..rows * columns {
                let (row, column) = (index / columns, index % columns);
                let added =
                    (0..2).map(|j| f64::from(pair.b[row * 2 + j]) * f64::from(pair.a[j * columns + column]));
                let added = added.sum::<f64>() * f64::from(pair.scale);
                let place = expert * rows * columns + index;
                let came = f64::from(after[place]) - f64::from(before[place]);
                (dot, squares) = (dot + came * added, squares + added * added);
                lost += (came - added).powi(2);
                changed += f64::from(u8::from(came != 0.0));
            }
        }
        let near =
            |a: f64, b: f64| assert!((a - b).abs() <= 1e-3 * b.abs().max(1e-3), "{size}: {a}, not {b}");
        near(tally.share_kept(), dot / squares);
        near(tally.relative_error(), (lost / squares).sqrt());
        assert_eq!(tally.numbers as usize, before.len());
        assert!(tally.changed as f64 >= changed, "{} codes, {changed} numbers", tally.changed);
        let norms = site_norms(&base, &adapter, &Pool::new(2), &mut |_, _| {}).expect("read");
        let gate_up = norms.iter().filter(|norm| matches!(norm.site, AdapterSite::GateUp { .. }));
        near(gate_up.map(|norm| norm.change.powi(2)).sum(), squares);
    }
}

#[test]
fn rows_and_whole_parts_take_their_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = Checkpoint::open(&fixture("tiny-yarn")).expect("a checkpoint");
    let (router, width) = (Part::Layer(1, LayerPart::RouterBias), base.config().hidden_size);
    let adapter = Adapter {
        rows: AdapterRows { tokens: vec![5, 200], embedding: vec![0.5; 2 * width], unembedding: Vec::new() },
        replaced: vec![(router, vec![1.0, 2.0, 3.0, 4.0])],
        ..adapter(&base, 1.0, &[AdapterSite::Unembedding])
    };
    let (merged, _) = merge(&base, &adapter, ExpertFormat::Mxfp4, &folder.path().join("merged"));
    let of =
        |checkpoint: &Checkpoint, part| checkpoint.tensor(part).expect("a tensor").to_f32().expect("numbers");
    assert_eq!(of(&merged, router), [1.0, 2.0, 3.0, 4.0]);
    let (before, after) = (of(&base, Part::Embedding), of(&merged, Part::Embedding));
    for (token, (before, after)) in before.chunks(width).zip(after.chunks(width)).enumerate() {
        match token {
            5 | 200 => assert_eq!(after, vec![0.5; width]),
            _ => assert_eq!(after, before),
        }
    }
    let distance = merged_distance(&base, &merged, &adapter, &Pool::new(1)).expect("read");
    assert!(distance < 1e-2, "{distance}");
}
