//! What a server offers, as far as it is taken.

use gptoss_harmony::{FunctionTool, ToolNamespace, tool_bytes};
use rmcp::model::Tool;
use serde_json::Value;

use super::config::McpServerConfig;
use super::function_name::{function_names, namespace_name};
use super::limits::{MCP_DESCRIPTION_BYTES_MAX, MCP_NAME_BYTES_MAX, MCP_TOOL_TEXT_BYTES_MAX, MCP_TOOLS_MAX};
use super::stranger_text::{cleaned, is_plain, one_line};

/// One tool of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct McpTool {
    /// As the server calls it.
    pub name: String,
    /// As the model calls it, below the server's namespace.
    pub function: String,
    /// What it does, as the server says.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
    /// Hints of the server's, such as `readOnlyHint`. They are claims of a stranger: no approval follows from
    /// them.
    pub annotations: Option<Value>,
}

/// What a server offers, cleaned and bounded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct McpListing {
    /// The namespace that its tools stand under in a prompt.
    pub namespace: String,
    /// What it says of itself.
    pub instructions: Option<String>,
    /// Its tools that may be called, in its order.
    pub tools: Vec<McpTool>,
    /// What was left out and why, for the operator.
    pub notes: Vec<String>,
}

impl McpListing {
    /// The tools as harmony describes them to a model.
    pub fn tool_namespace(&self) -> ToolNamespace {
        let tools = self.tools.iter().map(McpTool::function_tool).collect();
        ToolNamespace { name: self.namespace.clone(), description: self.instructions.clone(), tools }
    }

    /// The tool that the model calls by this name, with the namespace or without.
    pub fn tool(&self, function: &str) -> Option<&McpTool> {
        let below = function.strip_prefix(self.namespace.as_str()).and_then(|rest| rest.strip_prefix('.'));
        self.tools.iter().find(|tool| tool.function == below.unwrap_or(function))
    }
}

impl McpTool {
    fn function_tool(&self) -> FunctionTool {
        FunctionTool {
            name: self.function.clone(),
            description: self.description.clone(),
            parameters: has_parameters(&self.input_schema).then(|| self.input_schema.clone()),
        }
    }
}

/// Harmony writes a function without parameters as one that takes nothing.
fn has_parameters(schema: &Value) -> bool {
    schema.get("properties").is_none_or(|properties| properties.as_object().is_none_or(|all| !all.is_empty()))
        && schema.as_object().is_some_and(|schema| schema.keys().any(|key| key != "type"))
}

/// What is taken of the tools that a server told.
pub(super) fn listing(config: &McpServerConfig, instructions: Option<&str>, tools: Vec<Tool>) -> McpListing {
    let mut notes = Vec::new();
    let mut note = |name: &str, why: &str| {
        notes.push(format!(
            "MCP server {:?}: tool {:?} {why}",
            config.label,
            one_line(name, MCP_NAME_BYTES_MAX)
        ));
    };
    for name in config.allowed_tools.iter().flatten() {
        if !tools.iter().any(|tool| tool.name == name.as_str()) {
            note(name, "is allowed but not offered");
        }
    }
    let mut kept: Vec<McpTool> = Vec::new();
    for tool in tools {
        let is_named = |names: &Vec<String>| names.iter().any(|name| tool.name == name.as_str());
        if config.allowed_tools.as_ref().is_some_and(|allowed| !is_named(allowed))
            || is_named(&config.disabled_tools)
        {
            continue;
        }
        if kept.len() == MCP_TOOLS_MAX {
            note(&tool.name, &format!("and those after it are left out: {MCP_TOOLS_MAX} are taken"));
            break;
        }
        if kept.iter().any(|other| other.name == tool.name) {
            note(&tool.name, "is offered twice; the first is taken");
            continue;
        }
        match taken(&tool) {
            Ok(tool) => kept.push(tool),
            Err(why) => note(&tool.name, &format!("is left out: {why}")),
        }
    }
    let names: Vec<&str> = kept.iter().map(|tool| tool.name.as_str()).collect();
    for (tool, function) in function_names(&names).into_iter().enumerate() {
        kept[tool].function = function;
    }
    let instructions = instructions.map(|text| cleaned(text, MCP_DESCRIPTION_BYTES_MAX));
    McpListing {
        namespace: namespace_name(&config.label),
        instructions: instructions.filter(|text| !text.trim().is_empty()),
        tools: kept,
        notes,
    }
}

