//! What text stands in the system and the developer message?
//!
//! [`system`] and [`developer`] join the sections that their content asks for with blank lines, exactly as
//! the vendor's crate does; response formats, which that crate lacks, come last in the developer message as
//! the format's documentation shows them. Both return plain text: control tokens are not theirs to make.

use crate::{
    error::Error,
    limits::{SCHEMA_DEPTH_MAX, SCHEMA_NODES_MAX, SCHEMA_TEXT_BYTES_MAX},
    message::{DeveloperContent, FunctionTool, Namespaces, ResponseFormat, SystemContent, ToolNamespace},
    schema::{self, SchemaExcess},
};

/// A tool whose schema is beyond a limit.
#[derive(Debug)]
pub(crate) struct ToolExcess {
    tool: String,
    excess: SchemaExcess,
}

impl ToolExcess {
    /// The error, once it is known which message it is in.
    pub(crate) fn in_message(self, message: usize) -> Error {
        let tool = self.tool;
        match self.excess {
            SchemaExcess::Depth => Error::SchemaTooDeep { message, tool, max: SCHEMA_DEPTH_MAX },
            SchemaExcess::Nodes => {
                Error::SchemaTooLarge { message, tool, max: SCHEMA_NODES_MAX, unit: "nodes" }
            }
            SchemaExcess::Bytes => {
                Error::SchemaTooLarge { message, tool, max: SCHEMA_TEXT_BYTES_MAX, unit: "bytes" }
            }
        }
    }
}

/// The text of a system message.
pub(crate) fn system(content: &SystemContent, has_function_tools: bool) -> Result<String, ToolExcess> {
    let mut sections = Vec::new();
    let top = [
        content.model_identity.clone(),
        content.knowledge_cutoff.as_ref().map(|date| format!("Knowledge cutoff: {date}")),
        content.conversation_start_date.as_ref().map(|date| format!("Current date: {date}")),
    ];
    let top: Vec<String> = top.into_iter().flatten().collect();
    if !top.is_empty() {
        sections.push(top.join("\n"));
    }
    if let Some(effort) = content.reasoning_effort {
        sections.push(format!("Reasoning: {}", effort.as_str()));
    }
    sections.extend(tools_section(content.tools.as_ref())?);
    if let Some(config) = content.channel_config.as_ref().filter(|config| !config.valid_channels.is_empty()) {
        let mut section = format!("# Valid channels: {}.", config.valid_channels.join(", "));
        if config.channel_required {
            section.push_str(" Channel must be included for every message.");
        }
        if has_function_tools {
            section.push_str("\nCalls to these tools must go to the commentary channel: 'functions'.");
        }
        sections.push(section);
    }
    Ok(sections.join("\n\n"))
}

/// The text of a developer message.
pub(crate) fn developer(content: &DeveloperContent) -> Result<String, ToolExcess> {
    let mut sections = Vec::new();
    if let Some(instructions) = &content.instructions {
        sections.push("# Instructions".to_string());
        sections.push(instructions.clone());
    }
    sections.extend(tools_section(content.tools.as_ref())?);
    if !content.response_formats.is_empty() {
        sections.push("# Response Formats".to_string());
        sections.extend(content.response_formats.iter().map(response_format));
    }
    Ok(sections.join("\n\n"))
}

fn response_format(format: &ResponseFormat) -> String {
    let comments: String =
        format.description.iter().flat_map(|text| text.lines()).map(|line| format!("// {line}\n")).collect();
    format!("## {}\n\n{comments}{}", format.name, format.schema)
}

fn tools_section(namespaces: Option<&Namespaces>) -> Result<Option<String>, ToolExcess> {
    let Some(namespaces) = namespaces.filter(|namespaces| !namespaces.is_empty()) else {
        return Ok(None);
    };
    let mut sections = vec!["# Tools".to_string()];
    for namespace in namespaces.values() {
        sections.push(namespace_section(namespace)?);
    }
    Ok(Some(sections.join("\n\n")))
}

fn namespace_section(namespace: &ToolNamespace) -> Result<String, ToolExcess> {
    let comment = if namespace.tools.is_empty() { "" } else { "// " };
    let mut lines = vec![format!("## {}\n", namespace.name)];
    lines.extend(
        namespace.description.iter().flat_map(|text| text.lines()).map(|line| format!("{comment}{line}")),
    );
    if !namespace.tools.is_empty() {
        lines.push(format!("namespace {} {{\n", namespace.name));
        for tool in &namespace.tools {
            lines.push(tool_text(tool)?);
        }
        lines.push(format!("}} // namespace {}", namespace.name));
    }
    Ok(lines.join("\n"))
}

/// How many bytes a tool takes in a prompt; `None` when its schema is beyond [`crate::limits`], so that no
/// prompt can hold it.
pub fn tool_bytes(tool: &FunctionTool) -> Option<usize> {
    tool_text(tool).ok().map(|text| text.len())
}

fn tool_text(tool: &FunctionTool) -> Result<String, ToolExcess> {
    let comments = tool.description.lines().map(|line| format!("// {line}\n"));
    Ok(comments.chain([signature(tool)?]).collect())
}

fn signature(tool: &FunctionTool) -> Result<String, ToolExcess> {
    let Some(parameters) = &tool.parameters else {
        return Ok(format!("type {} = () => any;\n", tool.name));
    };
    let mut text = format!("type {} = (_: ", tool.name);
    schema::write_type(&mut text, parameters)
        .map_err(|excess| ToolExcess { tool: tool.name.clone(), excess })?;
    text.push_str(") => any;\n");
    Ok(text)
}
