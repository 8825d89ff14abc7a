//! How each client is told where the server is: arguments and variables of its own, as plain data.
//!
//! No file of the user's is read or written: Codex takes settings as arguments, opencode and Claude Code as
//! variables.

use serde_json::json;

use crate::args::ClientArg;
use crate::config::KEY_VARIABLE;

/// What clients send where no key is asked for: they insist on one.
const NO_KEY: &str = "none";

/// A server as a client needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `http://HOST:PORT`.
    pub base: String,
    /// The model's name there.
    pub model: String,
    /// Tokens of a whole conversation, if it is known.
    pub context: Option<u64>,
    /// The key it asks for.
    pub key: Option<String>,
}

/// A command to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables that it gets beside those of this process.
    pub variables: Vec<(&'static str, String)>,
}

/// How a client is installed, for whoever has it not.
pub fn install_command(client: ClientArg) -> &'static str {
    match client {
        ClientArg::Codex => "npm install -g @openai/codex",
        ClientArg::Claude => "npm install -g @anthropic-ai/claude-code",
        ClientArg::Opencode => "npm install -g opencode-ai",
    }
}

/// The program of a client.
pub fn program(client: ClientArg) -> &'static str {
    match client {
        ClientArg::Codex => "codex",
        ClientArg::Claude => "claude",
        ClientArg::Opencode => "opencode",
    }
}

/// The command that runs a client against a server.
pub fn invocation(client: ClientArg, server: &Server, arguments: &[String]) -> Invocation {
    let (mut own, variables) = match client {
        ClientArg::Codex => codex(server),
        ClientArg::Claude => (Vec::new(), claude(server)),
        ClientArg::Opencode => (Vec::new(), opencode(server)),
    };
    own.extend(arguments.iter().cloned());
    Invocation { program: program(client), arguments: own, variables }
}

fn codex(server: &Server) -> (Vec<String>, Vec<(&'static str, String)>) {
    let base = format!("{}/v1", server.base);
    let key = server.key.as_ref().map_or(String::new(), |_| format!(", env_key={KEY_VARIABLE:?}"));
    // The words of a JSON string are those of a TOML string.
    let provider = format!("{{name=\"gptoss\", base_url={}, wire_api=\"responses\"{key}}}", json!(base));
    let mut settings = vec![
        "model_provider=\"gptoss\"".to_owned(),
        format!("model_providers.gptoss={provider}"),
        format!("model={}", json!(server.model)),
    ];
    settings.extend(server.context.map(|context| format!("model_context_window={context}")));
    let arguments = settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]).collect();
    (arguments, server.key.iter().map(|key| (KEY_VARIABLE, key.clone())).collect())
}

fn claude(server: &Server) -> Vec<(&'static str, String)> {
    let key = server.key.clone().unwrap_or_else(|| NO_KEY.to_owned());
    let mut variables = vec![
        ("ANTHROPIC_BASE_URL", server.base.clone()),
        ("ANTHROPIC_AUTH_TOKEN", key),
        // Set, it would win over the token.
        ("ANTHROPIC_API_KEY", String::new()),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
    ];
    let models = [
        "ANTHROPIC_MODEL",
        "ANTHROPIC_DEFAULT_OPUS_MODEL",
        "ANTHROPIC_DEFAULT_SONNET_MODEL",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    ];
    variables.extend(models.map(|name| (name, server.model.clone())));
    // It takes an unknown model to have 200,000 tokens.
    variables.extend(server.context.map(|context| ("CLAUDE_CODE_AUTO_COMPACT_WINDOW", context.to_string())));
    variables
}

fn opencode(server: &Server) -> Vec<(&'static str, String)> {
    let mut model = json!({"name": server.model});
    if let Some(context) = server.context {
        // It takes the output off the context before it summarizes: a quarter is left for it.
        model["limit"] = json!({"context": context, "output": context / 4});
    }
    let name = format!("gptoss/{}", server.model);
    let settings = json!({
        "$schema": "https://opencode.ai/config.json",
        "provider": {"gptoss": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "gptoss",
            "options": {
                "baseURL": format!("{}/v1", server.base),
                "apiKey": server.key.as_deref().unwrap_or(NO_KEY),
            },
            "models": {&server.model: model},
        }},
        "model": name,
        "small_model": name,
    });
    vec![("OPENCODE_CONFIG_CONTENT", settings.to_string())]
}

impl Invocation {
    /// The command in a shell's words, variables first. A key is not shown.
    pub fn shell(&self, key: Option<&str>) -> String {
        let mut text = String::new();
        for (name, value) in &self.variables {
            let value = key.map_or_else(|| value.clone(), |key| value.replace(key, "KEY"));
            text.push_str(&format!("export {name}={}\n", quoted(&value)));
        }
        text.push_str(self.program);
        for argument in &self.arguments {
            text.push(' ');
            text.push_str(&quoted(argument));
        }
        text
    }
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(key: Option<&str>) -> Server {
        Server {
            base: "http://127.0.0.1:8000".to_owned(),
            model: "openai/gpt-oss-20b".to_owned(),
            context: Some(32_768),
            key: key.map(str::to_owned),
        }
    }

    #[test]
    fn each_client_is_told_where_the_server_is() {
        let more = ["exec".to_owned(), "it's".to_owned()];
        let shown = |client, key| invocation(client, &server(key), &more).shell(key);
        let codex = shown(ClientArg::Codex, None);
        let provider = r#"-c 'model_providers.gptoss={name="gptoss", base_url="http://127.0.0.1:8000/v1", wire_api="responses"}'"#;
        assert!(codex.starts_with(r#"codex -c 'model_provider="gptoss"'"#), "{codex}");
        assert!(codex.contains(provider) && codex.ends_with(r"exec 'it'\''s'"), "{codex}");
        let claude = shown(ClientArg::Claude, Some("sk-1"));
        assert!(claude.contains("export ANTHROPIC_BASE_URL=http://127.0.0.1:8000\n"), "{claude}");
        assert!(claude.contains("export ANTHROPIC_MODEL=openai/gpt-oss-20b\n"), "{claude}");
        let opencode = invocation(ClientArg::Opencode, &server(None), &[]);
        let settings: serde_json::Value = serde_json::from_str(&opencode.variables[0].1).unwrap();
        assert_eq!(settings["model"], "gptoss/openai/gpt-oss-20b");
        let provider = &settings["provider"]["gptoss"];
        assert_eq!(provider["options"]["baseURL"], "http://127.0.0.1:8000/v1");
        assert_eq!(provider["models"]["openai/gpt-oss-20b"]["limit"]["context"], 32_768);
    }

    #[test]
    fn a_key_goes_to_the_client_and_is_not_shown() {
        for client in [ClientArg::Codex, ClientArg::Claude, ClientArg::Opencode] {
            let command = invocation(client, &server(Some("sk-secret")), &[]);
            assert!(command.variables.iter().any(|(_, value)| value.contains("sk-secret")), "{client:?}");
            assert!(!command.arguments.iter().any(|argument| argument.contains("sk-secret")), "{client:?}");
            assert!(!command.shell(Some("sk-secret")).contains("sk-secret"), "{client:?}");
        }
    }
}
