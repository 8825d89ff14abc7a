//! What `chat` and `run` share: a model ready to answer, and the head of its conversations.
//!
//! [`Session`] is the model with everything a turn needs (engine, vocabulary, sampling); [`ConversationHead`]
//! is what stands before the first message (effort, instructions, functions, date) and may be changed while
//! the conversation goes on. Both are made from the flags by [`prepare`], where all that can be wrong with
//! them is found before any weight is read.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use gptoss_engine::{Sampling, SamplingParams};
use gptoss_harmony::{Conversation, FunctionTool, Message, Opening, ReasoningEffort, RenderOptions, render};
use gptoss_model::{AdapterId, ExpertTraffic, Model};
use gptoss_turn::{
    Assistant, ConstraintLimits, FunctionRule, Outcome, OutputRules, Priority, TokenTable, TurnConstraint,
    TurnEvent, TurnOptions, TurnRules,
};

use crate::args::{Date, Effort, GenerationArgs, SamplingArgs};
use crate::card_kv;
use crate::engine_start::{self, RunningEngine};
use crate::failure::usage;
use crate::functions;
use crate::generation_config::GenerationConfig;
use crate::interrupt::tell_or_cancel;
use crate::model_source::context;
use crate::offer;
use crate::today::today;

/// Conversations at a time: there is one terminal.
const SEQUENCES: usize = 1;
/// Bits of a drawn seed: as many as a JSON number holds exactly everywhere.
const SEED_BITS: u32 = 53;

/// What stands at the head of a conversation.
#[derive(Debug, Clone)]
pub struct ConversationHead {
    /// How much the model reasons.
    pub effort: ReasoningEffort,
    /// The developer's instructions.
    pub instructions: Option<String>,
    /// The functions that may be called.
    pub functions: Vec<FunctionTool>,
    /// The date the model is told.
    pub date: Option<String>,
}

impl ConversationHead {
    /// The head, and `turns` after it.
    pub fn conversation(&self, turns: &[Message]) -> Conversation {
        let opening = Opening {
            effort: self.effort,
            date: self.date.clone(),
            instructions: self.instructions.iter().cloned().collect(),
            functions: self.functions.clone(),
            response_format: None,
        };
        Conversation::opening(opening, turns)
    }
}

/// A model that is ready to take turns.
pub struct Session {
    /// How the model is called to people.
    pub name: String,
    /// Whether it is the demo.
    pub is_demo: bool,
    /// The adapter beside its weights.
    pub adapter: Option<AdapterId>,
    /// How turns are taken.
    pub options: TurnOptions,
    /// What the functions of the head are held to; the options have it compiled.
    pub rules: TurnRules,
    assistant: Assistant,
    model: Arc<Model>,
    /// Ends the engine's thread when it is dropped.
    _engine: RunningEngine,
}

impl Session {
    /// Takes one turn. When `show` fails, there is nobody left to speak to: the turn is cancelled.
    ///
    /// Errors: `show`'s own, else those of [`Assistant::run_turn`].
    pub fn take_turn(
        &self,
        conversation: &Conversation,
        cancel: &AtomicBool,
        show: &mut dyn FnMut(TurnEvent) -> io::Result<()>,
    ) -> Result<Outcome> {
        let mut shown = Ok(());
        let mut on_event = |event| tell_or_cancel(&mut shown, cancel, || show(event));
        let outcome = self.assistant.run_turn(conversation, &self.options, cancel, &mut on_event);
        shown?;
        Ok(outcome?)
    }

    /// The model as an assistant, for whoever takes several turns.
    pub fn assistant(&self) -> &Assistant {
        &self.assistant
    }

    /// What has been read from disk; `None` when the whole model is in memory.
    pub fn expert_traffic(&self) -> Option<ExpertTraffic> {
        self.model.expert_traffic()
    }

    /// Tokens of a whole conversation. Units: tokens.
    pub fn max_context(&self) -> usize {
        self.assistant.engine().limits().max_context
    }

    /// What a turn cost, for `--stats`.
    pub fn stats(outcome: &Outcome) -> String {
        let usage = &outcome.usage.engine;
        let speed =
            |speed: Option<f64>| speed.map_or(String::new(), |speed| format!(" at {speed:.1} tokens/s"));
        format!(
            "(read {} tokens{}, wrote {}{})",
            usage.prompt_tokens,
            speed(usage.prefill_tokens_per_second()),
            usage.completion_tokens,
            speed(usage.decode_tokens_per_second()),
        )
    }
}

