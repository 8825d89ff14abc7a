//! What each stack writes, made here by its own rule, means the same function.

use gptoss_checkpoint::{
    Adapter, AdapterForm, AdapterPair, AdapterSite, Checkpoint, Error, FactorLayout, LayerPart, LayoutSource,
    Part, ReadAdapter, read_adapter,
};
use serde_json::{Value, json};

use crate::support::{RANK, Tensors, attention, base, delta, full, numbers, read, settings, write};

const C: usize = 64;
const F: usize = 96;
const E: usize = 4;
const LAYERS: usize = 2;
const PREFIX: &str = "base_model.model.model.layers";

fn attention_tensors(adapter: &Adapter, module: &str) -> Tensors {
    let mut tensors = Tensors::new();
    for layer in 0..LAYERS {
        for (site, name) in attention(layer).into_iter().zip(["q_proj", "k_proj", "v_proj", "o_proj"]) {
            push(&mut tensors, &format!("{PREFIX}.{layer}.{module}.{name}"), &adapter.pairs[&site]);
        }
    }
    tensors
}

fn push(tensors: &mut Tensors, module: &str, pair: &AdapterPair) {
    let (rows, columns) = (pair.b.len() / pair.rank, pair.a.len() / pair.rank);
    tensors.push((format!("{module}.lora_A.weight"), vec![pair.rank, columns], pair.a.clone()));
    tensors.push((format!("{module}.lora_B.weight"), vec![rows, pair.rank], pair.b.clone()));
}

/// The experts of all layers in PEFT's form, with one of its layouts, or Unsloth's.
fn packed(adapter: &Adapter, layout: FactorLayout, stacks: &[bool]) -> Tensors {
    let mut tensors = Tensors::new();
    for layer in 0..LAYERS {
        for &is_down in stacks {
            let [rows, columns] = if is_down { [C, F] } else { [2 * F, C] };
            let wrapped = stacks.len() == 2 && !is_down;
            let module = format!("{PREFIX}.{layer}.mlp.experts{}", if wrapped { ".base_layer" } else { "" });
            let of = |expert| match is_down {
                true => &adapter.pairs[&AdapterSite::Down { layer, expert }],
                false => &adapter.pairs[&AdapterSite::GateUp { layer, expert }],
            };
            let a = (0..E).flat_map(|expert| of(expert).a.clone()).collect();
            // numpy's words: B[n, e, j] for experts one by one, B[n, j, e] for PEFT.
            let mut b = Vec::new();
            for row in 0..rows {
                for column in 0..E * RANK {
                    let (expert, j) = match layout {
                        FactorLayout::RankMajor => (column % E, column / E),
                        FactorLayout::GroupedByExpert => (column / RANK, column % RANK),
                    };
                    b.push(of(expert).b[row * RANK + j]);
                }
            }
            tensors.push((format!("{module}.lora_A.weight"), vec![E * RANK, columns], a));
            tensors.push((format!("{module}.lora_B.weight"), vec![rows, E * RANK], b));
        }
    }
    tensors
}

fn all(adapter: &Adapter, layout: FactorLayout) -> Tensors {
    let mut tensors = attention_tensors(adapter, "self_attn");
    tensors.extend(packed(adapter, layout, &[false, true]));
    tensors
}

