//! Writing then reading any layout gives the same bits, and a failed or refused write leaves nothing behind.

use std::fs;
use std::path::Path;

use gptoss_checkpoint::{
    Checkpoint, Dtype, Error, ExpertFormat, LayerPart, Layout, Outline, Part, Preset, SafetensorsFile,
    SynthRequest, WriteLayout, write_safetensors, write_synthetic,
};
use gptoss_formats::mxfp4_value;

const SEED: u64 = 5;

fn write(layout: WriteLayout, layers: Option<usize>, folder: &Path) -> Checkpoint {
    let request =
        SynthRequest { preset: Preset::Tiny, seed: SEED, layers, layout, folder: folder.to_path_buf() };
    let mut last = (0, 0);
    write_synthetic(&request, &mut |done, total| {
        assert!(done > last.0 && done <= total);
        last = (done, total);
    })
    .unwrap();
    let checkpoint = Checkpoint::open(folder).unwrap();
    assert_eq!(last, (checkpoint.tensor_bytes(), checkpoint.tensor_bytes()));
    checkpoint
}

#[test]
fn hugging_face_and_original_give_the_bits_of_the_synthetic_model() {
    for layers in [None, Some(2)] {
        let folder = tempfile::tempdir().unwrap();
        let synthetic = Checkpoint::synthetic(Preset::Tiny, SEED, layers).unwrap();
        let hf = write(WriteLayout::Hf, layers, &folder.path().join("hf"));
        let original = write(WriteLayout::Original, layers, &folder.path().join("original"));
        assert_eq!(synthetic.layout(), Layout::Synthetic(Preset::Tiny, SEED));
        assert_eq!((hf.layout(), original.layout()), (Layout::HuggingFaceMxfp4, Layout::Original));
        assert_eq!(hf.config(), synthetic.config());
        assert_eq!(original.config().layer_types, synthetic.config().layer_types);
        for part in synthetic.parts() {
            let expected = synthetic.tensor(part).unwrap();
            for checkpoint in [&hf, &original] {
                let found = checkpoint.tensor(part).unwrap();
                assert_eq!((found.dtype, &found.shape), (expected.dtype, &expected.shape));
                assert!(*found.bytes == *expected.bytes, "{part:?} differs");
                assert!(!found.bytes.is_owned(), "{part:?} was copied");
            }
        }
        assert_eq!(hf.files().len(), 1);
        assert!(hf.files()[0].num_bytes > hf.tensor_bytes());
    }
}

#[test]
fn the_bf16_layout_is_the_dequantised_and_transposed_model() {
    let folder = tempfile::tempdir().unwrap();
    let synthetic = Checkpoint::synthetic(Preset::Tiny, SEED, Some(2)).unwrap();
    let bf16 = write(WriteLayout::Bf16, Some(2), &folder.path().join("bf16"));
    assert_eq!((bf16.layout(), bf16.expert_format()), (Layout::HuggingFaceBf16, ExpertFormat::Bf16));
    let is_expert_matrix =
        |part: &Part| matches!(part, Part::Layer(_, LayerPart::GateUpBf16 | LayerPart::DownBf16));
    for part in bf16.parts().into_iter().filter(|part| !is_expert_matrix(part)) {
        assert!(
            *bf16.tensor(part).unwrap().bytes == *synthetic.tensor(part).unwrap().bytes,
            "{part:?} differs"
        );
    }
    for (matrix, blocks, scales) in [
        (LayerPart::GateUpBf16, LayerPart::GateUpBlocks, LayerPart::GateUpScales),
        (LayerPart::DownBf16, LayerPart::DownBlocks, LayerPart::DownScales),
    ] {
        let matrix = bf16.tensor(Part::Layer(1, matrix)).unwrap();
        let blocks = synthetic.tensor(Part::Layer(1, blocks)).unwrap();
        let scales = synthetic.tensor(Part::Layer(1, scales)).unwrap();
        let [experts, columns, rows] = matrix.shape[..] else { panic!("three axes") };
        let values = matrix.bf16().unwrap();
        for (index, value) in values.iter().enumerate() {
            let (expert, column, row) = (index / (columns * rows), index / rows % columns, index % rows);
            assert!(expert < experts);
            let place = (expert * rows + row) * columns + column;
            let code = blocks.bytes[place / 2] >> (4 * (place % 2)) & 15;
            assert_eq!(
                value.to_f32(),
                mxfp4_value(code, scales.bytes[place / 32]),
                "{} {index}",
                matrix.name
            );
        }
    }
    let error = bf16.tensor(Part::Layer(0, LayerPart::GateUpBlocks)).unwrap_err();
    assert!(matches!(error, Error::NoSuchPart { .. }), "{error}");
}

