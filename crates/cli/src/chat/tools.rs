//! The tools of a chat, which are off until they are asked for.

use std::path::Path;

use anyhow::{Result, bail};
use gptoss_agent::Toolbox;

use super::command::NONE;
use crate::agent::toolbox::{self, Beside};
use crate::args::{BrowserSource, ToolArg};

/// Where they work: the folder that the chat was begun in.
const FOLDER: &str = ".";

/// The tools that are on.
#[derive(Default)]
pub struct Tools {
    /// Where the browser searches and reads.
    browser: Option<BrowserSource>,
    names: Vec<ToolArg>,
    /// The same, at work.
    pub toolbox: Toolbox,
}

impl Tools {
    /// All off, with where the browser would search.
    pub fn new(browser: Option<BrowserSource>) -> Tools {
        Tools { browser, ..Tools::default() }
    }

    /// Turns tools on by name, and all others off; says which are on then.
    ///
    /// Errors: there is no such tool, or it cannot run here; nothing has changed then.
    pub async fn turn_on(&mut self, names: &str) -> Result<String> {
        let words = names.split([',', ' ']).filter(|word| !word.is_empty() && *word != NONE);
        let mut wanted: Vec<ToolArg> = Vec::new();
        for word in words {
            let tool = word.parse().map_err(anyhow::Error::msg)?;
            if let ToolArg::Mcp(_) = tool {
                bail!("servers are for `gptoss agent --mcp`; there are {} here", ToolArg::NAMES);
            }
            if !wanted.contains(&tool) {
                wanted.push(tool);
            }
        }
        let beside = Beside { browser: self.browser.as_ref(), ..Beside::default() };
        self.toolbox = toolbox::of(&wanted, Path::new(FOLDER), beside).await?;
        self.names = wanted;
        Ok(self.described())
    }

    /// Which are on.
    pub fn described(&self) -> String {
        match self.names.is_empty() {
            true if self.browser.is_some() => {
                format!("no tools are on; /tools {} turns all on", ToolArg::NAMES)
            }
            true => {
                let names = ToolArg::NAMES.trim_end_matches(",browser");
                format!("no tools are on; /tools {names} turns on all that need no --browser")
            }
            false => {
                let names: Vec<String> = self.names.iter().map(ToolArg::to_string).collect();
                format!("the model may use {} in this folder", names.join(","))
            }
        }
    }
}
