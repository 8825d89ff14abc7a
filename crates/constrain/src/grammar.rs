//! The automaton that holds a body that is not free.
//!
//! [`Grammar`] is a compiled body: an llguidance matcher in its first state with its first mask computed,
//! which every sequence copies whole ([`Grammar::start`]), so that sequences share neither caches nor limits
//! and one cannot use up the fuel of another. [`build`] makes it from a [`Body`]. When a schema is refused,
//! [`build`] looks for the smallest subschema that is refused by itself and names its path.
//!
//! JSON is compact: no white space between its parts. A model cannot then fill its answer with blanks, and
//! more places have one way out.

use llguidance::{
    JsonCompileOptions, Logger, Matcher, ParserFactory,
    api::{GrammarInit, ParserLimits, TopLevelGrammar},
    toktrie::InferenceCapabilities,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use crate::{
    error::Error,
    lark,
    limits::Limits,
    schema,
    spec::{Body, Fidelity, Part, Warning},
    subschemas,
    table::TokenTable,
};

/// Most subschemas that are compiled by themselves to find the one that is refused, and how long that may
/// take.
const SEARCH_TRIES_MAX: usize = 64;
const SEARCH_TIME_MAX: Duration = Duration::from_millis(200);

/// How [`explain`] names work beyond the limits.
const TOO_MUCH_WORK: &str = "it takes more work than the limits allow";

/// A compiled body.
pub(crate) struct Grammar {
    pub(crate) part: Part,
    matcher: Matcher,
}

impl Grammar {
    /// A matcher of one sequence, in the first state.
    pub(crate) fn start(&self) -> Matcher {
        self.matcher.deep_clone()
    }
}

/// Compiles a body; `None` when it is free.
///
/// Errors: as [`crate::compile()`], but for those about tools and time.
pub(crate) fn build(
    table: &TokenTable,
    part: &Part,
    body: &Body,
    limits: &Limits,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Grammar>, Error> {
    let compiler = || -> Result<Compiler<'_>, Error> { Ok(Compiler { factory: table.factory()?, limits }) };
    let matcher = match body {
        Body::Free => return Ok(None),
        Body::JsonObject => {
            compiler()?.schema(part, &json!({"type": "object"}), Fidelity::Strict, warnings)?
        }
        Body::JsonSchema { schema, fidelity } => {
            let admitted = schema::admit(part, schema, *fidelity, limits)?;
            check_bytes(part, schema.to_string().len(), limits.grammar_bytes_max)?;
            warnings.extend(admitted.warnings);
            compiler()?.schema(part, &admitted.schema, *fidelity, warnings)?
        }
        Body::Regex(pattern) => compiler()?.regex(part, pattern)?,
        Body::Lark(text) => compiler()?.lark(part, text)?,
    };
    Ok(Some(Grammar { part: part.clone(), matcher }))
}

fn check_bytes(part: &Part, found: usize, max: usize) -> Result<(), Error> {
    if found <= max {
        return Ok(());
    }
    let (found, max) = (found as u64, max as u64);
    Err(Error::TooLarge {
        part: part.clone(),
        path: String::new(),
        what: "its text",
        found,
        max,
        unit: "bytes",
    })
}

struct Compiler<'a> {
    factory: &'a ParserFactory,
    limits: &'a Limits,
}

impl Compiler<'_> {
    fn regex(&self, part: &Part, pattern: &str) -> Result<Matcher, Error> {
        const LANGUAGE: &str = "regular expression";
        check_bytes(part, pattern.len(), self.limits.regex_bytes_max)?;
        let refuse = |reason| Error::Grammar { part: part.clone(), language: LANGUAGE, reason };
        if pattern.is_empty() {
            return Err(refuse("it is empty: the text would have to be empty".into()));
        }
        let repetitions = schema::parse_regex(pattern).map_err(refuse)?;
        schema::check_repetitions(part, "", repetitions, self.limits)?;
        self.matcher(TopLevelGrammar::from_regex(pattern)).map_err(refuse)
    }

    fn lark(&self, part: &Part, text: &str) -> Result<Matcher, Error> {
        const LANGUAGE: &str = "Lark grammar";
        check_bytes(part, text.len(), self.limits.grammar_bytes_max)?;
        let refuse = |reason| Error::Grammar { part: part.clone(), language: LANGUAGE, reason };
        let measure = lark::measure(text).map_err(refuse)?;
        let bound = |what, found, max, unit| match found <= max {
            true => Ok(()),
            false => Err(Error::TooLarge { part: part.clone(), path: String::new(), what, found, max, unit }),
        };
        let limits = self.limits;
        bound(
            "the number of its definitions",
            measure.definitions,
            limits.lark_definitions_max,
            "rules and terminals",
        )?;
        bound(
            "its depth, all rules and brackets together,",
            measure.levels,
            limits.lark_levels_max,
            "levels",
        )?;
        self.matcher(TopLevelGrammar::from_lark(text.into())).map_err(refuse)
    }

    fn schema(
        &self,
        part: &Part,
        schema: &Value,
        fidelity: Fidelity,
        warnings: &mut Vec<Warning>,
    ) -> Result<Matcher, Error> {
        let mut matcher = self.json(schema, fidelity).map_err(|reason| {
            let (path, reason) = self.search(schema, fidelity, reason);
            Error::Schema { part: part.clone(), path, reason }
        })?;
        let told = matcher.grammar_warnings().into_iter();
        warnings.extend(told.map(|message| Warning { part: part.clone(), path: String::new(), message }));
        Ok(matcher)
    }

    /// Compiles a schema that was admitted.
    fn json(&self, schema: &Value, fidelity: Fidelity) -> Result<Matcher, String> {
        let options = JsonCompileOptions {
            item_separator: ",".into(),
            key_separator: ":".into(),
            whitespace_flexible: false,
            whitespace_pattern: None,
            coerce_one_of: fidelity == Fidelity::Loose,
            ..JsonCompileOptions::default()
        };
        let mut schema = match schema {
            Value::Bool(true) => json!({}),
            Value::Bool(false) => return Err("nothing matches `false`".into()),
            other => other.clone(),
        };
        options.apply_to(&mut schema);
        self.matcher(TopLevelGrammar::from_json_schema(schema))
    }

    /// Compiles any grammar and takes the first mask, which fills the caches that every copy begins with.
    fn matcher(&self, grammar: TopLevelGrammar) -> Result<Matcher, String> {
        let limits = ParserLimits {
            max_items_in_row: self.limits.mask_row_items_max,
            initial_lexer_fuel: self.limits.compile_fuel_max,
            step_lexer_fuel: self.limits.mask_fuel_max,
            step_max_items: self.limits.mask_items_max,
            max_lexer_states: self.limits.lexer_states_max,
            max_grammar_size: self.limits.grammar_symbols_max,
            precompute_large_lexemes: true,
            verbose_errors: false,
        };
        let parser = self.factory.create_parser_from_init_ext(
            GrammarInit::Serialized(grammar),
            Logger::new(0, 0),
            InferenceCapabilities::default(),
            limits,
        );
        let mut matcher = Matcher::new(Ok(parser.map_err(|error| explain(&error.to_string()))?));
        let first = matcher.compute_mask();
        first.map_err(|error| {
            format!("no text matches it within the limits: {}", explain(&error.to_string()))
        })?;
        Ok(matcher)
    }

    /// The path of the smallest subschema that is refused by itself, and why. Definitions go with each of
    /// them; a schema that refers elsewhere cannot be cut out, and is named whole.
    fn search(&self, schema: &Value, fidelity: Fidelity, reason: String) -> (String, String) {
        let (mut path, mut reason, mut at) = (String::new(), reason, schema);
        let mut tries = 0;
        let started = Instant::now();
        // What is too much in all need not be too much anywhere, and every try could take as much again.
        if reason == TOO_MUCH_WORK {
            return (path, reason);
        }
        'down: loop {
            for (below, child) in subschemas::children(at) {
                tries += 1;
                if tries > SEARCH_TRIES_MAX || started.elapsed() > SEARCH_TIME_MAX {
                    return (path, reason);
                }
                if let Err(found) = self.json(&with_definitions(child, schema), fidelity)
                    && !found.contains("Reference segment")
                {
                    (path, reason, at) = (path + &below, found, child);
                    continue 'down;
                }
            }
            return (path, reason);
        }
    }
}

