//! Whose request it is, where a proxy says so.

use std::net::IpAddr;

use hyper::HeaderMap;

/// The viewer's address as far as it is known: a proxy that does not name a viewer is none itself. `address`: that of the
/// peer. None: the peer is a trusted proxy, which names the viewer in X-Real-IP.
pub fn viewer(address: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    address.or_else(|| {
        // The last line is the proxy's own, where it adds one to the viewer's.
        let named = headers.get_all("x-real-ip").iter().next_back()?;
        named.to_str().ok()?.parse().ok()
    })
}
