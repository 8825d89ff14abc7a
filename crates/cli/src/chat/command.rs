//! Commands of a chat.
//!
//! A line that begins with a slash is a command and never reaches the model; one that begins with a space is
//! always a message. A command that is not understood gets an explanation and changes nothing.

use gptoss_harmony::ReasoningEffort;

/// What `/instructions` and `/tools` take to have none.
pub const NONE: &str = "none";

/// The answer to `/help`.
pub const HELP: &str = "\
/effort low|medium|high   how much the model reasons (alone: show it)
/instructions TEXT        instructions for the model (alone: show them; none: remove them)
/tools NAMES              let the model work here: shell,apply_patch,python,browser (alone: show them; none: off)
/reset                    a new conversation
/save FILE                write the conversation as JSON, in the place of what was there
/load FILE                go on with a conversation that was saved
/help                     this list
/quit                     end, like Ctrl-D
Ctrl-C stops an answer. A line that begins with a space is a message even if a slash follows.";

/// A command and its argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Change or show the effort.
    Effort(Option<ReasoningEffort>),
    /// Change or show the instructions.
    Instructions(Option<String>),
    /// Change or show the tools.
    Tools(Option<String>),
    /// Forget the conversation.
    Reset,
    /// Write the conversation to this file.
    Save(String),
    /// Go on with the conversation in this file.
    Load(String),
    /// Show the commands.
    Help,
    /// End the chat.
    Quit,
}

impl Command {
    /// The command of a line: None for a message, an explanation for a command that is not understood.
    pub fn parse(line: &str) -> Option<Result<Command, String>> {
        // What other programs end with; a message of that one word is written with a space before it.
        if matches!(line, "exit" | "quit") {
            return Some(Ok(Command::Quit));
        }
        let rest = line.strip_prefix('/')?;
        let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let argument = Some(argument.trim()).filter(|text| !text.is_empty());
        Some(match (name, argument) {
            ("effort", None) => Ok(Command::Effort(None)),
            ("effort", Some(word)) => effort(word).map(|effort| Command::Effort(Some(effort))),
            ("instructions", text) => Ok(Command::Instructions(text.map(str::to_owned))),
            ("tools", names) => Ok(Command::Tools(names.map(str::to_owned))),
            ("save", Some(file)) => Ok(Command::Save(file.to_owned())),
            ("load", Some(file)) => Ok(Command::Load(file.to_owned())),
            ("save" | "load", None) => Err(format!("/{name} needs the name of a file")),
            ("reset", None) => Ok(Command::Reset),
            ("help", None) => Ok(Command::Help),
            ("quit" | "exit", None) => Ok(Command::Quit),
            ("reset" | "help" | "quit" | "exit", Some(_)) => Err(format!("/{name} takes nothing after it")),
            _ => Err(format!(
                "there is no command /{name}; /help lists them\nbegin with a space to send the line as it is"
            )),
        })
    }
}

fn effort(word: &str) -> Result<ReasoningEffort, String> {
    match word {
        "low" => Ok(ReasoningEffort::Low),
        "medium" => Ok(ReasoningEffort::Medium),
        "high" => Ok(ReasoningEffort::High),
        _ => Err(format!("the effort is low, medium or high, not {word}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_commands_or_messages() {
        let check =
            |line: &str, expect: Command| assert_eq!(Command::parse(line), Some(Ok(expect)), "{line}");
        check("/effort high", Command::Effort(Some(ReasoningEffort::High)));
        check("/effort", Command::Effort(None));
        check("/instructions  Be brief. ", Command::Instructions(Some("Be brief.".to_owned())));
        check("/tools apply_patch", Command::Tools(Some("apply_patch".to_owned())));
        check("/tools", Command::Tools(None));
        check("/save a b.json", Command::Save("a b.json".to_owned()));
        check("/reset", Command::Reset);
        check("/exit", Command::Quit);
        check("quit", Command::Quit);
        check("/load a.json", Command::Load("a.json".to_owned()));
        for message in ["hello", "", " /help", "1/2", " quit", "quit it"] {
            assert_eq!(Command::parse(message), None, "{message}");
        }
        for wrong in ["/effort max", "/save", "/load", "/reset now", "/nothing", "/"] {
            assert!(matches!(Command::parse(wrong), Some(Err(_))), "{wrong}");
        }
    }
}
