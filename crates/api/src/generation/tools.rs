//! The tools that the model may call, and what they are called on the wire.
//!
//! [`Tools::parse`] reads the tools of either API, in the flat form of Responses or the nested one of Chat
//! Completions, and the choice among them. Each gets one name in harmony's namespace `functions`; a tool
//! inside a namespace is called `NAMESPACE__NAME` there, and [`Tools::find`] leads back to its own two names,
//! so that renaming is never seen by a client. Built-in tools of Responses are the client's to run
//! (`client_tools`) or this server's ([`Hosted`]); kinds that run on OpenAI's servers alone are left out with
//! a warning, as the model could not use them.

use gptoss_harmony::{FunctionTool, ToolNamespace};
use serde_json::{Value, json};

use super::client_tools::client_tool;
use super::fields::text;
use super::hosted::{BROWSER, Hosted, PYTHON, ServerTools, is_hosted, is_search, recipient_of};
pub use super::tool::{Grammar, Kind, Tool};
use crate::errors::ApiError;
use crate::limits::{RequestLimits, TOOL_NAME_BYTES_MAX};

/// What the model must call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// Whatever it likes.
    #[default]
    Auto,
    /// Nothing.
    None,
    /// Something.
    Required,
    /// This tool, by its name in harmony.
    Named(String),
}

/// The tools of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tools {
    /// Those of the client's, in the order of the request.
    pub list: Vec<Tool>,
    /// Those that the server runs.
    pub hosted: Hosted,
    /// What must be called.
    pub choice: Choice,
}

impl Tools {
    /// Reads tools and choice; `has` is what the server runs, in an API that has built-in tools.
    ///
    /// Errors: by the name of the tool that is wrong; more tools or a longer schema than `limits` allow; a
    /// choice of an unknown tool.
    pub fn parse(
        tools: &[Value],
        choice: Option<&Value>,
        has: Option<&ServerTools>,
        limits: &RequestLimits,
        warnings: &mut Vec<String>,
    ) -> Result<Tools, ApiError> {
        let (mut list, mut hosted) = (Vec::new(), Hosted::default());
        for (index, value) in tools.iter().enumerate() {
            let path = format!("tools[{index}]");
            match text(value, "type").unwrap_or("function") {
                "namespace" => {
                    let namespace = name(value, &path)?;
                    let inner = value.get("tools").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                    for (inner_index, inner) in inner.iter().enumerate() {
                        let mut tool = tool(inner, &format!("{path}.tools[{inner_index}]"), limits)?;
                        let own = std::mem::take(&mut tool.harmony_name);
                        tool.harmony_name = format!("{namespace}__{own}");
                        tool.kind = Kind::Namespaced { namespace: namespace.clone(), name: own };
                        list.push(tool);
                    }
                }
                "function" | "custom" => list.push(tool(value, &path, limits)?),
                kind => match (has, has.and_then(|_| client_tool(value))) {
                    (Some(has), None) if is_hosted(kind) => hosted.take(value, &path, has, warnings)?,
                    (Some(_), Some(tool)) => list.push(tool),
                    _ => warnings.push(format!(
                        "{path}: tools of the type {kind:?} do not run here; it is not offered to the model"
                    )),
                },
            }
        }
        Tools::offer(list, hosted, "tools", choice, limits)
    }

