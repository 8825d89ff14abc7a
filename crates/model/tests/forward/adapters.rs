//! Adapters beside the weights: the function of merged ones, and every row as if alone.

use gptoss_checkpoint::{
    Adapter, AdapterPair, AdapterRows, AdapterSite, Checkpoint, Config, LayerPart, Part,
};
use gptoss_kernels::{Pool, Tier};
use gptoss_model::{AdapterId, Batch, DenseMode, Error, LoadOptions, LogitRows, Model, Precision};

use crate::reference::compare_adapted;
use crate::segments::{CONTEXT, Sequence, run, sizes};
use crate::written::{Layout, SMALL, Shape, write};

/// Logits of some units that differ by the order of f32 sums, as in `reference`; an adapter adds two sums to
/// each product.
const TOLERANCE: f64 = 2e-4;

/// Numbers of both signs around zero.
struct Random(u64);

impl Random {
    fn numbers(&mut self, count: usize, size: f32) -> Vec<f32> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            ((self.0 >> 40) as f32 / (1_u64 << 23) as f32 - 1.0) * size
        };
        (0..count).map(|_| next()).collect()
    }
}

/// Every matrix that there is, with its rows and columns.
fn sites(config: &Config) -> Vec<(AdapterSite, [usize; 2])> {
    let [c, f, v] = [config.hidden_size, config.intermediate_size, config.vocab_size];
    let [query, kv] =
        [config.num_attention_heads, config.num_key_value_heads].map(|heads| heads * config.head_dim);
    let mut sites = vec![(AdapterSite::Embedding, [v, c]), (AdapterSite::Unembedding, [v, c])];
    for layer in 0..config.num_hidden_layers {
        sites.push((AdapterSite::Query(layer), [query, c]));
        sites.push((AdapterSite::Key(layer), [kv, c]));
        sites.push((AdapterSite::Value(layer), [kv, c]));
        sites.push((AdapterSite::Out(layer), [c, query]));
        for expert in 0..config.num_local_experts.max(1) {
            sites.push((AdapterSite::GateUp { layer, expert }, [2 * f, c]));
            sites.push((AdapterSite::Down { layer, expert }, [c, f]));
        }
    }
    sites
}

/// An adapter of the sites that are wanted, of ranks from 1 to 9.
fn adapter(config: &Config, seed: u64, wanted: impl Fn(AdapterSite) -> bool) -> Adapter {
    let mut random = Random(seed);
    let pairs = sites(config).into_iter().filter(|(site, _)| wanted(*site)).enumerate();
    let pairs = pairs.map(|(index, (site, [n, k]))| {
        let rank = 1 + (index + seed as usize) % 9;
        let (a, b) = (random.numbers(rank * k, 0.2), random.numbers(n * rank, 0.2));
        (site, AdapterPair { rank, scale: 0.5 + (index % 3) as f32, a, b })
    });
    Adapter { pairs: pairs.collect(), ..Adapter::default() }
}

/// One that also replaces rows and routers.
fn whole(config: &Config, seed: u64) -> Adapter {
    let mut random = Random(seed ^ 99);
    let (width, experts) = (config.hidden_size, config.num_local_experts);
    let tokens = vec![2, 7, 11, 40];
    let rows = AdapterRows {
        embedding: random.numbers(tokens.len() * width, 1.0),
        unembedding: random.numbers(tokens.len() * width, 0.3),
        tokens,
    };
    let replaced = vec![
        (Part::Layer(0, LayerPart::RouterWeight), random.numbers(experts * width, 0.3)),
        (Part::Layer(0, LayerPart::RouterBias), random.numbers(experts, 1.0)),
        (Part::Layer(1, LayerPart::RouterBias), random.numbers(experts, 3.0)),
    ];
    let is_apart = |site| !matches!(site, AdapterSite::Embedding | AdapterSite::Unembedding);
    Adapter { rows, replaced, ..adapter(config, seed, is_apart) }
}

fn written(shape: &Shape, layout: Layout) -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), shape, layout);
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    (folder, checkpoint)
}

fn tokens(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * i * 7 + i + 3) % 77).collect()
}

fn alone(model: &Model, tokens: &[u32], adapter: Option<AdapterId>) -> Vec<f32> {
    let mut cache = model.new_cache(CONTEXT).with_adapter(adapter);
    model.forward(&Batch { tokens, logits: LogitRows::All }, &mut cache).expect("runs").rows
}

