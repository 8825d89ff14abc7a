//! Adapters by their names: every API reaches them, nobody gets the base in place of one, and beside each
//! other they answer as alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use gptoss_checkpoint::{Adapter, AdapterPair, AdapterRows, AdapterSite, Config};
use gptoss_engine::{AdapterId, ChannelLimits, EngineHandle, FinishReason, Token, Usage, channel};
use gptoss_harmony::Vocab;
use gptoss_server::{Keys, Limits, LoadedModel, ModelOffer, Models, ServedAdapter, ServedModel};
use serde_json::{Value, json};

use crate::http::{get, post};
use crate::real::adapted_demo;
use crate::scripted::{MAX_CONTEXT, tokens};
use crate::server::{Server, assistant, model};

/// The identity of an adapter that is never computed.
pub fn id(number: u32) -> AdapterId {
    let rows = AdapterRows { tokens: vec![number], ..AdapterRows::default() };
    AdapterId::of(&Adapter { rows, ..Adapter::default() })
}

/// An engine that says under which adapter it was asked.
pub fn engine(vocab: &Arc<Vocab>) -> EngineHandle {
    let (handle, mut inbox) = channel(ChannelLimits::new(vocab.len(), MAX_CONTEXT));
    let vocab = Arc::clone(vocab);
    thread::spawn(move || {
        while let Some(accepted) = inbox.recv() {
            let name = match accepted.request.adapter {
                None => "the base",
                Some(adapter) if adapter == id(1) => "number one",
                Some(_) => "number two",
            };
            let text = format!("<|channel|>final<|message|>I am {name}.<|return|>");
            let mut events = accepted.events;
            events.begin();
            for id in tokens(&vocab, &text) {
                let is_stop = accepted.request.stop_ids.contains(&id);
                let _ = events.token(Token { id, logprob: -0.5, is_stop, top: Vec::new(), masked: None });
            }
            events.finish(FinishReason::Stop, Usage::default());
        }
    });
    handle
}

/// A model that comes when it is asked for.
fn models(aliases: &[&str]) -> Models {
    let vocab = Vocab::o200k_harmony();
    let load = move || {
        let assistant = assistant(engine(&vocab), &vocab);
        Ok(LoadedModel { assistant, unload: Box::new(|| {}), adapters: None })
    };
    let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
    let served = ServedModel { name: "base".into(), aliases, ..model() };
    Models::several(vec![ModelOffer { served, planned_bytes: 1, load: Box::new(load) }], None, None).unwrap()
}

fn adapter(number: u32, name: &str) -> ServedAdapter {
    ServedAdapter { name: name.into(), id: id(number) }
}

/// The model with two adapters.
fn serve(aliases: &[&str]) -> Server {
    let models = models(aliases).with_adapter(0, &adapter(1, "one")).unwrap();
    let models = models.with_adapter(0, &adapter(2, "two")).unwrap();
    Server::of_models(models, Limits::default(), Keys::default())
}

fn messages(name: &str) -> Value {
    json!({"model": name, "max_tokens": 20, "messages": [{"role": "user", "content": "Who are you?"}]})
}

#[test]
fn every_api_reaches_an_adapter_by_its_name() {
    let server = serve(&["org/base", "*"]);
    let apis = |name: &str| {
        let mut streamed = messages(name);
        streamed["stream"] = json!(true);
        [
            ("/v1/chat/completions", messages(name)),
            ("/v1/chat/completions", streamed.clone()),
            ("/v1/messages", messages(name)),
            ("/v1/messages", streamed),
            ("/v1/responses", json!({"model": name, "input": "Who are you?"})),
            ("/v1/completions", json!({"model": name, "prompt": "Who are you?", "max_tokens": 20})),
            ("/api/chat", json!({"model": name, "messages": messages(name)["messages"], "stream": false})),
            ("/api/generate", json!({"model": name, "prompt": "Who are you?", "stream": false})),
        ]
    };
    let names = [
        ("base", "the base"),
        ("base:latest", "the base"),
        ("base:one", "number one"),
        ("base:one:latest", "number one"),
        ("org/base:two", "number two"),
        ("anything", "the base"),
    ];
    for (name, said) in names {
        for (path, body) in apis(name) {
            let answer = post(server.address, path, &body);
            assert_eq!(answer.status, 200, "{path} {name}: {}", answer.body);
            let events = answer.events();
            let texts = events.iter().map(|event| match path {
                "/v1/messages" => event["delta"]["text"].as_str().unwrap_or_default().to_owned(),
                _ => event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned(),
            });
            let told = texts.collect::<String>() + &answer.body;
            assert!(told.contains(&format!("I am {said}.")), "{path} {name}: {told}");
        }
    }
    // Whoever takes any name does not take that of an adapter which is not there.
    for name in ["base:three", "org/base:", "base:One"] {
        for (path, body) in apis(name) {
            let answer = post(server.address, path, &body);
            assert_eq!(answer.status, 404, "{path} {name}: {}", answer.body);
        }
        let error = &post(server.address, "/v1/chat/completions", &messages(name)).json()["error"];
        assert_eq!(error["code"], "model_not_found");
        assert!(error["message"].as_str().unwrap().contains("base:one"), "{error}");
    }
}

