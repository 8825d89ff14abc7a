//! The JSON Schemas that can be enforced, and what has to go.
//!
//! [`admit`] walks a client's schema before anything is built from it: it counts what has a limit, refuses by
//! name and path the keywords that a grammar cannot hold, and leaves out what says nothing about the text or,
//! when the client does not insist, what cannot be held. What comes out has only keywords that llguidance
//! implements, so that its own errors are about values and not about words. The walk follows the places where
//! subschemas stand; a property that is called `not` is a property.

use std::collections::BTreeSet;

use regex_syntax::hir::{Hir, HirKind};
use serde_json::{Map, Number, Value};

use crate::{
    error::Error,
    limits::Limits,
    references,
    spec::{Fidelity, Part, Warning},
    subschemas::{Place, place, pointer},
};

/// Keywords that no grammar of this size can hold, or that depend on what was matched elsewhere.
const UNENFORCEABLE: &[&str] = &[
    "not",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$recursiveRef",
];

/// Keywords that are enforced, or that say nothing about the text.
const KNOWN: &[&str] = &[
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "const",
    "enum",
    "type",
    "items",
    "additionalItems",
    "prefixItems",
    "minItems",
    "maxItems",
    "properties",
    "additionalProperties",
    "patternProperties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "$anchor",
    "$defs",
    "definitions",
    "$schema",
    "$id",
    "id",
    "$comment",
    "title",
    "description",
    "default",
    "readOnly",
    "writeOnly",
    "deprecated",
    "examples",
    "contentMediaType",
    "contentEncoding",
];

/// Keywords whose names and values only describe; they are left out without a word.
const ANNOTATIONS: &[&str] = &[
    "$anchor",
    "$id",
    "id",
    "$comment",
    "title",
    "description",
    "default",
    "readOnly",
    "writeOnly",
    "deprecated",
    "examples",
    "contentMediaType",
    "contentEncoding",
];

/// The formats that are enforced.
const FORMATS: &[&str] =
    &["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];

const REPETITIONS: &[&str] =
    &["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"];

/// A schema that can be handed to the compiler.
pub(crate) struct Admitted {
    pub(crate) schema: Value,
    pub(crate) warnings: Vec<Warning>,
}

/// Checks a schema and leaves out what is not enforced.
///
/// Errors: [`Error::TooLarge`], [`Error::Keyword`], [`Error::Schema`].
pub(crate) fn admit(
    part: &Part,
    schema: &Value,
    fidelity: Fidelity,
    limits: &Limits,
) -> Result<Admitted, Error> {
    let mut walk = Walk {
        part,
        fidelity,
        limits,
        num_nodes: 0,
        num_enum_values: 0,
        multiples: 1,
        targets: BTreeSet::new(),
        warnings: Vec::new(),
    };
    let schema = walk.node(schema, "", 0)?;
    let (levels, max) = (references::levels(&schema, &walk.targets), limits.schema_levels_max);
    walk.bound("", "its depth, all definitions that it refers to together,", levels, max, "levels")?;
    Ok(Admitted { schema, warnings: walk.warnings })
}

struct Walk<'a> {
    part: &'a Part,
    fidelity: Fidelity,
    limits: &'a Limits,
    num_nodes: usize,
    num_enum_values: usize,
    /// The least common multiple of all `multipleOf` so far.
    multiples: u64,
    /// What references name.
    targets: BTreeSet<String>,
    warnings: Vec<Warning>,
}

