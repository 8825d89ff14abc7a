//! The text in which people write servers: JSON with an object `mcpServers`, as most programs read it, or
//! TOML with tables `[mcp_servers.LABEL]`, as Codex does.
//!
//! `{"mcpServers": {"LABEL": {"command", "args", "env", "cwd"} or {"url", "headers"}}}`, and for both `type`,
//! `disabled`, `allowedTools`, `disabledTools` and `requireApproval`. A key that is not known is refused: a
//! list of allowed tools that is misspelled would allow all.

mod codex;

use std::collections::BTreeMap;
use std::path::PathBuf;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::approval::McpApproval;
use super::config::{McpHttp, McpProgram, McpServerConfig, McpTransport};
use super::function_name::namespace_name;
use super::limits::{MCP_LABEL_BYTES_MAX, MCP_SERVERS_BYTES_MAX, MCP_SERVERS_MAX};
use super::variable::expanded;
use codex::CodexEntry;

/// What a program needs to run, and no secrets: all that a server inherits of an environment.
const INHERITED: &[&str] =
    &["HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"];

/// Headers that belong to the protocol or to HTTP itself.
const RESERVED_HEADERS: &[&str] = &[
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
];

/// What is wrong with a text of servers.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum McpEntryError {
    /// It is not what such a text is.
    #[error(
        "{0}; expected {{\"mcpServers\": {{\"LABEL\": {{\"command\": ...}} or {{\"url\": ...}}}}}}, \
         or [mcp_servers.LABEL] in TOML"
    )]
    Text(String),
    /// One entry is wrong.
    #[error("{table}.{label}: {reason}")]
    Entry {
        /// What holds the entries.
        table: &'static str,
        /// Which.
        label: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// An entry as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    r#type: Option<String>,
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    disabled: bool,
    allowed_tools: Option<Vec<String>>,
    #[serde(default)]
    disabled_tools: Vec<String>,
    #[serde(default)]
    require_approval: McpApproval,
}

/// The servers of a text, in its order, without those that are disabled. `lookup` gives variables of the
/// environment: for `${NAME}`, and the few that a program needs to run.
///
/// Errors: what is neither JSON nor TOML, not such an object, or beyond [`super::limits`]; an entry with an
/// unknown key, without `command` or `url` or with both, with a variable that is not set, an address that is
/// not http or https, or a header that is not one.
pub fn parse_mcp_servers(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<McpServerConfig>, McpEntryError> {
    let wrong = McpEntryError::Text;
    if text.len() > MCP_SERVERS_BYTES_MAX {
        return Err(wrong(format!("{} bytes, more than {MCP_SERVERS_BYTES_MAX}", text.len())));
    }
    // No text of TOML begins with a brace.
    let (form, value): (Form, Value) = match text.trim_start().starts_with('{') {
        true => (
            Form::McpServers,
            serde_json::from_str(text).map_err(|error| wrong(format!("not JSON: {error}")))?,
        ),
        false => (
            Form::Codex,
            toml::from_str(text)
                .map_err(|error| wrong(format!("neither JSON nor TOML: {}", error.message())))?,
        ),
    };
    let keys: &[&str] = match form {
        Form::McpServers => &[MCP_SERVERS, "servers"],
        Form::Codex => &[CODEX_SERVERS],
    };
    let entries = keys.iter().find_map(|key| value.get(*key)).and_then(Value::as_object);
    let entries = entries.ok_or_else(|| wrong(format!("no object `{}`", keys[0])))?;
    if entries.len() > MCP_SERVERS_MAX {
        return Err(wrong(format!("{} servers, more than {MCP_SERVERS_MAX}", entries.len())));
    }
    let servers = parse_entries(form, entries, lookup)?;
    for (at, server) in servers.iter().enumerate() {
        let name = namespace_name(&server.label);
        if let Some(other) = servers[..at].iter().find(|other| namespace_name(&other.label) == name) {
            let reason = format!("has the namespace {name} as {:?} has; rename one", other.label);
            return Err(McpEntryError::Entry { table: form.table(), label: server.label.clone(), reason });
        }
    }
    Ok(servers)
}

/// What holds the entries in JSON.
const MCP_SERVERS: &str = "mcpServers";
/// The same in TOML.
const CODEX_SERVERS: &str = "mcp_servers";

/// Whose words a text is in.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Most programs'.
    McpServers,
    /// Codex's.
    Codex,
}

