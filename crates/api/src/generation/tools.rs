//! The tools that the model may call, and what they are called on the wire.
//!
//! [`Tools::parse`] reads the tools of either API, in the flat form of Responses or the nested one of Chat
//! Completions, and the choice among them. Each gets one name in harmony's namespace `functions`; a tool
//! inside a namespace is called `NAMESPACE__NAME` there, and [`Tools::find`] leads back to its own two names,
//! so that renaming is never seen by a client. Kinds that run on OpenAI's servers are left out with a
//! warning, as the model could not use them.

use gptoss_harmony::FunctionTool;
use serde_json::{Value, json};

use crate::errors::ApiError;
use crate::limits::{RequestLimits, TOOL_NAME_BYTES_MAX};

/// A tool the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name in harmony, without `functions.`.
    pub harmony_name: String,
    /// What it is to the client.
    pub kind: Kind,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Option<Value>,
    /// Whether the arguments must keep to the schema.
    pub strict: bool,
    /// What a custom tool's input must keep to.
    pub grammar: Option<Grammar>,
}

/// What a tool is to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A function by this name.
    Function,
    /// The same, asked for as it was before there were tools.
    OldFunction,
    /// A function inside a namespace.
    Namespaced {
        /// The namespace.
        namespace: String,
        /// The name inside.
        name: String,
    },
    /// A tool that takes free text.
    Custom,
}

/// The grammar of a custom tool's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grammar {
    /// In Lark's notation.
    Lark(String),
    /// A regular expression.
    Regex(String),
}

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
    /// In the order of the request.
    pub list: Vec<Tool>,
    /// What must be called.
    pub choice: Choice,
}

impl Tools {
    /// Reads tools and choice.
    ///
    /// Errors: by the name of the tool that is wrong; more tools or a longer schema than `limits` allow; a
    /// choice of an unknown tool.
    pub fn parse(
        tools: &[Value],
        choice: Option<&Value>,
        limits: &RequestLimits,
        warnings: &mut Vec<String>,
    ) -> Result<Tools, ApiError> {
        let mut list = Vec::new();
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
                kind => warnings.push(format!(
                    "{path}: tools of the type {kind:?} do not run here; it is not offered to the model"
                )),
            }
        }
        Tools::offer(list, "tools", choice, limits)
    }

    /// These tools, which came in `param`, and the choice among them, in OpenAI's words.
    ///
    /// Errors: more tools than `limits` allow, two of one name, a choice of an unknown tool.
    pub(crate) fn offer(
        list: Vec<Tool>,
        param: &str,
        choice: Option<&Value>,
        limits: &RequestLimits,
    ) -> Result<Tools, ApiError> {
        if list.len() > limits.tools_max {
            let message =
                format!("there are {} tools, but at most {} are taken", list.len(), limits.tools_max);
            return Err(ApiError::invalid(param, message));
        }
        let mut names: Vec<&str> = list.iter().map(|tool| tool.harmony_name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("the name {:?} stands for more than one tool", pair[0]);
            return Err(ApiError::invalid(param, message));
        }
        let mut tools = Tools { list, choice: Choice::Auto };
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
                Kind::Custom => Some(json!({"type": "string"})),
                Kind::Function | Kind::OldFunction | Kind::Namespaced { .. } => tool.parameters.clone(),
            },
        };
        self.list.iter().map(show).collect()
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
            "function" | "custom" => {
                let name = text(inside, "name").unwrap_or_default();
                let name = Tools::harmony_name(text(inside, "namespace"), name);
                self.choice = Choice::Named(self.known(&name)?);
            }
            "allowed_tools" => {
                let allowed = inside.get("tools").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let mut names = Vec::new();
                for tool in allowed {
                    let inner = text(tool, "type").and_then(|kind| tool.get(kind)).unwrap_or(tool);
                    let name = Tools::harmony_name(
                        text(inner, "namespace"),
                        text(inner, "name").unwrap_or_default(),
                    );
                    names.push(self.known(&name)?);
                }
                self.choice = self.mode(text(inside, "mode").unwrap_or("auto"))?;
                self.list.retain(|tool| names.contains(&tool.harmony_name));
            }
            _ => {
                let message =
                    "tool_choice must be none, auto, required, a function, a custom tool or allowed_tools";
                return Err(ApiError::invalid("tool_choice", message));
            }
        }
        Ok(())
    }

    fn mode(&self, mode: &str) -> Result<Choice, ApiError> {
        match mode {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::None),
            "required" | "any" if self.list.is_empty() => {
                Err(ApiError::invalid("tool_choice", "tool_choice is required, but no tools are offered"))
            }
            "required" | "any" => Ok(Choice::Required),
            other => {
                let message = format!("tool_choice is {other:?}, but must be none, auto, required or a tool");
                Err(ApiError::invalid("tool_choice", message))
            }
        }
    }

    fn known(&self, name: &str) -> Result<String, ApiError> {
        match self.find(name) {
            Some(tool) => Ok(tool.harmony_name.clone()),
            None => {
                let message = format!("tool_choice names {name:?}, which is not among the tools");
                Err(ApiError::invalid("tool_choice", message))
            }
        }
    }
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

/// A field that is a text.
pub fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tools: Value, choice: Value) -> (Result<Tools, ApiError>, Vec<String>) {
        let mut warnings = Vec::new();
        let list = tools.as_array().unwrap().clone();
        (Tools::parse(&list, Some(&choice), &RequestLimits::default(), &mut warnings), warnings)
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
                {"type": "web_search"},
            ]),
            Value::Null,
        );
        let tools = tools.unwrap();
        let kind = Kind::Namespaced { namespace: "mcp".into(), name: "read".into() };
        assert_eq!(tools.find("mcp__read").unwrap().kind, kind);
        assert!(warnings.len() == 1 && warnings[0].contains("web_search"), "{warnings:?}");
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
