//! `gptoss chat`: a conversation at the terminal.
//!
//! A line is a message, or a command when it begins with a slash. Reasoning streams dimmed and the answer
//! plain; when the model calls a function, the call is shown, its result asked for, and the turn goes on with
//! it. Ctrl-C stops the answer and keeps what there is of it. The head of the conversation is rendered anew
//! for every turn, so `/effort` and `/instructions` hold from the next message on without losing what was
//! said. Without a terminal the lines come from a pipe and everything else is the same.
//!
//! What is typed is read in `editor.rs`, what the model says is shown in `display.rs`, and commands are
//! understood in `command.rs`.

mod command;
mod display;
mod editor;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use gptoss_harmony::{Conversation, Message, Role};
use gptoss_turn::{Call, Outcome, TurnEnd};

use crate::args::ChatArgs;
use crate::failure;
use crate::generation::{self, ConversationHead, Session};
use crate::input::{self, Source};
use crate::interrupt::{Interrupt, SecondPress};
use crate::output::Target;
use crate::terminal;
use command::Command;
use display::Display;
use editor::{Editor, Typed};

/// What the model is told when the user gives no result.
const NO_RESULT: &str = r#"{"error": "the function failed and gave no result"}"#;

/// Runs the command.
pub fn run(args: &ChatArgs) -> Result<ExitCode> {
    let (session, head) = generation::prepare(&args.generation)?;
    let mut chat = Chat {
        session,
        head,
        turns: Vec::new(),
        interrupt: Interrupt::install(SecondPress::Waits)?,
        hides_reasoning: args.hide_reasoning,
        shows_stats: args.generation.stats,
        editor: Editor::open(!args.no_history)?,
    };
    chat.greet()?;
    while chat.one_line()? {}
    Ok(ExitCode::SUCCESS)
}

/// A conversation and what it needs.
struct Chat {
    session: Session,
    head: ConversationHead,
    /// Everything after the head.
    turns: Vec<Message>,
    interrupt: Interrupt,
    hides_reasoning: bool,
    shows_stats: bool,
    editor: Editor,
}

/// Whether the turn goes on after a call.
enum AfterCalls {
    GoOn,
    Stop,
}

impl Chat {
    fn greet(&self) -> io::Result<()> {
        if !io::stdin().is_terminal() {
            return Ok(());
        }
        let model = match self.session.is_demo {
            true => {
                "the embedded demo model, a small one that knows sums, words\nand function calls, and not a released gpt-oss"
                    .to_owned()
            }
            false => self.session.name.clone(),
        };
        writeln!(
            io::stderr(),
            "gptoss chat with {model}\n/help lists the commands, Ctrl-C stops an answer, Ctrl-D ends\n"
        )
    }

