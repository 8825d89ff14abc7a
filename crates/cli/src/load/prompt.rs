//! What requests ask, and how it becomes a body.
//!
//! A made prompt is random words, so that no server has computed it before; the words are a token each for
//! the published models, and what one costs another server's tokenizer is measured before the run. Every
//! request's words and lengths come from the seed, the level and its number alone.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use hyper::body::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::draw::{self, Purpose};
use super::exchange::Ask;
use super::record::Asked;
use crate::args::{AskingArgs, EndpointArg, LENGTH_TOKENS_MAX, Lengths};
use crate::failure::usage;
use crate::input::Source;

/// Words that are one token each in the published vocabulary, with a space in front and without.
const WORDS: &str = include_str!("words.txt");
/// Fewest tokens of an answer that OpenAI's Responses takes.
const RESPONSES_OUTPUT_MIN: u32 = 16;

/// What a word costs in tokens of the server, and what it puts around every prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Tokens of a prompt without words.
    pub around: f64,
    /// Tokens of a word.
    pub per_word: f64,
}

impl Scale {
    /// A token a word and nothing around: what is taken when the server counts no tokens.
    pub const PLAIN: Scale = Scale { around: 0.0, per_word: 1.0 };

    /// The line through two prompts: words and the tokens that they were counted as. `None` where it leads
    /// nowhere.
    pub fn through(few: (u32, u32), many: (u32, u32)) -> Option<Scale> {
        let per_word = f64::from(many.1.checked_sub(few.1)?) / f64::from(many.0.checked_sub(few.0)?);
        let around = f64::from(few.1) - per_word * f64::from(few.0);
        (per_word.is_finite() && per_word > 0.0).then_some(Scale { around: around.max(0.0), per_word })
    }

    /// Words of a prompt of so many tokens: one at least.
    fn words(&self, tokens: u32) -> usize {
        ((f64::from(tokens) - self.around) / self.per_word).round().max(1.0) as usize
    }
}

/// A line of a file of prompts.
#[derive(Debug, Clone, Deserialize)]
struct Line {
    prompt: Option<String>,
    messages: Option<Vec<Value>>,
    output_tokens: Option<u32>,
}

/// Where prompts come from.
#[derive(Debug, Clone)]
enum Prompts {
    Made { lengths: Lengths, shared_prefix: u32, scale: Scale },
    Lines(Arc<Vec<Line>>),
}

/// Everything that decides a body.
#[derive(Debug, Clone)]
pub struct Workload {
    endpoint: EndpointArg,
    model: String,
    prompts: Prompts,
    output_tokens: Lengths,
    ignore_eos: bool,
    legacy_max_tokens: bool,
    extra: Map<String, Value>,
    seed: u64,
}

impl Workload {
    /// What the flags ask for.
    ///
    /// Errors: the file of prompts cannot be read, or holds something else.
    pub fn new(args: &AskingArgs, endpoint: EndpointArg, model: String) -> Result<Workload> {
        let prompts = match &args.prompts {
            Some(file) => Prompts::Lines(Arc::new(lines(file)?)),
            None => {
                let (lengths, shared_prefix) = (args.prompt_tokens, args.shared_prefix);
                Prompts::Made { lengths, shared_prefix, scale: Scale::PLAIN }
            }
        };
        Ok(Workload {
            endpoint,
            model,
            prompts,
            output_tokens: args.output_tokens,
            ignore_eos: args.ignore_eos,
            legacy_max_tokens: args.legacy_max_tokens,
            extra: args.extra_body.clone().unwrap_or_default(),
            seed: args.seed,
        })
    }

    /// The same with prompts to this scale.
    pub fn scaled(mut self, to: Scale) -> Workload {
        if let Prompts::Made { scale, .. } = &mut self.prompts {
            *scale = to;
        }
        self
    }

    /// Whether prompts are made to a length.
    pub fn has_lengths(&self) -> bool {
        matches!(self.prompts, Prompts::Made { .. })
    }