impl Form {
    fn table(self) -> &'static str {
        match self {
            Form::McpServers => MCP_SERVERS,
            Form::Codex => CODEX_SERVERS,
        }
    }
}

fn parse_entries(
    form: Form,
    entries: &Map<String, Value>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<McpServerConfig>, McpEntryError> {
    let mut servers = Vec::new();
    for (label, value) in entries {
        let in_entry = |reason| McpEntryError::Entry { table: form.table(), label: label.clone(), reason };
        if label.is_empty() || label.len() > MCP_LABEL_BYTES_MAX || label.chars().any(char::is_control) {
            return Err(in_entry(format!(
                "a label has 1 to {MCP_LABEL_BYTES_MAX} bytes that can be printed"
            )));
        }
        let entry: Entry = match form {
            Form::McpServers => serde_path_to_error::deserialize(value),
            Form::Codex => {
                serde_path_to_error::deserialize(value).map(|entry: CodexEntry| entry.into_entry(lookup))
            }
        }
        .map_err(|error| in_entry(error.to_string()))?;
        if entry.disabled {
            continue;
        }
        let transport = transport(&entry, lookup).map_err(in_entry)?;
        servers.push(McpServerConfig {
            label: label.clone(),
            transport,
            allowed_tools: entry.allowed_tools,
            disabled_tools: entry.disabled_tools,
            approval: entry.require_approval,
        });
    }
    Ok(servers)
}

fn transport(entry: &Entry, lookup: &dyn Fn(&str) -> Option<String>) -> Result<McpTransport, String> {
    let kind = entry.r#type.as_deref();
    match (kind, &entry.command, &entry.url) {
        (Some("sse"), ..) => Err(
            "type \"sse\" is the older transport, which is not spoken here; most such servers also answer \
                 streamable HTTP (type \"http\"), often at a path that ends in /mcp"
                .into(),
        ),
        (Some(kind), ..) if !["stdio", "http", "streamable-http", "streamableHttp"].contains(&kind) => {
            Err(format!("type {kind:?} is not known; \"stdio\" and \"http\" are"))
        }
        (_, Some(_), Some(_)) => Err("has both `command` and `url`; leave one".into()),
        (_, None, None) => Err("has neither `command` nor `url`".into()),
        (Some("stdio"), None, _) => Err("is \"stdio\" but has no `command`".into()),
        (Some(kind), Some(_), _) if kind != "stdio" => Err(format!("is {kind:?} but has a `command`")),
        (_, Some(_), _) if !entry.headers.is_empty() => Err("`headers` go with `url`".into()),
        (_, _, Some(_)) if !entry.args.is_empty() || !entry.env.is_empty() || entry.cwd.is_some() => {
            Err("`args`, `env` and `cwd` go with `command`".into())
        }
        (_, Some(command), _) => program(command, entry, lookup).map(McpTransport::Stdio),
        (_, _, Some(url)) => http(url, entry, lookup).map(McpTransport::Http),
    }
}

fn program(
    command: &str,
    entry: &Entry,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<McpProgram, String> {
    let command = expanded(command, lookup).map_err(|what| format!("command: {what}"))?;
    if command.is_empty() {
        return Err("command: is empty".into());
    }
    let args = entry.args.iter().enumerate();
    let args = args.map(|(at, arg)| expanded(arg, lookup).map_err(|what| format!("args[{at}]: {what}")));
    let inherited = INHERITED.iter().filter(|name| !entry.env.contains_key(**name));
    let mut env: Vec<(String, String)> =
        inherited.filter_map(|name| Some(((*name).to_owned(), lookup(name)?))).collect();
    for (name, value) in &entry.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(format!("env: {name:?} is not a name of a variable"));
        }
        env.push((name.clone(), expanded(value, lookup).map_err(|what| format!("env.{name}: {what}"))?));
    }
    let args = args.collect::<Result<Vec<_>, _>>()?;
    if args.iter().chain([&command]).chain(env.iter().map(|(_, value)| value)).any(|text| text.contains('\0'))
    {
        return Err("has a zero byte, which no program can be given".into());
    }
    Ok(McpProgram { command, args, env, cwd: entry.cwd.clone() })
}

