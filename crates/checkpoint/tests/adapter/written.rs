//! What is written is read again, to the bit.

use std::fs;

use gptoss_checkpoint::{
    Adapter, AdapterForm, AdapterRows, AdapterSite, FactorDtype, FactorLayout, LayerPart, LayoutSource, Part,
    read_adapter, shape, write_adapter,
};

use crate::support::{base, full, numbers, pair};

/// Writes and reads in both element types; the numbers of tests are exact in either.
fn check(adapter: &Adapter) -> serde_json::Value {
    let (base, folder) = (base(), tempfile::tempdir().unwrap());
    let folder = folder.path().join("adapter");
    for dtype in [FactorDtype::F32, FactorDtype::Bf16] {
        write_adapter(&folder, adapter, base.config(), "org/base", dtype).unwrap();
        let read = read_adapter(&folder, &base, None).unwrap();
        assert_eq!(&read.adapter, adapter, "{dtype:?}");
        assert_eq!(read.base_model.as_deref(), Some("org/base"));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing else is left there");
    }
    serde_json::from_slice(&fs::read(folder.join("adapter_config.json")).unwrap()).unwrap()
}

#[test]
fn attention_and_all_experts() {
    let settings = check(&full(base().config()));
    assert_eq!(settings["r"], 3);
    assert_eq!(settings["lora_alpha"], 6);
    assert_eq!(settings["target_modules"], serde_json::json!(["q_proj", "k_proj", "v_proj", "o_proj"]));
    let parameters = serde_json::json!(["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]);
    assert_eq!(settings["target_parameters"], parameters);
    assert_eq!(settings["lora_B_layout"], "rank_major");
    for absent in ["rank_pattern", "alpha_pattern", "modules_to_save", "trainable_token_indices"] {
        assert!(settings.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn the_layout_is_read_where_it_is_written() {
    let (base, folder) = (base(), tempfile::tempdir().unwrap());
    write_adapter(folder.path(), &full(base.config()), base.config(), "unsloth/base", FactorDtype::F32)
        .unwrap();
    let read = read_adapter(folder.path(), &base, None).unwrap();
    assert_eq!(read.form, AdapterForm::Packed);
    assert_eq!(read.layout, Some((FactorLayout::RankMajor, LayoutSource::Config)));
}

#[test]
fn ranks_and_scales_that_differ_are_patterns() {
    let base = base();
    let mut adapter = full(base.config());
    let other = AdapterSite::Key(1);
    adapter.pairs.insert(other, pair(base.config(), other, 5, 2.0, 77));
    for expert in 0..4 {
        let site = AdapterSite::Down { layer: 0, expert };
        adapter.pairs.insert(site, pair(base.config(), site, 2, 0.3, 80 + expert as u64));
    }
    let settings = check(&adapter);
    let [key, down] = ["model.layers.1.self_attn.k_proj", "model.layers.0.mlp.experts.down_proj"];
    assert_eq!(settings["rank_pattern"], serde_json::json!({key: 5, down: 2}));
    assert_eq!(settings["alpha_pattern"][key], 10);
}

#[test]
fn embedding_head_and_one_layer() {
    let base = base();
    let sites = [AdapterSite::Embedding, AdapterSite::Unembedding, AdapterSite::Query(1)];
    let pairs =
        sites.into_iter().zip(1..).map(|(site, seed)| (site, pair(base.config(), site, 2, 1.0, seed)));
    let settings = check(&Adapter { pairs: pairs.collect(), ..Adapter::default() });
    let modules = serde_json::json!(["embed_tokens", "model.layers.1.self_attn.q_proj", "lm_head"]);
    assert_eq!(settings["target_modules"], modules);
    assert_eq!(settings["target_parameters"], serde_json::json!([]));
}

#[test]
fn rows_and_whole_parts() {
    let base = base();
    let config = base.config();
    let part = |part| {
        let size = shape(config, part).iter().product();
        (part, numbers(size, 5))
    };
    let rows = AdapterRows {
        tokens: vec![3, 7, 300],
        embedding: numbers(3 * 64, 1),
        unembedding: numbers(3 * 64, 2),
    };
    let router = [LayerPart::RouterWeight, LayerPart::RouterBias].map(|name| part(Part::Layer(1, name)));
    let mut adapter = full(config);
    (adapter.rows, adapter.replaced) = (rows, router.to_vec());
    let settings = check(&adapter);
    let tokens = serde_json::json!({"embed_tokens": [3, 7, 300], "lm_head": [3, 7, 300]});
    assert_eq!(settings["trainable_token_indices"], tokens);
    assert_eq!(settings["modules_to_save"], serde_json::json!(["model.layers.1.mlp.router"]));
}

/// Servers ask for both parameters of experts, and PEFT for every expert: what was not tuned is zeros.
#[test]
fn experts_that_were_not_tuned_are_zeros() {
    let (base, folder) = (base(), tempfile::tempdir().unwrap());
    let site = AdapterSite::Down { layer: 1, expert: 2 };
    let only = pair(base.config(), site, 2, 0.5, 9);
    let adapter = Adapter { pairs: [(site, only.clone())].into(), ..Adapter::default() };
    write_adapter(folder.path(), &adapter, base.config(), "org/base", FactorDtype::F32).unwrap();
    let read = read_adapter(folder.path(), &base, None).unwrap().adapter;
    assert_eq!(read.pairs.len(), 8);
    for (other, pair) in &read.pairs {
        assert_eq!(pair.rank, 2);
        match *other == site {
            true => assert_eq!(*pair, only),
            false => assert!(pair.a.iter().chain(&pair.b).all(|value| *value == 0.0), "{other:?}"),
        }
    }
}

#[test]
fn what_cannot_be_is_not_written() {
    let base = base();
    let check = |change: &dyn Fn(&mut Adapter), expect: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut adapter = full(base.config());
        change(&mut adapter);
        let error = write_adapter(folder.path(), &adapter, base.config(), "b", FactorDtype::F32).unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    let query = AdapterSite::Query(0);
    let of = |adapter: &mut Adapter, change: &dyn Fn(&mut gptoss_checkpoint::AdapterPair)| {
        change(adapter.pairs.get_mut(&query).unwrap());
    };
    check(&|adapter| of(adapter, &|pair| pair.b[7] = f32::NAN), "not finite");
    check(&|adapter| of(adapter, &|pair| pair.scale = f32::INFINITY), "not finite");
    check(&|adapter| of(adapter, &|pair| pair.rank = 0), "rank 0");
    check(&|adapter| of(adapter, &|pair| pair.a.truncate(7)), "sizes");
    check(&|adapter| *adapter = Adapter::default(), "changes nothing");
    check(
        &|adapter| {
            let pair = adapter.pairs[&query].clone();
            adapter.pairs.insert(AdapterSite::Query(2), pair);
        },
        "not in this model",
    );
    check(
        &|adapter| adapter.replaced.push((Part::Layer(0, LayerPart::QWeight), numbers(128 * 64, 1))),
        "both replaced and added to",
    );
    check(&|adapter| adapter.replaced.push((Part::Layer(0, LayerPart::Sinks), numbers(4, 1))), "whole");
    let rows =
        |tokens: &[u32], embedding| AdapterRows { tokens: tokens.to_vec(), embedding, unembedding: vec![] };
    check(&|adapter| adapter.rows = rows(&[7, 3], numbers(128, 1)), "ascending");
    check(&|adapter| adapter.rows = rows(&[3, 320], numbers(128, 1)), "320");
    check(&|adapter| adapter.rows = rows(&[3], numbers(65, 1)), "width");
    check(&|adapter| adapter.rows = rows(&[3], vec![]), "not there");
}
