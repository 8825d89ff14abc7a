//! Which tools were the models trained with, and how are they described to them?
//!
//! The descriptions of `browser` and `python` are part of the model's training data, so they are the vendor's
//! words exactly; a golden compares them. Running the tools is somebody else's work.
//!
//! Source: openai/harmony `src/chat.rs` @ec7606d.

use serde_json::{Value, json};

use crate::message::{FunctionTool, ToolNamespace};

impl ToolNamespace {
    /// The built-in browser: `search`, `open` and `find`.
    pub fn browser() -> Self {
        let description = "Tool for browsing.\n\
            The `cursor` appears in brackets before each browsing display: `[{cursor}]`.\n\
            Cite information from the tool using the following format:\n\
            `【{cursor}†L{line_start}(-L{line_end})?】`, for example: `【6†L9-L11】` or `【8†L3】`.\n\
            Do not quote more than 10 words directly from the tool output.\n\
            sources=web (default: web)";
        Self {
            name: "browser".into(),
            description: Some(description.into()),
            tools: vec![search(), open(), find()],
        }
    }

    /// The built-in python interpreter, which takes source text and has no functions.
    pub fn python() -> Self {
        let description = "Use this tool to execute Python code in your chain of thought. The code will not be shown to the user. This \
            tool should be used for internal reasoning, but not for code that is intended to be visible to the user (e.g. when creating \
            plots, tables, or files).\n\n\
            When you send a message containing Python code to python, it will be executed in a stateful Jupyter notebook environment. \
            python will respond with the output of the execution or time out after 120.0 seconds. The drive at '/mnt/data' can be used \
            to save and persist user files. Internet access for this session is UNKNOWN. Depends on the cluster.";
        Self { name: "python".into(), description: Some(description.into()), tools: Vec::new() }
    }
}

fn tool(name: &str, description: &str, parameters: Value) -> FunctionTool {
    FunctionTool { name: name.into(), description: description.into(), parameters: Some(parameters) }
}

fn search() -> FunctionTool {
    tool(
        "search",
        "Searches for information related to `query` and displays `topn` results.",
        json!({
            "type": "object",
            "properties": {
                "query": {"type": "string"},
                "topn": {"type": "number", "default": 10},
                "source": {"type": "string"}
            },
            "required": ["query"]
        }),
    )
}

fn open() -> FunctionTool {
    tool(
        "open",
        "Opens the link `id` from the page indicated by `cursor` starting at line number `loc`, showing `num_lines` lines.\n\
            Valid link ids are displayed with the formatting: `【{id}†.*】`.\n\
            If `cursor` is not provided, the most recent page is implied.\n\
            If `id` is a string, it is treated as a fully qualified URL associated with `source`.\n\
            If `loc` is not provided, the viewport will be positioned at the beginning of the document or centered on the most relevant \
            passage, if available.\n\
            Use this function without `id` to scroll to a new location of an opened page.",
        json!({
            "type": "object",
            "properties": {
                "id": {"type": ["number", "string"], "default": -1},
                "cursor": {"type": "number", "default": -1},
                "loc": {"type": "number", "default": -1},
                "num_lines": {"type": "number", "default": -1},
                "view_source": {"type": "boolean", "default": false},
                "source": {"type": "string"}
            }
        }),
    )
}

fn find() -> FunctionTool {
    tool(
        "find",
        "Finds exact matches of `pattern` in the current page, or the page given by `cursor`.",
        json!({
            "type": "object",
            "properties": {
                "pattern": {"type": "string"},
                "cursor": {"type": "number", "default": -1}
            },
            "required": ["pattern"]
        }),
    )
}
