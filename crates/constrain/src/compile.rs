//! A spec compiled into headers and grammars.
//!
//! [`compile`] turns a [`Spec`] into a [`Compiled`], which any number of sequences start from
//! ([`crate::Constraint::new`]). It is meant for the thread that received the request, never for the
//! engine's: building may take as long as the limits allow. Few compile at once (`slots.rs`), each on a
//! thread with a stack that is large enough for the deepest grammar that the limits let through. Time is
//! the processor's: a busy machine refuses nothing that an idle one accepts. A caller who waits too long in
//! wall-clock time is told to come again; the thread ends after the grammar that it is at, which fuel and
//! sizes bound (decision 0018).

use std::{
    collections::BTreeSet,
    sync::{
        Arc, OnceLock,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use gptoss_harmony::{Control, Vocab};

use crate::{
    clock::Clock,
    closing::{Look, way_out},
    error::Error,
    grammar::{self, Grammar},
    header::{self, BodyIndex, ContentForm, Headers, Piece, Step},
    limits::{
        COMPILATIONS_MAX, COMPILATIONS_OF_TENANT_MAX, COMPILATIONS_WAITING_MAX,
        COMPILATIONS_WAITING_OF_TENANT_MAX, Limits, MASK_WORK_BURST, NAME_BYTES_MAX, OWED_TOKENS_UNKNOWN,
    },
    slots::{Counts, Slots},
    spec::{Body, Part, Spec, ToolChoice, Warning},
    table::TokenTable,
};

/// Stack of a compiling thread, in bytes, of which the system gives what is used. llguidance recurses: in a
/// build without optimization a level of [`crate::limits::LARK_LEVELS_MAX`] takes up to 30 KiB and one of
/// [`crate::limits::SCHEMA_LEVELS_MAX`] up to 50.
const STACK_BYTES: usize = 256 << 20;

/// Grammars of one turn whose shortest texts are looked for.
const OWED_GRAMMARS_MAX: usize = 8;

/// Tokens that end an open character at most: each has a byte of it.
const UTF8_TAIL_TOKENS: usize = 3;

static SLOTS: Slots = Slots::new(Counts {
    taken: COMPILATIONS_MAX,
    taken_of_tenant: COMPILATIONS_OF_TENANT_MAX,
    waiting: COMPILATIONS_WAITING_MAX,
    waiting_of_tenant: COMPILATIONS_WAITING_OF_TENANT_MAX,
});

/// A spec that can be held: immutable, shared by the sequences of a request.
pub struct Compiled {
    pub(crate) table: Arc<TokenTable>,
    pub(crate) headers: Headers,
    /// Where a completion begins, and where the next message begins after `<|end|>`.
    pub(crate) begin: Roots,
    pub(crate) after_end: Roots,
    pub(crate) bodies: Vec<BodyPlan>,
    pub(crate) grammars: Vec<Grammar>,
    pub(crate) budget: Option<u32>,
    /// Whether the turn must call.
    pub(crate) must_call: bool,
    /// Tokens from the end of reasoning to the first of the next body: what is left of a character, the end,
    /// and the longest header. Units: tokens.
    pub(crate) leave_tokens: usize,
    /// Tokens that the longest of the bodies that are owed takes at least, once that was asked.
    owed_tokens: OnceLock<usize>,
    warnings: Vec<Warning>,
}

/// A place in the headers with and without `analysis` among the channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roots {
    pub(crate) open: u32,
    pub(crate) closed: u32,
}

/// How a body is held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyPlan {
    /// Index of its grammar; `None` is free text.
    pub(crate) grammar: Option<usize>,
    /// What ends it.
    pub(crate) end: Control,
    /// Whether its tokens count against the budget.
    pub(crate) is_reasoning: bool,
    /// Whether it is closed when the room comes to its end: an answer that has a grammar, or a call that was
    /// demanded. A call that the model makes of itself is left out if it is not whole.
    pub(crate) is_owed: bool,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = formatter.debug_struct("Compiled");
        out.field("bodies", &self.bodies).field("budget", &self.budget).finish_non_exhaustive()
    }
}

impl Compiled {
    /// Whether there is reasoning at all.
    pub(crate) fn has_reasoning(&self) -> bool {
        self.bodies.iter().any(|body| body.is_reasoning)
    }

    /// The vocabulary that it is compiled for.
    pub fn vocab(&self) -> &Vocab {
        self.table.vocab()
    }