#[test]
fn the_reference_reader_accepts_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    write(WriteLayout::Original, None, &folder.path().join("o"));
    let file = fs::read(folder.path().join("o/model.safetensors")).unwrap();
    let oracle = safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_eq!(oracle.tensor("block.0.attn.qkv.weight").unwrap().shape(), [512, 128]);
    let labels: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("o/dtypes.json")).unwrap()).unwrap();
    assert_eq!(labels["block.3.mlp.mlp2_weight.scales"], "UE8");
    assert_eq!(labels.as_object().unwrap().len(), oracle.len());
}

#[test]
fn an_existing_target_is_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("mine");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("thesis.txt"), "do not lose").unwrap();
    let request = SynthRequest {
        preset: Preset::Tiny,
        seed: 0,
        layers: None,
        layout: WriteLayout::Hf,
        folder: target.clone(),
    };
    let error = write_synthetic(&request, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::TargetExists { .. }), "{error}");
    assert_eq!(fs::read_to_string(target.join("thesis.txt")).unwrap(), "do not lose");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_an_interrupted_run_left_is_replaced_but_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("synth");
    let partial = folder.path().join("synth.partial");
    fs::create_dir(&partial).unwrap();
    fs::write(partial.join("model-00000-of-00002.safetensors"), "half").unwrap();
    write(WriteLayout::Hf, None, &target);
    assert!(!partial.exists());
    fs::remove_dir_all(&target).unwrap();
    fs::create_dir(&partial).unwrap();
    fs::write(partial.join("holiday.jpg"), "not ours").unwrap();
    let request =
        SynthRequest { preset: Preset::Tiny, seed: 0, layers: None, layout: WriteLayout::Hf, folder: target };
    let error = write_synthetic(&request, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("synth.partial"), "{error}");
    assert!(partial.join("holiday.jpg").exists());
}

/// The fate of a write that must be refused before any tensor is made.
fn refused_at_once(folder: &Path) -> Error {
    let folder = folder.to_path_buf();
    let request =
        SynthRequest { preset: Preset::Tiny, seed: 0, layers: Some(1), layout: WriteLayout::Hf, folder };
    write_synthetic(&request, &mut |_, _| panic!("something was written")).unwrap_err()
}

/// `gptoss synth PRESET .` and a link to an empty folder failed after the last byte, because a rename cannot
/// replace them.
#[test]
fn an_empty_folder_that_exists_is_filled_where_it_is() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, folder.path().join("link")).unwrap();
    let inode = fs::metadata(&real).unwrap().ino();
    for target in ["real/.", "link", "link/", "real/../link/."] {
        write(WriteLayout::Hf, Some(1), &folder.path().join(target));
        let mut names: Vec<_> = fs::read_dir(&real)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["config.json", "generation_config.json", "model.safetensors"], "{target}");
        // The folder itself stays: somebody may stand in it.
        assert_eq!(fs::metadata(&real).unwrap().ino(), inode, "{target}");
        assert!(fs::symlink_metadata(folder.path().join("link")).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "{target}");
        assert!(matches!(refused_at_once(&folder.path().join(target)), Error::TargetExists { .. }));
        names.iter().for_each(|name| fs::remove_file(real.join(name)).unwrap());
    }
    // What a killed run left inside is replaced, and only that.
    let partial = real.join("checkpoint.partial");
    fs::create_dir(&partial).unwrap();
    fs::write(partial.join("holiday.jpg"), "not ours").unwrap();
    assert!(matches!(refused_at_once(&real), Error::TargetExists { .. }));
    fs::rename(partial.join("holiday.jpg"), partial.join("model.safetensors")).unwrap();
    write(WriteLayout::Hf, Some(1), &real);
    assert!(!partial.exists());
}

#[test]
fn targets_that_cannot_be_made_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let missing = refused_at_once(&folder.path().join("no/such/parent"));
    assert!(missing.to_string().contains("no/such/parent"), "{missing}");
    let nameless = refused_at_once(&folder.path().join("missing/.."));
    assert!(matches!(nameless, Error::Io { .. }), "{nameless}");
    assert!(matches!(refused_at_once(Path::new("")), Error::Io { .. }));
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
    let dangling = refused_at_once(&folder.path().join("dangling"));
    assert!(matches!(dangling, Error::TargetExists { .. }), "{dangling}");
    fs::write(folder.path().join("file"), "a file").unwrap();
    assert!(matches!(refused_at_once(&folder.path().join("file")), Error::TargetExists { .. }));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    // A dot at the end of a new name is no name of its own.
    write(WriteLayout::Hf, Some(1), &folder.path().join("new/."));
}

/// Matrices are viewed where the files have them, so that opening a large model costs no memory.
#[test]
fn no_matrix_of_a_written_folder_is_copied() {
    for layout in [WriteLayout::Hf, WriteLayout::Bf16, WriteLayout::Original] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = write(layout, Some(2), &folder.path().join("model"));
        let tensors = checkpoint.parts().into_iter().map(|part| checkpoint.tensor(part).unwrap());
        let matrices: Vec<_> = tensors.filter(|tensor| tensor.shape.len() > 1).collect();
        assert!(matrices.len() > 2 * 8, "{}", matrices.len());
        for matrix in matrices {
            assert!(!matrix.bytes.is_owned(), "{layout:?}: {} was copied", matrix.name);
            assert!(matrix.bytes.path().is_some(), "{layout:?}: {} is no view of a file", matrix.name);
        }
    }
}

