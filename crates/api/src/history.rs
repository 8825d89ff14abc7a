//! The messages that a conversation has had, told by clients that forget.
//!
//! Both APIs become a list of [`Entry`]s, and [`reconcile`] makes the messages of them that the model reads.
//! Three clients that hold the same conversation (one sends the reasoning back, one a part of it, one none)
//! must give the same prompt, so two rules work here. What came before a call that we remember is taken from
//! memory instead of from the client, unless the client has changed the call. And reasoning of turns that
//! have ended in an answer is left out, whoever sends it, as the format wants it.

use std::collections::{HashMap, HashSet};

use gptoss_harmony::{ContentType, DeveloperContent, Message, Role};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::errors::ApiError;

/// A message on the way from a client to the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The message.
    pub message: Message,
    /// Of a call: the name by which its result refers to it.
    pub call_id: Option<String>,
}

impl From<Message> for Entry {
    fn from(message: Message) -> Entry {
        Entry { message, call_id: None }
    }
}

/// What led to a call, and the call, as the model wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct RememberedCall {
    /// Reasoning, preambles, and last the call.
    pub messages: Vec<Message>,
}

/// Collects entries, and knows which tool a result belongs to.
#[derive(Debug, Default)]
pub struct History {
    entries: Vec<Entry>,
    /// Recipient and channel of each call, by its id.
    calls: HashMap<String, (String, Option<String>)>,
}

impl History {
    /// One more message.
    pub fn push(&mut self, message: Message) {
        self.entries.push(message.into());
    }

    /// Messages that the server itself has kept.
    pub fn extend(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            if let (Some(id), Some(recipient)) = (&entry.call_id, &entry.message.recipient) {
                self.calls.insert(id.clone(), (recipient.clone(), entry.message.channel.clone()));
            }
            self.entries.push(entry);
        }
    }

    /// A call of the assistant's.
    pub fn push_call(&mut self, call_id: Option<&str>, name: &str, arguments: &str, is_json: bool) {
        let recipient = format!("functions.{name}");
        let mut message = Message::assistant("commentary", arguments).with_recipient(recipient.clone());
        if is_json {
            message = message.with_content_type(ContentType::constrained_json());
        }
        if let Some(id) = call_id {
            self.calls.insert(id.to_owned(), (recipient, Some("commentary".to_owned())));
        }
        self.entries.push(Entry { message, call_id: call_id.map(str::to_owned) });
    }

    /// A call of a tool that has a message of its own form.
    pub fn push_made(&mut self, call_id: Option<String>, message: Message) {
        self.extend(vec![Entry { message, call_id }]);
    }

    /// Whether a call by this id has been made.
    pub fn knows(&self, call_id: &str) -> bool {
        self.calls.contains_key(call_id)
    }

    /// The call by this id, if it is the last message.
    pub fn last_call(&mut self, call_id: &str) -> Option<&mut Message> {
        let last = self.entries.last_mut().filter(|entry| entry.call_id.as_deref() == Some(call_id));
        last.map(|entry| &mut entry.message)
    }

    /// Recipient and channel of a call; one that is remembered is put in with what led to it.
    ///
    /// Errors: a call that is neither in the conversation nor remembered.
    pub fn find(
        &mut self,
        call_id: &str,
        param: &str,
        recall: &dyn Fn(&str) -> Option<RememberedCall>,
    ) -> Result<(String, Option<String>), ApiError> {
        let known = self.calls.get(call_id).cloned().or_else(|| {
            let remembered = recall(call_id)?;
            let call = remembered.messages.last()?;
            let place = (call.recipient.clone()?, call.channel.clone());
            // The client sent the result alone: what led to it is put before it.
            let count = remembered.messages.len();
            let entries = remembered.messages.into_iter().enumerate();
            self.entries.extend(entries.map(|(index, message)| Entry {
                message,
                call_id: (index + 1 == count).then(|| call_id.to_owned()),
            }));
            // Once: its other results come behind the same call.
            self.calls.insert(call_id.to_owned(), place.clone());
            Some(place)
        });
        known.ok_or_else(|| {
            let message = format!("{param} is {call_id:?}, but no call with this id comes before it");
            ApiError::invalid(param, message)
        })
    }

    /// A tool's result; `name` is used when nobody knows the call.
    ///
    /// Errors: a call that is neither in the conversation nor remembered, of a tool that is not named.
    pub fn push_result(
        &mut self,
        call_id: &str,
        name: Option<&str>,
        text: String,
        param: &str,
        recall: &dyn Fn(&str) -> Option<RememberedCall>,
    ) -> Result<(), ApiError> {
        let (recipient, channel) = match (self.find(call_id, param, recall), name) {
            (Ok(place), _) => place,
            (Err(_), Some(name)) => (format!("functions.{name}"), Some("commentary".to_owned())),
            (Err(error), None) => return Err(error),
        };
        let mut message = Message::tool_result(recipient, text);
        message.channel = channel;
        self.entries.push(message.into());
        Ok(())
    }

    /// A summary in the place of everything but the user's own messages.
    pub fn compact(&mut self, summary: &str) {
        self.entries.retain(|entry| entry.message.author.role == Role::User);
        let summary = format!("Summary of the conversation so far:\n{summary}");
        self.push(Message::developer(DeveloperContent::default().with_instructions(summary)));
    }

    /// The message that came last.
    pub fn last_mut(&mut self) -> Option<&mut Message> {
        self.entries.last_mut().map(|entry| &mut entry.message)
    }

    /// The entries.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

