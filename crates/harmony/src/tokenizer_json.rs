//! How does a `tokenizer.json` become a vocabulary, and a vocabulary a `tokenizer.json`?
//!
//! The file is that of the Hugging Face tokenizers library. Only its byte-level BPE with the o200k split rule
//! is run, which is what every gpt-oss checkpoint carries; another rule is refused rather than run, since no
//! regular expression from a checkpoint is executed. The nine control tokens are found by their literal names
//! among the added tokens; all other added tokens are reserved ids, because text must never turn into them.
//! Every size is bounded and every id checked before memory is taken for it.

mod gguf;

use std::{borrow::Cow, fmt};

pub use gguf::GgufTokens;
use hashbrown::HashMap;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::{Value, json, value::RawValue};

use crate::{
    bpe::{Bpe, Merges, TokenBytes},
    byte_alphabet,
    error::Error,
    limits::{TOKEN_BYTES_MAX, TOKENIZER_JSON_BYTES_MAX, VOCABULARY_TOKENS_MAX},
    o200k,
    split::O200K_SPLIT,
    vocab::{Control, Vocab},
};

/// The file; `M` is its merges, unread text at first.
#[derive(Deserialize)]
struct TokenizerFile<'a, M = Vec<Merge<'a>>> {
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    #[serde(default, borrow)]
    added_tokens: Vec<AddedToken<'a>>,
    #[serde(borrow)]
    model: ModelSection<'a, M>,
}

#[derive(Deserialize)]
struct AddedToken<'a> {
    id: u64,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ModelSection<'a, M = Vec<Merge<'a>>> {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(borrow)]
    vocab: HashMap<Key<'a>, u64>,
    merges: M,
}

/// A string of the file, borrowed from it where it has no escapes.
#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// A merge in either spelling, `"a b"` or `["a", "b"]`.
enum Merge<'a> {
    Pair(Key<'a>, Key<'a>),
    Line(Key<'a>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Merge<'a> {
    // By hand, because serde's untagged enums buffer and copy each of the half million merges of the
    // published file.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergeVisitor;
        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = Merge<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a merge: \"a b\" or [\"a\", \"b\"]")
            }

            fn visit_borrowed_str<E>(self, line: &'de str) -> Result<Self::Value, E> {
                Ok(Merge::Line(Key(Cow::Borrowed(line))))
            }

            fn visit_str<E>(self, line: &str) -> Result<Self::Value, E> {
                Ok(Merge::Line(Key(Cow::Owned(line.into()))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sides: A) -> Result<Self::Value, A::Error> {
                let missing = |i| de::Error::invalid_length(i, &"two sides of a merge");
                let left = sides.next_element()?.ok_or_else(|| missing(0))?;
                let right = sides.next_element()?.ok_or_else(|| missing(1))?;
                match sides.next_element::<de::IgnoredAny>()? {
                    None => Ok(Merge::Pair(left, right)),
                    Some(_) => Err(missing(3)),
                }
            }
        }
        deserializer.deserialize_any(MergeVisitor)
    }
}

impl<'a, M> TokenizerFile<'a, M> {
    fn with_merges(self, merges: Vec<Merge<'a>>) -> TokenizerFile<'a> {
        let Self { normalizer, pre_tokenizer, added_tokens, model } = self;
        let model = ModelSection {
            kind: model.kind,
            byte_fallback: model.byte_fallback,
            ignore_merges: model.ignore_merges,
            continuing_subword_prefix: model.continuing_subword_prefix,
            end_of_word_suffix: model.end_of_word_suffix,
            vocab: model.vocab,
            merges,
        };
        TokenizerFile { normalizer, pre_tokenizer, added_tokens, model }
    }
}

impl Merge<'_> {
    fn sides(&self) -> Option<(&str, &str)> {
        match self {
            Self::Pair(left, right) => Some((&left.0, &right.0)),
            Self::Line(line) => line.0.split_once(' '),
        }
    }

    fn spelled(&self) -> String {
        match self {
            Self::Pair(left, right) => format!("{} {}", left.0, right.0),
            Self::Line(line) => line.0.to_string(),
        }
    }
}