    /// What the schemas say that is not enforced.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Whether the turn must end in a call.
    pub fn must_call(&self) -> bool {
        self.must_call
    }

    /// Whether an answer must match something.
    pub fn has_format(&self) -> bool {
        self.bodies.iter().any(|body| body.is_owed && body.end == Control::Return)
    }

    /// Tokens that any of the bodies that are owed can be written in, so that there is something to keep for
    /// it. Units: tokens.
    pub(crate) fn owed_tokens(&self) -> usize {
        *self.owed_tokens.get_or_init(|| {
            let grammars: BTreeSet<usize> =
                self.bodies.iter().filter(|body| body.is_owed).filter_map(|body| body.grammar).collect();
            let (table, end_of_grammar) = (&self.table, self.end_of_grammar());
            let look = Look { table, end_of_grammar, work_max: MASK_WORK_BURST / OWED_GRAMMARS_MAX as u64 };
            let least = |grammar: usize| {
                let (way, _) = way_out(look, self.grammars[grammar].start());
                way.map_or(OWED_TOKENS_UNKNOWN, |way| way.len())
            };
            grammars.into_iter().take(OWED_GRAMMARS_MAX).map(least).max().unwrap_or(0)
        })
    }

    /// The token by which a grammar says that its text may end.
    pub(crate) fn end_of_grammar(&self) -> u32 {
        self.table.vocab().control(Control::Return)
    }
}

/// Compiles a spec. Takes milliseconds for what is usual and up to [`Limits::compile_time_max`] of a
/// processor, and up to [`Limits::compile_wait_max`] with the line in which it waits when many do; call it
/// off the engine's thread.
///
/// Errors: every variant of [`Error`] before [`Error::NotAllowed`], each with what to do.
pub fn compile(table: &Arc<TokenTable>, spec: Spec, limits: &Limits) -> Result<Arc<Compiled>, Error> {
    check_tools(&spec, limits)?;
    let mut arguments = spec.functions.iter().map(|function| &function.arguments);
    let mut of_builtins = spec.builtins.iter().map(|tool| &tool.arguments);
    if spec.answer == Body::Free
        && arguments.all(|body| *body == Body::Free)
        && of_builtins.all(|body| *body == Body::Free)
    {
        // Headers alone: nothing that could take long.
        return build(table, &spec, limits, None).map(Arc::new);
    }
    // Once per vocabulary, and no request's fault: outside of the time.
    table.factory()?;
    let started = Instant::now();
    let busy = || Error::Busy { max: COMPILATIONS_MAX };
    let slot = SLOTS.take(&limits.tenant, limits.compile_wait_max).ok_or_else(busy)?;
    let (sender, receiver) = mpsc::sync_channel(1);
    let (table, limits) = (Arc::clone(table), limits.clone());
    let wait_max = limits.compile_wait_max;
    let work = move || {
        let built = build(&table, &spec, &limits, Some(Clock::start()));
        drop(slot);
        // Nobody listens any more when the wait was too long.
        let _ = sender.send(built);
    };
    let spawned = thread::Builder::new().name("compile grammar".into()).stack_size(STACK_BYTES).spawn(work);
    spawned.map_err(|_| busy())?;
    match receiver.recv_timeout(wait_max.saturating_sub(started.elapsed())) {
        Ok(built) => built.map(Arc::new),
        Err(RecvTimeoutError::Timeout) => Err(busy()),
        Err(RecvTimeoutError::Disconnected) => Err(Error::Crashed),
    }
}

fn too_slow(limit: &Duration) -> Error {
    Error::TooSlow { limit_ms: limit.as_millis() as u64 }
}

/// Names that can stand in a header, once each, and a tool choice that can be met.
fn check_tools(spec: &Spec, limits: &Limits) -> Result<(), Error> {
    let functions = spec.functions.iter().map(|function| &function.name);
    let names: Vec<&String> = functions.chain(spec.builtins.iter().map(|tool| &tool.recipient)).collect();
    if names.len() > limits.tools_max {
        return Err(Error::TooManyTools { found: names.len(), max: limits.tools_max });
    }
    let mut seen = BTreeSet::new();
    for &name in &names {
        let reason = match name {
            name if name.is_empty() => "is empty",
            name if name.len() > NAME_BYTES_MAX => "is longer than 128 bytes",
            name if name.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                "has white space or control characters, which end a recipient"
            }
            name if !seen.insert(name) => "is used by two tools",
            _ => continue,
        };
        return Err(Error::Name { name: name.clone(), reason });
    }
    match &spec.tool_choice {
        ToolChoice::Named(name) if !names.contains(&name) => {
            let known = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            Err(Error::UnknownTool { name: name.clone(), known })
        }
        ToolChoice::Required if names.is_empty() => Err(Error::NothingToCall),
        _ => Ok(()),
    }
}

