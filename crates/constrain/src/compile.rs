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
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use gptoss_harmony::{Control, Vocab};

use crate::{
    clock::Clock,
    error::Error,
    grammar::{self, Grammar},
    header::{self, BodyIndex, ContentForm, Headers, Piece, Step},
    limits::{
        COMPILATIONS_MAX, COMPILATIONS_OF_TENANT_MAX, COMPILATIONS_WAITING_MAX,
        COMPILATIONS_WAITING_OF_TENANT_MAX, Limits, NAME_BYTES_MAX,
    },
    slots::{Counts, Slots},
    spec::{Body, Part, Spec, ToolChoice, Warning},
    table::TokenTable,
};

/// Stack of a compiling thread, in bytes, of which the system gives what is used. llguidance recurses: in a
/// build without optimization a level of [`crate::limits::LARK_LEVELS_MAX`] takes up to 30 KiB and one of
/// [`crate::limits::SCHEMA_LEVELS_MAX`] up to 50.
const STACK_BYTES: usize = 256 << 20;

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
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = formatter.debug_struct("Compiled");
        out.field("bodies", &self.bodies).field("budget", &self.budget).finish_non_exhaustive()
    }
}

impl Compiled {
    /// What the schemas say that is not enforced.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The headers that may begin a message, given the reasoning so far.
    pub(crate) fn root(&self, roots: Roots, num_reasoning: u32) -> u32 {
        match self.budget {
            Some(budget) if num_reasoning >= budget => roots.closed,
            _ => roots.open,
        }
    }
}

/// Compiles a spec. Takes milliseconds for what is usual and up to [`Limits::compile_time_max`] of a
/// processor, and up to [`Limits::compile_wait_max`] with the line in which it waits when many do; call it off
/// the engine's thread.
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
        warnings,
    })
}

/// `<|start|>assistant` before a root.
fn lead_in(vocab: &Vocab, headers: &mut Headers, root: u32) -> u32 {
    let lead = headers.root();
    let pieces = [Piece::Control(Control::Start), Piece::Text("assistant".into())];
    headers.insert(lead, &header::encode(vocab, &pieces), Step::Node(root));
    lead
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
            let reasoning = self.plan(None, Control::End, true);
            self.reasoning_lines.push((header::plain("analysis", Absent), reasoning));
        }
        if spec.reasoning.preambles {
            let preamble = self.plan(None, Control::End, true);
            self.reasoning_lines.push((header::plain("commentary", Absent), preamble));
        }
        if matches!(spec.tool_choice, ToolChoice::Auto | ToolChoice::None) {
            let body = self.body(&Part::Answer, &spec.answer, Control::Return)?;
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
            self.call(&["commentary"], &recipient, name, body, forms, is_named)?;
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
            self.call(channels, name, name, body, forms, is_named)?;
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
        is_named: bool,
    ) -> Result<(), Error> {
        let body = self.body(&Part::Arguments(name.to_owned()), arguments, Control::Call)?;
        for channel in channels {
            for &form in forms {
                let orders = header::calls(channel, recipient, form).into_iter();
                let orders = orders.take(if is_named { 1 } else { 2 });
                self.lines.extend(orders.map(|pieces| (pieces, body)));
            }
        }
        Ok(())
    }

    fn body(&mut self, part: &Part, body: &Body, end: Control) -> Result<BodyIndex, Error> {
        if let (Body::JsonObject, Some(grammar)) = (body, self.any_object) {
            return Ok(self.plan(Some(grammar), end, false));
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
        Ok(self.plan(grammar, end, false))
    }

    fn check_time(&self) -> Result<(), Error> {
        let limit = self.limits.compile_time_max;
        match &self.clock {
            Some(clock) if clock.elapsed() > limit => Err(too_slow(&limit)),
            _ => Ok(()),
        }
    }

    fn plan(&mut self, grammar: Option<usize>, end: Control, is_reasoning: bool) -> BodyIndex {
        self.bodies.push(BodyPlan { grammar, end, is_reasoning });
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
