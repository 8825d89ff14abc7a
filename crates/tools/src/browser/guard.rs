//! Which addresses a page may come from: those of the public internet, and what the operator names.
//!
//! A host is resolved once, what it resolves to is checked, and the connection is made to what was checked,
//! so a name that resolves to something else a moment later changes nothing. Each redirect goes the whole way
//! again. Hosts are read as browsers read them, so `0x7f.1` and `127.0.0.1` are the same.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use url::{Host, Url};

/// Ports that pages are served at.
const PORTS: [u16; 4] = [80, 443, 8080, 8443];

/// Longest address of a page. Units: bytes.
const URL_BYTES_MAX: usize = 4096;

/// Most addresses of a host that are tried.
const ADDRESSES_MAX: usize = 4;

/// Finds the addresses of a host by its name.
pub type Resolve =
    dyn Fn(&str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync;

/// Who may be connected to.
#[derive(Clone)]
pub struct Guard {
    allowed: Vec<SocketAddr>,
    resolve: Arc<Resolve>,
}

/// Why an address is not connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no address.
    #[error("it is not a valid URL")]
    Invalid,
    /// It is too long.
    #[error("a URL has at most {URL_BYTES_MAX} bytes")]
    Long,
    /// It is for another program.
    #[error("only http and https pages can be opened, not {0}:")]
    Scheme(String),
    /// It holds a name or a password.
    #[error("a URL with a user name or a password is not opened")]
    Credentials,
    /// Nobody serves pages there.
    #[error("port {0} is not one that pages are served at (80, 443, 8080, 8443)")]
    Port(u16),
    /// The name has no address.
    #[error("{0} cannot be resolved")]
    Unresolved(String),
    /// The address belongs to a network that is not public.
    #[error("{0} is not an address of the public internet")]
    Private(IpAddr),
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guard").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Default for Guard {
    /// Lets connections go to the public internet alone; names are resolved as the machine does it.
    fn default() -> Self {
        Self::resolving_by(Vec::new(), Arc::new(|host| Box::pin(resolve(host.to_owned()))))
    }
}

impl Guard {
    /// Lets connections go to the public internet and to `allowed` besides, whatever network those are in,
    /// with a way to resolve names.
    pub fn resolving_by(allowed: Vec<SocketAddr>, resolve: Arc<Resolve>) -> Self {
        Self { allowed, resolve }
    }

    /// The addresses behind a URL that may be connected to.
    ///
    /// **Errors**: when there are none, and why.
    pub async fn check(&self, url: &Url) -> Result<Vec<SocketAddr>, Refused> {
        let port = url.port_or_known_default().ok_or(Refused::Invalid)?;
        let found = match url.host().ok_or(Refused::Invalid)? {
            Host::Ipv4(address) => vec![address.into()],
            Host::Ipv6(address) => vec![address.into()],
            Host::Domain(name) => {
                let unresolved = || Refused::Unresolved(name.to_owned());
                let found = (self.resolve)(name).await.map_err(|_| unresolved())?;
                if found.is_empty() {
                    return Err(unresolved());
                }
                found
            }
        };
        let checked: Vec<Result<SocketAddr, Refused>> =
            found.iter().map(|&address| self.check_address(SocketAddr::new(address, port))).collect();
        let open: Vec<SocketAddr> = checked.iter().flatten().copied().take(ADDRESSES_MAX).collect();
        match checked.into_iter().next() {
            Some(Err(refused)) if open.is_empty() => Err(refused),
            _ => Ok(open),
        }
    }

    fn check_address(&self, address: SocketAddr) -> Result<SocketAddr, Refused> {
        if self.allowed.contains(&address) {
            return Ok(address);
        }
        if !is_public(address.ip()) {
            return Err(Refused::Private(address.ip()));
        }
        match PORTS.contains(&address.port()) {
            true => Ok(address),
            false => Err(Refused::Port(address.port())),
        }
    }
}

/// Reads the address of a page as browsers do, without looking where it leads.
pub(super) fn parse(text: &str) -> Result<Url, Refused> {
    if text.len() > URL_BYTES_MAX {
        return Err(Refused::Long);
    }
    page_url(Url::parse(text))
}

/// Reads where a redirect leads.
pub(super) fn parse_redirect(from: &Url, to: &str) -> Result<Url, Refused> {
    if to.len() > URL_BYTES_MAX {
        return Err(Refused::Long);
    }
    page_url(from.join(to))
}

fn page_url(url: Result<Url, url::ParseError>) -> Result<Url, Refused> {
    let mut url = url.map_err(|_| Refused::Invalid)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refused::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::Credentials);
    }
    url.set_fragment(None);
    Ok(url)
}

async fn resolve(host: String) -> io::Result<Vec<IpAddr>> {
    gptoss_egress::check("a name's address").map_err(io::Error::other)?;
    Ok(tokio::net::lookup_host((host.as_str(), 0)).await?.map(|address| address.ip()).collect())
}

/// Whether an address is one of the public internet.
///
/// **Source**: the IANA registries of special-purpose addresses for IPv4 and IPv6.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const SPECIAL: [(Ipv4Addr, u32); 16] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        // A cloud's agent, which answers its guests alone.
        (Ipv4Addr::new(168, 63, 129, 16), 32),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        (Ipv4Addr::new(224, 0, 0, 0), 4),
        (Ipv4Addr::new(240, 0, 0, 0), 4),
    ];
    let within = |net: Ipv4Addr, bits: u32| (address.to_bits() ^ net.to_bits()) >> (32 - bits) == 0;
    !SPECIAL.iter().any(|&(net, bits)| within(net, bits))
}

/// Only what is routed between networks: addresses that stand for others (IPv4-mapped, NAT64, 6to4, Teredo)
/// are not, since what they stand for is chosen elsewhere.
fn is_public_v6(address: Ipv6Addr) -> bool {
    const ROUTED: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
    const SPECIAL: [(Ipv6Addr, u32); 4] = [
        (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
        (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
        (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    ];
    let within = |(net, bits): (Ipv6Addr, u32)| (address.to_bits() ^ net.to_bits()) >> (128 - bits) == 0;
    within(ROUTED) && !SPECIAL.iter().any(|&special| within(special))
}
