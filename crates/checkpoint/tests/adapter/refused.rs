//! What is not read, and the reason that is given.

use gptoss_checkpoint::{AdapterSite, Preset, read_adapter};
use serde_json::{Value, json};

use crate::support::{RANK, Tensors, base, numbers, read, settings, write};

const MODULE: &str = "base_model.model.model.layers.0.self_attn.q_proj";

fn query() -> Tensors {
    vec![
        (format!("{MODULE}.lora_A.weight"), vec![RANK, 64], numbers(RANK * 64, 1)),
        (format!("{MODULE}.lora_B.weight"), vec![128, RANK], numbers(128 * RANK, 2)),
    ]
}

fn check(more: Value, tensors: &Tensors, expect: &str) {
    let error = read(&settings(more), tensors).unwrap_err().to_string();
    assert!(error.contains(expect), "{error}\nshould say: {expect}");
}

#[test]
fn configs_of_other_kinds() {
    read(&settings(json!({})), &query()).unwrap();
    let null = json!({"lora_bias": null, "alora_invocation_tokens": null, "unknown_to_us": {"x": 1}, "bias": "none"});
    read(&settings(null), &query()).unwrap();
    for (more, expect) in [
        (json!({"peft_type": "IA3"}), "IA3"),
        (json!({"bias": "lora_only"}), "biases are not read"),
        (json!({"lora_bias": true}), "lora_bias"),
        (json!({"fan_in_fan_out": true}), "fan_in_fan_out"),
        (json!({"use_qalora": true}), "QALoRA"),
        (json!({"use_bdlora": {"x": 1}}), "block-diagonal"),
        (json!({"alora_invocation_tokens": [1, 2]}), "activated LoRA"),
        (json!({"layer_replication": [[0, 2], [1, 2]]}), "repeated layers"),
        (json!({"init_lora_weights": "pissa_niter_4"}), "changes the base"),
        (json!({"r": null}), "`r` is missing"),
        (json!({"r": -4}), "whole number"),
        (json!({"r": 0}), "no scale"),
        (json!({"r": 5000}), "above 4096"),
        (json!({"lora_alpha": null}), "not a number"),
        (json!({"lora_alpha": 1e300}), "no scale"),
        (json!({"lora_B_layout": "diagonal"}), "diagonal"),
        (json!({"quantization_aware": "int3"}), "int3"),
        (json!({"rank_pattern": {"q_proj": "four"}}), "no number"),
        (json!({"rank_pattern": {"q_proj(": 4}}), "not read"),
        (json!({"trainable_token_indices": ["<|end|>"]}), "not a token"),
        (json!({"trainable_token_indices": {"wte": [3]}}), "wte"),
        (json!({"use_dora": true}), "lora_magnitude_vector"),
    ] {
        check(more, &query(), expect);
    }
}

#[test]
fn tensors_that_no_part_takes_are_named() {
    let check = |name: &str, shape: Vec<usize>, expect: &str| {
        let mut tensors = query();
        let size = shape.iter().product();
        tensors.push((name.to_owned(), shape, numbers(size, 3)));
        check(json!({}), &tensors, expect);
        check(json!({}), &tensors, name);
    };
    let layer = "base_model.model.model.layers";
    check(&format!("{layer}.0.self_attn.q_proj.lora_C.weight"), vec![1], "no part of this model");
    check(&format!("{layer}.2.self_attn.q_proj.lora_A.weight"), vec![RANK, 64], "2 layers");
    check(&format!("{layer}.00.self_attn.q_proj.lora_A.weight"), vec![RANK, 64], "2 layers");
    check(&format!("{layer}.0.self_attn.qkv_proj.lora_A.weight"), vec![RANK, 64], "no part of this model");
    check(
        &format!("{layer}.0.mlp.experts.4.gate_proj.lora_A.weight"),
        vec![RANK, 64],
        "no part of this model",
    );
    check(&format!("{layer}.0.mlp.experts.gate_up_projs.4.lora_A.weight"), vec![RANK, 64], "4 experts");
    check(&format!("{layer}.0.mlp.router.lora_A.weight"), vec![RANK, 64], "modules_to_save");
    check(&format!("{layer}.0.self_attn.q_proj.lora_B.bias"), vec![128], "lora_bias");
    check(&format!("{layer}.0.mlp.experts.base_layer.base_layer.lora_A.weight"), vec![12, 64], "no part");
    check("base_model.model.score.weight", vec![2, 64], "no part of this model");
    check("base_model.model.model.embed_tokens.lora_A.weight", vec![RANK, 64], "lora_embedding");
    check(
        "base_model.model.lm_head.token_adapter.trainable_tokens_delta",
        vec![2, 64],
        "trainable_token_indices",
    );
    // The same tensor under two names.
    check("model.layers.0.self_attn.q_proj.lora_A.weight", vec![RANK, 64], "twice");
}

