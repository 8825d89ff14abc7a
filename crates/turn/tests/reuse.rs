//! What a conversation computes twice: next to nothing, though harmony drops old reasoning and every turn is
//! rendered afresh.
//!
//! The demo model talks; what counts is its `usage`. New are the tokens of a prompt that the prompt before it
//! did not have. The engine computes one more each turn, the last of what is kept, whose logits it needs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gptoss_checkpoint::Checkpoint;
use gptoss_engine::{Engine, SamplingParams};
use gptoss_harmony::{Conversation, DeveloperContent, FunctionTool, Message, SystemContent, Vocab};
use gptoss_kernels::Pool;
use gptoss_model::{Model, Precision};
use gptoss_turn::{Assistant, Outcome, TokenTable, TurnOptions};

struct Talk {
    assistant: Assistant,
    conversation: Conversation,
    /// Of each turn: prompt tokens and those of them that were not computed.
    turns: Vec<(usize, usize)>,
}

fn talk(messages: impl IntoIterator<Item = Message>) -> Talk {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model");
    let checkpoint = Checkpoint::open(&folder).expect("opens");
    let model = Model::load(&checkpoint, Precision::Fast, Pool::new(2), &mut |_, _| ()).expect("loads");
    let file = std::fs::read(folder.join("tokenizer.json")).expect("reads");
    let vocab = Arc::new(Vocab::from_tokenizer_json(&file).expect("a tokenizer"));
    let (engine, _thread) = Engine::new(Arc::new(model), 4096).spawn().expect("a thread");
    let assistant = Assistant::new(engine, TokenTable::new(vocab).expect("a table")).expect("its vocabulary");
    Talk { assistant, conversation: Conversation::from_messages(messages), turns: Vec::new() }
}

impl Talk {
    fn turn(&mut self, message: Message) -> Outcome {
        self.conversation.messages.push(message);
        let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
        let options = TurnOptions { sampling, max_new_tokens: Some(120), ..TurnOptions::default() };
        let never = AtomicBool::new(false);
        let outcome =
            self.assistant.run_turn(&self.conversation, &options, &never, &mut |_| ()).expect("runs");
        let usage = outcome.usage.engine;
        self.turns.push((usage.prompt_tokens, usage.cached_tokens));
        self.conversation.messages.extend(outcome.messages.iter().cloned());
        outcome
    }

    /// The part of all prompt tokens that was computed though the prompt before had it.
    fn computed_twice(&self) -> f64 {
        let (mut twice, mut all, mut before) = (0, 0, 0);
        for &(prompt, cached) in &self.turns {
            let new = prompt.saturating_sub(before);
            twice += (prompt - cached).saturating_sub(new);
            all += prompt;
            before = prompt;
        }
        println!("turns (prompt, cached): {:?}; {twice} of {all} prompt tokens computed twice", self.turns);
        twice as f64 / all as f64
    }
}

#[test]
fn ten_turns_of_a_conversation() {
    let mut talk = talk([Message::system(SystemContent::default())]);
    for turn in 0..10 {
        talk.turn(Message::user(format!("What is {} + {}?", 27 + turn * 13, 58 + turn * 7)));
    }
    assert!(talk.computed_twice() < 0.05);
    // The counters of a step are published after its events.
    while talk.assistant.engine().stats().ended() < 10 {
        std::thread::yield_now();
    }
    let stats = talk.assistant.engine().stats();
    assert_eq!(stats.prefix.hits, 9);
    assert_eq!(stats.cached_tokens, talk.turns.iter().map(|&(_, cached)| cached as u64).sum::<u64>());
}

#[test]
fn ten_calls_of_a_function() {
    let parameters = serde_json::json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let weather = FunctionTool {
        name: "get_weather".into(),
        description: "Tells the weather in a city.".into(),
        parameters: Some(parameters),
    };
    let developer = DeveloperContent::default().with_function_tools(vec![weather]);
    let mut talk = talk([Message::system(SystemContent::default()), Message::developer(developer)]);
    let cities = ["Paris", "Rome", "Oslo", "Lima", "Cairo", "Berlin", "Madrid", "Tokyo", "Quito", "Delhi"];
    let mut message = Message::user(format!("What is the weather in {}?", cities.join(", ")));
    let mut calls = 0;
    for city in cities {
        let outcome = talk.turn(message);
        if outcome.calls.is_empty() {
            // The demo is small: where it answers instead, the call is written for it, and the loop goes on.
            talk.conversation.messages.truncate(talk.conversation.messages.len() - outcome.messages.len());
            let call = Message::function_call("get_weather", format!("{{\"city\":\"{city}\"}}"));
            talk.conversation.messages.push(call);
        } else {
            calls += 1;
        }
        message = Message::tool_result("functions.get_weather", r#"{"temperature": 21, "sky": "clear"}"#);
        message.channel = Some("commentary".into());
    }
    talk.turn(message);
    println!("{calls} of 10 calls were the model's own");
    assert!(talk.computed_twice() < 0.05);
}
