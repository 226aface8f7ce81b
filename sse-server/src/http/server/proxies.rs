//! The client's address, if there are proxies between.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether this is one of the proxies.
pub(super) fn is_trusted(address: IpAddr, proxies: &[IpNet]) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(&address))
}

/// The address that the nearest trusted proxies vouch for.
///
/// Every proxy appends the address that its request came from. So the list is read from its end, as
/// long as the writer of an entry is trusted; anyone could have sent what stands before.
pub(super) fn client(
    peer: IpAddr,
    is_peer_trusted: bool,
    headers: &HeaderMap,
    proxies: &[IpNet],
) -> IpAddr {
    let mut client = peer.to_canonical();
    let mut is_believed = is_peer_trusted;
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let lines = lines.map(|line| line.to_str().unwrap_or_default());
    for entry in lines.flat_map(|line| line.rsplit(',')) {
        if !is_believed {
            break;
        }
        let Some(address) = parse(entry.trim()) else { break };
        client = address.to_canonical();
        is_believed = is_trusted(client, proxies);
    }
    client
}

/// An address, with or without a port.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    bare.parse().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_proxies_have_written_is_believed() {
        let proxies: Vec<IpNet> =
            ["10.0.0.0/8", "::1/128"].iter().map(|net| net.parse().expect("a network")).collect();
        let client = |peer: &str, lines: &[&str]| {
            let lines = lines.iter().map(|line| (X_FORWARDED_FOR, line.parse().expect("a value")));
            let headers: HeaderMap = lines.fold(HeaderMap::new(), |mut all, (name, value)| {
                all.append(name, value);
                all
            });
            let peer = peer.parse().expect("an address");
            client(peer, is_trusted(peer, &proxies), &headers, &proxies).to_string()
        };
        // No trusted proxy vouches for it.
        assert_eq!(client("192.0.2.9", &["198.51.100.1"]), "192.0.2.9");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        // The client has sent a header of its own, in a line before or in the same one.
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("::1", &["1.1.1.1, 198.51.100.1:4711,10.1.1.1"]), "198.51.100.1");
        assert_eq!(client("::1", &["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(client("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        // Nothing that can be read, or nothing at all: the proxy itself.
        assert_eq!(client("10.0.0.1", &["1.1.1.1, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.2"]), "10.0.0.2");
    }
}