fn http(url: &str, entry: &Entry, lookup: &dyn Fn(&str) -> Option<String>) -> Result<McpHttp, String> {
    let url = expanded(url, lookup).map_err(|what| format!("url: {what}"))?;
    let uri: Uri = url.parse().map_err(|error| format!("url: {error}"))?;
    let authority = uri.authority().filter(|_| matches!(uri.scheme_str(), Some("http" | "https")));
    match authority {
        None => return Err("url: expected http://HOST/PATH or https://HOST/PATH".into()),
        Some(authority) if authority.as_str().contains('@') => {
            return Err(
                "url: a name and a password are not sent from there; give a header `Authorization`".into()
            );
        }
        Some(_) => {}
    }
    let mut headers = Vec::new();
    for (name, value) in &entry.headers {
        let wrong = |what: String| format!("headers.{name}: {what}");
        let header: HeaderName = name.parse().map_err(|_| wrong("is not a name of a header".into()))?;
        if RESERVED_HEADERS.contains(&header.as_str()) {
            return Err(wrong("is set by the protocol itself".into()));
        }
        let value = expanded(value, lookup).map_err(wrong)?;
        let mut value: HeaderValue =
            value.parse().map_err(|_| wrong("its value has characters that no header may have".into()))?;
        value.set_sensitive(true);
        headers.push((header, value));
    }
    Ok(McpHttp { url, headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<McpServerConfig>, McpEntryError> {
        parse_mcp_servers(text, &|name| match name {
            "PATH" => Some("/bin".into()),
            "TOKEN" => Some("s3cret".into()),
            "OPENAI_API_KEY" => Some("sk-caller".into()),
            _ => None,
        })
    }

    #[test]
    fn entries_are_read_as_other_programs_write_them() {
        let servers = parse(
            r#"{"theme": "dark", "mcpServers": {
                "time": {"command": "uvx", "args": ["mcp-server-time", "${ZONE:-UTC}"], "env": {"A": "1"}},
                "off": {"command": "x", "disabled": true},
                "docs": {"type": "http", "url": "https://docs.example/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"},
                    "allowedTools": ["search"], "requireApproval": {"never": ["search"]}}
            }}"#,
        )
        .expect("servers");
        let env = vec![("PATH".to_owned(), "/bin".to_owned()), ("A".to_owned(), "1".to_owned())];
        let program = McpProgram {
            command: "uvx".into(),
            args: vec!["mcp-server-time".into(), "UTC".into()],
            env,
            cwd: None,
        };
        assert_eq!(servers.len(), 2);
        assert_eq!(servers[0].transport, McpTransport::Stdio(program));
        assert_eq!((&servers[0].allowed_tools, &servers[0].approval), (&None, &McpApproval::Always));
        let McpTransport::Http(http) = &servers[1].transport else { panic!("not http") };
        assert_eq!(http.headers[0].1.as_bytes(), b"Bearer s3cret");
        assert_eq!(servers[1].allowed_tools, Some(vec!["search".into()]));
        assert!(!servers[1].approval.is_needed("search") && servers[1].approval.is_needed("other"));
        let printed = format!("{servers:?}");
        assert!(
            !printed.contains("s3cret") && !printed.contains("/bin") && !printed.contains("sk-caller"),
            "{printed}"
        );
        assert_eq!(
            parse(r#"{"servers": {"a": {"url": "http://127.0.0.1:1/"}}}"#).expect("its other name").len(),
            1
        );
    }

    #[test]
    fn entries_are_read_as_codex_writes_them() {
        let servers = parse(
            r#"
            model = "gpt-oss:20b"
            [mcp_servers.time]
            command = "uvx"
            args = ["mcp-server-time"]
            env_vars = ["TOKEN", "NOT_SET"]
            startup_timeout_sec = 20
            [mcp_servers.time.env]
            A = "1"
            [mcp_servers.docs]
            url = "https://docs.example/mcp"
            bearer_token_env_var = "TOKEN"
            http_headers = { "X-A" = "b" }
            env_http_headers = { "X-Token" = "TOKEN", "X-None" = "NOT_SET" }
            enabled_tools = ["search", "write"]
            disabled_tools = ["write"]
            [mcp_servers.off]
            command = "x"
            enabled = false
            "#,
        )
        .expect("servers");
        assert_eq!(servers.len(), 2);
        let named = |label| servers.iter().find(|server| server.label == label).expect(label);
        let (docs, time) = (named("docs"), named("time"));
        let McpTransport::Stdio(program) = &time.transport else { panic!("{time:?}") };
        let env = [("PATH", "/bin"), ("A", "1"), ("TOKEN", "s3cret")];
        let env: Vec<(String, String)> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!((&program.env, program.args.len()), (&env, 1));
        let McpTransport::Http(http) = &docs.transport else { panic!("{docs:?}") };
        let headers: Vec<(&str, &[u8])> =
            http.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected: [(&str, &[u8]); 3] =
            [("authorization", b"Bearer s3cret"), ("x-a", b"b"), ("x-token", b"s3cret")];
        assert_eq!(headers, expected);
        assert_eq!((&docs.approval, docs.disabled_tools.len()), (&McpApproval::Always, 1));
        let wrong = |text: &str, expected: &str| {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with("mcp_servers.a: ") && error.contains(expected), "{text}: {error}");
        };
        wrong("[mcp_servers.a]\ncommand = 'x'\nallowed_tools = []", "unknown field `allowed_tools`");
        wrong("[mcp_servers.a]\nurl = 'http://h/'\nbearer_token_env_var = 'NO'", "variable NO is not set");
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place() {
        let check = |entry: &str, expected: &str| {
            let error =
                parse(&format!(r#"{{"mcpServers": {{"a": {entry}}}}}"#)).expect_err(entry).to_string();
            assert!(error.starts_with("mcpServers.a: ") && error.contains(expected), "{entry}: {error}");
        };
        check("{}", "neither `command` nor `url`");
        check(r#"{"command": "x", "url": "http://h/"}"#, "both");
        check(r#"{"command": "x", "alowedTools": []}"#, "unknown field `alowedTools`, expected one of");
        check(r#"{"command": "x", "args": ["a", 1]}"#, "args[1]: invalid type");
        check(r#"{"command": ""}"#, "command: is empty");
        check(r#"{"command": "x", "env": {"A": "${NONE}"}}"#, "env.A: the variable NONE is not set");
        check(r#"{"command": "x", "headers": {"A": "b"}}"#, "`headers` go with `url`");
        check(r#"{"url": "http://h/", "args": ["x"]}"#, "go with `command`");
        check(r#"{"type": "sse", "url": "http://h/"}"#, "older transport");
        check(r#"{"type": "ws", "url": "http://h/"}"#, "\"ws\" is not known");
        check(r#"{"type": "http", "command": "x"}"#, "is \"http\" but has a `command`");
        check(r#"{"type": "stdio", "url": "http://h/"}"#, "is \"stdio\" but has no `command`");
        check(r#"{"url": "file:///etc"}"#, "url: ");
        check(r#"{"url": "ftp://h/"}"#, "expected http://");
        check(r#"{"url": "https://me:pw@h/"}"#, "give a header `Authorization`");
        check(r#"{"url": "http://h/", "headers": {"Mcp-Session-Id": "x"}}"#, "set by the protocol");
        check(r#"{"url": "http://h/", "headers": {"A": "x\ny"}}"#, "no header may have");
        check(r#"{"command": "x", "requireApproval": "sometimes"}"#, "requireApproval");
        assert!(
            parse(r#"{"a": 1}"#).expect_err("no object").to_string().starts_with("no object `mcpServers`")
        );
        assert!(
            parse("model = 'x'").expect_err("no table").to_string().starts_with("no object `mcp_servers`")
        );
        assert!(parse("model =").expect_err("no TOML").to_string().starts_with("neither JSON nor TOML: "));
        assert!(parse("{").expect_err("no JSON").to_string().starts_with("not JSON: EOF"));
        let clash = r#"{"mcpServers": {"a-b": {"command": "x"}, "a.b": {"command": "x"}}}"#;
        let clash = parse(clash).expect_err("one namespace").to_string();
        assert_eq!(clash, r#"mcpServers.a.b: has the namespace a_b as "a-b" has; rename one"#);
    }

    #[test]
    fn a_text_has_its_bounds() {
        let many: Vec<String> =
            (0..=MCP_SERVERS_MAX).map(|n| format!(r#""s{n}": {{"command": "x"}}"#)).collect();
        let error = parse(&format!(r#"{{"mcpServers": {{{}}}}}"#, many.join(","))).expect_err("too many");
        assert!(error.to_string().starts_with("33 servers, more than 32"), "{error}");
        let long = " ".repeat(MCP_SERVERS_BYTES_MAX + 1);
        assert!(parse(&long).expect_err("too long").to_string().contains("more than 1048576"));
        let label = "x".repeat(MCP_LABEL_BYTES_MAX + 1);
        let error =
            parse(&format!(r#"{{"mcpServers": {{"{label}": {{"command": "x"}}}}}}"#)).expect_err("too long");
        assert!(error.to_string().contains("1 to 64 bytes"), "{error}");
    }
}
