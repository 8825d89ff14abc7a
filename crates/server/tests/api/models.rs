//! Several models in the memory of one: each answers, none is unloaded under a turn, nobody waits for ever.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gptoss_engine::Failure;
use gptoss_harmony::Vocab;
use gptoss_server::{Keys, Limits, LoadedModel, ModelOffer, Models, ServedModel};
use serde_json::{Value, json};

use crate::batches;
use crate::http::{Answer, get, post, send};
use crate::scripted::{self, Prompts, Script};
use crate::server::{Server, assistant, model};
use crate::shutdown::eventually;

/// What a model takes. Units: bytes.
const MODEL_BYTES: u64 = 100;

/// A model that follows a script whenever it is loaded, and what became of it.
#[derive(Clone)]
struct Actor {
    name: &'static str,
    script: Script,
    /// While it is true, loading goes on.
    is_held: Arc<AtomicBool>,
    /// Whether loading fails, and why.
    is_broken: Arc<AtomicBool>,
    num_loads: Arc<AtomicUsize>,
    num_unloads: Arc<AtomicUsize>,
    prompts: Arc<Mutex<Vec<Prompts>>>,
}

impl Actor {
    fn new(name: &'static str) -> Actor {
        let answer = format!("<|channel|>final<|message|>I am {name}.<|return|>");
        Actor {
            name,
            script: Script::new(&[&answer]),
            is_held: Arc::default(),
            is_broken: Arc::default(),
            num_loads: Arc::default(),
            num_unloads: Arc::default(),
            prompts: Arc::default(),
        }
    }

    /// Says so many words, one a few milliseconds.
    fn slow(name: &'static str, num_words: usize) -> Actor {
        let mut actor = Actor::new(name);
        actor.script =
            Script::new(&[&format!("<|channel|>final<|message|>{}<|return|>", "word ".repeat(num_words))]);
        actor.script.pause = Duration::from_millis(5);
        actor
    }

    fn offer(&self) -> ModelOffer {
        let served = ServedModel { name: self.name.into(), aliases: Vec::new(), ..model() };
        let actor = self.clone();
        ModelOffer { served, planned_bytes: MODEL_BYTES, load: Box::new(move || actor.load()) }
    }

    fn load(&self) -> Result<LoadedModel, String> {
        self.num_loads.fetch_add(1, Ordering::SeqCst);
        while self.is_held.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        if self.is_broken.load(Ordering::SeqCst) {
            return Err("/secret/path: the file is cut off".to_owned());
        }
        let vocab = Vocab::o200k_harmony();
        let (engine, prompts) = scripted::start(&vocab, self.script.clone());
        self.prompts.lock().unwrap().push(prompts);
        let (num_unloads, handle) = (Arc::clone(&self.num_unloads), engine.clone());
        let unload = move || {
            num_unloads.fetch_add(1, Ordering::SeqCst);
            // A turn that still ran would fail, and its test with it.
            handle.fail_all(&Failure::Stopped);
        };
        Ok(LoadedModel { assistant: assistant(engine, &vocab), unload: Box::new(unload), adapters: None })
    }

    fn num_loads(&self) -> usize {
        self.num_loads.load(Ordering::SeqCst)
    }

    fn is_in_memory(&self) -> bool {
        let loaded = self.prompts.lock().unwrap().len();
        loaded > self.num_unloads.load(Ordering::SeqCst)
    }

    fn num_prompts(&self) -> usize {
        self.prompts.lock().unwrap().iter().map(|prompts| prompts.lock().unwrap().len()).sum()
    }
}

/// The models, in the memory of `room` of them.
fn serve(actors: &[&Actor], room: u64, idle: Option<Duration>, limits: Limits) -> Server {
    let offers = actors.iter().map(|actor| actor.offer()).collect();
    let models = Models::several(offers, Some(room * MODEL_BYTES), idle).unwrap();
    Server::of_models(models, limits, Keys::default())
}

fn chat(name: &str) -> Value {
    json!({"model": name, "messages": [{"role": "user", "content": "Who are you?"}]})
}