/// A tool as far as it is taken, still without the name of its function.
fn taken(tool: &Tool) -> Result<McpTool, String> {
    if tool.name.len() > MCP_NAME_BYTES_MAX || !is_plain(&tool.name) {
        return Err(format!("its name is not plain text of at most {MCP_NAME_BYTES_MAX} bytes"));
    }
    let mut input_schema = Value::Object(tool.input_schema.as_ref().clone());
    clean_all(&mut input_schema);
    let mut annotations = tool.annotations.as_ref().and_then(|hints| serde_json::to_value(hints).ok());
    if let Some(annotations) = &mut annotations {
        clean_all(annotations);
    }
    let described = tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default();
    let taken = McpTool {
        name: tool.name.to_string(),
        function: String::new(),
        description: cleaned(described, MCP_DESCRIPTION_BYTES_MAX),
        input_schema,
        annotations,
    };
    match tool_bytes(&taken.function_tool()) {
        None => Err("its schema nests too deep or grows too large".into()),
        Some(bytes) if bytes > MCP_TOOL_TEXT_BYTES_MAX => {
            Err(format!("it takes {bytes} bytes of a prompt, more than {MCP_TOOL_TEXT_BYTES_MAX}"))
        }
        Some(_) => Ok(taken),
    }
}

/// Cleans the texts of a value. Names of properties stay: they are sent back as they are, or the call would
/// fail.
fn clean_all(value: &mut Value) {
    match value {
        Value::String(text) => *text = cleaned(text, MCP_DESCRIPTION_BYTES_MAX),
        Value::Array(values) => values.iter_mut().for_each(clean_all),
        Value::Object(members) => members.values_mut().for_each(clean_all),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mcp::{McpApproval, McpHttp, McpTransport};

    fn listed(allowed: Option<&[&str]>, tools: Value) -> McpListing {
        let config = McpServerConfig {
            label: "my-docs".into(),
            transport: McpTransport::Http(McpHttp { url: "http://h/".into(), headers: Vec::new() }),
            allowed_tools: allowed.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            disabled_tools: vec!["hidden".to_owned()],
            approval: McpApproval::Always,
        };
        let tools = serde_json::from_value(tools).expect("tools");
        listing(&config, Some("Docs of\u{202e} mine."), tools)
    }

    #[test]
    fn tools_become_functions_of_a_namespace() {
        let schema = json!({"type": "object", "properties": {"q": {"type": "string", "description": "what\u{0}ever"}}});
        let listing = listed(
            None,
            json!([
                {"name": "search-all", "description": "Finds\u{200b} it.", "inputSchema": schema, "annotations": {"readOnlyHint": true}},
                {"name": "now", "title": "The time", "inputSchema": {"type": "object", "properties": {}}}
            ]),
        );
        assert_eq!(listing.notes, Vec::<String>::new());
        let namespace = listing.tool_namespace();
        assert_eq!(
            (namespace.name.as_str(), namespace.description.as_deref()),
            ("my_docs", Some("Docs of mine."))
        );
        assert_eq!(
            (namespace.tools[0].name.as_str(), namespace.tools[0].description.as_str()),
            ("search_all", "Finds it.")
        );
        let parameters = namespace.tools[0].parameters.as_ref().expect("parameters");
        assert_eq!(parameters["properties"]["q"]["description"], "whatever");
        assert_eq!(
            (namespace.tools[1].description.as_str(), &namespace.tools[1].parameters),
            ("The time", &None)
        );
        assert_eq!(listing.tools[0].annotations, Some(json!({"readOnlyHint": true})));
        for name in ["search_all", "my_docs.search_all"] {
            assert_eq!(listing.tool(name).map(|tool| tool.name.as_str()), Some("search-all"));
        }
        assert_eq!(listing.tool("search-all"), None);
    }

    #[test]
    fn what_is_too_much_is_left_out_and_told() {
        let check = |allowed, tools, kept: &[&str], note: &str| {
            let listing = listed(allowed, tools);
            let names: Vec<&str> = listing.tools.iter().map(|tool| tool.name.as_str()).collect();
            assert_eq!(names, kept);
            assert!(listing.notes.len() == 1 && listing.notes[0].contains(note), "{:?}", listing.notes);
        };
        let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
        check(
            Some(&["a", "c"]),
            json!([tool("a"), tool("b")]),
            &["a"],
            r#"tool "c" is allowed but not offered"#,
        );
        check(None, json!([tool("a"), tool("a")]), &["a"], r#"tool "a" is offered twice"#);
        check(None, json!([tool("a\u{7}b"), tool("c")]), &["c"], "its name is not plain text");
        check(None, json!([tool(&"x".repeat(129))]), &[], "at most 128 bytes");
        let long = json!({"type": "object", "properties": {"a": {"type": "string", "enum": (0..3000).map(|n| format!("v{n}")).collect::<Vec<_>>()}}});
        check(
            None,
            json!([{"name": "long", "inputSchema": long}]),
            &[],
            "bytes of a prompt, more than 16384",
        );
        let deep =
            (0..200).fold(json!({"type": "string"}), |inner, _| json!({"type": "array", "items": inner}));
        let deep = json!({"type": "object", "properties": {"a": deep}});
        check(None, json!([{"name": "deep", "inputSchema": deep}]), &[], "nests too deep");
        let many: Vec<Value> = (0..130).map(|n| tool(&format!("t{n}"))).collect();
        let kept: Vec<String> = (0..128).map(|n| format!("t{n}")).collect();
        let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
        check(None, json!(many), &kept, r#"tool "t128" and those after it are left out"#);
    }
}