impl Walk<'_> {
    fn node(&mut self, schema: &Value, path: &str, depth: usize) -> Result<Value, Error> {
        let limits = self.limits;
        self.num_nodes += 1;
        self.bound(path, "its depth", depth as u64, limits.schema_depth_max as u64, "levels")?;
        self.bound(path, "its size", self.num_nodes as u64, limits.schema_nodes_max as u64, "subschemas")?;
        let keywords = match schema {
            Value::Bool(_) => return Ok(schema.clone()),
            Value::Object(keywords) => keywords,
            other => {
                return Err(
                    self.refuse(path, format!("a schema is an object or a boolean, not {}", kind(other)))
                );
            }
        };
        let mut kept = Map::new();
        for (keyword, value) in keywords {
            if self.keeps(keyword, value, path)? {
                let value = self.subschemas(keyword, value, path, depth)?;
                kept.insert(keyword.clone(), value);
            }
        }
        Ok(Value::Object(kept))
    }

    fn subschemas(&mut self, keyword: &str, value: &Value, path: &str, depth: usize) -> Result<Value, Error> {
        let path = pointer(path, keyword);
        match (place(keyword), value) {
            (Place::Nowhere, _) => Ok(value.clone()),
            (Place::Named, Value::Object(named)) => {
                if matches!(keyword, "properties" | "patternProperties") {
                    let (found, max) = (named.len() as u64, self.limits.object_properties_max as u64);
                    self.bound(&path, "the number of properties", found, max, "properties of one object")?;
                }
                let mut kept = Map::new();
                for (name, schema) in named {
                    let below = pointer(&path, name);
                    if keyword == "patternProperties" {
                        self.regex(&below, name)?;
                    }
                    kept.insert(name.clone(), self.node(schema, &below, depth + 1)?);
                }
                Ok(Value::Object(kept))
            }
            (Place::List | Place::One, Value::Array(list)) => {
                let each = list.iter().enumerate();
                let kept: Result<Vec<Value>, Error> = each
                    .map(|(index, schema)| self.node(schema, &format!("{path}/{index}"), depth + 1))
                    .collect();
                Ok(Value::Array(kept?))
            }
            (Place::One, schema) => self.node(schema, &path, depth + 1),
            (Place::Named, other) => {
                Err(self.refuse(&path, format!("expected an object, found {}", kind(other))))
            }
            (Place::List, other) => {
                Err(self.refuse(&path, format!("expected an array, found {}", kind(other))))
            }
        }
    }

    /// Whether a keyword stays; it is counted and checked by the way.
    fn keeps(&mut self, keyword: &str, value: &Value, path: &str) -> Result<bool, Error> {
        if UNENFORCEABLE.contains(&keyword) {
            return self.unenforceable(keyword, value, path);
        }
        if ANNOTATIONS.contains(&keyword) {
            return Ok(false);
        }
        if !KNOWN.contains(&keyword) {
            if !keyword.starts_with("x-") {
                self.warn(path, format!("{keyword:?} is not a keyword of JSON Schema: ignored"));
            }
            return Ok(false);
        }
        if REPETITIONS.contains(&keyword)
            && let Some(found) = value.as_f64()
        {
            let max = self.limits.repetitions_max;
            self.bound(&pointer(path, keyword), "the bound", found.max(0.0) as u64, max, "repetitions")?;
        }
        match (keyword, value) {
            ("$schema", Value::String(name)) if !is_draft(name) => {
                self.warn(path, format!("the draft {name:?} is unknown: read as 2020-12"));
                Ok(false)
            }
            ("format", Value::String(name)) if !FORMATS.contains(&name.as_str()) => {
                self.warn(path, format!("the format {name:?} is not enforced"));
                Ok(false)
            }
            ("$ref", Value::String(target)) => {
                self.targets.insert(target.clone());
                self.reference(&pointer(path, keyword), target).map(|()| true)
            }
            ("enum", Value::Array(values)) => {
                self.num_enum_values += values.len();
                let (found, max) = (self.num_enum_values as u64, self.limits.enum_values_max as u64);
                self.bound(&pointer(path, keyword), "the number of enum values", found, max, "values")
                    .map(|()| true)
            }
            ("pattern", Value::String(pattern)) => match self.regex(&pointer(path, keyword), pattern) {
                Err(Error::Schema { reason, .. }) if self.fidelity == Fidelity::Loose => {
                    self.warn(path, format!("the pattern is not enforced: {reason}"));
                    Ok(false)
                }
                checked => checked.map(|()| true),
            },
            ("multipleOf", Value::Number(step)) => self.multiple_of(step, path),
            _ => Ok(true),
        }
    }

    /// A remainder is a state of the automaton, and several steps may have to hold for one number.
    fn multiple_of(&mut self, step: &Number, path: &str) -> Result<bool, Error> {
        const KEYWORD: &str = "multipleOf";
        let Some(last_digits) = coefficient(step) else {
            return self.unenforceable(KEYWORD, &Value::Null, path);
        };
        let (multiples, max) =
            (least_common_multiple(self.multiples, last_digits), self.limits.multiples_max);
        if multiples <= max {
            self.multiples = multiples;
            return Ok(true);
        }
        if self.fidelity == Fidelity::Loose {
            return self.unenforceable(KEYWORD, &Value::Null, path);
        }
        let what = "the least common multiple of the steps";
        self.bound(&pointer(path, KEYWORD), what, multiples, max, "states").map(|()| true)
    }

    fn unenforceable(&mut self, keyword: &str, value: &Value, path: &str) -> Result<bool, Error> {
        let allows_all = match keyword {
            "uniqueItems" => value == &Value::Bool(false),
            "propertyNames" | "unevaluatedItems" | "unevaluatedProperties" => value == &Value::Bool(true),
            "not" => value == &Value::Bool(false),
            _ => false,
        };
        match self.fidelity {
            _ if allows_all => {}
            Fidelity::Strict => {
                return Err(Error::Keyword {
                    part: self.part.clone(),
                    path: path.into(),
                    keyword: keyword.into(),
                });
            }
            Fidelity::Loose => self.warn(path, format!("{keyword:?} is not enforced")),
        }
        Ok(false)
    }

    /// References are pointers into the same schema; `~` and `%` would need decoding, which the compiler does
    /// not do.
    fn reference(&self, path: &str, target: &str) -> Result<(), Error> {
        let is_pointer = target == "#" || (target.starts_with("#/") && !target.contains(['~', '%']));
        match is_pointer {
            true => Ok(()),
            false => Err(self.refuse(
                path,
                format!("the reference {target:?} is not of the form \"#/$defs/NAME\" (a name without '~' and '%')"),
            )),
        }
    }

    fn regex(&self, path: &str, pattern: &str) -> Result<(), Error> {
        self.bound(path, "the pattern", pattern.len() as u64, self.limits.regex_bytes_max as u64, "bytes")?;
        let read = parse_regex(pattern);
        let repetitions =
            read.map_err(|reason| self.refuse(path, format!("the regular expression is refused: {reason}")))?;
        check_repetitions(self.part, path, repetitions, self.limits)
    }

    fn bound(
        &self,
        path: &str,
        what: &'static str,
        found: u64,
        max: u64,
        unit: &'static str,
    ) -> Result<(), Error> {
        if found <= max {
            return Ok(());
        }
        Err(Error::TooLarge { part: self.part.clone(), path: path.into(), what, found, max, unit })
    }

    fn refuse(&self, path: &str, reason: String) -> Error {
        Error::Schema { part: self.part.clone(), path: path.into(), reason }
    }

    fn warn(&mut self, path: &str, message: String) {
        self.warnings.push(Warning { part: self.part.clone(), path: path.into(), message });
    }
}

