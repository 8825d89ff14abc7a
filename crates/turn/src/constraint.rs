//! Rules for what a turn may look like, compiled into what the engine asks before each token.
//!
//! [`TurnRules`] says what a caller wants held: tool choice, strict functions, the answer's format, the
//! reasoning budget. [`TurnConstraint::compile`] takes the tools from the conversation and gives what
//! [`OutputRules::Compiled`] carries; the default holds nothing but a well-formed turn of the tools that
//! exist. Compilation happens on the caller's thread; the engine sees only a mask and a token at a time.
//! What the constraint cuts short on the engine's thread comes back through a [`CutLog`], by the number of
//! tokens and not by the clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use gptoss_constrain::{
    Body, Bounds, Builtin, Compiled, Constraint, Cut, Error, Fidelity, Function, Limits, Reasoning, Spec,
    TokenTable, ToolChoice, Warning, compile,
};
use gptoss_engine::{Mask, Tenant};
use gptoss_harmony::Conversation;
use serde_json::Value;

use crate::tools::{builtin_tools, function_tools};

/// What is held in a turn, beyond that it is well-formed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TurnRules {
    /// Whether the turn may or must call.
    pub tool_choice: ToolChoice,
    /// Functions whose arguments are held by more than being a JSON object, by name.
    pub functions: BTreeMap<String, FunctionRule>,
    /// What the answer must match.
    pub answer: Body,
    /// How much may be said before the answer or the call.
    pub reasoning: Reasoning,
}

/// How a function's arguments are held.
#[derive(Debug, Clone, PartialEq)]
pub enum FunctionRule {
    /// By its parameters' schema, to the letter; what cannot be is refused.
    Strict,
    /// By this, which need not be JSON: a custom tool.
    Custom(Body),
}

/// What every token of a turn is held to.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum OutputRules {
    /// A well-formed turn of the tools that the conversation offers: headers by harmony's grammar, arguments
    /// of functions as JSON objects.
    #[default]
    Harmony,
    /// These rules as well.
    Compiled(TurnConstraint),
    /// Nothing: whatever the model writes, and the parser repairs it. For looking at models.
    None,
}

impl OutputRules {
    /// The rules as the constraint of a sequence.
    ///
    /// Errors: as [`TurnConstraint::compile`].
    pub(crate) fn compiled(
        &self,
        table: &Arc<TokenTable>,
        conversation: &Conversation,
        tenant: &Tenant,
    ) -> Result<Option<TurnConstraint>, Error> {
        match self {
            Self::Harmony => {
                let limits = Limits { tenant: Arc::clone(&tenant.0), ..Limits::default() };
                TurnConstraint::compile(table, conversation, &TurnRules::default(), &limits).map(Some)
            }
            Self::Compiled(constraint) => Ok(Some(constraint.clone())),
            Self::None => Ok(None),
        }
    }
}

/// A turn's rules, compiled.
#[derive(Clone)]
pub struct TurnConstraint(Arc<Compiled>);

/// Two are equal when they are one.
impl PartialEq for TurnConstraint {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for TurnConstraint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl TurnConstraint {
    /// Compiles the rules for the tools of a conversation: milliseconds for ordinary schemas, up to the
    /// limits for others. A choice that forces a call holds its arguments by their schema as far as that can
    /// be done.
    ///
    /// Errors: a schema or grammar that is refused, a tool choice that cannot be met, too much at once.
    pub fn compile(
        table: &Arc<TokenTable>,
        conversation: &Conversation,
        rules: &TurnRules,
        limits: &Limits,
    ) -> Result<Self, Error> {
        compile(table, spec(conversation, rules), limits).map(Self)
    }

    /// What the schemas ask for that is not held.
    pub fn warnings(&self) -> &[Warning] {
        self.0.warnings()
    }

    /// What the turn owes.
    pub(crate) fn owed(&self) -> Owed {
        match (self.0.must_call(), self.0.has_format()) {
            (true, _) => Owed::Call,
            (false, true) => Owed::Format,
            (false, false) => Owed::Nothing,
        }
    }