#[track_caller]
fn said(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

fn status(address: SocketAddr, name: &str) -> Value {
    get(address, &format!("/v1/models/{name}")).json()["status"]["value"].clone()
}

/// Requests for both by every API at the same time, again and again: each is answered by the model that it
/// names, and never are both in memory.
#[test]
fn two_models_in_the_memory_of_one_lose_nothing() {
    const ROUNDS: usize = 12;
    let (a, b) = (Actor::new("a"), Actor::new("b"));
    let server = serve(&[&a, &b], 1, None, Limits::default());
    let address = server.address;
    let is_over = Arc::new(AtomicBool::new(false));
    let watch = {
        let (a, b, is_over) = (a.clone(), b.clone(), Arc::clone(&is_over));
        thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                // The second is looked at while the first is known to have been there just before.
                let loads = (a.num_loads(), b.num_loads());
                let both = a.is_in_memory() && b.is_in_memory();
                let is_still = loads == (a.num_loads(), b.num_loads());
                assert!(!(both && is_still), "both are in memory");
                thread::yield_now();
            }
        })
    };
    let ask = |number: usize| {
        let name = if number.is_multiple_of(2) { "a" } else { "b" };
        let expect = format!("I am {name}.");
        let input = json!({"model": name, "input": "Who are you?"});
        let mut messages = chat(name);
        messages["max_tokens"] = json!(50);
        for round in 0..ROUNDS {
            let text = match (number + round) % 4 {
                0 => said(&post(address, "/v1/chat/completions", &chat(name))),
                1 => {
                    let body = post(address, "/v1/responses", &input).json();
                    body["output"][0]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
                }
                2 => {
                    let body = post(address, "/v1/messages", &messages).json();
                    body["content"][0]["text"].as_str().unwrap_or_default().to_owned()
                }
                _ => {
                    let mut body = chat(name);
                    body["stream"] = json!(false);
                    let body = post(address, "/api/chat", &body).json();
                    body["message"]["content"].as_str().unwrap_or_default().to_owned()
                }
            };
            assert_eq!(text, expect, "request {number}, round {round}");
        }
    };
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || ask(number));
        }
    });
    is_over.store(true, Ordering::SeqCst);
    watch.join().unwrap();
    assert_eq!(a.num_prompts() + b.num_prompts(), 8 * ROUNDS);
    assert!(a.num_loads() > 1 || b.num_loads() > 1, "they took turns");
}

#[test]
fn models_are_listed_with_where_they_are() {
    let (a, b) = (Actor::new("a"), Actor::new("b"));
    let mut offers = vec![a.offer(), b.offer()];
    offers[0].served.aliases = vec!["gpt-4o".into()];
    offers[1].served.aliases = vec!["small".into()];
    let models = Models::several(offers, Some(2 * MODEL_BYTES), None).unwrap();
    let server = Server::of_models(models, Limits::default(), Keys::default());
    let address = server.address;
    let listed = get(address, "/v1/models").json();
    let listed: Vec<_> = listed["data"].as_array().unwrap().iter().collect();
    let rows: Vec<_> =
        listed.iter().map(|row| (row["id"].as_str().unwrap(), &row["status"]["value"])).collect();
    let unloaded = json!("unloaded");
    assert_eq!(rows, ["a", "gpt-4o", "b", "small"].map(|name| (name, &unloaded)));
    assert_eq!(get(address, "/api/ps").json()["models"], json!([]));
    assert_eq!(get(address, "/api/tags").json()["models"].as_array().unwrap().len(), 4);
    // A name that is nobody's is told with all there are; none, and an alias, is the first model's.
    let unknown = post(address, "/v1/chat/completions", &chat("c"));
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("a, gpt-4o, b, small"), "{}", unknown.body);
    assert_eq!(said(&post(address, "/v1/chat/completions", &chat("gpt-4o"))), "I am a.");
    assert_eq!(said(&post(address, "/v1/chat/completions", &chat(""))), "I am a.");
    assert_eq!((status(address, "a"), status(address, "small")), (json!("loaded"), unloaded.clone()));
    assert_eq!(said(&post(address, "/v1/chat/completions", &chat("small:latest"))), "I am b.");
    assert_eq!(a.num_loads() + b.num_loads(), 2);
    let running = get(address, "/api/ps").json();
    let names: Vec<_> = running["models"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["a", "b"]);
    let metrics = get(address, "/metrics").body;
    for line in [
        "gptoss_model_loaded{model=\"b\"} 1",
        "gptoss_model_loads_total{model=\"a\"} 1",
        "vllm:request_success_total{engine=\"0\",model_name=\"a\",finished_reason=\"stop\"} 2",
        "vllm:request_success_total{engine=\"0\",model_name=\"b\",finished_reason=\"stop\"} 1",
        "gptoss_engine_requests_accepted_total 3",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line}\n{metrics}");
    }
    // The log says which of them answered.
    server.logged(|line| line.contains(" model=b "));
    // Ollama's clients unload by keeping for no time.
    let unload = post(address, "/api/generate", &json!({"model": "b", "keep_alive": 0}));
    assert_eq!(unload.json()["done_reason"], "unload");
    eventually("it is unloaded", || status(address, "b") == "unloaded");
    let load = post(address, "/api/generate", &json!({"model": "b", "keep_alive": "1h"}));
    assert_eq!(load.json()["done_reason"], "load");
    assert_eq!(status(address, "b"), "loaded");
    // What it counted before it left still counts.
    let metrics = get(address, "/metrics").body;
    assert!(metrics.contains("\ngptoss_engine_requests_accepted_total 3\n"), "{metrics}");
    assert_eq!(post(address, "/api/generate", &json!({"model": "b", "keep_alive": "soon"})).status, 400);
}