    /// The model that is asked for.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Request `index` of a level.
    pub fn ask(&self, level: u64, index: u32) -> Ask {
        let mut random = draw::random(self.seed, Purpose::Request, level, u64::from(index));
        let output = draw::tokens(self.output_tokens, &mut random);
        match &self.prompts {
            Prompts::Made { lengths, shared_prefix, scale } => {
                let tokens = draw::tokens(*lengths, &mut random);
                let mut shared = draw::random(self.seed, Purpose::SharedPrefix, 0, 0);
                let num_words = scale.words(tokens);
                let num_shared = match *shared_prefix {
                    0 => 0,
                    tokens => scale.words(tokens).min(num_words),
                };
                let mut text = words(num_shared, &mut shared);
                push_words(&mut text, num_words - num_shared, &mut random);
                self.made(&text, Asked { prompt: Some(tokens), output })
            }
            Prompts::Lines(lines) => {
                // The file is not empty.
                let line = &lines[index as usize % lines.len()];
                let asked = Asked { prompt: None, output: line.output_tokens.unwrap_or(output) };
                match (&line.prompt, &line.messages) {
                    (_, Some(messages)) => self.of_messages(messages, asked),
                    (prompt, None) => self.made(prompt.as_deref().unwrap_or_default(), asked),
                }
            }
        }
    }

    /// A request that shows how a prompt of so many words is counted.
    pub fn probe(&self, num_words: u32) -> Ask {
        let mut random = draw::random(self.seed, Purpose::Request, u64::MAX, u64::from(num_words));
        let output = if self.endpoint == EndpointArg::Responses { RESPONSES_OUTPUT_MIN } else { 1 };
        self.made(&words(num_words as usize, &mut random), Asked { prompt: None, output })
    }

    fn made(&self, text: &str, asked: Asked) -> Ask {
        match self.endpoint {
            EndpointArg::Completions => self.body("prompt", json!(text), asked),
            EndpointArg::Chat => self.body("messages", json!([{"role": "user", "content": text}]), asked),
            EndpointArg::Responses => self.body("input", json!(text), asked),
        }
    }

    fn of_messages(&self, messages: &[Value], asked: Asked) -> Ask {
        match self.endpoint {
            EndpointArg::Completions => {
                let texts: Vec<&str> = messages.iter().filter_map(|it| it["content"].as_str()).collect();
                self.body("prompt", json!(texts.join("\n\n")), asked)
            }
            EndpointArg::Chat => self.body("messages", json!(messages), asked),
            EndpointArg::Responses => self.body("input", json!(messages), asked),
        }
    }

    fn body(&self, field: &str, prompt: Value, asked: Asked) -> Ask {
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(self.model));
        body.insert(field.to_owned(), prompt);
        body.insert("stream".to_owned(), json!(true));
        let limit = match self.endpoint {
            EndpointArg::Responses => "max_output_tokens",
            EndpointArg::Chat if !self.legacy_max_tokens => "max_completion_tokens",
            EndpointArg::Chat | EndpointArg::Completions => "max_tokens",
        };
        body.insert(limit.to_owned(), json!(asked.output));
        match self.endpoint {
            EndpointArg::Responses => body.insert("store".to_owned(), json!(false)),
            _ => body.insert("stream_options".to_owned(), json!({"include_usage": true})),
        };
        if self.ignore_eos {
            body.insert("ignore_eos".to_owned(), json!(true));
            body.insert("min_tokens".to_owned(), json!(asked.output));
        }
        body.extend(self.extra.clone());
        Ask { body: Bytes::from(Value::Object(body).to_string()), asked }
    }
}

fn words(number: usize, random: &mut StdRng) -> String {
    let mut text = String::new();
    push_words(&mut text, number, random);
    text
}

fn push_words(text: &mut String, number: usize, random: &mut StdRng) {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    for _ in 0..number {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(words[random.random_range(0..words.len())]);
    }
}

fn lines(file: &Path) -> Result<Vec<Line>> {
    let text = Source::File(file).read_text()?;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}, line {number}", file.display());
        lines.push(line_of(line).with_context(place)?);
    }
    if lines.is_empty() {
        return Err(usage(format!("{} holds no prompts", file.display())));
    }
    Ok(lines)
}

