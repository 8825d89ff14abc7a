//! Who answers with a patch: this program's agent, in a copy of the repository.

use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow};
use gptoss_agent::{Action, AgentEnd, Budget, Decision, Ending, Host, Task, Tool, Toolbox};
use gptoss_eval::swe_bench::files_of;
use gptoss_eval::{Item, Key, PatchKey, Response};
use gptoss_tools::cell::Cell;
use gptoss_tools::{Shell, Workspace};
use gptoss_turn::TurnOptions;
use serde_json::json;

use super::address::Failure;
use super::manner::{Manner, Names, opened};
use super::repositories::{Checkout, Repositories};
use super::repository_tests::cell;
use crate::agent::instructions;
use crate::args::{RepositoryArgs, WorkArgs};
use crate::generation::Session;

/// An agent with a shell and patches, for one repository after another or several at once.
pub struct Repairer {
    session: Session,
    repositories: Repositories,
    cell: Cell,
    budget: Budget,
}

impl Repairer {
    /// Over a model.
    ///
    /// Errors: no repositories, no git, no walls.
    pub fn new(session: Session, args: &RepositoryArgs, work: &WorkArgs) -> Result<Repairer> {
        let budget =
            Budget { steps_max: work.max_steps as usize, time_max: work.max_time, ..Budget::default() };
        let repositories = Repositories::open(args.repositories.as_deref())?;
        Ok(Repairer { session, repositories, cell: cell(args)?, budget })
    }

    /// Works on an issue; the patch is the answer's text, empty where nothing was changed.
    ///
    /// Errors: the repository or the engine; `stop` was raised.
    pub fn answer(
        &self,
        item: &Item,
        how: &Manner,
        options: TurnOptions,
        stop: &AtomicBool,
    ) -> Result<Response, Failure> {
        let Key::Patch(key) = &item.key else {
            return Err(Failure::Failed("the question is not about a repository".to_owned()));
        };
        let failed = |error: anyhow::Error| Failure::Failed(format!("{error:#}"));
        let checkout = self.repositories.check_out(&key.repository, &key.base_commit).map_err(failed)?;
        let ending = self.work(item, how, options, &checkout, stop).map_err(failed)?;
        if ending.end == AgentEnd::Cancelled {
            return Err(Failure::Stopped);
        }
        response(key, &checkout, &ending).map_err(failed)
    }

    fn work(
        &self,
        item: &Item,
        how: &Manner,
        options: TurnOptions,
        checkout: &Checkout,
        stop: &AtomicBool,
    ) -> Result<Ending> {
        let (mut head, asked) = opened(&item.ask, &Names::default(), how);
        head.instructions = Some(instructions::with_own(head.instructions.take()));
        let task = Task {
            conversation: head.conversation(&asked),
            // The limit is that of all turns together.
            options: TurnOptions { max_new_tokens: None, ..options.clone() },
            rules: self.session.rules.clone(),
            budget: Budget { tokens_max: options.max_new_tokens, ..self.budget },
        };
        let shell = Shell::new(self.cell.clone(), checkout.files())?;
        let tools = vec![Tool::Patch(Workspace::open(checkout.files())?), Tool::Shell(shell)];
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        let approve = |_: &Action| Decision::Approve;
        let host = Host { cancel: stop, on_event: |_| {}, approve };
        let toolbox = Toolbox { tools };
        runtime
            .block_on(gptoss_agent::run(self.session.assistant(), &toolbox, task, host))
            .map_err(|error| anyhow!(error))
    }

    /// How turns are taken where nothing else is said.
    pub fn session(&self) -> &Session {
        &self.session
    }
}

fn response(key: &PatchKey, checkout: &Checkout, ending: &Ending) -> Result<Response> {
    let is_cut =
        matches!(ending.end, AgentEnd::Steps | AgentEnd::Tokens | AgentEnd::Time | AgentEnd::Context);
    Ok(Response {
        response: checkout.patch(&files_of(&key.test_patch))?,
        reasoning: ending.answer.clone(),
        finish_reason: Some(if is_cut { "length" } else { "stop" }.to_owned()),
        usage: Some(json!({
            "prompt_tokens": ending.usage.prompt_tokens,
            "completion_tokens": ending.usage.completion_tokens,
            "completion_tokens_details": {"reasoning_tokens": ending.usage.reasoning_tokens},
        })),
        ..Response::default()
    })
}
