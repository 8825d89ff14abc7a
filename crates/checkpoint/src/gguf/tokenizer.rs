//! The vocabulary that a GGUF file carries in its metadata, as plain data.
//!
//! Entry point: [`GgufTokenizer::of`]. Tokens and merges are spelled in the byte alphabet of byte-level BPE,
//! as in a `tokenizer.json`, and are borrowed from the map; nothing is interpreted here. A file may carry no
//! vocabulary, and then there is none: made-up models and benchmarks need no text.
//!
//! It does not know what a merge or a control token is; the room of harmony does.

use super::file::GgufFile;
use crate::error::Error;

/// A vocabulary as the file spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTokenizer<'a> {
    /// `tokenizer.ggml.model`: `gpt2` for byte-level BPE.
    pub model: &'a str,
    /// `tokenizer.ggml.pre`, the rule that splits text into pieces; early files say `default` or nothing.
    pub pre: Option<&'a str>,
    /// The tokens in the order of their ids.
    pub tokens: Vec<&'a str>,
    /// The merges by priority, each `left right`.
    pub merges: Vec<&'a str>,
    /// The kind of each token: 1 text, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. Empty when the
    /// file does not say it.
    pub token_types: Vec<i32>,
}

impl<'a> GgufTokenizer<'a> {
    /// The file's vocabulary, if it has one.
    ///
    /// Errors: [`Error::BadGguf`] for keys of the wrong kind.
    pub(crate) fn of(file: &'a GgufFile) -> Result<Option<GgufTokenizer<'a>>, Error> {
        let Some(tokens) = file.texts("tokenizer.ggml.tokens")? else { return Ok(None) };
        let bad = |detail: String| Error::BadGguf { path: file.path().to_path_buf(), detail };
        let model = file.text("tokenizer.ggml.model").unwrap_or("gpt2");
        let merges = file.texts("tokenizer.ggml.merges")?.unwrap_or_default();
        let token_types = match file.value("tokenizer.ggml.token_type") {
            None => Vec::new(),
            Some(value) => file
                .small_numbers(value)
                .ok_or_else(|| bad("tokenizer.ggml.token_type is no list of 32-bit numbers".into()))?,
        };
        if !token_types.is_empty() && token_types.len() != tokens.len() {
            let (types, tokens) = (token_types.len(), tokens.len());
            return Err(bad(format!("tokenizer.ggml.token_type has {types} entries for {tokens} tokens")));
        }
        Ok(Some(GgufTokenizer { model, pre: file.text("tokenizer.ggml.pre"), tokens, merges, token_types }))
    }
}