    /// These tools, which came in `param`, and the choice among them, in OpenAI's words.
    ///
    /// Errors: more tools than `limits` allow, two of one name, a choice of an unknown tool.
    pub(crate) fn offer(
        list: Vec<Tool>,
        hosted: Hosted,
        param: &str,
        choice: Option<&Value>,
        limits: &RequestLimits,
    ) -> Result<Tools, ApiError> {
        let recipients = hosted.recipients();
        let mut names: Vec<&str> = list.iter().map(|tool| tool.harmony_name.as_str()).collect();
        names.extend(recipients.iter().map(String::as_str));
        if names.len() > limits.tools_max {
            let message =
                format!("there are {} tools, but at most {} are taken", names.len(), limits.tools_max);
            return Err(ApiError::invalid(param, message));
        }
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("the name {:?} stands for more than one tool", pair[0]);
            return Err(ApiError::invalid(param, message));
        }
        let mut tools = Tools { list, hosted, choice: Choice::Auto };
        tools.choose(choice)?;
        Ok(tools)
    }

    /// The tool of that name in harmony.
    pub fn find(&self, harmony_name: &str) -> Option<&Tool> {
        self.list.iter().find(|tool| tool.harmony_name == harmony_name)
    }

    /// The name in harmony of a function that a client calls so.
    pub fn harmony_name(namespace: Option<&str>, name: &str) -> String {
        match namespace {
            Some(namespace) => format!("{namespace}__{name}"),
            None => name.to_owned(),
        }
    }

    /// As the developer message shows them: none when none may be called.
    pub fn shown(&self) -> Vec<FunctionTool> {
        if self.choice == Choice::None {
            return Vec::new();
        }
        let show = |tool: &Tool| FunctionTool {
            name: tool.harmony_name.clone(),
            description: tool.description.clone(),
            parameters: match tool.kind {
                Kind::Custom | Kind::ApplyPatch => Some(json!({"type": "string"})),
                Kind::Function
                | Kind::OldFunction
                | Kind::Namespaced { .. }
                | Kind::Shell
                | Kind::LocalShell => tool.parameters.clone(),
            },
        };
        self.list.iter().map(show).collect()
    }

    /// The namespaces of the server's tools, those in the system message and those in the developer's: none
    /// when none may be called.
    pub fn namespaces(&self) -> (Vec<ToolNamespace>, Vec<ToolNamespace>) {
        match self.choice {
            Choice::None => (Vec::new(), Vec::new()),
            _ => (self.hosted.builtins(), self.hosted.namespaces()),
        }
    }

    fn choose(&mut self, choice: Option<&Value>) -> Result<(), ApiError> {
        let Some(choice) = choice.filter(|choice| !choice.is_null()) else { return Ok(()) };
        if let Some(mode) = choice.as_str() {
            self.choice = self.mode(mode)?;
            return Ok(());
        }
        let kind = text(choice, "type").unwrap_or_default();
        let inside = choice.get(kind).filter(|inside| inside.is_object()).unwrap_or(choice);
        match kind {
            "allowed_tools" => {
                let allowed = inside.get("tools").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let names = allowed.iter().map(|tool| self.known(tool)).collect::<Result<Vec<_>, _>>()?;
                let names = names.concat();
                self.choice = self.mode(text(inside, "mode").unwrap_or("auto"))?;
                self.list.retain(|tool| names.contains(&tool.harmony_name));
                self.hosted.retain(&names);
            }
            "mcp" => {
                let names = self.known(choice)?;
                let is_all = names.len() == self.list.len() + self.hosted.recipients().len();
                self.choice = match <[String; 1]>::try_from(names) {
                    Ok([name]) => Choice::Named(name),
                    Err(_) if is_all => Choice::Required,
                    Err(_) => {
                        let message =
                            "tool_choice must name one tool of the MCP server while there are others";
                        return Err(ApiError::invalid("tool_choice.name", message));
                    }
                };
            }
            "function" | "custom" | "shell" | "local_shell" | "apply_patch" | "code_interpreter" => {
                self.choose_first(choice)?;
            }
            kind if is_search(kind) => self.choose_first(choice)?,
            _ => {
                let message = "tool_choice must be none, auto, required, a function, a custom or built-in tool or \
                    allowed_tools";
                return Err(ApiError::invalid("tool_choice", message));
            }
        }
        Ok(())
    }

    fn choose_first(&mut self, choice: &Value) -> Result<(), ApiError> {
        if let Some(name) = self.known(choice)?.into_iter().next() {
            self.choice = Choice::Named(name);
        }
        Ok(())
    }

    fn mode(&self, mode: &str) -> Result<Choice, ApiError> {
        match mode {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::None),
            "required" | "any" if self.list.is_empty() && self.hosted.is_empty() => {
                Err(ApiError::invalid("tool_choice", "tool_choice is required, but no tools are offered"))
            }
            "required" | "any" => Ok(Choice::Required),
            other => {
                let message = format!("tool_choice is {other:?}, but must be none, auto, required or a tool");
                Err(ApiError::invalid("tool_choice", message))
            }
        }
    }

    /// The names, or recipients, of what a tool stands for in a choice.
    ///
    /// Errors: it is not among the tools.
    fn known(&self, tool: &Value) -> Result<Vec<String>, ApiError> {
        let kind = text(tool, "type").unwrap_or_default();
        let inner = tool.get(kind).filter(|inner| inner.is_object()).unwrap_or(tool);
        let name = text(inner, "name");
        let offered = |name: String| self.find(&name).map(|tool| tool.harmony_name.clone());
        let run = |recipient: &str| self.hosted.find(recipient).map(|_| recipient.to_owned());
        let names: Vec<String> = match kind {
            "shell" | "local_shell" | "apply_patch" => offered(kind.to_owned()).into_iter().collect(),
            "code_interpreter" => run(PYTHON).into_iter().collect(),
            "mcp" => {
                let label = text(tool, "server_label").unwrap_or_default();
                let of_server = recipient_of(label, "");
                let mut all = self.hosted.recipients();
                let is_meant = |recipient: &String| match name {
                    Some(name) => *recipient == recipient_of(label, name),
                    None => recipient.starts_with(&of_server),
                };
                all.retain(is_meant);
                all
            }
            kind if is_search(kind) => BROWSER.into_iter().filter_map(run).collect(),
            _ => {
                let name = Tools::harmony_name(text(inner, "namespace"), name.unwrap_or_default());
                offered(name).into_iter().collect()
            }
        };
        if names.is_empty() {
            let named = name.or_else(|| text(tool, "server_label")).unwrap_or(kind);
            let message = format!("tool_choice names {named:?}, which is not among the tools");
            return Err(ApiError::invalid("tool_choice", message));
        }
        Ok(names)
    }
}