#[test]
fn a_model_that_cannot_be_loaded_is_refused_clearly() {
    let (a, b) = (Actor::new("a"), Actor::new("b"));
    b.is_broken.store(true, Ordering::SeqCst);
    let server = serve(&[&a, &b], 1, None, Limits::default());
    let ask = |name| post(server.address, "/v1/chat/completions", &chat(name));
    for _ in 0..2 {
        let refused = ask("b");
        assert_eq!(refused.status, 503, "{}", refused.body);
        assert_eq!(refused.json()["error"]["code"], "model_not_loaded");
        assert!(refused.header("retry-after").is_some());
        assert!(!refused.body.contains("secret"), "the reason is the operator's");
    }
    assert_eq!(b.num_loads(), 1, "it is not tried for each request");
    assert_eq!(status(server.address, "b"), "failed");
    server.logged(|line| line.contains("b cannot be loaded: /secret/path: the file is cut off"));
    assert_eq!(said(&ask("a")), "I am a.");
}

#[test]
fn a_client_that_goes_away_waits_no_more() {
    let (a, b) = (Actor::new("a"), Actor::new("b"));
    a.is_held.store(true, Ordering::SeqCst);
    let server = serve(&[&a, &b], 1, None, Limits::default());
    let path = "/v1/chat/completions";
    let leaving = send(server.address, "POST", path, &[], &chat("a").to_string());
    eventually("it is being loaded", || a.num_loads() == 1);
    assert_eq!(status(server.address, "a"), "loading");
    let leaving_too = send(server.address, "POST", path, &[], &chat("b").to_string());
    let waits = |name: &str, count: usize| {
        let line = format!("gptoss_model_requests_waiting{{model=\"{name}\"}} {count}");
        eventually(&line, || get(server.address, "/metrics").body.lines().any(|other| other == line));
    };
    waits("a", 1);
    waits("b", 1);
    drop((leaving, leaving_too));
    waits("a", 0);
    waits("b", 0);
    a.is_held.store(false, Ordering::SeqCst);
    assert_eq!(said(&post(server.address, path, &chat("a"))), "I am a.");
    assert_eq!((a.num_prompts(), b.num_loads()), (1, 0));
}

#[test]
fn a_request_does_not_wait_for_ever() {
    let (a, b) = (Actor::new("a"), Actor::new("b"));
    a.is_held.store(true, Ordering::SeqCst);
    let limits = Limits { load_patience: Duration::from_millis(100), ..Limits::default() };
    let server = serve(&[&a, &b], 1, None, limits);
    for name in ["a", "b"] {
        let late = post(server.address, "/v1/chat/completions", &chat(name));
        assert_eq!((late.status, &late.json()["error"]["code"]), (503, &json!("server_overloaded")));
        assert!(
            late.header("retry-after").is_some() && late.body.contains("--load-timeout"),
            "{}",
            late.body
        );
    }
    a.is_held.store(false, Ordering::SeqCst);
    eventually("it is loaded after all", || status(server.address, "a") == "loaded");
    assert_eq!(said(&post(server.address, "/v1/chat/completions", &chat("b"))), "I am b.");
}