/// The messages as the model should read them.
pub fn reconcile(
    entries: Vec<Entry>,
    recall: &dyn Fn(&str) -> Option<RememberedCall>,
    warnings: &mut Vec<String>,
) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::with_capacity(entries.len());
    let mut recalled = HashSet::new();
    // A call that has an id of its own is behind what led to the next.
    let mut settled = 0;
    for entry in entries {
        let Some(id) = &entry.call_id else {
            messages.push(entry.message);
            continue;
        };
        let begin = messages.iter().rposition(|message| !leads_to_call(message)).map_or(0, |at| at + 1);
        let begin = begin.max(settled);
        // A call is made once: what led to it is put in once.
        match recalled.insert(id.clone()).then(|| recall(id)).flatten() {
            Some(remembered)
                if remembered.messages.last().is_some_and(|call| is_same(call, &entry.message)) =>
            {
                messages.truncate(begin);
                messages.extend(remembered.messages);
            }
            Some(_) => {
                warnings
                    .push(format!("the call {id} differs from the one that was made; the client's is used"));
                messages.push(entry.message);
            }
            None => {
                let is_thoughtless =
                    messages[begin..].iter().all(|m| m.channel.as_deref() != Some("analysis"));
                if is_thoughtless {
                    warnings.push(format!(
                        "the reasoning before the call {id} was not sent and is not remembered (any more)"
                    ));
                }
                messages.push(entry.message);
            }
        }
        settled = messages.len();
    }
    forget_finished_reasoning(&mut messages);
    messages
}

/// Reasoning, preambles and what the server ran: what stands between a message of somebody else's and a call.
fn leads_to_call(message: &Message) -> bool {
    let is_own = |name: &Option<String>| name.as_deref().is_none_or(|name| !name.starts_with("functions."));
    match message.author.role {
        Role::Assistant => {
            is_own(&message.recipient)
                && matches!(message.channel.as_deref(), Some("analysis" | "commentary"))
        }
        Role::Tool => is_own(&message.author.name),
        Role::System | Role::Developer | Role::User => false,
    }
}

/// Whether it is the same call; JSON may have been written anew on the way.
fn is_same(made: &Message, sent: &Message) -> bool {
    if made.recipient != sent.recipient {
        return false;
    }
    let (made, sent) = (made.text(), sent.text());
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    made == sent || parse(&made).is_some_and(|made| parse(&sent).is_some_and(|sent| made == sent))
}

