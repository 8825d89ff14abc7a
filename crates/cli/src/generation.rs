//! What do `chat` and `run` share: a model ready to speak, and how its conversations begin?
//!
//! [`Speaker`] is the model with everything a turn needs (engine, vocabulary, sampling); [`Setup`] is what stands at the head of a
//! conversation (effort, instructions, functions, date) and may be changed while it goes on. Both are made from the flags by
//! [`prepare`], where all that can be wrong with them is found before any weight is read.
//!
//! It does not know how an answer is shown.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use gptoss_engine::{Sampling, SamplingParams};
use gptoss_harmony::{
    Conversation, DeveloperContent, FunctionTool, Message, ReasoningEffort, RenderOptions, SystemContent,
    Vocab, render,
};
use gptoss_model::{ExpertTraffic, Model};
use gptoss_turn::{Outcome, Priority, TurnEvent, TurnOptions, run_turn};

use crate::args::{Date, Effort, GenerationArgs, SamplingArgs};
use crate::engine_start::{self, RunningEngine};
use crate::failure::usage;
use crate::functions;
use crate::generation_config::GenerationConfig;
use crate::model_source::{Opened, context};
use crate::today::today;

/// Conversations at a time: there is one terminal.
const SEQUENCES: usize = 1;
/// Bits of a drawn seed: as many as a JSON number holds exactly everywhere.
const SEED_BITS: u32 = 53;

/// What stands at the head of a conversation.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How much the model reasons.
    pub effort: ReasoningEffort,
    /// The developer's instructions.
    pub instructions: Option<String>,
    /// The functions that may be called.
    pub functions: Vec<FunctionTool>,
    /// The date the model is told.
    pub date: Option<String>,
}

impl Setup {
    /// The messages before the user's first.
    pub fn opening(&self) -> Vec<Message> {
        let system = SystemContent {
            reasoning_effort: Some(self.effort),
            conversation_start_date: self.date.clone(),
            ..SystemContent::default()
        };
        let mut messages = vec![Message::system(system)];
        if self.instructions.is_some() || !self.functions.is_empty() {
            let mut developer =
                DeveloperContent { instructions: self.instructions.clone(), ..Default::default() };
            if !self.functions.is_empty() {
                developer = developer.with_function_tools(self.functions.clone());
            }
            messages.push(Message::developer(developer));
        }
        messages
    }

    /// The head, and `turns` after it.
    pub fn conversation(&self, turns: &[Message]) -> Conversation {
        let mut messages = self.opening();
        messages.extend_from_slice(turns);
        Conversation { messages }
    }
}

/// A model that is ready to take turns.
pub struct Speaker {
    /// How the model is called to people.
    pub name: String,
    /// Whether it is the demo.
    pub is_demo: bool,
    /// How turns are taken.
    pub options: TurnOptions,
    engine: RunningEngine,
    model: Arc<Model>,
    vocab: Arc<Vocab>,
}

impl Speaker {
    /// Takes one turn. When `show` fails, there is nobody left to speak to: the turn is cancelled.
    ///
    /// Errors: `show`'s own, else those of [`run_turn`].
    pub fn take_turn(
        &self,
        conversation: &Conversation,
        cancel: &AtomicBool,
        show: &mut dyn FnMut(TurnEvent) -> io::Result<()>,
    ) -> Result<Outcome> {
        let mut shown = Ok(());
        let mut on_event = |event| {
            if shown.is_ok() {
                shown = show(event);
            }
            if shown.is_err() {
                cancel.store(true, Ordering::SeqCst);
            }
        };
        let outcome =
            run_turn(&self.engine.handle, &self.vocab, conversation, &self.options, cancel, &mut on_event);
        shown?;
        Ok(outcome?)
    }

    /// What has been read from disk; `None` when the whole model is in memory.
    pub fn expert_traffic(&self) -> Option<ExpertTraffic> {
        self.model.expert_traffic()
    }

    /// Tokens of a whole conversation. Units: tokens.
    pub fn max_context(&self) -> usize {
        self.engine.handle.limits().max_context
    }
}

/// Opens the model and reads the flags.
///
/// Errors: usage errors for flags that do not fit the model; what is wrong with a file, by its name.
pub fn prepare(args: &GenerationArgs) -> Result<(Speaker, Setup)> {
    let opened = Opened::from_argument(&args.model)?;
    let config = opened.checkpoint.config();
    let sampling = sampling_params(&args.sampling, &opened.generation_config()?);
    Sampling::parse(&sampling, config.vocab_size).map_err(|error| usage(error.to_string()))?;
    let context = context(args.context, config, &opened.source)?;
    let setup = setup(args, opened.source.is_demo())?;
    let vocab = opened.vocab()?;
    render(&vocab, &setup.conversation(&[]), RenderOptions::default())
        .context("the functions cannot be rendered")?;
    let engine_options = args.engine.options(context, SEQUENCES);
    let kv = engine_start::plan_kv(&opened, &args.compute, &engine_options)?;
    let model = Arc::new(opened.load(&args.compute, context, Some(&kv))?);
    // The plan of `--memory` has shown it already.
    if args.engine.plans_memory() && args.compute.memory.is_none() {
        io::stderr().write_all(engine_start::describe(&kv).as_bytes())?;
    }
    let options = TurnOptions {
        sampling,
        max_new_tokens: args.max_tokens.map(|tokens| tokens as usize),
        priority: Priority::Interactive,
        ..TurnOptions::default()
    };
    let engine =
        engine_start::start(Arc::clone(&model), &opened, &args.compute, &args.engine, engine_options)?;
    let speaker = Speaker {
        name: opened.source.name(),
        is_demo: opened.source.is_demo(),
        options,
        engine,
        model,
        vocab,
    };
    Ok((speaker, setup))
}

fn setup(args: &GenerationArgs, is_demo: bool) -> Result<Setup> {
    let functions = match &args.functions {
        Some(file) => functions::read(file)?,
        None => Vec::new(),
    };
    // The demo gives the same answer every day; a model of the world is told which day it is.
    let date = args.date.clone().unwrap_or(if is_demo { Date::None } else { Date::Today });
    Ok(Setup {
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