#[test]
fn a_server_that_stops_answers_who_waits_for_a_model() {
    let (a, b) = (Actor::new("a"), Actor::new("b"));
    a.is_held.store(true, Ordering::SeqCst);
    let mut server = serve(&[&a, &b], 1, None, Limits::default());
    let address = server.address;
    let asking = thread::spawn(move || post(address, "/v1/chat/completions", &chat("a")));
    eventually("it is being loaded", || a.num_loads() == 1);
    server.tell_to_stop();
    server.logged(|line| line.contains("stopping"));
    a.is_held.store(false, Ordering::SeqCst);
    assert_eq!(said(&asking.join().unwrap()), "I am a.");
    server.join();
    assert!(!a.is_in_memory(), "it was unloaded at the end");
}

#[test]
fn a_server_whose_time_is_up_waits_for_no_model() {
    let (a, b) = (Actor::new("a"), Actor::new("b"));
    a.is_held.store(true, Ordering::SeqCst);
    let limits = Limits { drain: Duration::from_millis(100), ..Limits::default() };
    let mut server = serve(&[&a, &b], 1, None, limits);
    let address = server.address;
    let asking = thread::spawn(move || post(address, "/v1/chat/completions", &chat("a")));
    eventually("it is being loaded", || a.num_loads() == 1);
    server.tell_to_stop();
    let refused = asking.join().unwrap();
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (503, &json!("shutting_down")));
    server.join();
    a.is_held.store(false, Ordering::SeqCst);
}

#[test]
fn work_in_the_background_keeps_its_model() {
    let (a, b) = (Actor::slow("a", 60), Actor::new("b"));
    let server = serve(&[&a, &b], 1, None, Limits::default());
    let address = server.address;
    let begun = post(address, "/v1/responses", &json!({"model": "a", "input": "go", "background": true}));
    assert_eq!(begun.status, 200, "{}", begun.body);
    let path = format!("/v1/responses/{}", begun.json()["id"].as_str().unwrap());
    assert_eq!(said(&post(address, "/v1/chat/completions", &chat("b"))), "I am b.");
    let ended = get(address, &path).json();
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(ended["output"][0]["content"][0]["text"].as_str().unwrap().matches("word").count(), 60);
}

#[test]
fn an_idle_model_is_unloaded_and_comes_back() {
    let a = Actor::new("a");
    let server = serve(&[&a], 1, Some(Duration::from_millis(30)), Limits::default());
    for round in 1..=3 {
        assert_eq!(said(&post(server.address, "/v1/chat/completions", &chat("a"))), "I am a.");
        eventually("it is unloaded", || !a.is_in_memory());
        assert_eq!(a.num_loads(), round);
    }
    server.logged(|line| line.contains("a was unloaded in"));
}

/// What is stored is the tenant's and no model's: another may go on from it.
#[test]
fn conversations_go_on_with_another_model() {
    let (a, b) = (Actor::new("a"), Actor::new("b"));
    let server = serve(&[&a, &b], 1, None, Limits::default());
    let first = post(server.address, "/v1/responses", &json!({"model": "a", "input": "Who are you?"})).json();
    let second = json!({"model": "b", "input": "And you?", "previous_response_id": first["id"]});
    let second = post(server.address, "/v1/responses", &second).json();
    assert_eq!((&second["status"], &second["model"]), (&json!("completed"), &json!("b")));
    let prompts = b.prompts.lock().unwrap();
    let prompt = Vocab::o200k_harmony().decode(&prompts[0].lock().unwrap()[0]).unwrap();
    let prompt = String::from_utf8_lossy(&prompt);
    assert!(prompt.contains("I am a.") && prompt.contains("And you?"), "{prompt}");
}

