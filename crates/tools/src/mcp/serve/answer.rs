//! What a client is answered: which functions there are, and what a call gave back.

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    ListToolsResult, PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
    ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde_json::Value;

use super::offer::{OpenTool, PYTHON, title};
use crate::mcp::limits::MCP_IMAGE_BYTES_MAX;
use crate::reply::ToolFile;

/// The tool of one session, as the protocol asks it.
pub(super) struct Answerer {
    tool: OpenTool,
    versions: &'static [ProtocolVersion],
}

impl Answerer {
    /// A tool whose session is the connection.
    pub(super) fn new(tool: OpenTool) -> Self {
        Self { tool, versions: ProtocolVersion::KNOWN_VERSIONS }
    }

    /// A tool over HTTP. Revision 2026-07-28 has no sessions there, and would forget the pages between two
    /// calls: the one before it is the newest that is spoken.
    pub(super) fn with_sessions(tool: OpenTool) -> Self {
        Self { tool, versions: ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25) }
    }
}

/// A plot for people to see; what is too large, and any other file, stays in its cell.
fn image(file: &ToolFile) -> Option<ContentBlock> {
    file.image(MCP_IMAGE_BYTES_MAX).map(|(kind, base64)| ContentBlock::image(base64, kind))
}

impl ServerHandler for Answerer {
    fn get_info(&self) -> ServerConfig {
        let namespace = &self.tool.namespace;
        let mut config = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        config.server_info = Implementation::new(namespace.name.clone(), env!("CARGO_PKG_VERSION"));
        config.instructions = namespace.description.clone();
        config
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(self.versions)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tool.namespace.tools.iter().map(|function| {
            let schema = match &function.parameters {
                Some(Value::Object(schema)) => schema.clone(),
                _ => serde_json::Map::from_iter([("type".to_owned(), "object".into())]),
            };
            let tool = Tool::new(function.name.clone(), function.description.clone(), Arc::new(schema));
            let reads = function.name != PYTHON;
            let hints = ToolAnnotations::new().read_only(reads).destructive(false).open_world(reads);
            let tool = tool.annotate(hints);
            match title(&function.name) {
                Some(title) => tool.with_title(title),
                None => tool,
            }
        });
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let functions = &self.tool.namespace.tools;
        if !functions.iter().any(|function| function.name == request.name) {
            let names: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
            let told = format!("there is no tool of this name; there are: {}", names.join(", "));
            return Err(ErrorData::invalid_params(told, None));
        }
        let arguments = Value::Object(request.arguments.unwrap_or_default()).to_string();
        let reply = self.tool.call(&request.name, &arguments).await;
        let mut content = vec![ContentBlock::text(reply.text)];
        content.extend(reply.files.iter().filter_map(image));
        let result =
            if reply.is_error { CallToolResult::error(content) } else { CallToolResult::success(content) };
        Ok(result.into())
    }
}