fn build(
    table: &Arc<TokenTable>,
    spec: &Spec,
    limits: &Limits,
    clock: Option<Clock>,
) -> Result<Compiled, Error> {
    let mut builder = Builder {
        table,
        limits,
        clock,
        bodies: Vec::new(),
        grammars: Vec::new(),
        warnings: Vec::new(),
        any_object: None,
        lines: Vec::new(),
        reasoning_lines: Vec::new(),
    };
    builder.messages(spec)?;
    let vocab = table.vocab();
    let longest = builder.lines.iter().map(|(pieces, _)| header::encode(vocab, pieces).len()).max();
    let leave_tokens = UTF8_TAIL_TOKENS + 1 + lead_in_tokens(vocab).len() + longest.unwrap_or(0);
    let mut headers = Headers::new();
    let closed = builder.trie(vocab, &mut headers, false);
    let open = builder.trie(vocab, &mut headers, true);
    let begin = Roots { open, closed };
    let after_end =
        Roots { open: lead_in(vocab, &mut headers, open), closed: lead_in(vocab, &mut headers, closed) };
    let Builder { bodies, grammars, warnings, .. } = builder;
    let table = Arc::clone(table);
    Ok(Compiled {
        table,
        headers,
        begin,
        after_end,
        bodies,
        grammars,
        budget: spec.reasoning.budget,
        must_call: must_call(spec),
        leave_tokens,
        owed_tokens: OnceLock::new(),
        warnings,
    })
}

/// `<|start|>assistant` before a root.
fn lead_in(vocab: &Vocab, headers: &mut Headers, root: u32) -> u32 {
    let lead = headers.root();
    headers.insert(lead, &lead_in_tokens(vocab), Step::Node(root));
    lead
}

fn lead_in_tokens(vocab: &Vocab) -> Vec<u32> {
    header::encode(vocab, &[Piece::Control(Control::Start), Piece::Text("assistant".into())])
}

fn must_call(spec: &Spec) -> bool {
    matches!(spec.tool_choice, ToolChoice::Required | ToolChoice::Named(_))
}

struct Builder<'a> {
    table: &'a TokenTable,
    limits: &'a Limits,
    /// Of a compilation whose time is bounded.
    clock: Option<Clock>,
    bodies: Vec<BodyPlan>,
    grammars: Vec<Grammar>,
    warnings: Vec<Warning>,
    /// The grammar of any JSON object, which many functions share.
    any_object: Option<usize>,
    lines: Vec<(Vec<Piece>, BodyIndex)>,
    reasoning_lines: Vec<(Vec<Piece>, BodyIndex)>,
}