impl Vocab {
    /// Reads a `tokenizer.json`: the published one, a fine-tune's, or one that [`Vocab::to_tokenizer_json`]
    /// wrote.
    ///
    /// Errors: a file that is damaged, too large, not byte-level BPE with the o200k split rule, without one
    /// of the nine control tokens or the 256 bytes, with impossible tokens or merges.
    pub fn from_tokenizer_json(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > TOKENIZER_JSON_BYTES_MAX {
            return Err(Error::TokenizerTooLarge { bytes: bytes.len(), max: TOKENIZER_JSON_BYTES_MAX });
        }
        let damaged = |source| Error::TokenizerSyntax { source };
        let file: TokenizerFile<'_, &RawValue> = serde_json::from_slice(bytes).map_err(damaged)?;
        check_kind(&file)?;
        let controls = controls(&file.added_tokens)?;
        if let Some(len) = len_if_published(&file) {
            let bpe = Bpe::new(o200k::tokens(), Merges::Ranked, true)
                .map_err(|byte| Error::TokenizerMissingByte { byte })?;
            return Ok(Self::new(bpe, controls, len));
        }
        let listed: Vec<Merge<'_>> = serde_json::from_str(file.model.merges.get()).map_err(damaged)?;
        let file = file.with_merges(listed);
        let (tokens, len) = text_tokens(&file)?;
        let merges = merges(&file.model, &tokens)?;
        let bpe = Bpe::new(tokens, merges, file.model.ignore_merges)
            .map_err(|byte| Error::TokenizerMissingByte { byte })?;
        Ok(Self::new(bpe, controls, len))
    }

    /// Writes the vocabulary as a `tokenizer.json` that the Hugging Face library and
    /// [`Vocab::from_tokenizer_json`] read to the same tokens. The merges of a rank vocabulary are all pairs
    /// of tokens whose bytes together are a token, by rank, as in the published file. Reserved ids without
    /// text are not written.
    pub fn to_tokenizer_json(&self) -> Vec<u8> {
        let characters = byte_alphabet::characters();
        let spell = |id: u32| -> String {
            self.bpe.tokens().of(id).iter().map(|&byte| characters[byte as usize]).collect()
        };
        let ids = (0..self.bpe.tokens().len() as u32).filter(|&id| !self.bpe.tokens().of(id).is_empty());
        let vocab: serde_json::Map<String, Value> = ids.map(|id| (spell(id), id.into())).collect();
        let merges: Vec<Value> =
            self.merge_pairs().into_iter().map(|(left, right)| json!([spell(left), spell(right)])).collect();
        let added = Control::ALL.map(|control| {
            json!({
                "id": self.control(control), "content": control.literal(), "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true
            })
        });
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": O200K_SPLIT}, "behavior": "Isolated", "invert": false},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
            ]},
            "post_processor": null,
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": false, "byte_fallback": false, "ignore_merges": self.bpe.whole_pieces(), "vocab": vocab, "merges": merges
            }
        });
        file.to_string().into_bytes()
    }

    /// The merges as pairs of ids, first priority first.
    fn merge_pairs(&self) -> Vec<(u32, u32)> {
        let mut pairs: Vec<(u32, u32, u32)> = match self.bpe.merges() {
            Merges::Listed { priority_of_pair, .. } => {
                priority_of_pair.iter().map(|(&(left, right), &p)| (p, left, right)).collect()
            }
            Merges::Ranked => {
                let tokens = self.bpe.tokens();
                let splits = (0..tokens.len() as u32).flat_map(|id| {
                    let bytes = tokens.of(id);
                    (1..bytes.len()).filter_map(move |at| {
                        Some((id, self.bpe.id_of(&bytes[..at])?, self.bpe.id_of(&bytes[at..])?))
                    })
                });
                splits.collect()
            }
        };
        pairs.sort_unstable();
        pairs.into_iter().map(|(_, left, right)| (left, right)).collect()
    }
}