/// Opens the model and reads the flags.
///
/// Errors: usage errors for flags that do not fit the model; what is wrong with a file, by its name.
pub fn prepare(args: &GenerationArgs) -> Result<(Session, ConversationHead)> {
    args.engine.check()?;
    let opened = offer::opened(&args.model)?.with_adapter(args.adapter.as_deref())?;
    let config = opened.checkpoint.config();
    let sampling = sampling_params(&args.sampling, &opened.generation_config()?);
    Sampling::parse(&sampling, config.vocab_size).map_err(|error| usage(error.to_string()))?;
    let context = context(args.context, config, &opened.source)?;
    let head = head(args, opened.source.is_demo())?;
    let vocab = opened.vocab()?;
    render(&vocab, &head.conversation(&[]), RenderOptions::default())
        .context("the functions cannot be rendered")?;
    let table = TokenTable::new(vocab)?;
    let (rules, output_rules) = output_rules(&table, &head)?;
    if let Some(caveat) = opened.source.caveat() {
        writeln!(io::stderr(), "note: {caveat}")?;
    }
    let engine_options = card_kv::fit(&opened, &args.compute, args.engine.options(context, SEQUENCES))?;
    let kv = engine_start::plan_kv(&opened, &args.compute, &engine_options)?;
    let model = Arc::new(opened.load(&args.compute, context, Some(&kv))?);
    // The plan of `--memory` has shown it already.
    if args.engine.plans_memory() && args.compute.memory.is_none() {
        io::stderr().write_all(engine_start::describe(&kv).as_bytes())?;
    }
    let options = TurnOptions {
        sampling,
        max_new_tokens: args.max_tokens.map(|tokens| tokens as usize),
        reasoning_budget: args.reasoning_budget,
        stop: args.stop.clone(),
        priority: Priority::Interactive,
        rules: output_rules,
        ..TurnOptions::default()
    };
    let engine =
        engine_start::start(Arc::clone(&model), &opened, &args.compute, &args.engine, engine_options)?;
    let assistant = Assistant::new(engine.handle.clone(), table)?.with_adapter(opened.adapter());
    let session = Session {
        name: opened.source.name(),
        is_demo: opened.source.is_demo(),
        adapter: opened.adapter(),
        options,
        rules,
        assistant,
        model,
        _engine: engine,
    };
    Ok((session, head))
}

fn head(args: &GenerationArgs, is_demo: bool) -> Result<ConversationHead> {
    let functions = match &args.functions {
        Some(file) => functions::read(file)?,
        None => Vec::new(),
    };
    // The demo gives the same answer every day; a model of the world is told which day it is.
    let date = args.date.clone().unwrap_or(if is_demo { Date::None } else { Date::Today });
    Ok(ConversationHead {
        effort: effort(args.effort),
        instructions: args.instructions.clone().filter(|text| !text.trim().is_empty()),
        functions,
        date: match date {
            Date::None => None,
            Date::Today => Some(today()),
            Date::Day(day) => Some(day),
        },
    })
}

/// What every turn is held to: harmony's, and the arguments of each function by its schema. A schema that
/// cannot be held to the letter is told, and its arguments are held to be a JSON object, as those of a
/// function without a schema are.
fn output_rules(table: &Arc<TokenTable>, head: &ConversationHead) -> Result<(TurnRules, OutputRules)> {
    let conversation = head.conversation(&[]);
    let compile = |rules: &TurnRules| {
        TurnConstraint::compile(table, &conversation, rules, &ConstraintLimits::default())
    };
    let mut rules = TurnRules::default();
    for function in head.functions.iter().filter(|function| function.parameters.is_some()) {
        let alone = BTreeMap::from([(function.name.clone(), FunctionRule::Strict)]);
        match compile(&TurnRules { functions: alone.clone(), ..TurnRules::default() }) {
            Ok(_) => rules.functions.extend(alone),
            Err(error) => {
                let name = &function.name;
                writeln!(io::stderr(), "note: calls of {name} are not held to its schema: {error}")?;
            }
        }
    }
    let compiled = match rules.functions.is_empty() {
        true => OutputRules::default(),
        false => {
            OutputRules::Compiled(compile(&rules).context("the functions' schemas are too large together")?)
        }
    };
    Ok((rules, compiled))
}

/// The effort in harmony's words.
pub fn effort(argument: Effort) -> ReasoningEffort {
    match argument {
        Effort::Low => ReasoningEffort::Low,
        Effort::Medium => ReasoningEffort::Medium,
        Effort::High => ReasoningEffort::High,
    }
}

/// A flag wins over the model's file, which wins over the recommended sampling.
fn sampling_params(args: &SamplingArgs, file: &GenerationConfig) -> SamplingParams {
    let default = SamplingParams::default();
    SamplingParams {
        temperature: args.temperature.or(file.temperature).unwrap_or(default.temperature),
        top_p: args.top_p.or(file.top_p).unwrap_or(default.top_p),
        top_k: args.top_k.or(file.top_k).unwrap_or(default.top_k),
        min_p: args.min_p.or(file.min_p).unwrap_or(default.min_p),
        presence_penalty: args.presence_penalty,
        frequency_penalty: args.frequency_penalty,
        repetition_penalty: args
            .repetition_penalty
            .or(file.repetition_penalty)
            .unwrap_or(default.repetition_penalty),
        logit_bias: args.logit_bias.clone(),
        seed: args.seed.unwrap_or_else(draw_seed),
    }
}

/// A number that nobody chose: the standard library's hash maps are seeded by the system's randomness.
fn draw_seed() -> u64 {
    RandomState::new().build_hasher().finish() >> (u64::BITS - SEED_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let args = SamplingArgs {
            temperature: None,
            top_p: Some(0.5),
            top_k: None,
            min_p: None,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: None,
            logit_bias: Vec::new(),
            seed: Some(7),
        };
        let file =
            GenerationConfig { temperature: Some(0.0), top_p: Some(0.9), ..GenerationConfig::default() };
        let sampling = sampling_params(&args, &file);
        assert_eq!((sampling.temperature, sampling.top_p, sampling.seed), (0.0, 0.5, 7));
        let sampling = sampling_params(&args, &GenerationConfig::default());
        assert_eq!((sampling.temperature, sampling.repetition_penalty), (1.0, 1.0));
    }

    #[test]
    fn seeds_are_drawn_and_fit_a_json_number() {
        let (one, two) = (draw_seed(), draw_seed());
        assert_ne!(one, two);
        assert!(one < 1 << SEED_BITS && two < 1 << SEED_BITS);
    }
}