impl Builder<'_> {
    fn messages(&mut self, spec: &Spec) -> Result<(), Error> {
        use ContentForm::Absent;
        if spec.reasoning.budget != Some(0) {
            let reasoning = self.plan(None, Control::End, true, false);
            self.reasoning_lines.push((header::plain("analysis", Absent), reasoning));
        }
        if spec.reasoning.preambles {
            let preamble = self.plan(None, Control::End, true, false);
            self.reasoning_lines.push((header::plain("commentary", Absent), preamble));
        }
        if matches!(spec.tool_choice, ToolChoice::Auto | ToolChoice::None) {
            let body = self.body(&Part::Answer, &spec.answer, Control::Return, true)?;
            for &form in answer_forms(&spec.answer) {
                self.lines.push((header::plain("final", form), body));
            }
        }
        let is_offered = |name: &str| match &spec.tool_choice {
            ToolChoice::None => false,
            ToolChoice::Auto | ToolChoice::Required => true,
            ToolChoice::Named(named) => named == name,
        };
        let is_named = matches!(spec.tool_choice, ToolChoice::Named(_));
        for function in spec.functions.iter().filter(|function| is_offered(&function.name)) {
            let recipient = format!("functions.{}", function.name);
            let (name, body) = (&function.name, &function.arguments);
            let forms = call_forms(body);
            // A header that is forced anyway is forced in one form, the published one, so that it costs no
            // step of its own.
            let forms = if is_named { &forms[..1] } else { forms };
            self.call(&["commentary"], &recipient, name, body, forms, spec)?;
        }
        for tool in spec.builtins.iter().filter(|tool| is_offered(&tool.recipient)) {
            const CHANNELS: &[&str] = &["analysis", "commentary"];
            const FORMS: &[ContentForm] = &[
                ContentForm::Word("code"),
                Absent,
                ContentForm::Word("json"),
                ContentForm::SpacedConstrained("json"),
            ];
            let (name, body) = (&tool.recipient, &tool.arguments);
            let (channels, forms) = if is_named { (&CHANNELS[..1], &FORMS[..1]) } else { (CHANNELS, FORMS) };
            self.call(channels, name, name, body, forms, spec)?;
        }
        Ok(())
    }

    fn call(
        &mut self,
        channels: &[&str],
        recipient: &str,
        name: &str,
        arguments: &Body,
        forms: &[ContentForm],
        spec: &Spec,
    ) -> Result<(), Error> {
        let is_named = matches!(spec.tool_choice, ToolChoice::Named(_));
        let part = Part::Arguments(name.to_owned());
        let body = self.body(&part, arguments, Control::Call, must_call(spec))?;
        for channel in channels {
            for &form in forms {
                let orders = header::calls(channel, recipient, form).into_iter();
                let orders = orders.take(if is_named { 1 } else { 2 });
                self.lines.extend(orders.map(|pieces| (pieces, body)));
            }
        }
        Ok(())
    }

    fn body(&mut self, part: &Part, body: &Body, end: Control, is_owed: bool) -> Result<BodyIndex, Error> {
        if let (Body::JsonObject, Some(grammar)) = (body, self.any_object) {
            return Ok(self.plan(Some(grammar), end, false, is_owed));
        }
        self.check_time()?;
        let built = grammar::build(self.table, part, body, self.limits, &mut self.warnings)?;
        self.check_time()?;
        let grammar = built.map(|grammar| {
            self.grammars.push(grammar);
            self.grammars.len() - 1
        });
        if *body == Body::JsonObject {
            self.any_object = grammar;
        }
        Ok(self.plan(grammar, end, false, is_owed && grammar.is_some()))
    }

    fn check_time(&self) -> Result<(), Error> {
        let limit = self.limits.compile_time_max;
        match &self.clock {
            Some(clock) if clock.elapsed() > limit => Err(too_slow(&limit)),
            _ => Ok(()),
        }
    }

    fn plan(&mut self, grammar: Option<usize>, end: Control, is_reasoning: bool, is_owed: bool) -> BodyIndex {
        self.bodies.push(BodyPlan { grammar, end, is_reasoning, is_owed });
        self.bodies.len() as BodyIndex - 1
    }

    fn trie(&self, vocab: &Vocab, headers: &mut Headers, with_reasoning: bool) -> u32 {
        let root = headers.root();
        let reasoning = self.reasoning_lines.iter().filter(|_| with_reasoning);
        for (pieces, body) in reasoning.chain(&self.lines) {
            headers.insert(root, &header::encode(vocab, pieces), Step::Body(*body));
        }
        root
    }
}

/// How models name the type of an answer: all three occur for JSON.
fn answer_forms(body: &Body) -> &'static [ContentForm] {
    match body {
        Body::JsonObject | Body::JsonSchema { .. } => JSON_FORMS,
        Body::Free | Body::Regex(_) | Body::Lark(_) => &[ContentForm::Absent],
    }
}

/// How models name the type of a call's arguments. A custom tool's text has no published form: none, or
/// `code` as the built-in tools have it.
fn call_forms(body: &Body) -> &'static [ContentForm] {
    match body {
        Body::JsonObject | Body::JsonSchema { .. } => JSON_FORMS,
        Body::Free | Body::Regex(_) | Body::Lark(_) => &[ContentForm::Absent, ContentForm::Word("code")],
    }
}

const JSON_FORMS: &[ContentForm] = &[
    ContentForm::SpacedConstrained("json"),
    ContentForm::Constrained("json"),
    ContentForm::Word("json"),
    ContentForm::Absent,
];
