//! Tools of other programs and machines, over the Model Context Protocol.
//!
//! A server is data: [`McpServerConfig`] says how it is reached, which of its tools may be called and which
//! need a person's approval, and [`McpClient`] keeps a connection to it. What a server says is a stranger's
//! text: names, descriptions, schemas and results are cleaned and bounded before anybody reads them. Of this
//! program's environment a server gets what its entry names and the few variables that a program needs to
//! run, such as `PATH` and `HOME`; no key of a caller's reaches it but one that its entry names.

mod approval;
mod child;
mod client;
mod config;
mod entry;
mod error;
mod function_name;
mod handler;
mod http_client;
pub mod limits;
mod listing;
mod reply;
mod serve;
mod session;
mod stranger_text;
mod variable;

pub use approval::McpApproval;
pub use client::McpClient;
pub use config::{McpHttp, McpProgram, McpServerConfig, McpTransport};
pub use entry::{McpEntryError, parse_mcp_servers};
pub use error::McpError;
pub use listing::{McpListing, McpTool};
pub use serve::{OfferedTool, OwnPython, ToolOffer, serve_mcp_http, serve_mcp_stdio};
pub use stranger_text::is_hidden;