fn line_of(text: &str) -> Result<Line> {
    let line: Line = serde_json::from_str(text)?;
    if line.prompt.is_none() && line.messages.is_none() {
        return Err(anyhow!("neither `prompt` nor `messages`"));
    }
    if line.output_tokens.is_some_and(|tokens| !(1..=LENGTH_TOKENS_MAX).contains(&tokens)) {
        bail!("`output_tokens` is not from 1 to {LENGTH_TOKENS_MAX}");
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        asking: AskingArgs,
    }

    fn workload(endpoint: EndpointArg, flags: &[&str]) -> Result<Workload> {
        let flags = Flags::parse_from([&["load"], flags].concat());
        Workload::new(&flags.asking, endpoint, "m".to_owned())
    }

    fn body(ask: &Ask) -> Value {
        serde_json::from_slice(&ask.body).unwrap()
    }

    /// A prompt of 512 words would not be one of 512 tokens otherwise.
    #[test]
    fn words_are_a_token_each_for_the_published_models() {
        let vocab = gptoss_harmony::Vocab::o200k_harmony();
        for word in WORDS.split_whitespace() {
            assert_eq!(vocab.encode_ids(word).len(), 1, "{word}");
            assert_eq!(vocab.encode_ids(&format!(" {word}")).len(), 1, "{word}");
        }
        let text = words(512, &mut draw::random(0, Purpose::Request, 0, 0));
        assert_eq!(vocab.encode_ids(&text).len(), 512);
    }

    #[test]
    fn a_scale_turns_tokens_into_words() {
        let scale = Scale::through((64, 198), (320, 710)).unwrap();
        assert_eq!(scale, Scale { around: 70.0, per_word: 2.0 });
        assert_eq!([512, 71, 3].map(|tokens| scale.words(tokens)), [221, 1, 1]);
        for wrong in [((64, 10), (320, 10)), ((64, 20), (320, 10)), ((64, 1), (64, 2))] {
            assert_eq!(Scale::through(wrong.0, wrong.1), None, "{wrong:?}");
        }
    }

    #[test]
    fn requests_are_their_own_and_the_same_for_a_seed() {
        let flags = ["--prompt-tokens", "32", "--shared-prefix", "8", "--output-tokens", "5"];
        let chat = workload(EndpointArg::Chat, &flags).unwrap();
        let text = |ask: Ask| body(&ask)["messages"][0]["content"].as_str().unwrap().to_owned();
        let (one, two) = (text(chat.ask(0, 0)), text(chat.ask(0, 1)));
        let first = |text: &str| text.split(' ').take(8).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(one.split(' ').count(), 32);
        assert!(one != two && first(&one) == first(&two), "{one}\n{two}");
        assert_ne!(text(chat.ask(1, 0)), one);
        assert_eq!(text(workload(EndpointArg::Chat, &flags).unwrap().ask(0, 0)), one);
        let asked = chat.ask(0, 0).asked;
        assert_eq!(asked, Asked { prompt: Some(32), output: 5 });
    }

    #[test]
    fn bodies_have_the_fields_of_their_api() {
        let fields = |endpoint, flags: &[&str]| {
            let body = body(&workload(endpoint, flags).unwrap().ask(0, 0));
            body.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
        };
        let check = |endpoint, flags: &[&str], expect: &str| assert_eq!(fields(endpoint, flags), expect);
        check(EndpointArg::Chat, &[], "model messages stream max_completion_tokens stream_options");
        check(EndpointArg::Chat, &["--legacy-max-tokens"], "model messages stream max_tokens stream_options");
        check(EndpointArg::Responses, &[], "model input stream max_output_tokens store");
        check(
            EndpointArg::Completions,
            &["--ignore-eos", "--extra-body", "{\"temperature\":0}"],
            "model prompt stream max_tokens stream_options ignore_eos min_tokens temperature",
        );
    }

    #[test]
    fn prompts_come_from_a_file_in_turn() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prompts.jsonl");
        let flags = ["--prompts", file.to_str().unwrap()];
        std::fs::write(&file, "{\"prompt\": \"a\"}\n\n{\"messages\": [{\"role\": \"user\", \"content\": \"b\"}], \"output_tokens\": 3}\n").unwrap();
        let completions = workload(EndpointArg::Completions, &flags).unwrap();
        let asks: Vec<(Value, u32)> = (0..3)
            .map(|index| completions.ask(0, index))
            .map(|ask| (body(&ask)["prompt"].clone(), ask.asked.output))
            .collect();
        assert_eq!(asks, [(json!("a"), 128), (json!("b"), 3), (json!("a"), 128)]);
        for (text, reason) in [
            ("", "no prompts"),
            ("{}", "line 1"),
            ("{\"prompt\": \"a\", \"output_tokens\": 0}", "output_tokens"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = format!("{:#}", workload(EndpointArg::Chat, &flags).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }
}
