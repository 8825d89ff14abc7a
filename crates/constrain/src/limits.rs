//! The price of a grammar: what it may cost before it is refused.
//!
//! Schemas, patterns and grammars come from clients. [`Limits`] bounds what is looked at before anything is
//! built (sizes, depths, counts), what building may take (fuel and processor time) and what masks may take
//! (fuel and items). The constants are the defaults. A bound that is met is an [`crate::Error::TooLarge`] or
//! [`crate::Error::TooSlow`] that names it, or an [`crate::Error::Exhausted`] later; never a wrong answer.
//!
//! Fuel is llguidance's deterministic count of work on the automaton of tokens of a grammar: about 50,000 a
//! millisecond when building, 14,000 in a mask. It and not the clock decides whether a grammar is accepted,
//! wherever the processor is fast enough for its time not to; how busy the machine is decides nothing.

use std::{sync::Arc, time::Duration};

/// Deepest nesting of a JSON Schema, in levels of subschemas.
pub const SCHEMA_DEPTH_MAX: usize = 64;

/// Most subschemas of one JSON Schema.
pub const SCHEMA_NODES_MAX: usize = 20_000;

/// Most properties of one object of a JSON Schema, whose names are compared with each other.
pub const OBJECT_PROPERTIES_MAX: usize = 1_024;

/// Deepest way through the references of one JSON Schema, in levels of subschemas: every definition counts
/// with its own depth.
pub const SCHEMA_LEVELS_MAX: u64 = 2_000;

/// Largest least common multiple of all `multipleOf`s of one JSON Schema, in units of their last digits: each
/// remainder is a state of an automaton.
pub const MULTIPLES_MAX: u64 = 10_000;

/// Most rules and terminals of one Lark grammar.
pub const LARK_DEFINITIONS_MAX: u64 = 2_000;

/// Deepest way through one Lark grammar, in levels: every rule and terminal counts, with its brackets. The
/// stack of a compiling thread is sized for it.
pub const LARK_LEVELS_MAX: u64 = 3_000;

/// Most values of all `enum`s of one JSON Schema together.
pub const ENUM_VALUES_MAX: usize = 10_000;

/// Longest JSON Schema, regular expression or Lark grammar, in bytes of its text.
pub const GRAMMAR_BYTES_MAX: usize = 1 << 20;

/// Longest single regular expression, in bytes, whether alone or as `pattern`.
pub const REGEX_BYTES_MAX: usize = 16 << 10;

/// Highest bound of a repetition (`minItems`, `maxLength`, `{m,n}` ...), in repetitions.
pub const REPETITIONS_MAX: u64 = 100_000;

/// Most functions and built-in tools that one turn may call.
pub const TOOLS_MAX: usize = 1024;

/// Longest name of a function, in bytes; with it a header stays below harmony's 256 tokens however it is
/// encoded.
pub const NAME_BYTES_MAX: usize = 128;

/// Fuel for building the lexer of one grammar.
pub const COMPILE_FUEL_MAX: u64 = 300_000;

/// Most symbols in the productions of one grammar.
pub const GRAMMAR_SYMBOLS_MAX: usize = 200_000;

/// Most processor time for compiling all grammars of one turn, on a machine whose neighbors may be busy. It
/// is looked at between grammars; within one, fuel and sizes end the work.
pub const COMPILE_TIME_MAX: Duration = Duration::from_millis(2_000);

/// Most compilations at once in this process, those that were given up and still run included. Units:
/// threads.
pub const COMPILATIONS_MAX: usize = 4;

/// Most of them for one tenant.
pub const COMPILATIONS_OF_TENANT_MAX: usize = 2;

/// Most compilations that wait for their turn: as many as requests may wait for the engine.
pub const COMPILATIONS_WAITING_MAX: usize = 256;

/// Most of them of one tenant, so that there is a place for another.
pub const COMPILATIONS_WAITING_OF_TENANT_MAX: usize = 192;

/// Longest wait for a turn to compile and for the result.
pub const COMPILE_WAIT_MAX: Duration = Duration::from_secs(60);

/// The part of a sequence's room that reasoning leaves to the answer or call when nothing else is asked for:
/// one of so many.
pub const ANSWER_SHARE: usize = 4;

/// Least tokens of the body of an answer or call that reasoning leaves room for: a number, a name or a short
/// call. Units: tokens.
pub const ANSWER_TOKENS_MIN: usize = 16;

/// Most tokens that reasoning leaves without being asked: an answer of a page. Units: tokens.
pub const ANSWER_TOKENS_MAX: usize = 512;

/// Reasoning for which there is room for less than this, its header included, does not begin. Units: tokens.
pub const REASONING_TOKENS_MIN: usize = 20;

/// Times that a passage of reasoning stands in a row when it is called a loop.
pub const LOOP_REPEATS: usize = 6;

/// Least tokens of a loop, all its repetitions together.
pub const LOOP_TOKENS_MIN: usize = 256;

/// Tokens before a place in which a loop is looked for, so that a passage of up to 682 is found.
pub const LOOP_WINDOW_TOKENS: usize = 4_096;

