//! Addresses that are not on a list; as openai-guardrails' URL Filter has it.
//!
//! Everything that looks like an address is one: with a scheme, a domain without one, an IP address. Names on
//! the list are domains, IPv4 networks, or addresses with a path, with or without a scheme.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use regex_lite::Regex;

/// What looks like an address.
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)(?:[a-z][a-z0-9+.-]*://|(?:data|javascript|vbscript):)[^\s<>"{}|\\^`\[\]]+|\b(?:[a-z0-9_.~%+-]+(?::[^\s@/]*)?@)?(?:[a-z0-9][a-z0-9-]*\.)+[a-z]{2,}(?::[0-9]+)?(?:/[^\s]*)?|\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?::[0-9]+)?(?:/[^\s]*)?"#,
    )
    .expect("a constant that is a pattern")
});

/// Which addresses are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlFilter {
    /// Domains, addresses, networks.
    pub allowed: Vec<String>,
    /// Schemes, in small letters.
    pub schemes: Vec<String>,
    /// Whether a name before the host is refused.
    pub refuses_users: bool,
    /// Whether a domain stands for those below it.
    pub allows_subdomains: bool,
}

/// The parts of an address.
struct Parts<'a> {
    scheme: Option<&'a str>,
    has_user: bool,
    host: &'a str,
    port: Option<u16>,
    path: &'a str,
}

impl UrlFilter {
    /// Whether the text has an address that is not allowed.
    pub fn refuses(&self, text: &str) -> bool {
        ADDRESS
            .find_iter(text)
            .map(|found| found.as_str().trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']']))
            // A name before a host that has no scheme is an address of mail, not of a page.
            .filter(|address| !is_mail(address))
            .any(|address| !self.allows(address))
    }

    fn allows(&self, address: &str) -> bool {
        let address = address.to_lowercase();
        let Some(parts) = parts(&address) else { return false };
        // An address without a scheme is opened by its host, whichever scheme is allowed.
        if parts.scheme.is_some_and(|scheme| !self.schemes.iter().any(|allowed| allowed == scheme)) {
            return false;
        }
        if parts.has_user && self.refuses_users {
            return false;
        }
        if parts.host.is_empty() {
            return parts.scheme.is_some();
        }
        self.allowed.iter().any(|entry| self.is_of(&parts, &entry.trim().to_lowercase()))
    }

    fn is_of(&self, address: &Parts<'_>, entry: &str) -> bool {
        if let (Some(network), Ok(host)) = (Network::parse(entry), address.host.parse::<Ipv4Addr>()) {
            return network.has(host);
        }
        let Some(entry) = parts(entry) else { return false };
        let (host, allowed) = (bare(address.host), bare(entry.host));
        let is_below =
            self.allows_subdomains && host.strip_suffix(allowed).is_some_and(|before| before.ends_with('.'));
        let is_host = host == allowed || is_below;
        let is_scheme = entry.scheme.is_none_or(|scheme| address.scheme.is_none_or(|other| other == scheme));
        let is_port = entry.port.is_none_or(|port| Some(port) == address.port);
        let path = entry.path.trim_end_matches('/');
        let rest = address.path.strip_prefix(path);
        let is_path = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
        !allowed.is_empty() && is_host && is_scheme && is_port && (path.is_empty() || is_path)
    }
}

fn is_mail(address: &str) -> bool {
    !address.contains(':') && !address.contains('/') && address.contains('@')
}

fn bare(host: &str) -> &str {
    host.strip_prefix("www.").unwrap_or(host)
}

fn parts(address: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => match address.split_once(':') {
            Some((scheme @ ("data" | "javascript" | "vbscript"), rest)) => {
                return Some(Parts {
                    scheme: Some(scheme),
                    has_user: false,
                    host: "",
                    port: None,
                    path: rest,
                });
            }
            _ => (None, address),
        },
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (host, None),
    };
    let default = match scheme {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    };
    let host = host.trim_end_matches('.');
    (!host.is_empty()).then_some(Parts {
        scheme,
        has_user: user.is_some(),
        host,
        port: port.or(default),
        path,
    })
}

/// A network of IPv4.
struct Network {
    base: u32,
    mask: u32,
}

impl Network {
    fn parse(entry: &str) -> Option<Network> {
        let (address, bits) = entry.split_once('/').unwrap_or((entry, "32"));
        let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        Some(Network { base: u32::from(address.parse::<Ipv4Addr>().ok()?) & mask, mask })
    }

    fn has(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask == self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_on_the_list_passes() {
        let check = |allowed: &[&str], text: &str, expect: bool| {
            let filter = UrlFilter {
                allowed: allowed.iter().map(|entry| (*entry).to_owned()).collect(),
                schemes: vec!["https".to_owned()],
                refuses_users: true,
                allows_subdomains: false,
            };
            assert_eq!(filter.refuses(text), expect, "{allowed:?} {text:?}");
        };
        check(&["example.com"], "see https://example.com/a.", false);
        check(&["example.com"], "see https://www.example.com", false);
        check(&["example.com"], "see http://example.com/a", true);
        check(&["example.com"], "https://evil.example/?q=example.com", true);
        check(&["example.com"], "https://example.com@evil.test/", true);
        check(&["example.com"], "https://example.com.evil.test/", true);
        check(&["example.com"], "https://sub.example.com", true);
        check(&["example.com"], "example.com and nothing else", false);
        check(&["example.com/docs"], "https://example.com/docs/a", false);
        check(&["example.com/docs"], "https://example.com/docs2", true);
        check(&["10.0.0.0/8"], "https://10.1.2.3/x", false);
        check(&["10.0.0.0/8"], "https://11.1.2.3/x", true);
        check(&[], "javascript:alert(1)", true);
        check(&[], "Write to me@example.com.", false);
        check(&[], "No address at all, e.g. none.", false);
    }

    #[test]
    fn a_domain_may_stand_for_those_below_it() {
        let filter = UrlFilter {
            allowed: vec!["example.com".to_owned()],
            schemes: vec!["https".to_owned()],
            refuses_users: true,
            allows_subdomains: true,
        };
        assert!(!filter.refuses("https://a.example.com"));
        assert!(filter.refuses("https://aexample.com"));
    }
}
