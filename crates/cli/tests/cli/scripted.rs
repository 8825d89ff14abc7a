//! A real checkpoint that says what a test wants, and the commands that show it: an answer, a call, an answer
//! after the call's result.
//!
//! The model is a gpt-oss of one layer whose weights are written by hand. Each token of the script has a
//! dimension of its own in the embedding, and the unembedding of the token that follows looks at that
//! dimension, so that the likeliest token is always the next of the script. Attention looks at everything
//! alike and carries one thing: whether `<|call|>` has been seen. Where the script says different things
//! after the same token, that is what decides. All other weights are zero. A token may therefore appear only
//! once in each half of a script; the builder says which one does not. A longer script has a middle, which
//! begins when another token has been seen, and [`SPLIT`] sets texts apart that are tokens of their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gptoss_harmony::{Control, MultiDigit, Vocab};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::program::{run, run_with};

/// Ranks of the vocabulary: enough for whole English words.
const RANKS: usize = 30_000;
const HIDDEN: usize = 64;
const HEAD: usize = 32;
const INNER: usize = 32;
/// The dimension that says whether a call has been seen.
const SEEN: usize = HIDDEN - 1;
/// The one that says whether the middle has begun.
const MIDDLE: usize = HIDDEN - 2;
/// Weight of the next token in the first half of a script, and of the one that replaces it in the second.
const NEXT: f32 = 40.0;
const INSTEAD: f32 = 30.0;
/// Weight of [`SEEN`], and of `<|call|>` in the value that attention carries: with a few hundred tokens the
/// product of both, shared among them, lies between `NEXT - INSTEAD` and `NEXT`.
const SEEN_WEIGHT: f32 = 24.0;
const CARRIED: f32 = 16.0;
/// The same for scripts with a middle, which follow the prompts of an agent: 400 to 1,500 tokens.
const CARRIED_FAR: f32 = 80.0;

/// What stands between two tokens and is nothing itself.
pub const SPLIT: char = '|';

pub const ANSWER: &str = "<|channel|>final<|message|>Good morning, naïve world 🙂!<|return|>";
pub const CALL: &str =
    "<|channel|>commentary to=functions.add <|constrain|>json<|message|>{\"sum\":[27,58]}<|call|>";
pub const AFTER_CALL: &str = "<|channel|>final<|message|>It makes 85.<|return|>";

/// The tokens of a text in which control tokens are spelled out.
fn tokens(vocab: &Vocab, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("<|") {
        ids.extend(text_tokens(vocab, &rest[..at]));
        rest = &rest[at..];
        let control = Control::ALL.into_iter().find(|control| rest.starts_with(control.literal())).unwrap();
        ids.push(vocab.control(control));
        rest = &rest[control.literal().len()..];
    }
    ids.extend(text_tokens(vocab, rest));
    ids
}

fn text_tokens(vocab: &Vocab, text: &str) -> Vec<u32> {
    text.split(SPLIT).flat_map(|piece| vocab.encode_ids(piece)).collect()
}

/// Each token and the one after it, from the end of `before` on.
fn steps(vocab: &Vocab, before: &str, text: &str) -> BTreeMap<u32, u32> {
    let mut ids = vec![*tokens(vocab, before).last().unwrap()];
    ids.extend(tokens(vocab, text));
    let steps: BTreeMap<u32, u32> = ids.windows(2).map(|pair| (pair[0], pair[1])).collect();
    assert_eq!(steps.len() + 1, ids.len(), "a token appears twice in {text}");
    steps
}

/// bf16 tensors by name, zero until written.
struct Weights {
    tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)>,
}

impl Weights {
    fn zeros(&mut self, name: &str, shape: &[usize]) {
        let bytes = shape.iter().product::<usize>() * 2;
        self.tensors.insert(name.to_owned(), (shape.to_vec(), vec![0; bytes]));
    }

    /// The values used are small whole numbers, which bf16 holds exactly.
    fn set(&mut self, name: &str, row: usize, column: usize, value: f32) {
        let (shape, bytes) = self.tensors.get_mut(name).unwrap();
        let width = *shape.last().unwrap();
        let at = (row * width + column) * 2;
        bytes[at..at + 2]
            .copy_from_slice(&value.to_bits().to_be_bytes()[..2].iter().rev().copied().collect::<Vec<_>>());
    }

