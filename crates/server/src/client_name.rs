//! Whose certificate a connection has.

use std::sync::Arc;

/// The subject of a client's certificate, quoted, as it stands in the log. It gives no rights: keys do.
#[derive(Debug, Clone)]
pub(crate) struct ClientName(pub(crate) Arc<str>);