/// Drops the reasoning that led to an answer, with the calls in it and their results. The renderer's own rule
/// looks at the first answer only.
fn forget_finished_reasoning(messages: &mut Vec<Message>) {
    let is_answer = |message: &Message| {
        message.author.role == Role::Assistant && message.channel.as_deref() == Some("final")
    };
    let Some(last_answer) = messages.iter().rposition(is_answer) else { return };
    let mut index = 0;
    messages.retain(|message| {
        let is_old = index < last_answer && message.channel.as_deref() == Some("analysis");
        index += 1;
        !(is_old && leads_to_call(message))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> RememberedCall {
        RememberedCall {
            messages: vec![
                Message::assistant("analysis", "Look it up."),
                Message::assistant("commentary", "One moment."),
                Message::function_call("look", "{\"key\": 1}"),
            ],
        }
    }

    fn told(build: impl FnOnce(&mut History)) -> (Vec<Message>, Vec<String>) {
        let recall = |id: &str| (id == "call_1").then(made);
        let mut history = History::default();
        history.push(Message::user("What is it?"));
        build(&mut history);
        history.push_result("call_1", None, "7".into(), "tool_call_id", &recall).unwrap();
        let mut warnings = Vec::new();
        (reconcile(history.into_entries(), &recall, &mut warnings), warnings)
    }

    #[test]
    fn clients_that_forget_give_the_same_prompt() {
        let whole = told(|history| {
            made().messages[..2].iter().for_each(|message| history.push(message.clone()));
            history.push_call(Some("call_1"), "look", "{\"key\": 1}", true);
        });
        assert_eq!(whole.0.len(), 5);
        let part = told(|history| {
            history.push(Message::assistant("analysis", "Look"));
            history.push_call(Some("call_1"), "look", "{\"key\":1}", true);
        });
        let none = told(|history| history.push_call(Some("call_1"), "look", "{\"key\": 1}", true));
        let result_alone = told(|_| {});
        for other in [part, none, result_alone] {
            assert_eq!(whole, other);
        }
    }

    /// Each result of the same call put all that led to it in again: a body of 10 MB became gigabytes.
    #[test]
    fn what_led_to_a_call_is_put_in_once() {
        let recall = |id: &str| (id == "call_1").then(made);
        let mut history = History::default();
        for _ in 0..10 {
            history.push_result("call_1", None, "7".into(), "tool_call_id", &recall).unwrap();
        }
        assert_eq!(history.into_entries().len(), 3 + 10);
        let (messages, _) = told(|history| {
            (0..10).for_each(|_| history.push_call(Some("call_1"), "look", "{\"key\": 1}", true));
        });
        assert_eq!(messages.iter().filter(|message| message.text() == "Look it up.").count(), 1);
    }

    #[test]
    fn a_call_that_was_changed_is_the_clients() {
        let (messages, warnings) =
            told(|history| history.push_call(Some("call_1"), "look", "{\"key\": 2}", true));
        assert_eq!((messages.len(), warnings.len()), (3, 1));
        assert_eq!(messages[1].text(), "{\"key\": 2}");
    }

    #[test]
    fn a_call_that_nobody_remembers_is_a_warning_when_its_reasoning_is_missing() {
        let check = |reasoning: bool| {
            let mut history = History::default();
            if reasoning {
                history.push(Message::assistant("analysis", "Look"));
            }
            history.push_call(Some("call_9"), "look", "{}", true);
            let mut warnings = Vec::new();
            reconcile(history.into_entries(), &|_| None, &mut warnings);
            warnings.len()
        };
        assert_eq!((check(true), check(false)), (0, 1));
    }

    #[test]
    fn reasoning_of_finished_turns_is_left_out() {
        let entries = [
            Message::user("1"),
            Message::assistant("analysis", "a"),
            Message::assistant("final", "b"),
            Message::user("2"),
            Message::assistant("analysis", "c"),
            Message::assistant("final", "d"),
            Message::user("3"),
            Message::assistant("analysis", "e"),
        ];
        let messages = reconcile(entries.map(Entry::from).to_vec(), &|_| None, &mut Vec::new());
        let texts: Vec<String> = messages.iter().map(Message::text).collect();
        assert_eq!(texts, ["1", "b", "2", "d", "3", "e"]);
    }

    #[test]
    fn a_summary_takes_the_place_of_all_but_the_users_words() {
        let mut history = History::default();
        history.push(Message::user("1"));
        history.push(Message::assistant("final", "a"));
        history.push_call(Some("call_1"), "look", "{}", true);
        history.compact("They looked.");
        // Its call is summarized, and the result still finds its tool.
        history.push_result("call_1", None, "7".into(), "p", &|_| None).unwrap();
        let roles: Vec<Role> = history.into_entries().iter().map(|entry| entry.message.author.role).collect();
        assert_eq!(roles, [Role::User, Role::Developer, Role::Tool]);
    }

    /// The call that was allowed was taken for something that led to the next call, which does not remember
    /// it.
    #[test]
    fn a_call_that_was_allowed_stays() {
        let asked = Message::assistant("commentary", "{}").with_recipient("wiki.ask");
        let result = Message::tool_result("wiki.ask", "yes");
        let recall = |id: &str| {
            let messages = match id {
                "mcpr_1" => vec![Message::assistant("analysis", "Ask."), asked.clone()],
                _ => vec![result.clone(), Message::function_call("look", "{}")],
            };
            Some(RememberedCall { messages })
        };
        let mut history = History::default();
        history.push(Message::user("hi"));
        history.push_made(Some("mcpr_1".into()), asked.clone());
        history.push_result("mcpr_1", None, "yes".into(), "p", &recall).unwrap();
        history.push_call(Some("call_1"), "look", "{}", true);
        let mut warnings = Vec::new();
        let messages = reconcile(history.into_entries(), &recall, &mut warnings);
        let texts: Vec<String> = messages.iter().map(Message::text).collect();
        assert_eq!(
            (texts, warnings.len()),
            (["hi", "Ask.", "{}", "yes", "{}"].map(String::from).to_vec(), 0)
        );
    }

    #[test]
    fn a_result_of_nothing_is_refused() {
        let mut history = History::default();
        let error =
            history.push_result("call_2", None, String::new(), "tool_call_id", &|_| None).unwrap_err();
        assert!(error.to_string().contains("call_2"));
        assert!(history.push_result("call_2", Some("look"), String::new(), "p", &|_| None).is_ok());
    }
}