fn parameters() -> Value {
    json!({"target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]})
}

#[test]
fn peft_both_parameters() {
    let adapter = full(base().config());
    let found = read(&settings(parameters()), &all(&adapter, FactorLayout::RankMajor)).unwrap();
    assert_eq!(found.adapter, adapter);
    assert_eq!(found.form, AdapterForm::Packed);
    assert_eq!(found.layout, Some((FactorLayout::RankMajor, LayoutSource::Assumed)));
}

#[test]
fn peft_attention_alone_is_the_default_of_most() {
    let adapter = full(base().config());
    let found = read(&settings(json!({})), &attention_tensors(&adapter, "self_attn")).unwrap();
    assert_eq!((found.adapter.pairs.len(), found.form, found.layout), (8, AdapterForm::NoExperts, None));
}

/// The only parameter is at the outer module, whichever it is.
#[test]
fn peft_one_parameter_is_told_by_the_config_or_by_its_rows() {
    let adapter = full(base().config());
    let only = |is_down: bool| {
        let is_kept = |site: &AdapterSite| match site {
            AdapterSite::GateUp { .. } => !is_down,
            AdapterSite::Down { .. } => is_down,
            _ => false,
        };
        let pairs = adapter.pairs.iter().filter(|(site, _)| is_kept(site));
        Adapter { pairs: pairs.map(|(site, pair)| (*site, pair.clone())).collect(), ..Adapter::default() }
    };
    for (is_down, name) in [(true, "down_proj"), (false, "gate_up_proj")] {
        let tensors = packed(&adapter, FactorLayout::RankMajor, &[is_down]);
        let named =
            json!({"target_parameters": [format!("0.mlp.experts.{name}"), format!("1.mlp.experts.{name}")]});
        for more in [json!({}), named] {
            assert_eq!(read(&settings(more), &tensors).unwrap().adapter, only(is_down), "{name}");
        }
    }
}

#[test]
fn unsloth_with_a_marker_in_either_layout() {
    let adapter = full(base().config());
    for layout in [FactorLayout::RankMajor, FactorLayout::GroupedByExpert] {
        let more = json!({"lora_B_layout": layout.name(), "base_model_name_or_path": "unsloth/gpt-oss-20b"});
        let found = read(&settings(more), &all(&adapter, layout)).unwrap();
        assert_eq!(found.adapter, adapter, "{layout:?}");
        assert_eq!(found.layout, Some((layout, LayoutSource::Config)));
    }
}

/// Same names, same shapes, two meanings: nothing in the bytes tells them apart.
#[test]
fn unsloth_without_a_marker_is_asked_for() {
    let (adapter, folder, base) = (full(base().config()), tempfile::tempdir().unwrap(), base());
    let tensors = all(&adapter, FactorLayout::GroupedByExpert);
    write(folder.path(), &settings(json!({"base_model_name_or_path": "unsloth/gpt-oss-20b-BF16"})), &tensors);
    let ask = |layout| read_adapter(folder.path(), &base, layout);
    let error = ask(None).unwrap_err();
    assert!(matches!(error, Error::AmbiguousAdapter { .. }));
    assert!(error.to_string().contains("--lora-b-layout rank-major"), "{error}");
    let found = ask(Some(FactorLayout::GroupedByExpert)).unwrap();
    assert_eq!(found.adapter, adapter);
    assert_eq!(found.layout, Some((FactorLayout::GroupedByExpert, LayoutSource::Asked)));
    assert_ne!(ask(Some(FactorLayout::RankMajor)).unwrap().adapter, adapter);

    // A README that names it is enough, and one that does not is not.
    write(folder.path(), &settings(json!({})), &tensors);
    assert_eq!(ask(None).unwrap().layout, Some((FactorLayout::RankMajor, LayoutSource::Assumed)));
    std::fs::write(folder.path().join("README.md"), "trained with [Unsloth](https://unsloth.ai)").unwrap();
    assert!(matches!(ask(None).unwrap_err(), Error::AmbiguousAdapter { .. }));
    // Attention alone has one meaning.
    write(folder.path(), &settings(json!({})), &attention_tensors(&adapter, "self_attn"));
    assert_eq!(ask(None).unwrap().layout, None);
}

#[test]
fn unsloth_on_four_bit_bases_has_each_expert_apart() {
    let adapter = full(base().config());
    let mut tensors = attention_tensors(&adapter, "self_attn");
    for (site, pair) in &adapter.pairs {
        match site {
            AdapterSite::GateUp { layer, expert } => {
                push(&mut tensors, &format!("{PREFIX}.{layer}.mlp.experts.gate_up_projs.{expert}"), pair);
            }
            AdapterSite::Down { layer, expert } => {
                push(&mut tensors, &format!("{PREFIX}.{layer}.mlp.experts.down_projs.{expert}"), pair);
            }
            _ => {}
        }
    }
    let more = json!({"base_model_name_or_path": "unsloth/gpt-oss-20b-unsloth-bnb-4bit"});
    let found = read(&settings(more), &tensors).unwrap();
    assert_eq!((found.adapter, found.form, found.layout), (adapter, AdapterForm::PerExpert, None));
}

/// The pair of a gate and the pair of an up, `[F, C]` each, as what they add to the rows of both.
fn interleaved(gate: &AdapterPair, up: &AdapterPair) -> Vec<f32> {
    let (gate, up) = (delta(gate), delta(up));
    gate.chunks(C).zip(up.chunks(C)).flat_map(|(gate, up)| [gate, up].concat()).collect()
}

fn half(rank: usize, scale: f32, seed: u64) -> AdapterPair {
    AdapterPair { rank, scale, a: numbers(rank * C, seed), b: numbers(F * rank, seed + 500) }
}

fn assert_gate_up(found: &ReadAdapter, layer: usize, expert: usize, expected: &[f32]) {
    let pair = &found.adapter.pairs[&AdapterSite::GateUp { layer, expert }];
    let error = delta(pair).iter().zip(expected).fold(0.0_f32, |error, (a, b)| error.max((a - b).abs()));
    assert!(error < 1e-5, "layer {layer}, expert {expert} is off by {error}");
}

#[test]
fn gates_and_ups_apart_are_one_matrix_of_twice_the_rank() {
    let adapter = full(base().config());
    let mut tensors = attention_tensors(&adapter, "self_attn");
    let parts = |layer: usize, expert: usize| {
        let seed = 10 * (layer * E + expert) as u64;
        [half(RANK, 2.0, 3 + seed), half(RANK, 2.0, 7 + seed)]
    };
    for layer in 0..LAYERS {
        for expert in 0..E {
            let module = format!("{PREFIX}.{layer}.mlp.experts.{expert}");
            let [gate, up] = parts(layer, expert);
            push(&mut tensors, &format!("{module}.gate_proj"), &gate);
            push(&mut tensors, &format!("{module}.up_proj"), &up);
            push(
                &mut tensors,
                &format!("{module}.down_proj"),
                &adapter.pairs[&AdapterSite::Down { layer, expert }],
            );
        }
    }
    let found = read(&settings(json!({})), &tensors).unwrap();
    assert_eq!(found.form, AdapterForm::PerExpert);
    for layer in 0..LAYERS {
        for expert in 0..E {
            let [gate, up] = parts(layer, expert);
            assert_gate_up(&found, layer, expert, &interleaved(&gate, &up));
            let down = AdapterSite::Down { layer, expert };
            assert_eq!(found.adapter.pairs[&down], adapter.pairs[&down]);
        }
    }
    // An up alone leaves the gates as they are, also under another rank and alpha.
    let up = half(5, 4.0, 99);
    let mut tensors = Tensors::new();
    push(&mut tensors, &format!("{PREFIX}.1.mlp.experts.2.up_proj"), &up);
    let more = json!({"rank_pattern": {"experts.2.up_proj": 5}, "alpha_pattern": {".*up_proj": 20}});
    let found = read(&settings(more), &tensors).unwrap();
    let still = AdapterPair { b: vec![0.0; F * 5], ..up.clone() };
    assert_gate_up(&found, 1, 2, &interleaved(&still, &up));
}

/// Tinker's own: the factor at the hidden side is one for all experts.
#[test]
fn tinker_shares_the_outer_factors() {
    let adapter = full(base().config());
    let mut tensors = attention_tensors(&adapter, "attn");
    let shared = |seed, sizes: [usize; 2]| numbers(sizes[0] * sizes[1], seed);
    let each = |seed: u64, sizes: [usize; 2]| numbers(E * sizes[0] * sizes[1], seed);
    let layer = 1;
    let module = format!("{PREFIX}.{layer}.mlp.experts");
    let (a1, b1) = (shared(1, [RANK, C]), each(2, [F, RANK]));
    let (a3, b3) = (shared(3, [RANK, C]), each(4, [F, RANK]));
    let (a2, b2) = (each(5, [RANK, F]), shared(6, [C, RANK]));
    for (name, a, b) in [("w1", &a1, &b1), ("w3", &a3, &b3)] {
        tensors.push((format!("{module}.{name}.lora_A.weight"), vec![1, RANK, C], a.clone()));
        tensors.push((format!("{module}.{name}.lora_B.weight"), vec![E, F, RANK], b.clone()));
    }
    tensors.push((format!("{module}.w2.lora_A.weight"), vec![E, RANK, F], a2.clone()));
    tensors.push((format!("{module}.w2.lora_B.weight"), vec![1, C, RANK], b2.clone()));
    let head = AdapterPair { rank: RANK, scale: 2.0, a: numbers(RANK * C, 8), b: numbers(320 * RANK, 9) };
    push(&mut tensors, "base_model.model.model.unembed_tokens", &head);
    let found = read(&settings(json!({})), &tensors).unwrap();
    assert_eq!(found.form, AdapterForm::SharedOuter);
    assert_eq!(found.adapter.pairs[&AdapterSite::Unembedding], head);
    for site in attention(0) {
        assert_eq!(found.adapter.pairs[&site], adapter.pairs[&site]);
    }
    for expert in 0..E {
        let of = |all: &[f32]| all[expert * all.len() / E..][..all.len() / E].to_vec();
        let pair = |a: Vec<f32>, b: Vec<f32>| AdapterPair { rank: RANK, scale: 2.0, a, b };
        let (gate, up) = (pair(a1.clone(), of(&b1)), pair(a3.clone(), of(&b3)));
        assert_gate_up(&found, layer, expert, &interleaved(&gate, &up));
        let down = &found.adapter.pairs[&AdapterSite::Down { layer, expert }];
        assert_eq!(*down, pair(of(&a2), b2.clone()));
    }
}

#[test]
fn ranks_and_alphas_follow_the_first_pattern_that_matches() {
    let base = base();
    let check = |more: Value, rank: usize, scale: f32| {
        let (mut tensors, query) = (Tensors::new(), AdapterSite::Query(1));
        let pair = crate::support::pair(base.config(), query, rank, scale, 4);
        push(&mut tensors, &format!("{PREFIX}.1.self_attn.q_proj"), &pair);
        let found = read(&settings(more.clone()), &tensors).unwrap();
        assert_eq!(found.adapter.pairs[&query], pair, "{more}");
    };
    check(json!({}), 3, 2.0);
    check(json!({"use_rslora": true, "r": 4}), 4, 3.0);
    check(json!({"rank_pattern": {"q_proj": 2, "model.layers.1.self_attn.q_proj": 5}}), 2, 3.0);
    check(
        json!({"rank_pattern": {"^model.layers.1.self_attn.q_proj": 6}, "alpha_pattern": {"q_proj": 3}}),
        6,
        0.5,
    );
    check(json!({"rank_pattern": {"layers\\.(0|1)\\..*": 4}}), 4, 1.5);
    check(json!({"rank_pattern": {"proj": 8, "_proj": 8, "layers.0.self_attn.q_proj": 8}}), 3, 2.0);
}

/// The form of PEFT: `m V / |V|` by row, with V the base and what is added to it.
#[test]
fn dora_is_folded_into_the_matrix() {
    let base = base();
    let (query, part) = (AdapterSite::Query(0), Part::Layer(0, LayerPart::QWeight));
    let pair = crate::support::pair(base.config(), query, RANK, 2.0, 4);
    let mut tensors = Tensors::new();
    let module = format!("{PREFIX}.0.self_attn.q_proj");
    push(&mut tensors, &module, &pair);
    let lengths: Vec<f32> = numbers(128, 6).iter().map(|length| length + 2.0).collect();
    tensors.push((format!("{module}.lora_magnitude_vector"), vec![128], lengths.clone()));
    let found = read(&settings(json!({"use_dora": true})), &tensors).unwrap();
    assert!(found.had_dora && found.adapter.pairs.is_empty());
    let (changed, values) = &found.adapter.replaced[0];
    assert_eq!(*changed, part);
    let weight = base.tensor(part).unwrap().to_f32().unwrap();
    for ((row, (weight, delta)), length) in
        values.chunks(C).zip(weight.chunks(C).zip(delta(&pair).chunks(C))).zip(lengths)
    {
        let sum: Vec<f64> = weight.iter().zip(delta).map(|(w, d)| f64::from(*w) + f64::from(*d)).collect();
        let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        for (found, value) in row.iter().zip(&sum) {
            assert!((f64::from(*found) - f64::from(length) * value / norm).abs() < 1e-5);
        }
    }
}

fn bytes_of(base: &Checkpoint, part: Part) -> Vec<f32> {
    base.tensor(part).unwrap().to_f32().unwrap()
}

/// Embeddings change the places of their factors, and PEFT adds a copy of the base.
#[test]
fn embedding_head_router_and_rows() {
    let base = base();
    let [embedding, head] = [AdapterSite::Embedding, AdapterSite::Unembedding]
        .map(|site| crate::support::pair(base.config(), site, RANK, 2.0, 3));
    let mut tensors = Tensors::new();
    push(&mut tensors, "base_model.model.lm_head", &head);
    let turned = |values: &[f32], k: usize| -> Vec<f32> {
        let n = values.len() / k;
        (0..values.len()).map(|i| values[i % n * k + i / n]).collect()
    };
    let module = "base_model.model.model.embed_tokens";
    tensors.push((format!("{module}.lora_embedding_A"), vec![RANK, 320], turned(&embedding.b, RANK)));
    tensors.push((format!("{module}.lora_embedding_B"), vec![C, RANK], turned(&embedding.a, C)));
    let copies = [("lm_head", Part::Unembedding), ("model.embed_tokens", Part::Embedding)];
    for (name, part) in copies {
        let name = format!("base_model.model.{name}.base_layer.weight");
        tensors.push((name, vec![320, C], bytes_of(&base, part)));
    }
    for (name, shape) in [("weight", vec![E, C]), ("bias", vec![E])] {
        let size = shape.iter().product();
        tensors.push((format!("{PREFIX}.1.mlp.router.{name}"), shape, numbers(size, 6)));
    }
    let found = read(&settings(json!({"modules_to_save": ["router"]})), &tensors).unwrap().adapter;
    assert_eq!(found.pairs[&AdapterSite::Embedding], embedding);
    assert_eq!(found.pairs[&AdapterSite::Unembedding], head);
    let part = |part| Part::Layer(1, part);
    let mut replaced = found.replaced.clone();
    replaced.sort_by_key(|(_, values)| values.len());
    let expected =
        [(part(LayerPart::RouterBias), numbers(E, 6)), (part(LayerPart::RouterWeight), numbers(E * C, 6))];
    assert_eq!(replaced, expected);

    // A copy that is not this base's: the adapter is for another.
    let copy = tensors.iter_mut().find(|(name, _, _)| name.ends_with("lm_head.base_layer.weight")).unwrap();
    copy.2[5] += 0.5;
    let error = read(&settings(json!({})), &tensors).unwrap_err().to_string();
    assert!(error.contains("another base"), "{error}");

    // Rows come in any order; ours is that of the tokens.
    let rows = numbers(2 * C, 4);
    let delta =
        |module: &str| (format!("{module}.token_adapter.trainable_tokens_delta"), vec![2, C], rows.clone());
    let tensors = vec![delta("base_model.model.model.embed_tokens"), delta("base_model.model.lm_head")];
    let tokens = json!({"trainable_token_indices": {"embed_tokens": [200, 3], "lm_head": [200, 3]}});
    let found = read(&settings(tokens), &tensors).unwrap().adapter.rows;
    assert_eq!(found.tokens, [3, 200]);
    assert_eq!(found.embedding, [&rows[C..], &rows[..C]].concat());
    assert_eq!(found.unembedding, found.embedding);
    let tokens = json!({"trainable_token_indices": [200, 3]});
    let found = read(&settings(tokens), &tensors[..1].to_vec()).unwrap().adapter.rows;
    assert_eq!((found.tokens, found.unembedding.len()), (vec![3, 200], 0));
}
