//! What did the parser have to repair?
//!
//! A [`Warning`] says where in the token stream ([`Warning::token_index`]) which [`Repair`] was made. They
//! are data for logs and for counting well-formed turns; a conversation goes on regardless. A stream that was
//! rendered from messages gives none.

use std::fmt;

use crate::vocab::Control;

/// One repair and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Number of tokens before the one at which the repair was made.
    pub token_index: usize,
    /// What was repaired.
    pub repair: Repair,
}

/// What the parser did about a malformed stream. The letters are those of the table in
/// [`crate::StreamParser`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repair {
    /// (a) A header ended without `<|message|>`: its unknown text became the content.
    MissingMessage,
    /// (b) Text between two messages became a message of its own.
    StrayText,
    /// (b) White space between two messages was dropped.
    StrayWhiteSpace,
    /// (c) A header had more words than it has places for; these were dropped.
    ExtraWords {
        /// The dropped words.
        words: String,
    },
    /// (d) A header had several channels; the last one holds.
    RepeatedChannel,
    /// (d) `<|channel|>` was followed by no name; the message went to `final`.
    EmptyChannel,
    /// (d) A recipient was glued to the word before it.
    GluedRecipient,
    /// (d) A header had several recipients; the last one holds.
    RepeatedRecipient,
    /// (d) `to=` was followed by nothing.
    EmptyRecipient,
    /// (e) A header began without `<|start|>`; the assistant speaks.
    MissingStart,
    /// (e) A header named no role; the assistant speaks.
    MissingRole,
    /// (e) The role that the prompt had given was said again.
    RepeatedRole,
    /// (e) `<|start|>` came twice.
    RepeatedStart,
    /// (f) `<|endoftext|>` ended a message.
    EndOfText,
    /// (f) A header ended at its first token: no message began.
    EmptyHeader,
    /// (f) The stream ended inside a header that said nothing yet.
    UnfinishedHeader,
    /// (f) The stream ended inside a message.
    UnfinishedMessage,
    /// (f) A message ended where the next began, without `<|end|>`.
    MissingEnd,
    /// (f) A message that had ended was ended again.
    StrayEnd,
    /// (g) A recipient was spelled in a known wrong way.
    RecipientAlias {
        /// As the model spelled it.
        spelled: String,
    },
    /// (h) A header grew beyond [`crate::limits::HEADER_TOKENS_MAX`]; its unknown text became the content.
    HeaderTooLong,
    /// (h) A control token that means nothing at its place was dropped.
    UnexpectedControl {
        /// The control token.
        control: Control,
    },
    /// (h) An id without text was dropped.
    UnknownToken {
        /// The id.
        id: u32,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::MissingMessage => "a header without <|message|>: its text became the content",
            Self::StrayText => "text outside a message: it became an assistant message",
            Self::StrayWhiteSpace => "white space outside a message: dropped",
            Self::ExtraWords { words } => {
                return write!(formatter, "unknown words in a header, dropped: {words:?}");
            }
            Self::RepeatedChannel => "several channels in a header: the last one holds",
            Self::EmptyChannel => "<|channel|> without a name: the message is on final",
            Self::GluedRecipient => "a recipient glued to the word before it: separated",
            Self::RepeatedRecipient => "several recipients in a header: the last one holds",
            Self::EmptyRecipient => "to= without a recipient: dropped",
            Self::MissingStart => "a header without <|start|>: the assistant speaks",
            Self::MissingRole => "a header without a role: the assistant speaks",
            Self::RepeatedRole => "the role was repeated",
            Self::RepeatedStart => "<|start|> was repeated",
            Self::EndOfText => "<|endoftext|> inside a message: the message ends",
            Self::EmptyHeader => "an end where a header should be: no message begins",
            Self::UnfinishedHeader => "the stream ended inside a header",
            Self::UnfinishedMessage => "the stream ended inside a message",
            Self::MissingEnd => "a message without <|end|>: it ends where the next begins",
            Self::StrayEnd => "an end outside a message: dropped",
            Self::RecipientAlias { spelled } => {
                return write!(formatter, "a recipient spelled {spelled:?}: corrected");
            }
            Self::HeaderTooLong => "a header without end: its text became the content",
            Self::UnexpectedControl { control } => {
                return write!(formatter, "{control} has no meaning here: dropped");
            }
            Self::UnknownToken { id } => return write!(formatter, "token {id} has no text: dropped"),
        })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "token {}: {}", self.token_index, self.repair)
    }
}
