//! How does the vocabulary in a GGUF file's metadata become a [`Vocab`]?
//!
//! The metadata spells tokens and merges as a `tokenizer.json` does, in two lists and a kind for each token,
//! so the rules and bounds are those of the parent module. Entry point: [`Vocab::from_gguf`]. A list that is
//! the published vocabulary gives the built-in one, which is compared token by token: that is cheaper than
//! building a second, and the built-in one needs no merges. Everything that is not plain text is reserved,
//! apart from the nine control tokens.
//!
//! This module does not read files.

use std::{borrow::Cow, sync::Arc};

use hashbrown::HashMap;

use super::{
    AddedToken, Key, Merge, ModelSection, TokenizerFile, controls, merges, shown, text_tokens, unsupported,
};
use crate::{
    bpe::Bpe,
    byte_alphabet,
    error::Error,
    o200k,
    vocab::{Control, Vocab},
};

/// The kind of a token that is plain text.
const TEXT: i32 = 1;
/// The kind of a token that stands for a byte.
const BYTE: i32 = 6;

/// A vocabulary as GGUF metadata spells it.
#[derive(Debug, Clone, Copy)]
pub struct GgufTokens<'a> {
    /// `tokenizer.ggml.model`.
    pub model: &'a str,
    /// `tokenizer.ggml.pre`.
    pub pre: Option<&'a str>,
    /// The tokens in the order of their ids, in the byte alphabet.
    pub tokens: &'a [&'a str],
    /// The merges by priority, each `left right`.
    pub merges: &'a [&'a str],
    /// The kind of each token (1 and 6 are text); empty when the file does not say it.
    pub token_types: &'a [i32],
}

impl GgufTokens<'_> {
    /// Whether these are the published ids.
    fn are_published(&self) -> bool {
        let known = o200k::tokens();
        let is_text =
            |id: usize| byte_alphabet::bytes_of(self.tokens[id]).as_deref() == Some(known.of(id as u32));
        let mut specials = o200k::CONTROLS.iter().zip(Control::ALL);
        self.tokens.len() == o200k::NUM_IDS
            && specials.all(|(&id, control)| self.tokens[id as usize] == control.literal())
            && (0..known.len()).all(is_text)
    }

    /// Without kinds only the control tokens are told from text, by their names.
    fn is_text(&self, id: usize) -> bool {
        match self.token_types.get(id) {
            Some(&kind) => matches!(kind, TEXT | BYTE),
            None => Control::ALL.iter().all(|control| control.literal() != self.tokens[id]),
        }
    }
}

