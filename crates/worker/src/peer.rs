//! Who is at the other end of a connection.

use std::net::IpAddr;
use std::sync::Arc;

use gptoss_engine::Tenant;

/// What tenants of routers are called inside; no name of HTTP's has a NUL.
const TENANT: &str = "worker\u{0}";

/// A router, by its connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Whose share of the machine its requests take: all of one certificate's subject have one, and so have
    /// all that come without a certificate. Nothing that a request says changes it.
    pub(crate) tenant: Tenant,
    /// The address of this machine that it has reached.
    pub(crate) reached: IpAddr,
}

impl Peer {
    /// One with that subject of a certificate, if it has shown one.
    pub(crate) fn new(subject: Option<&str>, reached: IpAddr) -> Peer {
        Peer { tenant: Tenant(Arc::from(format!("{TENANT}{}", subject.unwrap_or_default()))), reached }
    }
}