/// Whether a tool is run neither by the client nor by a server that has these.
pub fn is_foreign(tool: &Value, has: &ServerTools) -> bool {
    let kind = text(tool, "type").unwrap_or("function");
    !matches!(kind, "function" | "custom" | "namespace") && client_tool(tool).is_none() && !has.has(tool)
}

/// One tool, in the flat form or the nested one.
pub(crate) fn tool(value: &Value, path: &str, limits: &RequestLimits) -> Result<Tool, ApiError> {
    let kind = text(value, "type").unwrap_or("function");
    let facts = value.get(kind).filter(|facts| facts.is_object()).unwrap_or(value);
    let description = text(facts, "description").unwrap_or_default().to_owned();
    let harmony_name = name(facts, path)?;
    if kind == "custom" {
        let grammar = grammar(facts.get("format"), path, limits)?;
        return Ok(Tool {
            harmony_name,
            kind: Kind::Custom,
            description,
            parameters: None,
            strict: grammar.is_some(),
            grammar,
        });
    }
    let parameters = match facts.get("parameters") {
        None | Some(Value::Null) => None,
        Some(schema) => Some(self::schema(schema, &format!("{path}.parameters"), limits)?),
    };
    let strict = facts.get("strict").and_then(Value::as_bool).unwrap_or(false);
    Ok(Tool { harmony_name, kind: Kind::Function, description, parameters, strict, grammar: None })
}

/// A JSON Schema that is an object and not too long.
pub fn schema(schema: &Value, path: &str, limits: &RequestLimits) -> Result<Value, ApiError> {
    if !schema.is_object() {
        return Err(ApiError::invalid(path, format!("{path} must be a JSON Schema, which is an object")));
    }
    let bytes = schema.to_string().len();
    if bytes > limits.schema_bytes_max {
        let max = limits.schema_bytes_max;
        return Err(ApiError::invalid(
            path,
            format!("{path} has {bytes} bytes, but at most {max} are taken"),
        ));
    }
    Ok(schema.clone())
}

fn grammar(format: Option<&Value>, path: &str, limits: &RequestLimits) -> Result<Option<Grammar>, ApiError> {
    let Some(format) = format.filter(|format| !format.is_null()) else { return Ok(None) };
    if text(format, "type").unwrap_or("text") == "text" {
        return Ok(None);
    }
    let inside = format.get("grammar").filter(|inside| inside.is_object()).unwrap_or(format);
    let path = format!("{path}.format");
    let definition = text(inside, "definition").unwrap_or_default().to_owned();
    if definition.len() > limits.schema_bytes_max {
        let message = format!("{path}.definition has {} bytes, too many", definition.len());
        return Err(ApiError::invalid(path, message));
    }
    match text(inside, "syntax") {
        Some("lark") => Ok(Some(Grammar::Lark(definition))),
        Some("regex") => Ok(Some(Grammar::Regex(definition))),
        _ => Err(ApiError::invalid(&path, format!("{path}.syntax must be lark or regex"))),
    }
}

fn name(value: &Value, path: &str) -> Result<String, ApiError> {
    tool_name(text(value, "name").unwrap_or_default(), path)
}

