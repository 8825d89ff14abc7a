//! What this program answers when a server asks it something: nothing is offered, so nothing is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rmcp::model::{ClientCapabilities, ClientConfig, Implementation};
use rmcp::service::NotificationContext;
use rmcp::{ClientHandler, RoleClient};

/// Refuses requests of a server, and hears that its tools have changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Handler {
    /// Whether the tools have changed since they were read.
    pub(super) tools_changed: Arc<AtomicBool>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let gptoss = Implementation::new("gptoss", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), gptoss)
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.tools_changed.store(true, Ordering::Relaxed);
    }
}
