//! The headers that the model may write, token by token.
//!
//! [`Headers`] is a trie of tokens: every header that fits the spec, spelled as [`Vocab::encode_ids`] spells
//! it, from `<|start|>assistant` to `<|message|>`, where the body begins that the leaf names. Only the
//! canonical spelling is in it: it is the one that models are trained on and that a later turn renders, and
//! places with one way out take no step of their own ([`crate::Constraint::forced`]).
//!
//! A call may name its recipient after the channel, as models write it, or before, as the vendor's renderer
//! writes it and models copy it from the prompt; `<|constrain|>json`, ` json` and no content type are
//! accepted alike. harmony's parser reads each of these without a warning.

use gptoss_harmony::{Control, Vocab};

/// Index of a body in the compiled spec.
pub(crate) type BodyIndex = u32;

/// Where a header goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// To another node of the trie.
    Node(u32),
    /// Into a body: the token was `<|message|>`.
    Body(BodyIndex),
}

/// A stretch of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Control(Control),
}

/// How a header names the type of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentForm {
    /// Not at all.
    Absent,
    /// A plain word after a space.
    Word(&'static str),
    /// `<|constrain|>` and a word.
    Constrained(&'static str),
    /// A space, `<|constrain|>` and a word.
    SpacedConstrained(&'static str),
}

/// The headers that fit a spec.
#[derive(Debug)]
pub(crate) struct Headers {
    nodes: Vec<Vec<(u32, Step)>>,
}

impl Headers {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// A new root.
    pub(crate) fn root(&mut self) -> u32 {
        self.nodes.push(Vec::new());
        self.nodes.len() as u32 - 1
    }

    /// Adds a header below a root.
    pub(crate) fn insert(&mut self, root: u32, tokens: &[u32], last: Step) {
        let mut node = root as usize;
        for (index, &token) in tokens.iter().enumerate() {
            let found = self.nodes[node].iter().find(|(edge, _)| *edge == token).map(|&(_, step)| step);
            node = match found {
                Some(Step::Node(next)) => next as usize,
                Some(Step::Body(_)) => return,
                None if index + 1 == tokens.len() => {
                    self.nodes[node].push((token, last));
                    return;
                }
                None => {
                    let next = self.root();
                    self.nodes[node].push((token, Step::Node(next)));
                    next as usize
                }
            };
        }
    }

    /// The tokens that may follow at a node, and where each leads.
    pub(crate) fn edges(&self, node: u32) -> &[(u32, Step)] {
        &self.nodes[node as usize]
    }

    /// Where a token leads.
    pub(crate) fn step(&self, node: u32, token: u32) -> Option<Step> {
        self.edges(node).iter().find(|(edge, _)| *edge == token).map(|&(_, step)| step)
    }
}

/// The tokens of a header: neighboring texts are one text, which is encoded as one.
pub(crate) fn encode(vocab: &Vocab, pieces: &[Piece]) -> Vec<u32> {
    let mut tokens = Vec::new();
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(more) => text.push_str(more),
            Piece::Control(control) => {
                vocab.encode_into(&std::mem::take(&mut text), &mut tokens);
                tokens.push(vocab.control(*control));
            }
        }
    }
    vocab.encode_into(&text, &mut tokens);
    tokens
}

/// `<|channel|>CHANNEL ... <|message|>` to everybody.
pub(crate) fn plain(channel: &str, form: ContentForm) -> Vec<Piece> {
    let mut pieces = vec![Piece::Control(Control::Channel), Piece::Text(channel.into())];
    pieces.extend(form.pieces());
    pieces.push(Piece::Control(Control::Message));
    pieces
}

/// The two headers that address `recipient` on `channel`.
pub(crate) fn calls(channel: &str, recipient: &str, form: ContentForm) -> [Vec<Piece>; 2] {
    let to = Piece::Text(format!(" to={recipient}"));
    let on = [Piece::Control(Control::Channel), Piece::Text(channel.into())];
    let end = |mut pieces: Vec<Piece>| {
        pieces.extend(form.pieces());
        pieces.push(Piece::Control(Control::Message));
        pieces
    };
    let [channel, name] = on;
    [end(vec![channel.clone(), name.clone(), to.clone()]), end(vec![to, channel, name])]
}

impl ContentForm {
    fn pieces(self) -> Vec<Piece> {
        let constrain = Piece::Control(Control::Constrain);
        match self {
            Self::Absent => Vec::new(),
            Self::Word(word) => vec![Piece::Text(format!(" {word}"))],
            Self::Constrained(word) => vec![constrain, Piece::Text(word.into())],
            Self::SpacedConstrained(word) => {
                vec![Piece::Text(" ".into()), constrain, Piece::Text(word.into())]
            }
        }
    }
}