#[test]
fn an_adapter_is_its_merged_weights() {
    let (_folder, checkpoint) = written(&SMALL, Layout::HuggingFace);
    let config = checkpoint.config();
    // Each kind of matrix by itself, and all.
    let kinds: [fn(AdapterSite) -> bool; 9] = [
        |site| matches!(site, AdapterSite::Embedding),
        |site| matches!(site, AdapterSite::Query(_)),
        |site| matches!(site, AdapterSite::Key(_)),
        |site| matches!(site, AdapterSite::Value(_)),
        |site| matches!(site, AdapterSite::Out(_)),
        |site| matches!(site, AdapterSite::GateUp { .. }),
        |site| matches!(site, AdapterSite::Down { .. }),
        |site| matches!(site, AdapterSite::Unembedding),
        |_| true,
    ];
    for (seed, kind) in (1..).zip(kinds) {
        let adapter = adapter(config, seed, kind);
        assert!(!adapter.pairs.is_empty());
        compare_adapted(&checkpoint, &adapter, &tokens(40), TOLERANCE);
    }
    compare_adapted(&checkpoint, &whole(config, 20), &tokens(40), TOLERANCE);
    let mut random = Random(3);
    let mut part = |part, size| (part, random.numbers(config.vocab_size * config.hidden_size, size));
    let replaced = vec![part(Part::Embedding, 1.0), part(Part::Unembedding, 0.3)];
    let adapter = Adapter { replaced, ..Adapter::default() };
    compare_adapted(&checkpoint, &adapter, &tokens(40), TOLERANCE);
}

#[test]
fn an_adapter_of_dense_layers_is_its_merged_weights() {
    let (_folder, checkpoint) =
        written(&Shape { experts: 0, active: 0, seed: 2, ..SMALL }, Layout::HuggingFace);
    compare_adapted(&checkpoint, &adapter(checkpoint.config(), 3, |_| true), &tokens(40), TOLERANCE);
}

/// Base and two adapters, also twice, in steps of changing length and order.
#[test]
fn rows_of_a_step_are_as_if_alone() {
    let modes = [
        (Precision::Exact, DenseMode::AsStored, None),
        (Precision::Fast, DenseMode::AsStored, None),
        (Precision::Fast, DenseMode::Q8, None),
        (Precision::Fast, DenseMode::Q8, Some(2)),
    ];
    for layout in [Layout::HuggingFace, Layout::Bf16] {
        let (_folder, checkpoint) = written(&Shape { seed: 7, ..SMALL }, layout);
        let config = checkpoint.config();
        let attention = |site| matches!(site, AdapterSite::Query(_) | AdapterSite::Value(_));
        let adapters = [whole(config, 1), adapter(config, 2, attention)];
        for (precision, dense, expert_slots) in modes {
            let options = LoadOptions { precision, dense, expert_slots };
            let load = |pool| Model::load_with(&checkpoint, &options, pool, &mut |_, _| {}).expect("loads");
            let plain = load(Pool::with_tier(1, Tier::Scalar));
            let lone = load(Pool::with_tier(1, Tier::Scalar)).with_chunk_tokens(512);
            let ids = adapters.clone().map(|adapter| lone.load_adapter(adapter).expect("fits"));
            let of = [None, Some(ids[0]), Some(ids[1]), None, Some(ids[0])];
            let text = tokens(120);
            let expected: Vec<Vec<f32>> = (0..5).map(|n| alone(&lone, &text[n..n + 60 + n], of[n])).collect();
            for n in [0, 3] {
                assert!(expected[n] == alone(&plain, &text[n..n + 60 + n], None), "no adapter, no change");
            }
            assert!(alone(&lone, &text[..60], of[1]) != alone(&lone, &text[..60], of[2]));
            assert!(alone(&lone, &text[..60], of[0]) != alone(&lone, &text[..60], of[2]));
            for (threads, chunk) in [(1, 1), (2, 7), (3, 64)] {
                let model = load(Pool::new(threads)).with_chunk_tokens(chunk);
                // In another order, and with one more that nobody uses.
                let others = [adapters[1].clone(), adapter(config, 3, |_| true), adapters[0].clone()];
                for adapter in others {
                    model.load_adapter(adapter).expect("fits");
                }
                let mut store = model.new_store(sizes(5), CONTEXT);
                let mut sequences: Vec<Sequence> = (0..5)
                    .map(|n| Sequence::new(&text[n..n + 60 + n], n as u32, 5).with_adapter(of[n]))
                    .collect();
                let pace = |n: usize, step: usize| ((n + step) % 4 * 5).clamp(1, chunk);
                run(&model, &mut store, &mut sequences, pace);
                for (n, (sequence, expected)) in sequences.iter().zip(&expected).enumerate() {
                    assert!(sequence.rows == *expected, "{n}: {precision:?} {dense:?}, chunks of {chunk}");
                }
            }
        }
    }
}