impl Vocab {
    /// Takes the vocabulary of a GGUF file: the built-in one when it is the published, else one of its own.
    ///
    /// Errors: those of [`Vocab::from_tokenizer_json`], for the same reasons.
    pub fn from_gguf(list: &GgufTokens<'_>) -> Result<Arc<Self>, Error> {
        if list.model != "gpt2" {
            return Err(unsupported("tokenizer.ggml.model", "gpt2, byte-level BPE", list.model));
        }
        if let Some(pre) = list.pre.filter(|pre| !matches!(*pre, "gpt-4o" | "default")) {
            return Err(unsupported("tokenizer.ggml.pre", "gpt-4o, the o200k split rule", pre));
        }
        if list.are_published() {
            return Ok(Self::o200k_harmony());
        }
        let (text, added): (Vec<usize>, Vec<usize>) =
            (0..list.tokens.len()).partition(|&id| list.is_text(id));
        let mut vocab = HashMap::with_capacity(text.len());
        for id in text {
            let token = list.tokens[id];
            if vocab.insert(Key(Cow::Borrowed(token)), id as u64).is_some() {
                let problem = "another token is spelled the same";
                return Err(Error::TokenizerToken { token: shown(token), id: id as u64, problem });
            }
        }
        let added_token = |id| AddedToken { id: id as u64, content: Cow::Borrowed(list.tokens[id]) };
        let file = TokenizerFile {
            normalizer: None,
            pre_tokenizer: None,
            added_tokens: added.into_iter().map(added_token).collect(),
            model: ModelSection {
                kind: Some("BPE".into()),
                byte_fallback: false,
                ignore_merges: true,
                continuing_subword_prefix: None,
                end_of_word_suffix: None,
                vocab,
                merges: list.merges.iter().map(|merge| Merge::Line(Key(Cow::Borrowed(merge)))).collect(),
            },
        };
        let controls = controls(&file.added_tokens)?;
        let (tokens, len) = text_tokens(&file)?;
        let merges = merges(&file.model, &tokens)?;
        let bpe = Bpe::new(tokens, merges, file.model.ignore_merges)
            .map_err(|byte| Error::TokenizerMissingByte { byte })?;
        Ok(Arc::new(Self::new(bpe, controls, len)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::o200k::MultiDigit;

    /// The lists that a converter writes for a `tokenizer.json`.
    struct Lists {
        tokens: Vec<String>,
        merges: Vec<String>,
        kinds: Vec<i32>,
    }

    fn lists(vocab: &Vocab) -> Lists {
        let file: Value = serde_json::from_slice(&vocab.to_tokenizer_json()).unwrap();
        let reserved = |id| format!("<|reserved_{id}|>");
        let mut lists = Lists {
            tokens: (0..vocab.len()).map(reserved).collect(),
            merges: vec![],
            kinds: vec![3; vocab.len()],
        };
        for (token, id) in file["model"]["vocab"].as_object().unwrap() {
            let id = id.as_u64().unwrap() as usize;
            (lists.tokens[id], lists.kinds[id]) = (token.clone(), 1);
        }
        for added in file["added_tokens"].as_array().unwrap() {
            let id = added["id"].as_u64().unwrap() as usize;
            lists.tokens[id] = added["content"].as_str().unwrap().to_string();
        }
        for merge in file["model"]["merges"].as_array().unwrap() {
            lists.merges.push(format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()));
        }
        lists
    }

    fn read(lists: &Lists, pre: Option<&str>, with_kinds: bool) -> Result<Arc<Vocab>, Error> {
        let tokens: Vec<&str> = lists.tokens.iter().map(String::as_str).collect();
        let merges: Vec<&str> = lists.merges.iter().map(String::as_str).collect();
        let token_types = if with_kinds { lists.kinds.as_slice() } else { &[] };
        Vocab::from_gguf(&GgufTokens { model: "gpt2", pre, tokens: &tokens, merges: &merges, token_types })
    }

    #[test]
    fn a_small_vocabulary_encodes_as_its_source() {
        let source = Vocab::truncated(700, MultiDigit::Drop);
        let lists = lists(&source);
        for (pre, with_kinds) in [(Some("gpt-4o"), true), (Some("default"), false), (None, true)] {
            let vocab = read(&lists, pre, with_kinds).unwrap();
            assert_eq!(vocab.len(), source.len());
            assert_eq!(vocab.stop_ids(), source.stop_ids());
            for text in
                ["the internet of the other things", "<|start|>", "12 + 345\n\tx = \u{e9}\u{4f60}", ""]
            {
                assert_eq!(vocab.encode_ids(text), source.encode_ids(text), "{text}");
            }
        }
    }

    #[test]
    fn the_published_list_is_the_built_in_vocabulary() {
        let published = Vocab::o200k_harmony();
        let mut lists = lists(&published);
        lists.merges.clear();
        assert!(Arc::ptr_eq(&read(&lists, Some("default"), true).unwrap(), &published));
        lists.tokens.swap(1000, 1001);
        let other = read(&lists, None, true).unwrap();
        assert!(!Arc::ptr_eq(&other, &published));
    }

    #[test]
    fn what_is_no_gpt_oss_vocabulary_is_refused() {
        let good = lists(&Vocab::truncated(300, MultiDigit::Keep));
        let refusal = |lists: &Lists, pre| read(lists, pre, true).unwrap_err().to_string();
        assert!(refusal(&good, Some("llama-bpe")).contains("llama-bpe"));
        let (mut twice, mut nameless, mut torn) = (copy(&good), copy(&good), copy(&good));
        twice.tokens[299] = twice.tokens[298].clone();
        assert!(refusal(&twice, None).contains("another token is spelled the same"));
        nameless.tokens.pop();
        assert!(refusal(&nameless, None).contains("<|call|>"));
        torn.merges[0] = "nothing".into();
        assert!(refusal(&torn, None).contains("no space"));
        torn.tokens[0] = "\u{4f60}".into();
        assert!(!refusal(&torn, None).is_empty());
        assert!(read(&Lists { tokens: vec![], merges: vec![], kinds: vec![] }, None, true).is_err());
    }

    fn copy(lists: &Lists) -> Lists {
        Lists { tokens: lists.tokens.clone(), merges: lists.merges.clone(), kinds: lists.kinds.clone() }
    }
}