    fn layer(&mut self) {
        let attention = "model.layers.0.self_attn";
        for part in ["q_proj", "k_proj", "v_proj"] {
            self.zeros(&format!("{attention}.{part}.weight"), &[HEAD, HIDDEN]);
            self.zeros(&format!("{attention}.{part}.bias"), &[HEAD]);
        }
        self.zeros(&format!("{attention}.o_proj.weight"), &[HIDDEN, HEAD]);
        self.zeros(&format!("{attention}.o_proj.bias"), &[HIDDEN]);
        self.zeros(&format!("{attention}.sinks"), &[1]);
        let mlp = "model.layers.0.mlp";
        self.zeros(&format!("{mlp}.router.weight"), &[1, HIDDEN]);
        self.zeros(&format!("{mlp}.router.bias"), &[1]);
        self.zeros(&format!("{mlp}.experts.gate_up_proj_bias"), &[1, 2 * INNER]);
        self.zeros(&format!("{mlp}.experts.down_proj_bias"), &[1, HIDDEN]);
        for norm in
            ["model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm", "model.norm"]
        {
            self.zeros(&format!("{norm}.weight"), &[HIDDEN]);
            for column in 0..HIDDEN {
                self.set(&format!("{norm}.weight"), 0, column, 1.0);
            }
        }
    }

