//! An upstream's turn, cut behind each call that runs here.
//!
//! A response goes on behind a call when its result is there, and an upstream may make several in one turn,
//! though it is asked not to. So a turn ends at the first that runs here; what follows is kept, and is the
//! next turn. A call of the client's ends the response: one that would run here behind it is left out.

use gptoss_gateway::TurnPart;
use gptoss_harmony::{Call, Channel, ContentType, Delta, Message};

use crate::abroad_body::{WireNames, said_here};
use crate::stream_item::StreamItem;

/// What the client is told of a call that is left out.
const LEFT_OUT: &str = "a call of a tool of this server, behind one of the client's in the same turn, is left out: \
    the model can make it again";

/// A turn while it is read.
#[derive(Debug, Default)]
pub(crate) struct CallSplit {
    names: WireNames,
    /// What the assistant has said.
    pub(crate) messages: Vec<Message>,
    /// What follows the call that runs here, if there was one.
    pub(crate) later: Vec<TurnPart>,
    open: Open,
    has_clients_call: bool,
    /// Whether it ends with a call that runs here.
    is_cut: bool,
}

/// What is being said.
#[derive(Debug, Default)]
enum Open {
    #[default]
    Nothing,
    Text(Channel, String),
    /// A call to a recipient here.
    Hosted(String),
    Clients,
    /// A call that is left out.
    Dropped,
}

impl CallSplit {
    /// Before the first word.
    pub(crate) fn new(names: WireNames) -> CallSplit {
        CallSplit { names, ..CallSplit::default() }
    }

    /// Whether the turn ends with a call.
    pub(crate) fn ends_with_call(&self) -> bool {
        self.is_cut || self.has_clients_call
    }

    /// What the client's machine gets of a part.
    pub(crate) fn take(&mut self, part: TurnPart) -> Vec<StreamItem> {
        if self.is_cut {
            self.later.push(part);
            return Vec::new();
        }
        let deltas = match part {
            TurnPart::Summary(text) => return vec![StreamItem::Summary(text)],
            TurnPart::Delta(Delta::Text { channel, text, logprobs }) => {
                match &mut self.open {
                    Open::Text(open, all) if *open == channel => all.push_str(&text),
                    _ => {
                        self.close();
                        self.open = Open::Text(channel, text.clone());
                    }
                }
                vec![Delta::Text { channel, text, logprobs }]
            }
            TurnPart::Delta(Delta::CallStarted { name }) => self.begin(name),
            TurnPart::Delta(delta @ Delta::CallArguments { .. }) => match self.open {
                // They are told when they are whole: what Python gets is in them.
                Open::Hosted(_) | Open::Dropped => Vec::new(),
                _ => vec![delta],
            },
            TurnPart::Delta(Delta::Called(call)) => self.called(call),
            TurnPart::Delta(delta @ Delta::Warning(_)) => vec![delta],
        };
        deltas.into_iter().map(StreamItem::Delta).collect()
    }

    fn begin(&mut self, name: String) -> Vec<Delta> {
        self.close();
        let recipient = self.names.recipient(&name).map(str::to_owned);
        match recipient {
            None => {
                self.open = Open::Clients;
                vec![Delta::CallStarted { name }]
            }
            Some(_) if self.has_clients_call => {
                self.open = Open::Dropped;
                vec![Delta::Warning(LEFT_OUT.to_owned())]
            }
            Some(recipient) => {
                self.open = Open::Hosted(recipient.clone());
                vec![Delta::CallStarted { name: recipient }]
            }
        }
    }

    fn called(&mut self, call: Call) -> Vec<Delta> {
        match std::mem::take(&mut self.open) {
            Open::Hosted(recipient) => {
                self.is_cut = true;
                let text = said_here(&recipient, &call.arguments);
                let message =
                    Message::assistant("commentary", text.clone()).with_recipient(recipient.clone());
                self.messages.push(message.with_content_type(ContentType::from("code")));
                let channel = Some("commentary".to_owned());
                let name = recipient.clone();
                let whole = Call { name, recipient, channel, arguments: text.clone() };
                vec![Delta::CallArguments { text, logprobs: Vec::new() }, Delta::Called(whole)]
            }
            Open::Dropped => Vec::new(),
            Open::Nothing | Open::Text(..) | Open::Clients => {
                self.has_clients_call = true;
                self.messages.push(Message::function_call(&call.name, call.arguments.clone()));
                vec![Delta::Called(call)]
            }
        }
    }

    /// A text is whole.
    pub(crate) fn close(&mut self) {
        if let Open::Text(channel, text) = std::mem::take(&mut self.open)
            && !text.is_empty()
        {
            let channel = match channel {
                Channel::Analysis => "analysis",
                Channel::Commentary => "commentary",
                Channel::Final => "final",
            };
            self.messages.push(Message::assistant(channel, text));
        }
    }
}