/// A subschema that finds the definitions of the whole.
fn with_definitions(child: &Value, root: &Value) -> Value {
    let mut child = child.clone();
    if let (Value::Object(keywords), Value::Object(root)) = (&mut child, root) {
        for name in ["$defs", "definitions"] {
            if let Some(definitions) = root.get(name) {
                keywords.entry(name).or_insert_with(|| definitions.clone());
            }
        }
    }
    child
}

/// What llguidance says, in our words where its own name settings of its, without state dumps and
/// back-traces.
pub(crate) fn explain(message: &str) -> String {
    const KNOWN: [(&str, &str); 9] = [
        ("fuel", TOO_MUCH_WORK),
        ("too many expressions", TOO_MUCH_WORK),
        ("too many states", TOO_MUCH_WORK),
        ("Unable to determine if regex is empty", TOO_MUCH_WORK),
        ("Too many items", "it is too ambiguous for the limits"),
        ("too many items", "it is too ambiguous for the limits"),
        ("grammar too large", "it has more symbols than the limits allow"),
        ("NoExtensionBias", "nothing can follow"),
        ("NoExtension", "nothing can follow"),
    ];
    if let Some((_, ours)) = KNOWN.iter().find(|(theirs, _)| message.contains(theirs)) {
        return (*ours).into();
    }
    let line = message.lines().find(|line| !line.trim().is_empty() && !line.starts_with('<'));
    line.unwrap_or("no reason given").chars().take(300).collect()
}