    /// For one sequence that should have `min_tokens`, and what will have been cut short in it.
    pub(crate) fn start(
        &self,
        bounds: Bounds,
        min_tokens: usize,
    ) -> (Box<dyn gptoss_engine::Constraint>, CutLog) {
        let log = CutLog::default();
        let mut held = Held {
            constraint: Constraint::within(&self.0, bounds),
            told: None,
            log: log.clone(),
            min_tokens,
            stop_ids: self.0.vocab().stop_ids().to_vec(),
            going_on: Vec::new(),
        };
        held.tell();
        (Box::new(held), log)
    }
}

/// What a turn must come to, beyond being well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owed {
    Nothing,
    /// A call.
    Call,
    /// An answer in a format, unless it calls.
    Format,
}

/// What was cut short in a sequence, each with the number of its tokens by then. An entry is there before
/// the token that it belongs to is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct CutLog(Arc<Mutex<Vec<(usize, Cut)>>>);

impl CutLog {
    /// The cuts from number `from` on that belong to the first `num_tokens` tokens.
    pub(crate) fn up_to(&self, num_tokens: usize, from: usize) -> Vec<Cut> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().skip(from).take_while(|(at, _)| *at <= num_tokens).map(|&(_, cut)| cut).collect()
    }
}

struct Held {
    constraint: Constraint,
    told: Option<Cut>,
    log: CutLog,
    /// Tokens before which none of `stop_ids` may come, if anything else may.
    min_tokens: usize,
    stop_ids: Vec<u32>,
    /// Room for the mask without them.
    going_on: Vec<u32>,
}

impl Held {
    fn tell(&mut self) {
        let cut = self.constraint.cut();
        if let Some(cut) = cut.filter(|_| cut != self.told) {
            let mut log = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
            log.push((self.constraint.num_committed(), cut));
        }
        self.told = cut;
    }
}

impl gptoss_engine::Constraint for Held {
    fn mask(&mut self) -> Result<Mask<'_>, String> {
        let is_early = self.constraint.num_committed() < self.min_tokens;
        let allowed = self.constraint.allowed().map_err(|error| error.to_string())?;
        if !is_early {
            return Ok(Mask::Only(allowed));
        }
        self.going_on.clear();
        self.going_on.extend_from_slice(allowed);
        forbid(&mut self.going_on, &self.stop_ids);
        let has_more = self.going_on.iter().any(|word| *word != 0);
        Ok(Mask::Only(if has_more { &self.going_on } else { allowed }))
    }

    fn forced(&mut self, max: usize) -> Vec<u32> {
        self.constraint.forced(max)
    }

    fn commit(&mut self, token: u32) -> Result<(), String> {
        self.constraint.commit(token).map_err(|error| error.to_string())?;
        self.tell();
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.constraint.is_over()
    }
}

/// Takes tokens out of a mask.
pub(crate) fn forbid(words: &mut [u32], ids: &[u32]) {
    for id in ids {
        if let Some(word) = words.get_mut(*id as usize / 32) {
            *word &= !(1 << (id % 32));
        }
    }
}

fn spec(conversation: &Conversation, rules: &TurnRules) -> Spec {
    let functions = function_tools(conversation).into_iter().map(|(name, tool)| Function {
        name: name.to_owned(),
        arguments: arguments(name, tool.parameters.as_ref(), rules),
    });
    let builtins = builtin_tools(conversation).into_iter().map(|(recipient, tool)| Builtin {
        recipient,
        arguments: if tool.is_some() { Body::JsonObject } else { Body::Free },
    });
    Spec {
        functions: functions.collect(),
        builtins: builtins.collect(),
        tool_choice: rules.tool_choice.clone(),
        answer: rules.answer.clone(),
        reasoning: rules.reasoning,
    }
}

fn arguments(name: &str, parameters: Option<&Value>, rules: &TurnRules) -> Body {
    let schema = |fidelity| match parameters {
        Some(schema) => Body::JsonSchema { schema: schema.clone(), fidelity },
        None => Body::JsonObject,
    };
    match (rules.functions.get(name), &rules.tool_choice) {
        (Some(FunctionRule::Custom(body)), _) => body.clone(),
        (Some(FunctionRule::Strict), _) => schema(Fidelity::Strict),
        (None, ToolChoice::Required | ToolChoice::Named(_)) => schema(Fidelity::Loose),
        (None, ToolChoice::Auto | ToolChoice::None) => Body::JsonObject,
    }
}