    fn write(&self, file: &Path) {
        let mlp = "model.layers.0.mlp.experts";
        let bytes: [(&str, Vec<usize>); 4] = [
            ("gate_up_proj_blocks", vec![1, 2 * INNER, HIDDEN / 32, 16]),
            ("gate_up_proj_scales", vec![1, 2 * INNER, HIDDEN / 32]),
            ("down_proj_blocks", vec![1, HIDDEN, INNER / 32, 16]),
            ("down_proj_scales", vec![1, HIDDEN, INNER / 32]),
        ];
        let experts: Vec<(String, Vec<usize>, Vec<u8>)> = bytes
            .into_iter()
            .map(|(name, shape)| (format!("{mlp}.{name}"), shape.clone(), vec![0; shape.iter().product()]))
            .collect();
        let dense =
            self.tensors.iter().map(|(name, (shape, bytes))| (name.clone(), Dtype::BF16, shape, bytes));
        let experts = experts.iter().map(|(name, shape, bytes)| (name.clone(), Dtype::U8, shape, bytes));
        let views = dense
            .chain(experts)
            .map(|(name, dtype, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
        safetensors::serialize_to_file(views, None, file).unwrap();
    }
}

/// Writes a checkpoint that says `first`, and `after_call` once there is a call in what it reads.
pub fn scripted(folder: &Path, first: &str, after_call: &str) -> String {
    scripted_with_middle(folder, first, "", after_call)
}

/// The same, with `middle` behind `first`, whose last token is nowhere else.
pub fn scripted_with_middle(folder: &Path, first: &str, middle: &str, after_call: &str) -> String {
    let vocab = Vocab::truncated(RANKS, MultiDigit::Keep);
    let mut weights = Weights { tensors: BTreeMap::new() };
    weights.zeros("model.embed_tokens.weight", &[vocab.len(), HIDDEN]);
    weights.zeros("lm_head.weight", &[vocab.len(), HIDDEN]);
    weights.layer();
    let begun = *tokens(&vocab, first).last().unwrap();
    let parts = [
        (steps(&vocab, "assistant", first), SEEN),
        (steps(&vocab, first, middle), MIDDLE),
        (steps(&vocab, "assistant", after_call), SEEN),
    ];
    let call = vocab.control(Control::Call);
    let keys = parts.iter().flat_map(|(steps, _)| steps.keys());
    let mut known: Vec<u32> = keys.copied().chain([call, begun]).collect();
    known.sort_unstable();
    known.dedup();
    assert!(known.len() < MIDDLE, "the script has too many different tokens");
    let dimension = |token: u32| known.binary_search(&token).unwrap();
    for &token in &known {
        weights.set("model.embed_tokens.weight", token as usize, dimension(token), 1.0);
    }
    for (number, (steps, seen)) in parts.iter().enumerate() {
        for (&token, &next) in steps {
            let mut before = parts[..number].iter().filter_map(|(earlier, _)| earlier.get(&token));
            match before.next() {
                None => weights.set("lm_head.weight", next as usize, dimension(token), NEXT),
                Some(&same) if same == next => {}
                Some(_) => {
                    weights.set("lm_head.weight", next as usize, dimension(token), INSTEAD);
                    weights.set("lm_head.weight", next as usize, *seen, SEEN_WEIGHT);
                }
            }
        }
    }
    let marks = [(0, call, SEEN), (1, begun, MIDDLE)];
    let (count, carried) = if middle.is_empty() { (1, CARRIED) } else { (2, CARRIED_FAR) };
    for (row, token, seen) in marks.into_iter().take(count) {
        weights.set("model.layers.0.self_attn.v_proj.weight", row, dimension(token), 1.0);
        weights.set("model.layers.0.self_attn.o_proj.weight", seen, row, carried);
    }
    weights.write(&folder.join("model.safetensors"));
    fs::write(folder.join("tokenizer.json"), vocab.to_tokenizer_json()).unwrap();
    fs::write(folder.join("generation_config.json"), r#"{"do_sample": false}"#).unwrap();
    fs::write(folder.join("config.json"), config(vocab.len()).to_string()).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn config(vocab_size: usize) -> Value {
    json!({
        "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "vocab_size": vocab_size,
        "hidden_size": HIDDEN, "intermediate_size": INNER, "head_dim": HEAD, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "num_local_experts": 1, "experts_per_token": 1,
        "num_experts_per_tok": 1, "sliding_window": 128, "layer_types": ["full_attention"],
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 150000, "swiglu_limit": 7.0,
        "rope_scaling": {
            "rope_type": "yarn", "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0,
            "original_max_position_embeddings": 1024, "truncate": false,
        },
        "quantization_config": {"quant_method": "mxfp4"}, "eos_token_id": vocab_size - 7,
    })
}

pub fn functions(folder: &Path, name: &str) -> String {
    let file = folder.join("functions.json");
    let parameters = json!({"type": "object", "properties": {"sum": {"type": "array"}}});
    fs::write(&file, json!([{"name": name, "description": "Adds.", "parameters": parameters}]).to_string())
        .unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn run_prints_the_answer_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let model = scripted(folder.path(), ANSWER, ANSWER);
    let ran = run(&["run", "Hello", "--model", &model]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, "Good morning, naïve world 🙂!\n");
    let report: Value =
        serde_json::from_str(&run(&["run", "Hello", "--model", &model, "--json"]).ok()).unwrap();
    assert_eq!(report["answer"], "Good morning, naïve world 🙂!");
    assert_eq!((&report["finish_reason"], &report["temperature"]), (&"stop".into(), &0.0.into()));
    assert_eq!(report["usage"]["reasoning_tokens"], 0);
    let short = run(&["run", "Hello", "--model", &model, "--max-tokens", "5"]);
    assert_eq!((short.code, short.stdout.as_str()), (0, "Good morning\n"));
    assert!(short.stderr.contains("cut short after 5 tokens"), "{}", short.stderr);
}

#[test]
fn run_ends_the_answer_before_a_stop_string() {
    let folder = tempfile::tempdir().unwrap();
    let model = scripted(folder.path(), ANSWER, ANSWER);
    let args = ["run", "Hello", "--model", &model, "--stop", "nowhere", "--stop", ", na"];
    let ran = run(&args);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Good morning\n"), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&run(&[&args[..], &["--json"]].concat()).ok()).unwrap();
    assert_eq!((&report["answer"], &report["finish_reason"]), (&"Good morning".into(), &"stop".into()));
    run(&["run", "Hello", "--model", &model, "--stop", ""]).fails(2, &["--stop"]);
}

/// After the end of the script the reasoning goes on with one token, until it is ended for the answer's sake;
/// the script makes the answer the same words.
const REASONING: &str = "<|channel|>analysis<|message|>Let me think<|return|>";

#[test]
fn run_keeps_reasoning_for_those_who_ask() {
    let folder = tempfile::tempdir().unwrap();
    let model = scripted(folder.path(), REASONING, ANSWER);
    let args = ["run", "Hello", "--model", &model, "--max-tokens", "60"];
    let silent = run(&args);
    assert!(!silent.stderr.contains("Let me think"), "{}", silent.stderr);
    assert_eq!((silent.code, silent.stdout.as_str()), (0, "Let me think\n"), "{}", silent.stderr);
    let shown = run(&[&args[..], &["--show-reasoning"]].concat());
    assert!(shown.stderr.contains("thinking: Let me think"), "{}", shown.stderr);
    let report: Value = serde_json::from_str(&run(&[&args[..], &["--json"]].concat()).ok()).unwrap();
    assert!(report["reasoning"].as_str().unwrap().starts_with("Let me think"), "{report}");
    assert_eq!(report["answer"], "Let me think");
    assert!(report["usage"]["reasoning_tokens"].as_u64() > Some(3), "{report}");
    // One token is half of a header.
    run(&["run", "Hello", "--model", &model, "--max-tokens", "1"]).fails(1, &["had not come to an answer"]);
}

#[test]
fn run_prints_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let model = scripted(folder.path(), CALL, AFTER_CALL);
    let offered = functions(folder.path(), "add");
    let args = ["run", "27 and 58?", "--model", &model, "--functions", &offered];
    let ran = run(&args);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, "call add {\"sum\":[27,58]}\n");
    let report: Value = serde_json::from_str(&run(&[&args[..], &["--json"]].concat()).ok()).unwrap();
    assert_eq!(report["calls"], json!([{"name": "add", "arguments": "{\"sum\":[27,58]}"}]));
    assert_eq!(report["finish_reason"], "tool_calls");
    // What is not offered cannot be called, however much the model wants to.
    let other = functions(folder.path(), "subtract");
    let limit = ["run", "27 and 58?", "--model", &model, "--functions", &other, "--max-tokens", "20"];
    let ran = run(&limit);
    assert!(
        !ran.stdout.contains("call add") && !ran.stderr.contains("call add"),
        "{} {}",
        ran.stdout,
        ran.stderr
    );
}

#[test]
fn chat_shows_a_call_asks_for_its_result_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let model = scripted(folder.path(), CALL, AFTER_CALL);
    let offered = functions(folder.path(), "add");
    let saved = folder.path().join("talk.json");
    let script = format!("27 and 58?\n{{\"result\": 85}}\n/save {}\n", saved.display());
    let ran = run_with(&["chat", "--model", &model, "--functions", &offered], script.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "call add {\"sum\":[27,58]}\nIt makes 85.\n");
    let conversation: Value = serde_json::from_str(&fs::read_to_string(&saved).unwrap()).unwrap();
    let messages = conversation["messages"].as_array().unwrap();
    let last: Vec<Value> =
        messages[messages.len() - 3..].iter().map(|m| m["content"][0]["text"].clone()).collect();
    assert_eq!(last, ["{\"sum\":[27,58]}", "{\"result\": 85}", "It makes 85."]);
    let result = &messages[messages.len() - 2];
    assert_eq!((&result["name"], &result["recipient"]), (&"functions.add".into(), &"assistant".into()));
    // No result is a result that says so.
    let script = format!("27 and 58?\n\n/save {}\n", saved.display());
    run_with(&["chat", "--model", &model, "--functions", &offered], script.as_bytes()).ok();
    assert!(fs::read_to_string(&saved).unwrap().contains("gave no result"));
    // The end of the input where a result should be ends the chat, not in an error.
    run_with(&["chat", "--model", &model, "--functions", &offered], b"27 and 58?\n").ok();
}

/// Calls with a wrong argument were printed as they came; the file's schema was shown to the model and not
/// held.
#[test]
fn a_call_is_held_to_its_schema() {
    let folder = tempfile::tempdir().unwrap();
    let model = scripted(folder.path(), CALL, AFTER_CALL);
    let file = folder.path().join("text.json");
    let parameters = json!({
        "type": "object", "properties": {"sum": {"type": "string", "enum": ["none"]}},
        "required": ["sum"], "additionalProperties": false,
    });
    fs::write(&file, json!([{"name": "add", "parameters": parameters}]).to_string()).unwrap();
    let args = ["run", "27 and 58?", "--model", &model, "--functions", file.to_str().unwrap()];
    let ran = run(&[&args[..], &["--max-tokens", "60"]].concat());
    assert!(!ran.stdout.contains("27"), "{}", ran.stdout);
    if ran.stdout.starts_with("call add ") {
        let arguments: Value = serde_json::from_str(&ran.stdout["call add ".len()..]).unwrap();
        assert_eq!(arguments, json!({"sum": "none"}));
    }
}

/// Reasoning and answer went to standard output alike, so that a pipe could not tell them apart.
#[test]
fn the_reasoning_of_a_chat_is_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let model = scripted(folder.path(), REASONING, ANSWER);
    let ran = run_with(&["chat", "--model", &model, "--max-tokens", "60"], b"Hello\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Let me think\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("thinking: Let me think"), "{}", ran.stderr);
}

#[test]
fn a_saved_chat_is_loaded_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let model = scripted(folder.path(), CALL, AFTER_CALL);
    let offered = functions(folder.path(), "add");
    let (one, two) = (folder.path().join("one.json"), folder.path().join("two.json"));
    let args = ["chat", "--model", &model, "--functions", &offered, "--stats", "--date", "none"];
    let script = format!("27 and 58?\n85\n/save {}\nquit\nnever read\n", one.display());
    let ran = run_with(&args, script.as_bytes());
    assert!(ran.stderr.contains("(read ") && ran.stderr.contains("tokens/s"), "{}", ran.stderr);
    let script =
        format!("/load {0}\n/save {1}\n/save {1}\n/load /no/such/file\n", one.display(), two.display());
    let ran = run_with(&args, script.as_bytes());
    assert!(ran.stderr.contains("4 messages of") && ran.stderr.contains("in the place of what was there"));
    assert!(ran.stderr.contains("/no/such/file"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(&one).unwrap(), fs::read_to_string(&two).unwrap());
}