/// Tokens of reasoning after which a loop is looked for again.
pub const LOOP_STRIDE_TOKENS: u32 = 16;

/// Longest way on which a body is brought to its end; it is looked for when no more than it and a margin are
/// left, so a form of some fifty fields can be closed. Units: tokens.
pub const CLOSING_TOKENS_MAX: usize = 512;

/// Tokens that reasoning leaves to an owed body of which no way out is known. Units: tokens.
pub const OWED_TOKENS_UNKNOWN: usize = 96;

/// Room beyond that way, for what one more token may add to it: part of it when there is little. Units:
/// tokens.
pub const CLOSING_MARGIN_TOKENS: usize = 16;

/// Fuel of the lexer for one mask.
pub const MASK_FUEL_MAX: u64 = 200_000;

/// Most parser items for one mask.
pub const MASK_ITEMS_MAX: usize = 50_000;

/// Most parser items at one place of the text: the breadth of an ambiguous grammar.
pub const MASK_ROW_ITEMS_MAX: usize = 2_000;

/// Work that the masks of one body may take beyond [`MASK_WORK_PER_TOKEN`], while its automaton is being
/// discovered. Looking for the way out of the body takes what they have left of both. Units: fuel and items.
pub const MASK_WORK_BURST: u64 = 1_000_000;

/// Work of masks that each token of a sequence earns. Units: fuel and items.
pub const MASK_WORK_PER_TOKEN: u64 = 2_000;

/// Most states of the lexer of one grammar in one sequence, at one to two KiB each.
pub const LEXER_STATES_MAX: usize = 20_000;

/// The bounds that [`crate::compile()`] keeps. Each field is explained at the constant of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// [`SCHEMA_DEPTH_MAX`], levels.
    pub schema_depth_max: usize,
    /// [`SCHEMA_NODES_MAX`], subschemas.
    pub schema_nodes_max: usize,
    /// [`OBJECT_PROPERTIES_MAX`], properties.
    pub object_properties_max: usize,
    /// [`SCHEMA_LEVELS_MAX`], levels.
    pub schema_levels_max: u64,
    /// [`MULTIPLES_MAX`].
    pub multiples_max: u64,
    /// [`LARK_DEFINITIONS_MAX`], rules and terminals.
    pub lark_definitions_max: u64,
    /// [`LARK_LEVELS_MAX`], levels.
    pub lark_levels_max: u64,
    /// [`ENUM_VALUES_MAX`], values.
    pub enum_values_max: usize,
    /// [`GRAMMAR_BYTES_MAX`], bytes.
    pub grammar_bytes_max: usize,
    /// [`REGEX_BYTES_MAX`], bytes.
    pub regex_bytes_max: usize,
    /// [`REPETITIONS_MAX`], repetitions.
    pub repetitions_max: u64,
    /// [`TOOLS_MAX`], tools.
    pub tools_max: usize,
    /// [`COMPILE_FUEL_MAX`], fuel.
    pub compile_fuel_max: u64,
    /// [`GRAMMAR_SYMBOLS_MAX`], symbols.
    pub grammar_symbols_max: usize,
    /// [`COMPILE_TIME_MAX`].
    pub compile_time_max: Duration,
    /// [`COMPILE_WAIT_MAX`].
    pub compile_wait_max: Duration,
    /// Whose share of [`COMPILATIONS_MAX`] a compilation takes.
    pub tenant: Arc<str>,
    /// [`MASK_FUEL_MAX`], fuel.
    pub mask_fuel_max: u64,
    /// [`MASK_ITEMS_MAX`], items.
    pub mask_items_max: usize,
    /// [`MASK_ROW_ITEMS_MAX`], items.
    pub mask_row_items_max: usize,
    /// [`LEXER_STATES_MAX`], states.
    pub lexer_states_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            schema_depth_max: SCHEMA_DEPTH_MAX,
            schema_nodes_max: SCHEMA_NODES_MAX,
            object_properties_max: OBJECT_PROPERTIES_MAX,
            schema_levels_max: SCHEMA_LEVELS_MAX,
            multiples_max: MULTIPLES_MAX,
            lark_definitions_max: LARK_DEFINITIONS_MAX,
            lark_levels_max: LARK_LEVELS_MAX,
            enum_values_max: ENUM_VALUES_MAX,
            grammar_bytes_max: GRAMMAR_BYTES_MAX,
            regex_bytes_max: REGEX_BYTES_MAX,
            repetitions_max: REPETITIONS_MAX,
            tools_max: TOOLS_MAX,
            compile_fuel_max: COMPILE_FUEL_MAX,
            grammar_symbols_max: GRAMMAR_SYMBOLS_MAX,
            compile_time_max: COMPILE_TIME_MAX,
            compile_wait_max: COMPILE_WAIT_MAX,
            tenant: Arc::from(""),
            mask_fuel_max: MASK_FUEL_MAX,
            mask_items_max: MASK_ITEMS_MAX,
            mask_row_items_max: MASK_ROW_ITEMS_MAX,
            lexer_states_max: LEXER_STATES_MAX,
        }
    }
}
