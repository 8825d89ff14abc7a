//! Entries as Codex has them: `[mcp_servers.LABEL]` in its `config.toml`, whose other tables are passed over.
//!
//! They become entries of the other kind: a key that names a variable becomes that variable, and no other
//! text has any. How long Codex waits, and whether it ends without a server, are its own and passed over.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Entry;
use crate::mcp::variable::literal;

/// An entry as Codex writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "keys that are passed over are named, so that misspelled ones are told")]
pub(super) struct CodexEntry {
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    env_vars: Vec<String>,
    cwd: Option<PathBuf>,
    url: Option<String>,
    bearer_token_env_var: Option<String>,
    #[serde(default)]
    http_headers: BTreeMap<String, String>,
    #[serde(default)]
    env_http_headers: BTreeMap<String, String>,
    enabled: Option<bool>,
    enabled_tools: Option<Vec<String>>,
    #[serde(default)]
    disabled_tools: Vec<String>,
    required: Option<IgnoredAny>,
    startup_timeout_sec: Option<IgnoredAny>,
    startup_timeout_ms: Option<IgnoredAny>,
    tool_timeout_sec: Option<IgnoredAny>,
}

impl CodexEntry {
    /// The same in the other words. Variables that are not set are passed over where Codex does so.
    pub(super) fn into_entry(self, lookup: &dyn Fn(&str) -> Option<String>) -> Entry {
        let is_set = |name: &String| lookup(name).is_some_and(|value| !value.trim().is_empty());
        let variable = |name: String| format!("${{{name}}}");
        let literals = |texts: BTreeMap<String, String>| -> BTreeMap<String, String> {
            texts.into_iter().map(|(name, text)| (name, literal(&text))).collect()
        };
        let mut env = literals(self.env);
        env.extend(self.env_vars.into_iter().filter(is_set).map(|name| (name.clone(), variable(name))));
        let mut headers = literals(self.http_headers);
        let named = self.env_http_headers.into_iter().filter(|(_, name)| is_set(name));
        headers.extend(named.map(|(header, name)| (header, variable(name))));
        if let Some(name) = self.bearer_token_env_var {
            headers.insert("Authorization".to_owned(), format!("Bearer {}", variable(name)));
        }
        Entry {
            command: self.command.as_deref().map(literal),
            args: self.args.iter().map(|arg| literal(arg)).collect(),
            env,
            cwd: self.cwd,
            url: self.url.as_deref().map(literal),
            headers,
            disabled: self.enabled == Some(false),
            allowed_tools: self.enabled_tools,
            disabled_tools: self.disabled_tools,
            ..Entry::default()
        }
    }
}