/// The name, if it can be a tool's.
pub(crate) fn tool_name(name: &str, path: &str) -> Result<String, ApiError> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > TOOL_NAME_BYTES_MAX || !name.chars().all(is_legal) {
        let message = format!(
            "{path}.name must be 1 to {TOOL_NAME_BYTES_MAX} letters, digits, underscores, dashes or dots"
        );
        return Err(ApiError::invalid(format!("{path}.name"), message));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tools: Value, choice: Value) -> (Result<Tools, ApiError>, Vec<String>) {
        let mut warnings = Vec::new();
        let list = tools.as_array().unwrap().clone();
        let has = ServerTools { has_browser: true, ..ServerTools::default() };
        (Tools::parse(&list, Some(&choice), Some(&has), &RequestLimits::default(), &mut warnings), warnings)
    }

    #[test]
    fn built_in_tools_are_the_servers_or_the_clients() {
        let given = json!([{"type": "web_search"}, {"type": "shell"}, {"type": "local_shell"}, {"type": "apply_patch"},
            {"type": "shell", "environment": {"type": "container_auto"}}, {"type": "image_generation"},
            {"type": "code_interpreter", "container": {"type": "auto"}}]);
        let check = |choice: Value, expect: Choice| {
            let (tools, warnings) = parse(given.clone(), choice);
            let tools = tools.unwrap();
            let names: Vec<&str> = tools.list.iter().map(|tool| tool.harmony_name.as_str()).collect();
            assert_eq!(names, ["shell", "local_shell", "apply_patch"]);
            assert!(tools.hosted.has_browser && !tools.hosted.has_python);
            assert_eq!((tools.choice, warnings.len()), (expect, 3));
        };
        check(Value::Null, Choice::Auto);
        check(json!("required"), Choice::Required);
        check(json!({"type": "web_search_preview"}), Choice::Named("browser.search".into()));
        check(json!({"type": "apply_patch"}), Choice::Named("apply_patch".into()));
        let allowed =
            json!({"type": "allowed_tools", "tools": [{"type": "web_search"}, {"type": "local_shell"}]});
        let tools = parse(given.clone(), allowed).0.unwrap();
        assert_eq!((tools.list.len(), tools.hosted.has_browser), (1, true));
        let allowed = json!({"type": "allowed_tools", "tools": [{"type": "shell"}]});
        assert!(!parse(given.clone(), allowed).0.unwrap().hosted.has_browser);
        // In Chat Completions there are none of them.
        let mut warnings = Vec::new();
        let list = given.as_array().unwrap();
        let tools = Tools::parse(list, None, None, &RequestLimits::default(), &mut warnings).unwrap();
        assert_eq!((tools, warnings.len()), (Tools::default(), 7));
        assert!(parse(given, json!({"type": "code_interpreter"})).0.is_err());
    }

    #[test]
    fn both_forms_mean_the_same() {
        let flat =
            json!([{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true}]);
        let nested = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": true}}]);
        let (flat, _) = parse(flat, json!({"type": "function", "name": "f"}));
        let (nested, _) = parse(nested, json!({"type": "function", "function": {"name": "f"}}));
        assert_eq!(flat, nested);
        assert_eq!(flat.unwrap().choice, Choice::Named("f".into()));
    }

    #[test]
    fn namespaces_have_a_way_back() {
        let (tools, warnings) = parse(
            json!([
                {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "read"}]},
                {"type": "file_search"},
            ]),
            Value::Null,
        );
        let tools = tools.unwrap();
        let kind = Kind::Namespaced { namespace: "mcp".into(), name: "read".into() };
        assert_eq!(tools.find("mcp__read").unwrap().kind, kind);
        assert!(warnings.len() == 1 && warnings[0].contains("file_search"), "{warnings:?}");
    }

    #[test]
    fn allowed_tools_are_the_only_ones() {
        let tools = json!([{"type": "function", "name": "a"}, {"type": "custom", "name": "b"}]);
        let choice =
            json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "b"}]});
        let tools = parse(tools, choice).0.unwrap();
        assert_eq!((tools.list.len(), tools.choice), (1, Choice::Required));
    }

    #[test]
    fn wrong_tools_are_named() {
        let check = |tools: Value, choice: Value, expect: &str| {
            let message = parse(tools, choice).0.unwrap_err().to_string();
            assert!(message.contains(expect), "{message}");
        };
        check(json!([{"type": "function", "name": "a b"}]), Value::Null, "tools[0].name");
        check(
            json!([{"type": "function", "name": "a", "parameters": 3}]),
            Value::Null,
            "tools[0].parameters",
        );
        check(json!([{"name": "a"}, {"name": "a"}]), Value::Null, "more than one");
        check(json!([]), json!("required"), "no tools");
        check(json!([]), json!("sometimes"), "sometimes");
        check(json!([{"name": "a"}]), json!({"type": "function", "name": "b"}), "\"b\"");
    }
}