/// The number of ids, when the text tokens are the published ones by their published ids and whole pieces are
/// looked up. Then the merges are what the ranks say, and the half million of the file need not be read.
fn len_if_published<M>(file: &TokenizerFile<'_, M>) -> Option<usize> {
    let known = o200k::tokens();
    let num_text = known.len() as u64;
    let is_published = |(Key(token), &id): (&Key<'_>, &u64)| {
        id < num_text && byte_alphabet::spells(token, known.of(id as u32))
    };
    // As many different tokens as there are ranks, each with its own id: all of them.
    let is_complete = file.model.ignore_merges && file.model.vocab.len() as u64 == num_text;
    let added = || file.added_tokens.iter().map(|token| token.id);
    let is_apart = added().all(|id| (num_text..VOCABULARY_TOKENS_MAX as u64).contains(&id));
    (is_complete && is_apart && file.model.vocab.iter().all(is_published))
        .then(|| added().max().map_or(known.len(), |id| id as usize + 1))
}

fn unsupported(field: &'static str, expected: &'static str, found: impl ToString) -> Error {
    let found: String = found.to_string().chars().take(200).collect();
    Error::TokenizerUnsupported { field, expected, found }
}

/// Refuses every feature of the format that would change tokens and that we do not run.
fn check_kind<M>(file: &TokenizerFile<'_, M>) -> Result<(), Error> {
    let model = &file.model;
    if let Some(kind) = model.kind.as_deref().filter(|&kind| kind != "BPE") {
        return Err(unsupported("model.type", "BPE", format!("{kind:?}")));
    }
    if let Some(normalizer) = &file.normalizer {
        return Err(unsupported("normalizer", "null", normalizer));
    }
    if model.byte_fallback {
        return Err(unsupported("model.byte_fallback", "false", "true"));
    }
    for (field, value) in [
        ("model.continuing_subword_prefix", &model.continuing_subword_prefix),
        ("model.end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if let Some(text) = value.as_deref().filter(|text| !text.is_empty()) {
            return Err(unsupported(field, "null", format!("{text:?}")));
        }
    }
    check_pre_tokenizer(file.pre_tokenizer.as_ref())
}

fn check_pre_tokenizer(pre_tokenizer: Option<&Value>) -> Result<(), Error> {
    const EXPECTED: &str =
        "a Split by the o200k expression, then ByteLevel without its own expression and prefix space";
    let wrong = |found: &Value| unsupported("pre_tokenizer", EXPECTED, found);
    let found = pre_tokenizer.unwrap_or(&Value::Null);
    let Some([split, byte_level]) = found.get("pretokenizers").and_then(Value::as_array).map(Vec::as_slice)
    else {
        return Err(wrong(found));
    };
    let pattern = split.pointer("/pattern/Regex").and_then(Value::as_str);
    if split.get("type").and_then(Value::as_str) != Some("Split") || pattern.is_none() {
        return Err(wrong(split));
    }
    if let Some(other) = pattern.filter(|&pattern| pattern != O200K_SPLIT) {
        let expected = "the o200k split expression (expressions of other tokenizers are not run)";
        return Err(unsupported("pre_tokenizer's split pattern", expected, other));
    }
    // Every character belongs to a match, so keeping the matches and removing what is between them come to
    // the same.
    let invert = split.get("invert").and_then(Value::as_bool).unwrap_or(false);
    match split.get("behavior").and_then(Value::as_str) {
        Some("Isolated") => {}
        Some("Removed") if invert => {}
        _ => return Err(wrong(split)),
    }
    let flag = |name| byte_level.get(name).and_then(Value::as_bool);
    let is_plain = flag("add_prefix_space") == Some(false) && flag("use_regex") == Some(false);
    match byte_level.get("type").and_then(Value::as_str) {
        Some("ByteLevel") if is_plain => Ok(()),
        _ => Err(wrong(byte_level)),
    }
}