#[test]
fn a_batch_may_ask_several_models() {
    let (a, b) = (Actor::new("a"), Actor::new("b"));
    let server = serve(&[&a, &b], 1, None, Limits::default());
    let address = server.address;
    let path = "/v1/chat/completions";
    let line = |number: usize| {
        let body = chat(if number.is_multiple_of(3) { "b" } else { "a" });
        batches::line(&format!("q{number}"), path, &body)
    };
    let batch = batches::create(address, &(0..12).map(line).collect::<String>(), path);
    let ended = batches::wait(address, &batch, "completed");
    let results = batches::results(address, &ended["output_file_id"]);
    assert_eq!(results.len(), 12);
    for (number, line) in results.iter().enumerate() {
        let name = if number.is_multiple_of(3) { "b" } else { "a" };
        assert!(line.to_string().contains(&format!("I am {name}.")), "{line}");
    }
}

#[test]
fn models_that_cannot_be_served_together_are_told_at_the_start() {
    let (a, b) = (Actor::new("a"), Actor::new("b"));
    let refused = |offers, budget| Models::several(offers, budget, None).err().unwrap().to_string();
    assert!(refused(vec![a.offer(), a.offer()], None).contains("two models are called \"a\""));
    let large = refused(vec![a.offer(), b.offer()], Some(MODEL_BYTES - 1));
    assert!(large.contains("a takes 100 bytes") && large.contains("99"), "{large}");
}

