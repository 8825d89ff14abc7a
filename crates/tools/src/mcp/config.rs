//! Where a server is and what it is trusted with.

use std::fmt;
use std::path::PathBuf;

use hyper::header::{HeaderName, HeaderValue};

use super::approval::McpApproval;

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpServerConfig {
    /// What it is called here; its tools stand under a namespace of this name.
    pub label: String,
    /// How it is reached.
    pub transport: McpTransport,
    /// The tools that may be called, by the server's names; all without it.
    pub allowed_tools: Option<Vec<String>>,
    /// Those that may not, by the server's names.
    pub disabled_tools: Vec<String>,
    /// Which of them need approval.
    pub approval: McpApproval,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum McpTransport {
    /// It is started here, and spoken to over its standard input and output.
    Stdio(McpProgram),
    /// It is somewhere, and spoken to over streamable HTTP.
    Http(McpHttp),
}

/// A program that is a server.
#[derive(Clone, PartialEq, Eq)]
pub struct McpProgram {
    /// Its path, or its name as `PATH` of its environment finds it.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment: nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Where it runs; in this program's folder without it.
    pub cwd: Option<PathBuf>,
}

impl fmt::Debug for McpProgram {
    /// Without the environment's values, which are often secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpProgram")
            .field("command", &self.command)
            .field("args", &self.args)
            .field("env", &self.env.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("cwd", &self.cwd)
            .finish()
    }
}

/// An address that is a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpHttp {
    /// `http` or `https`.
    pub url: String,
    /// Sent with each request; their values are marked as secrets, so that they are not printed.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}