fn checked_id(token: &str, id: u64) -> Result<u32, Error> {
    if id >= VOCABULARY_TOKENS_MAX as u64 {
        return Err(Error::TokenizerToken {
            token: shown(token),
            id,
            problem: "the id is beyond any vocabulary that is read",
        });
    }
    Ok(id as u32)
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

fn controls(added: &[AddedToken<'_>]) -> Result<[u32; 9], Error> {
    let mut ids = [0; 9];
    for (slot, control) in ids.iter_mut().zip(Control::ALL) {
        let name = control.literal();
        let token = added
            .iter()
            .find(|token| token.content == name)
            .ok_or(Error::TokenizerMissingControl { name })?;
        *slot = checked_id(name, token.id)?;
    }
    for (i, control) in Control::ALL.iter().enumerate() {
        if ids[..i].contains(&ids[i]) {
            let problem = "another control token has the same id";
            return Err(Error::TokenizerToken {
                token: control.literal().into(),
                id: ids[i].into(),
                problem,
            });
        }
    }
    Ok(ids)
}

/// The bytes of each id (none for added and missing ones) and the number of ids.
fn text_tokens<M>(file: &TokenizerFile<'_, M>) -> Result<(TokenBytes, usize), Error> {
    let mut spelled: Vec<Option<&str>> = Vec::new();
    for (Key(token), &id) in &file.model.vocab {
        let slot = checked_id(token, id)? as usize;
        if slot >= spelled.len() {
            spelled.resize(slot + 1, None);
        }
        if spelled[slot].replace(token).is_some() {
            return Err(Error::TokenizerToken {
                token: shown(token),
                id,
                problem: "another token has the same id",
            });
        }
    }
    let mut len = spelled.len();
    for added in &file.added_tokens {
        let id = checked_id(&added.content, added.id)? as usize;
        len = len.max(id + 1);
        if let Some(slot) = spelled.get_mut(id) {
            match slot.take() {
                Some(token) if token != added.content => {
                    let problem = "an added token has the id of another token of the vocabulary";
                    return Err(Error::TokenizerToken {
                        token: shown(&added.content),
                        id: added.id,
                        problem,
                    });
                }
                _ => {}
            }
        }
    }
    let (mut bytes, mut lengths) = (Vec::new(), Vec::with_capacity(spelled.len()));
    for (id, token) in spelled.iter().enumerate() {
        let token_bytes = token.map_or(Ok(Vec::new()), |token| token_bytes(token, id as u64))?;
        bytes.extend_from_slice(&token_bytes);
        lengths.push(token_bytes.len());
    }
    Ok((TokenBytes::new(Cow::Owned(bytes), lengths.into_iter()), len))
}

fn token_bytes(token: &str, id: u64) -> Result<Vec<u8>, Error> {
    let wrong = |problem| Error::TokenizerToken { token: shown(token), id, problem };
    let bytes =
        byte_alphabet::bytes_of(token).ok_or_else(|| wrong("it has characters outside the byte alphabet"))?;
    match bytes.len() {
        0 => Err(wrong("it is empty")),
        len if len > TOKEN_BYTES_MAX => Err(wrong("it is longer than any token that is read")),
        _ => Ok(bytes),
    }
}

/// All pairs that make one token share the priority of the first of them; tiktoken, whose order the published
/// merges are, decides between them by place alone.
fn merges(model: &ModelSection<'_>, tokens: &TokenBytes) -> Result<Merges, Error> {
    let id_of = |token: &str| model.vocab.get(&Key(Cow::Borrowed(token))).map(|&id| id as u32);
    let mut priority_of_pair = HashMap::with_capacity(model.merges.len());
    let mut priority_of_token = HashMap::with_capacity(model.merges.len());
    let mut token_of_priority = Vec::new();
    let mut merged = String::new();
    for (index, merge) in model.merges.iter().enumerate() {
        let wrong = |problem| Error::TokenizerMerge { index, merge: shown(&merge.spelled()), problem };
        let (left, right) = merge.sides().ok_or_else(|| wrong("it has no space between two tokens"))?;
        merged.clear();
        merged.push_str(left);
        merged.push_str(right);
        let left = id_of(left).ok_or_else(|| wrong("the left side is not a token of model.vocab"))?;
        let right = id_of(right).ok_or_else(|| wrong("the right side is not a token of model.vocab"))?;
        let token = id_of(&merged).ok_or_else(|| wrong("the merged token is not in model.vocab"))?;
        // Invariant: text never becomes an added token, so no merge may end in one.
        if tokens.of(token).is_empty() {
            return Err(wrong("it makes an added token"));
        }
        let priority = *priority_of_token.entry(token).or_insert_with(|| {
            token_of_priority.push(token);
            token_of_priority.len() as u32 - 1
        });
        priority_of_pair.entry((left, right)).or_insert(priority);
    }
    Ok(Merges::Listed { priority_of_pair, token_of_priority })
}
