//! Whether a model's vocabulary is the one that it was trained with, as far as that can be known.

use std::sync::Arc;

use gptoss_checkpoint::PUBLISHED_VOCAB_SIZE;
use gptoss_harmony::{Control, MultiDigit, Token, Vocab};

use crate::finding::Finding;
use crate::model_source::Opened;

const ABOUT: &str = "vocabulary";
/// A text that has to come back: cases, digits, scripts, spaces, and what looks like a control token.
const TEXT: &str = "It's 12345678 o'clock.\n\n\tGrüße, 你好, привет 🙂  <|start|>user  fn main() {}";

/// What there is to say of it.
pub fn finding(opened: &Opened, vocab: &Arc<Vocab>) -> Finding {
    let size = opened.checkpoint.config().vocab_size;
    let ids = vocab.encode_ids(TEXT);
    if vocab.decode(&ids).ok().as_deref() != Some(TEXT.as_bytes()) {
        return Finding::fail(ABOUT, "a text does not come back from its tokens", REMEDY);
    }
    if size == PUBLISHED_VOCAB_SIZE {
        return match difference(vocab, &Vocab::o200k_harmony()) {
            None => Finding::ok(ABOUT, format!("o200k_harmony, {size} ids, token by token")),
            Some(id) => Finding::fail(ABOUT, format!("id {id} is not o200k_harmony's"), REMEDY),
        };
    }
    let ranks = vocab.len() - Control::ALL.len();
    let truncated = [MultiDigit::Keep, MultiDigit::Drop].map(|digits| of_length(ranks, digits));
    match truncated.iter().flatten().any(|known| difference(vocab, known).is_none()) {
        true => Finding::ok(ABOUT, format!("the first {ranks} tokens of o200k and the control tokens")),
        false => Finding::warn(
            ABOUT,
            format!("one of its own with {} ids, which nothing here is compared with", vocab.len()),
            "a hash of tokenizer.json says whether it is the model's",
        ),
    }
}

const REMEDY: &str = "put the tokenizer.json beside the weights that was published with them";

/// The first id that means something else.
fn difference(one: &Vocab, other: &Vocab) -> Option<u32> {
    let bytes = |vocab: &Vocab, id: u32| match vocab.token(id) {
        Some(Token::Text(token)) => Some((None, vocab.bytes(token).to_vec())),
        Some(Token::Control(control)) => Some((Some(control), Vec::new())),
        None => None,
    };
    let len = one.len().max(other.len()) as u32;
    (0..len).find(|&id| bytes(one, id) != bytes(other, id))
}

/// The vocabulary of so many text tokens: ranks of several digits may have been left out of it.
fn of_length(text_tokens: usize, digits: MultiDigit) -> Option<Vocab> {
    let wanted = text_tokens + Control::ALL.len();
    let mut ranks = text_tokens;
    loop {
        let vocab = Vocab::truncated(ranks, digits);
        match vocab.len().cmp(&wanted) {
            std::cmp::Ordering::Equal => return Some(vocab),
            std::cmp::Ordering::Greater => return None,
            std::cmp::Ordering::Less if ranks >= PUBLISHED_VOCAB_SIZE => return None,
            std::cmp::Ordering::Less => ranks += wanted - vocab.len(),
        }
    }
}