/// What training begins with: every B is zero.
#[test]
fn a_b_of_zeros_is_the_base() {
    let (_folder, checkpoint) = written(&SMALL, Layout::HuggingFace);
    let mut adapter = adapter(checkpoint.config(), 5, |_| true);
    adapter.pairs.values_mut().for_each(|pair| pair.b.fill(0.0));
    for precision in [Precision::Exact, Precision::Fast] {
        let model = Model::load(&checkpoint, precision, Pool::new(2), &mut |_, _| {}).expect("loads");
        let id = model.load_adapter(adapter.clone()).expect("fits");
        let bits =
            |adapter| alone(&model, &tokens(60), adapter).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(Some(id)), bits(None));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (_folder, checkpoint) = written(&SMALL, Layout::HuggingFace);
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(1), &mut |_, _| {}).expect("loads");
    let good = whole(checkpoint.config(), 1);
    let refused = |change: &dyn Fn(&mut Adapter)| {
        let mut adapter = good.clone();
        change(&mut adapter);
        model.load_adapter(adapter).expect_err("is refused")
    };
    let pair = good.pairs[&AdapterSite::Query(0)].clone();
    let foreign: [&dyn Fn(&mut Adapter); 8] = [
        &|adapter| drop(adapter.pairs.insert(AdapterSite::Query(3), pair.clone())),
        &|adapter| drop(adapter.pairs.insert(AdapterSite::Out(0), pair.clone())),
        &|adapter| drop(adapter.pairs.insert(AdapterSite::Down { layer: 0, expert: 3 }, pair.clone())),
        &|adapter| adapter.pairs.values_mut().for_each(|pair| pair.rank = 0),
        &|adapter| adapter.rows.tokens[3] = 77,
        &|adapter| adapter.rows.tokens.swap(0, 1),
        &|adapter| adapter.rows.unembedding.truncate(9),
        &|adapter| adapter.replaced[0].1.truncate(9),
    ];
    for (index, change) in foreign.into_iter().enumerate() {
        let error = refused(change);
        assert!(matches!(error, Error::Checkpoint(_)), "{index}: {error}");
    }
    let damaged: [&dyn Fn(&mut Adapter); 4] = [
        &|adapter| adapter.pairs.values_mut().for_each(|pair| pair.b[0] = f32::NAN),
        &|adapter| adapter.pairs.values_mut().for_each(|pair| pair.scale = f32::INFINITY),
        &|adapter| adapter.rows.embedding[9] = f32::NAN,
        &|adapter| adapter.replaced[1].1[0] = f32::NEG_INFINITY,
    ];
    for (index, change) in damaged.into_iter().enumerate() {
        let error = refused(change);
        assert!(error.to_string().contains("finite"), "{index}: {error}");
    }
    // What the files may hold and single rows cannot have.
    let norm = |adapter: &mut Adapter| adapter.replaced.push((Part::FinalNorm, vec![1.0; SMALL.hidden]));
    assert!(matches!(refused(&norm), Error::AdapterPart(Part::FinalNorm)));
}

/// Who names an adapter that is gone is told so before anything is computed, and others run.
#[test]
fn an_adapter_comes_and_goes() {
    let (_folder, checkpoint) = written(&SMALL, Layout::HuggingFace);
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(1), &mut |_, _| {}).expect("loads");
    let good = whole(checkpoint.config(), 1);
    let id = AdapterId::of(&good);
    let text = tokens(20);
    let unknown = || {
        let mut cache = model.new_cache(30).with_adapter(Some(id));
        model.forward(&Batch { tokens: &text, logits: LogitRows::Last }, &mut cache)
    };
    let base = alone(&model, &text, None);
    assert!(matches!(unknown(), Err(Error::UnknownAdapter(named)) if named == id));
    assert_eq!(model.load_adapter(good.clone()).expect("fits"), id);
    assert_eq!(model.load_adapter(good).expect("fits"), id, "the same one");
    assert!(unknown().is_ok());
    assert!(model.unload_adapter(id) && !model.unload_adapter(id));
    assert!(matches!(unknown(), Err(Error::UnknownAdapter(_))));
    assert!(alone(&model, &text, None) == base);
}
