//! The fixtures open, and every preset's numbers are the published ones.

use std::path::{Path, PathBuf};

use gptoss_checkpoint::{
    Checkpoint, Dtype, ExpertFormat, LayerPart, Layout, PRESETS, Part, Preset, SafetensorsFile, parse_config,
    shape,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

#[test]
fn the_tiny_fixture_opens_and_every_part_has_its_shape() {
    for name in ["tiny", "tiny-yarn"] {
        let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
        assert_eq!(checkpoint.layout(), Layout::HuggingFaceMxfp4);
        assert_eq!(checkpoint.expert_format(), ExpertFormat::Mxfp4);
        for part in checkpoint.parts() {
            let tensor = checkpoint.tensor(part).unwrap();
            assert_eq!(tensor.shape, shape(checkpoint.config(), part), "{}", tensor.name);
            assert_eq!(tensor.bytes.len(), tensor.shape.iter().product::<usize>() * tensor.dtype.num_bytes());
            assert!(!tensor.bytes.is_owned(), "{} was copied", tensor.name);
        }
        assert!(checkpoint.tokenizer_json().unwrap().is_none());
    }
}

#[test]
fn the_tiny_preset_is_the_fixture_s_shape() {
    let path = fixture("tiny/config.json");
    let parsed = parse_config(&std::fs::read(&path).unwrap(), &path).unwrap();
    assert_eq!(parsed.config, Preset::Tiny.config());
}

#[test]
fn a_view_is_the_bytes_that_the_reference_reader_gives() {
    let folder = fixture("tiny");
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let part = Part::Layer(2, LayerPart::DownScales);
    let tensor = checkpoint.tensor(part).unwrap();
    let file = std::fs::read(folder.join("model-00003.safetensors")).unwrap();
    let oracle = safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_eq!(&*tensor.bytes, oracle.tensor("model.layers.2.mlp.experts.down_proj_scales").unwrap().data());
    assert_eq!(tensor.bytes.path(), Some(folder.join("model-00003.safetensors").as_path()));
}

#[test]
fn recorded_logits_can_be_read() {
    let file = SafetensorsFile::open(&fixture("tiny-logits.safetensors")).unwrap();
    assert_eq!(file.tensor("input_ids").unwrap().i64().unwrap().len(), 300);
    let logits = file.tensor("logits").unwrap();
    assert_eq!((logits.dtype, logits.shape.as_slice()), (Dtype::F32, [300, 512].as_slice()));
    assert!(logits.f32().unwrap().iter().all(|logit| logit.is_finite()));
    assert!(logits.bf16().is_err());
}

#[test]
fn presets_hold_the_published_number_of_parameters_and_bytes() {
    let total = |preset: Preset| -> u64 {
        let config = preset.config();
        let one = |part| {
            let elements = shape(&config, part).iter().product::<usize>() as u64;
            match part {
                Part::Layer(_, LayerPart::GateUpBlocks | LayerPart::DownBlocks) => 2 * elements,
                Part::Layer(_, LayerPart::GateUpScales | LayerPart::DownScales) => 0,
                _ => elements,
            }
        };
        gptoss_checkpoint::parts(&config, ExpertFormat::Mxfp4).into_iter().map(one).sum()
    };
    assert_eq!(total(Preset::GptOss20b), 20_914_757_184);
    assert_eq!(total(Preset::GptOss120b), 116_829_156_672);
    assert_eq!((total(Preset::GptOss15b) + 5_000_000) / 10_000_000, 1_499);
    assert_eq!(total(Preset::GptOss90b) / 100_000_000, 900);
    let bytes = |preset| Checkpoint::synthetic(preset, 0, None).unwrap().tensor_bytes();
    assert_eq!(bytes(Preset::GptOss20b), 13_761_264_768);
    assert_eq!(bytes(Preset::GptOss120b), 65_248_815_744);
    assert_eq!(Checkpoint::synthetic(Preset::GptOss20b, 0, None).unwrap().parts().len(), 459);
    assert_eq!(Checkpoint::synthetic(Preset::GptOss120b, 0, None).unwrap().parts().len(), 687);
}

#[test]
fn every_preset_passes_its_own_checks_and_is_found_by_name() {
    for preset in PRESETS {
        preset.config().check(Path::new("preset")).unwrap();
        assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
    }
    let message = "gpt-oss-21b".parse::<Preset>().unwrap_err().to_string();
    assert!(message.contains("gpt-oss-21b") && message.contains("gpt-oss-120b"), "{message}");
}
