//! A folder, a scripted model, and a run over both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use gptoss_agent::{Action, AgentEvent, Budget, Decision, Ending, Host, Task, Tool, Toolbox, run};
use gptoss_harmony::{Conversation, Message, Opening, Vocab};
use gptoss_tools::Workspace;
use gptoss_turn::{Assistant, TokenTable, TurnOptions, TurnRules};

use crate::scripted::{self, Prompts, Script};

/// An answer.
pub const FINAL: &str = "<|channel|>final<|message|>Done.<|return|>";

/// A call of a function.
pub fn call_of(name: &str, arguments: &str) -> String {
    format!("<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{arguments}<|call|>")
}

/// A call of `apply_patch`.
pub fn patch_of(body: &str) -> String {
    format!(
        "<|channel|>commentary to=functions.apply_patch<|message|>*** Begin Patch\n{body}\n*** End Patch<|call|>"
    )
}

/// What a test works on.
pub struct Bench {
    folder: PathBuf,
    /// Removes the folder of a bench that made one.
    _made: Option<tempfile::TempDir>,
    vocab: Arc<Vocab>,
    assistant: Assistant,
    prompts: Prompts,
}

impl Bench {
    /// A model that says the texts one after another.
    pub fn new(texts: &[&str]) -> Bench {
        Bench::slow(texts, Duration::ZERO)
    }

    /// One that pauses before each token.
    pub fn slow(texts: &[&str], pause: Duration) -> Bench {
        let vocab = Vocab::o200k_harmony();
        let (engine, prompts) = scripted::start(&vocab, Script { pause, ..Script::new(texts) });
        let assistant = Assistant::new(engine, TokenTable::new(Arc::clone(&vocab)).unwrap()).unwrap();
        let made = tempfile::tempdir().unwrap();
        Bench { folder: made.path().to_owned(), _made: Some(made), vocab, assistant, prompts }
    }

    /// The same model on another workspace.
    pub fn at(self, folder: &str) -> Bench {
        Bench { folder: folder.into(), _made: None, ..self }
    }

    /// The model.
    pub fn assistant(&self) -> &Assistant {
        &self.assistant
    }

    /// The workspace.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All prompts so far, with control tokens spelled out.
    pub fn prompts(&self) -> Vec<String> {
        let prompts = self.prompts.lock().unwrap();
        prompts
            .iter()
            .map(|prompt| String::from_utf8_lossy(&self.vocab.decode(prompt).unwrap()).into_owned())
            .collect()
    }

    /// Tokens of all prompts so far.
    pub fn prompt_tokens(&self) -> usize {
        self.prompts.lock().unwrap().iter().map(Vec::len).sum()
    }

    /// To repair what is in the workspace.
    pub fn task(&self, budget: Budget) -> Task {
        Task {
            conversation: Conversation::opening(Opening::default(), &[Message::user("Repair it.")]),
            options: TurnOptions::default(),
            rules: TurnRules::default(),
            budget,
        }
    }

    /// Runs that task.
    pub fn run(
        &self,
        budget: Budget,
        approve: &mut dyn FnMut(&Action) -> Decision,
        on_event: &mut dyn FnMut(AgentEvent),
    ) -> Ending {
        self.run_task(self.task(budget), &AtomicBool::new(false), approve, on_event)
    }

    /// Runs a task.
    pub fn run_task(
        &self,
        task: Task,
        cancel: &AtomicBool,
        approve: &mut dyn FnMut(&Action) -> Decision,
        on_event: &mut dyn FnMut(AgentEvent),
    ) -> Ending {
        let toolbox = Toolbox { tools: vec![Tool::Patch(Workspace::open(self.folder()).unwrap())] };
        let host = Host { cancel, on_event, approve };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(&self.assistant, &toolbox, task, host)).unwrap()
    }
}
