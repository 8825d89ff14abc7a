//! How much of a server's time and words is taken?

use std::time::Duration;

/// Longest text of servers that is read, in bytes. Beyond it: [`super::McpEntryError`].
pub const MCP_SERVERS_BYTES_MAX: usize = 1 << 20;

/// Most servers of one text. Beyond it: [`super::McpEntryError`].
pub const MCP_SERVERS_MAX: usize = 32;

/// Longest label of a server, in bytes. Beyond it: [`super::McpEntryError`].
pub const MCP_LABEL_BYTES_MAX: usize = 64;

/// Most tools of one server that are offered, and most pages they are read from. The others are left out,
/// with a note.
pub const MCP_TOOLS_MAX: usize = 128;

/// Longest name of a tool, in bytes, as the server has it. A longer one is left out, with a note.
pub const MCP_NAME_BYTES_MAX: usize = 128;

/// Longest name of a function that a tool becomes, in bytes: names are cut there and told apart by a number.
pub const MCP_FUNCTION_BYTES_MAX: usize = 64;

/// Longest description of a server or a tool, in bytes. It is cut there.
pub const MCP_DESCRIPTION_BYTES_MAX: usize = 4 << 10;

/// Longest text that a tool takes in a prompt, in bytes. A longer one is left out, with a note.
pub const MCP_TOOL_TEXT_BYTES_MAX: usize = 16 << 10;

/// Longest message that a server may send, in bytes: a line, an event or a body. Longer ones are dropped, and
/// whoever waits for one waits until its time is out or is told at once.
pub const MCP_MESSAGE_BYTES_MAX: usize = 8 << 20;

/// Most files of one result that are kept. The others are named only.
pub const MCP_FILES_MAX: usize = 16;

/// Longest error of a server that is told, in bytes, and longest end of its standard error.
pub const MCP_ERROR_BYTES_MAX: usize = 1 << 10;

/// How long a server may take to end by itself once its input is closed.
pub const MCP_STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// How long beyond its time a call may take to be told that it is over. Then the connection is closed.
pub const MCP_CALL_GRACE_MAX: Duration = Duration::from_secs(5);

/// How long it is remembered that a server could not be asked: meanwhile requests are told so at once.
pub const MCP_FAILURE_TIME_MAX: Duration = Duration::from_secs(5);

/// How long connecting to an address may take.
pub const MCP_CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// Most sessions at once for which a tool of ours is served. Beyond it a client is told to try again.
pub const MCP_SESSIONS_MAX: usize = 64;

/// Longest message that a client of ours may post, in bytes.
pub const MCP_BODY_BYTES_MAX: usize = 4 << 20;

/// Largest image of a call's that a client of ours is handed, in bytes.
pub const MCP_IMAGE_BYTES_MAX: usize = 2 << 20;

/// The bounds that a caller may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct McpLimits {
    /// How long starting a server and reading its tools may take.
    pub start: Duration,
    /// How long one call may take.
    pub call: Duration,
    /// Longest text of a result, in bytes. It is cut there.
    pub output_bytes: usize,
}

impl Default for McpLimits {
    /// 30 s, 120 s and 64 KiB.
    fn default() -> Self {
        Self { start: Duration::from_secs(30), call: Duration::from_secs(120), output_bytes: 64 << 10 }
    }
}