/// What comes on a connection, up to `end` or the connection's own end.
fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    while !String::from_utf8_lossy(&bytes).contains(end) {
        let count = stream.read(&mut part).expect("more of an answer");
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&part[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Each way to ask for a stream, what comes of it while its model is loaded, and what comes last.
fn streams(name: &str) -> [(&'static str, Value, &'static str, &'static str); 4] {
    let mut asked = chat(name);
    asked["stream"] = json!(true);
    asked["max_tokens"] = json!(50);
    let text = json!({"model": name, "prompt": "Who are you?", "stream": true, "max_tokens": 1});
    let input = json!({"model": name, "input": "Who are you?", "stream": true});
    let comment = "\n: keep-alive\n\n";
    [
        ("/v1/chat/completions", asked.clone(), comment, "data: [DONE]"),
        ("/v1/completions", text, comment, "data: [DONE]"),
        ("/v1/responses", input, comment, "response.completed"),
        ("/v1/messages", asked, "event: ping\ndata: {\"type\":\"ping\"}\n\n", "event: message_stop"),
    ]
}

/// Clients and proxies give up who says nothing for long, and a model may take minutes: nothing came before
/// the first token.
#[test]
fn a_stream_that_waits_for_its_model_says_so() {
    let limits = Limits { keep_alive: Duration::from_millis(20), ..Limits::default() };
    for (path, body, word, end) in streams("a") {
        let a = Actor::new("a");
        a.is_held.store(true, Ordering::SeqCst);
        let server = serve(&[&a], 1, Some(Duration::from_secs(60)), limits.clone());
        let mut stream = send(server.address, "POST", path, &[], &body.to_string());
        let before = read_to(&mut stream, word);
        assert!(before.starts_with("HTTP/1.1 200") && before.contains("text/event-stream"), "{before}");
        assert_eq!(a.num_prompts(), 0, "{path}");
        a.is_held.store(false, Ordering::SeqCst);
        let after = read_to(&mut stream, end);
        let is_error = after.contains("event: error") || after.contains(r#""error":{"#);
        assert!(after.contains(end) && !is_error, "{path}: {after}");
        assert_eq!(a.num_prompts(), 1);
    }
}

/// When the stream is open there is no status any more: the error is the API's own, in the stream.
#[test]
fn an_error_after_such_a_wait_is_the_streams() {
    let limits = Limits { keep_alive: Duration::from_millis(20), ..Limits::default() };
    let chat_error = r#"data: {"error":{"message":"#;
    let errors = [
        [chat_error, r#""code":"model_not_loaded""#, "data: [DONE]"],
        [chat_error, r#""code":"model_not_loaded""#, "data: [DONE]"],
        ["event: error\ndata: {", r#""type":"error","code":"model_not_loaded""#, r#""sequence_number":0}"#],
        ["event: error\ndata: {\"type\":\"error\"", r#""type":"api_error""#, "\"request_id\""],
    ];
    for ((path, body, word, _), expect) in streams("a").into_iter().zip(errors) {
        let a = Actor::new("a");
        a.is_held.store(true, Ordering::SeqCst);
        a.is_broken.store(true, Ordering::SeqCst);
        let server = serve(&[&a], 1, Some(Duration::from_secs(60)), limits.clone());
        let mut stream = send(server.address, "POST", path, &[], &body.to_string());
        read_to(&mut stream, word);
        a.is_held.store(false, Ordering::SeqCst);
        let after = read_to(&mut stream, "an end that never comes");
        for part in expect {
            assert!(after.contains(part), "{path}: {part} is not in {after}");
        }
        // What fails in time has its status.
        let refused = post(server.address, path, &body);
        assert!(refused.status >= 500 && refused.header("retry-after").is_some(), "{path}: {}", refused.body);
    }
}

/// Who goes away while its stream is open leaves its place too.
#[test]
fn a_client_that_leaves_an_open_stream_waits_no_more() {
    let limits = Limits { keep_alive: Duration::from_millis(20), ..Limits::default() };
    let (a, b) = (Actor::new("a"), Actor::new("b"));
    a.is_held.store(true, Ordering::SeqCst);
    let server = serve(&[&a, &b], 1, None, limits);
    let (path, body, word, _) = streams("a")[0].clone();
    let mut stream = send(server.address, "POST", path, &[], &body.to_string());
    read_to(&mut stream, word);
    let waits = |count: usize| {
        let line = format!("gptoss_model_requests_waiting{{model=\"a\"}} {count}");
        eventually(&line, || get(server.address, "/metrics").body.lines().any(|other| other == line));
    };
    waits(1);
    drop(stream);
    waits(0);
    a.is_held.store(false, Ordering::SeqCst);
    server.logged(|line| line.contains(" 200 ") && line.contains("client gone"));
    assert_eq!(a.num_prompts(), 0);
}

/// Ollama's clients show what loading took; the time to the first token is the model's.
#[test]
fn the_wait_for_a_model_is_told() {
    let wait = Duration::from_millis(300);
    for (path, stream) in [("/api/chat", false), ("/api/chat", true), ("/api/generate", true)] {
        let (a, b) = (Actor::new("a"), Actor::new("b"));
        a.is_held.store(true, Ordering::SeqCst);
        let server = serve(&[&a, &b], 1, None, Limits::default());
        let mut body = chat("a");
        body["stream"] = json!(stream);
        body["prompt"] = json!("Who are you?");
        body["raw"] = json!(path == "/api/generate");
        let asked = send(server.address, "POST", path, &[], &body.to_string());
        eventually("it is being loaded", || a.num_loads() == 1);
        thread::sleep(wait);
        a.is_held.store(false, Ordering::SeqCst);
        let mut answer = String::new();
        { asked }.read_to_string(&mut answer).unwrap();
        let last = answer.lines().rfind(|line| line.contains("load_duration")).expect(&answer);
        let last: Value = serde_json::from_str(last).unwrap();
        let nanos = |name: &str| last[name].as_u64().unwrap();
        assert!(nanos("load_duration") >= wait.as_nanos() as u64, "{last}");
        assert!(nanos("total_duration") >= nanos("load_duration"), "{last}");
        let metrics = get(server.address, "/metrics").body;
        let value = |name: &str| -> f64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.trim().parse().unwrap()
        };
        assert_eq!(value("gptoss_model_waits_total{model=\"a\"} "), 1.0);
        let waited = value("gptoss_model_wait_seconds_total{model=\"a\"} ");
        assert!(waited >= wait.as_secs_f64(), "{waited}");
        // It begins where the wait ends.
        let first = value("gptoss_time_to_first_token_seconds_sum ");
        assert!(first + wait.as_secs_f64() <= nanos("total_duration") as f64 / 1e9, "{first}");
        for name in ["gptoss_time_to_first_token_seconds", "vllm:time_to_first_token_seconds"] {
            let help = metrics.lines().find(|line| line.starts_with(&format!("# HELP {name} "))).unwrap();
            assert!(help.contains("without the wait for a model"), "{help}");
        }
        // What is in memory is not waited for.
        let again = post(server.address, "/api/chat", &body);
        let last = again.body.lines().last().unwrap();
        let last: Value = serde_json::from_str(last).unwrap();
        assert!(last["load_duration"].as_u64().unwrap() < last["total_duration"].as_u64().unwrap(), "{last}");
    }
}