/// Reads a regular expression in the compiler's syntax; how often its innermost part may repeat, nested
/// repetitions multiplied.
///
/// Errors: what is wrong, in a line.
pub(crate) fn parse_regex(pattern: &str) -> Result<u64, String> {
    use regex_syntax::Error;
    match regex_syntax::Parser::new().parse(pattern) {
        Ok(parsed) => Ok(repetitions(&parsed)),
        Err(Error::Parse(error)) => Err(format!("{} (byte {})", error.kind(), error.span().start.offset)),
        Err(Error::Translate(error)) => Err(format!("{} (byte {})", error.kind(), error.span().start.offset)),
        Err(_) => Err("it cannot be read".into()),
    }
}

/// Counted repetitions are written out when they are compiled; the parser bounds the depth of this recursion.
fn repetitions(parsed: &Hir) -> u64 {
    let inner = |parts: &[Hir]| parts.iter().map(repetitions).max().unwrap_or(1);
    match parsed.kind() {
        HirKind::Repetition(repetition) => {
            let count = repetition.max.unwrap_or(repetition.min).max(1);
            u64::from(count).saturating_mul(repetitions(&repetition.sub))
        }
        HirKind::Capture(capture) => repetitions(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => inner(parts),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => 1,
    }
}

/// A step in units of its last digit: 25 for 0.25. None for what has more than six digits in all, where
/// llguidance's arithmetic overflows too.
fn coefficient(step: &Number) -> Option<u64> {
    let text = step.to_string();
    if !step.as_f64().is_some_and(|step| (1e-6..=1e6).contains(&step)) || text.len() > 8 {
        return None;
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = match mantissa.contains('.') {
        true => mantissa.trim_end_matches('0').replace('.', ""),
        false => mantissa.to_owned(),
    };
    digits.parse().ok().filter(|&digits| digits > 0)
}

fn least_common_multiple(a: u64, b: u64) -> u64 {
    let (mut divisor, mut rest) = (a, b);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (a / divisor).saturating_mul(b)
}

/// Errors: [`Error::TooLarge`].
pub(crate) fn check_repetitions(part: &Part, path: &str, found: u64, limits: &Limits) -> Result<(), Error> {
    let (max, what, unit) = (limits.repetitions_max, "the product of its nested repetitions", "repetitions");
    match found <= max {
        true => Ok(()),
        false => Err(Error::TooLarge { part: part.clone(), path: path.into(), what, found, max, unit }),
    }
}

fn is_draft(name: &str) -> bool {
    const DRAFTS: [&str; 5] = [
        "https://json-schema.org/draft/2020-12/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema",
        "http://json-schema.org/draft-06/schema",
        "http://json-schema.org/draft-04/schema",
    ];
    DRAFTS.contains(&name.trim_end_matches('#'))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