#[test]
fn the_list_says_whose_adapter_each_is() {
    let server = serve(&["org/base"]);
    let list = get(server.address, "/v1/models").json();
    let row = |model: &Value| {
        let [id, root, parent] = ["id", "root", "parent"].map(|key| model[key].clone());
        [id, root, parent, model["status"]["value"].clone()]
    };
    let told: Vec<[Value; 4]> = list["data"].as_array().unwrap().iter().map(row).collect();
    let row = |id: &str, parent: Value| [json!(id), json!("base"), parent, json!("unloaded")];
    let expected = [
        row("base", Value::Null),
        row("org/base", Value::Null),
        row("base:one", json!("base")),
        row("org/base:one", json!("base")),
        row("base:two", json!("base")),
        row("org/base:two", json!("base")),
    ];
    assert_eq!(told, expected);
    assert_eq!(get(server.address, "/v1/models/base:two").json()["parent"], "base");
    assert_eq!(get(server.address, "/v1/models/base:three").status, 404);
    // What an adapter's numbers are is part of what it tells of them.
    let fingerprint = |name| {
        let answer = post(server.address, "/v1/chat/completions", &messages(name)).json();
        answer["system_fingerprint"].as_str().unwrap().to_owned()
    };
    assert_eq!(fingerprint("base"), "test");
    assert_eq!(fingerprint("base:one"), format!("test+{}", id(1).short()));
    assert_ne!(fingerprint("base:one"), fingerprint("base:two"));
    // Metrics are the model's: its adapters share its memory and its queue.
    let metrics = get(server.address, "/metrics").body;
    assert!(metrics.contains("model_name=\"base\"") && !metrics.contains("base:one"));
}

#[test]
fn two_adapters_of_one_name_are_refused() {
    let models = models(&[]).with_adapter(0, &adapter(1, "one")).unwrap();
    let refused = models.with_adapter(0, &adapter(2, "one")).err().unwrap().to_string();
    assert!(refused.contains("base:one"), "{refused}");
}

/// Random numbers on queries and values, so small that the demo still says something.
pub fn small_adapter(config: &Config, seed: u64) -> Adapter {
    let mut state = seed;
    let mut numbers = |count: usize| -> Vec<f32> {
        let mut next = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            ((state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0) * 0.1
        };
        (0..count).map(|_| next()).collect()
    };
    let (c, kv) = (config.hidden_size, config.num_key_value_heads * config.head_dim);
    let pairs = (0..config.num_hidden_layers).map(|layer| {
        (
            AdapterSite::Value(layer),
            AdapterPair { rank: 4, scale: 1.0, a: numbers(4 * c), b: numbers(4 * kv) },
        )
    });
    Adapter { pairs: pairs.collect(), ..Adapter::default() }
}

fn ask(address: SocketAddr, name: &str, question: &str) -> Value {
    let body = json!({
        "model": name, "messages": [{"role": "user", "content": question}], "temperature": 1, "seed": 5,
        "max_tokens": 40, "logprobs": true, "top_logprobs": 2,
    });
    let answer = post(address, "/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["choices"].clone()
}

/// The demo with two adapters: base and both answer together what each answers alone.
#[test]
fn adapters_answer_together_as_alone() {
    let names = ["demo", "demo:a", "demo:b"];
    let questions = ["What is 27 + 58?", "What is 41 + 9?", "Count to five."];
    let asked: Vec<(&str, &str)> =
        questions.iter().flat_map(|question| names.map(|name| (name, *question))).collect();
    let alone: Vec<Value> = {
        let server = adapted_demo();
        asked.iter().map(|(name, question)| ask(server.address, name, question)).collect()
    };
    for of_question in alone.chunks(3) {
        assert!(of_question[0] != of_question[1] && of_question[1] != of_question[2], "{of_question:?}");
    }
    let server = adapted_demo();
    let address = server.address;
    let threads: Vec<_> = asked
        .into_iter()
        .map(|(name, question)| thread::spawn(move || ask(address, name, question)))
        .collect();
    for (thread, alone) in threads.into_iter().zip(alone) {
        assert_eq!(thread.join().unwrap(), alone);
    }
}