    /// Reads a line and does what it says. False at the end.
    fn one_line(&mut self) -> Result<bool> {
        let line = match self.editor.read("> ")? {
            Typed::End => return Ok(false),
            Typed::Interrupted => {
                note("(Ctrl-D ends)")?;
                return Ok(true);
            }
            Typed::Line(line) => line,
        };
        match Command::parse(&line) {
            None if line.trim().is_empty() => {}
            None => self.say(line)?,
            Some(Ok(Command::Quit)) => return Ok(false),
            Some(Ok(command)) => self.obey(command)?,
            Some(Err(complaint)) => note(&complaint)?,
        }
        Ok(true)
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Effort(None) => note(&format!("the effort is {}", self.head.effort.as_str())),
            Command::Effort(Some(effort)) => {
                self.head.effort = effort;
                note(&format!("the effort is {} from now on", effort.as_str()))
            }
            Command::Instructions(None) => match &self.head.instructions {
                Some(text) => note(&format!("the instructions are: {text}")),
                None => note("there are no instructions"),
            },
            Command::Instructions(Some(text)) => {
                self.head.instructions = (text != command::NONE).then_some(text);
                note("the instructions hold from now on")
            }
            Command::Reset => {
                self.turns.clear();
                note("a new conversation; effort, instructions and functions stay")
            }
            Command::Save(file) => match self.save(Path::new(&file)) {
                Ok(true) => note(&format!("saved to {file}, in the place of what was there")),
                Ok(false) => note(&format!("saved to {file}")),
                Err(error) => note(failure::describe(&error).trim_end()),
            },
            Command::Load(file) => match self.load(Path::new(&file)) {
                Ok(()) => {
                    let (count, end) = (self.turns.len(), if self.turns.len() == 1 { "" } else { "s" });
                    note(&format!("{count} message{end} of {file}; effort and instructions stay"))
                }
                Err(error) => note(failure::describe(&error).trim_end()),
            },
            Command::Help => note(command::HELP),
            Command::Quit => Ok(()),
        }
    }

    /// Writes the conversation; true when it took the place of another file.
    fn save(&self, file: &Path) -> Result<bool> {
        let conversation = self.head.conversation(&self.turns);
        let target = Target::at(file)?;
        let was_there = file.exists();
        target.write(|out| {
            serde_json::to_writer_pretty(&mut *out, &conversation)?;
            Ok(writeln!(out)?)
        })?;
        Ok(was_there)
    }

    /// Takes the messages of a saved conversation; its head makes way for the one that holds now.
    fn load(&mut self, file: &Path) -> Result<()> {
        let conversation: Conversation = input::read_json(Source::File(file), "a saved conversation")?;
        let is_head = |message: &Message| matches!(message.author.role, Role::System | Role::Developer);
        self.turns = conversation.messages.into_iter().filter(|message| !is_head(message)).collect();
        Ok(())
    }

    /// Sends a message and goes on until the model has answered, asking for the results of its calls.
    fn say(&mut self, text: String) -> Result<()> {
        let mut kept = self.turns.len();
        self.turns.push(Message::user(text));
        loop {
            let outcome = match self.answer() {
                Ok(outcome) => outcome,
                Err(error) => {
                    // What the turn could not be taken with is taken back; all that was said before stays.
                    self.turns.truncate(kept);
                    return self.complain(error);
                }
            };
            let before_call = self.turns.len();
            self.turns.extend(outcome.messages.iter().cloned());
            self.remark(&outcome)?;
            if outcome.calls.is_empty() {
                return Ok(());
            }
            kept = self.turns.len();
            if let AfterCalls::Stop = self.ask_for_results(&outcome.calls)? {
                // A call without a result would be answered by whatever is said next.
                self.turns.truncate(before_call);
                return note("(the call is dropped)").map_err(Into::into);
            }
        }
    }

    fn answer(&mut self) -> Result<Outcome> {
        let conversation = self.head.conversation(&self.turns);
        let mut display = Display::new(self.hides_reasoning);
        let session = &self.session;
        let outcome = self
            .interrupt
            .stoppable(|cancel| session.take_turn(&conversation, cancel, &mut |event| display.show(event)));
        display.finish()?;
        self.editor.leave_a_line()?;
        outcome
    }

    /// Says why there is no answer. A full context gets advice of its own; a closed output ends the program.
    fn complain(&self, error: anyhow::Error) -> Result<()> {
        let full = match error.downcast_ref() {
            Some(gptoss_turn::Error::Engine(gptoss_engine::Error::PromptTooLong {
                prompt_tokens,
                max_context,
            })) => {
                format!(
                    "the conversation would have {prompt_tokens} tokens, but the context holds {max_context}\n{ADVICE}"
                )
            }
            Some(_) => failure::describe(&error).trim_end().to_owned(),
            None => return Err(error),
        };
        Ok(note(&full)?)
    }

    /// What the end of a turn leaves to be said.
    fn remark(&self, outcome: &Outcome) -> io::Result<()> {
        let usage = &outcome.usage.engine;
        if self.shows_stats {
            note(&Session::stats(outcome))?;
        }
        match outcome.end {
            TurnEnd::Answer | TurnEnd::Call => Ok(()),
            TurnEnd::Cancelled => note("(stopped)"),
            TurnEnd::Context => {
                note(&format!("(the context of {} tokens is full)\n{ADVICE}", self.session.max_context()))
            }
            TurnEnd::Length => note(&format!(
                "(stopped after {} tokens; --max-tokens sets the limit)",
                usage.completion_tokens
            )),
            TurnEnd::Deadline => note("(stopped: no time was left)"),
            TurnEnd::NoAnswer => note("(the model stopped without an answer)"),
        }
    }

    fn ask_for_results(&mut self, calls: &[Call]) -> Result<AfterCalls> {
        for call in calls {
            let result = match self.editor.read(&result_prompt(&call.name))? {
                Typed::Line(line) if !line.trim().is_empty() => line,
                Typed::Line(_) => NO_RESULT.to_owned(),
                Typed::Interrupted | Typed::End => return Ok(AfterCalls::Stop),
            };
            let mut message = Message::tool_result(call.recipient.clone(), result);
            message.channel = call.channel.clone().or(message.channel);
            self.turns.push(message);
        }
        Ok(AfterCalls::GoOn)
    }
}

const ADVICE: &str =
    "/reset begins a new conversation, /save FILE keeps this one; --context N gives more room";

/// The name is the model's own writing and may be anything.
fn result_prompt(name: &str) -> String {
    format!("result of {}> ", terminal::safe(name))
}

/// A line of the program's own, beside the conversation.
fn note(text: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(result_prompt("add"), "result of add> ");
        assert_eq!(result_prompt("a\x1b[2Jb"), "result of a\u{fffd}[2Jb> ");
    }
}