#[test]
fn absurd_numbers_of_layers_are_refused_before_anything_is_made() {
    for layers in [0, 129, usize::MAX] {
        let error = Checkpoint::synthetic(Preset::GptOss120b, 0, Some(layers)).unwrap_err();
        assert!(error.to_string().contains("num_hidden_layers"), "{error}");
    }
}

#[test]
fn tensors_in_memory_are_written_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logits.safetensors");
    fs::write(&path, "an older file").unwrap();
    let logits: Vec<f32> = (0..12).map(|value| value as f32 / 3.0).collect();
    let outline = Outline { name: "logits".to_string(), dtype: Dtype::F32, shape: vec![3, 4] };
    write_safetensors(&path, &[(outline, bytemuck::cast_slice(&logits))], &mut |_, _| {}).unwrap();
    let read = SafetensorsFile::open(&path).unwrap().tensor("logits").unwrap();
    assert_eq!(read.f32().unwrap(), logits);
    assert_eq!(read.shape, [3, 4]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_embedded_checkpoint_is_the_folder_it_was_made_from() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("demo");
    let written = write(WriteLayout::Hf, Some(1), &target);
    let leak = |name: &str| -> &'static [u8] { fs::read(target.join(name)).unwrap().leak() };
    // One byte further than an allocation starts: nothing aligns what is embedded in a program.
    let shifted: &'static [u8] = [&[0], leak("model.safetensors")].concat().leak();
    let files: &'static [(&'static str, &'static [u8])] = vec![
        ("config.json", leak("config.json")),
        ("generation_config.json", leak("generation_config.json")),
        ("model.safetensors", &shifted[1..]),
        ("tokenizer.json", b"{}"),
    ]
    .leak();
    let embedded = Checkpoint::embedded(files).unwrap();
    assert_eq!(embedded.config(), written.config());
    assert_eq!(embedded.layout(), Layout::HuggingFaceMxfp4);
    assert_eq!(&*embedded.tokenizer_json().unwrap().unwrap(), b"{}");
    for part in written.parts() {
        let (found, expected) = (embedded.tensor(part).unwrap(), written.tensor(part).unwrap());
        assert_eq!(*found.bytes, *expected.bytes, "{part:?}");
        if found.dtype == Dtype::Bf16 {
            assert!(found.bf16().is_ok());
        } else {
            assert!(!found.bytes.is_owned(), "experts are never copied");
        }
    }
    let error = Checkpoint::embedded(&files[..2]).unwrap_err();
    assert!(error.to_string().contains("model.safetensors"), "{error}");
}

/// A reader gives, expert by expert, what the tensors hold.
#[test]
fn experts_read_one_by_one_are_the_slices_of_their_tensors() {
    for layout in [WriteLayout::Hf, WriteLayout::Bf16, WriteLayout::Original] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = write(layout, Some(2), &folder.path().join("model"));
        let reader = checkpoint.expert_reader().unwrap().expect("there are files");
        let parts: &[LayerPart] = match layout {
            WriteLayout::Bf16 => &[LayerPart::GateUpBf16, LayerPart::DownBf16],
            _ => &[
                LayerPart::GateUpBlocks,
                LayerPart::GateUpScales,
                LayerPart::DownBlocks,
                LayerPart::DownScales,
            ],
        };
        let mut memory = vec![0_u8; reader.buffer_bytes() as usize + 4096];
        let memory = {
            let start = memory.as_ptr().align_offset(4096);
            &mut memory[start..]
        };
        for (layer, expert) in [(0, 0), (1, 3), (0, 2), (1, 0)] {
            let places = reader.read(layer, expert, memory, &mut []).unwrap();
            assert_eq!(places.num_bytes, reader.expert_bytes());
            for &part in parts {
                let tensor = checkpoint.tensor(Part::Layer(layer, part)).unwrap();
                let share = tensor.bytes.len() / checkpoint.config().num_local_experts;
                assert!(
                    places.part(memory, part) == &tensor.bytes[expert * share..][..share],
                    "{layer} {expert} {part:?}"
                );
                assert_eq!(reader.name(layer, part), tensor.name);
            }
        }
    }
    let synthetic = Checkpoint::synthetic(Preset::Tiny, SEED, None).unwrap();
    assert!(synthetic.expert_reader().unwrap().is_none());
}

/// What is released or advised on reads as before.
#[test]
fn advice_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = write(WriteLayout::Hf, Some(1), &folder.path().join("model"));
    let bytes = checkpoint.tensor(Part::Layer(0, LayerPart::GateUpBlocks)).unwrap().bytes;
    let before = bytes.to_vec();
    bytes.read_at_random();
    bytes.release();
    assert!(bytes[..] == before[..]);
    bytes.will_need();
    assert!(bytes[..] == before[..]);
}