#[test]
fn shapes_and_numbers() {
    let with = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = query();
        change(&mut tensors);
        tensors
    };
    let turned = with(&|tensors| tensors[0].1.reverse());
    check(json!({}), &turned, "[64, 3]");
    check(json!({"r": 4}), &query(), "[4, 64]");
    check(json!({}), &with(&|tensors| drop(tensors.pop())), "not both of its factors");
    check(json!({}), &with(&|tensors| tensors[1].2[7] = f32::NAN), "not finite");
    check(json!({}), &with(&|tensors| tensors[0].2[7] = f32::NEG_INFINITY), "not finite");
    check(json!({}), &Tensors::new(), "changes nothing");
}

#[test]
fn experts_whose_parameter_is_not_clear() {
    let module = "base_model.model.model.layers.0.mlp.experts";
    let packed = |inner: &str, rows: usize, columns: usize| {
        let mut tensors = query();
        let size = 4 * RANK;
        tensors.push((
            format!("{module}{inner}.lora_A.weight"),
            vec![size, columns],
            numbers(size * columns, 1),
        ));
        tensors.push((format!("{module}{inner}.lora_B.weight"), vec![rows, size], numbers(size * rows, 2)));
        tensors
    };
    check(json!({}), &packed(".base_layer", 192, 64), "wraps nothing");
    check(json!({}), &packed("", 100, 64), "target_parameters");
    check(json!({"target_parameters": ["down_proj", "gate_up_proj"]}), &packed("", 64, 96), "targets both");
    check(json!({"target_parameters": ["experts.gate_up_proj"]}), &packed("", 64, 96), "[12, 64]");
    check(json!({"use_dora": true}), &packed("", 64, 96), "DoRA");
    let mut shared = query();
    shared.push((format!("{module}.w1.lora_A.weight"), vec![1, RANK, 64], numbers(RANK * 64, 1)));
    shared.push((format!("{module}.w1.lora_B.weight"), vec![1, 96, RANK], numbers(RANK * 96, 1)));
    check(json!({}), &shared, "tells experts apart");
}

#[test]
fn folders_without_an_adapter() {
    let (folder, base) = (tempfile::tempdir().unwrap(), base());
    let refused = |expect: &str| {
        let error = read_adapter(folder.path(), &base, None).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    refused("adapter_model.safetensors");
    std::fs::write(folder.path().join("adapter_model.bin"), "pickle").unwrap();
    refused("pickle");
    write(folder.path(), &settings(json!({})), &query());
    std::fs::remove_file(folder.path().join("adapter_config.json")).unwrap();
    refused("adapter_config.json");
    std::fs::write(folder.path().join("adapter_config.json"), "[1]").unwrap();
    refused("adapter_config.json");
    std::fs::write(folder.path().join("adapter_config.json"), vec![b' '; (4 << 20) + 1]).unwrap();
    refused("4194304");
}

#[test]
fn an_adapter_of_another_size_is_refused_by_its_shapes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &settings(json!({})), &query());
    let other = gptoss_checkpoint::Checkpoint::synthetic(Preset::Tiny, 1, None).unwrap();
    let error = read_adapter(folder.path(), &other, None).unwrap_err().to_string();
    assert!(error.contains("[3, 64]") && error.contains("[3, 128]"), "{error}");
    assert_eq!(AdapterSite::Query(0).shape(other.config()), Some([256, 128]));
}
