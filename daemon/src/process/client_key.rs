//! What counts as one client where clients have shares.

use std::net::IpAddr;

/// One client: an IPv4 address, or an IPv6 /64, which is what one subscriber line gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientKey(u64);

impl ClientKey {
    /// A client without an address, which is not counted.
    pub const NONE: Self = Self(0);

    /// Of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // 0:1::/32 is not assigned to anybody.
            IpAddr::V4(v4) => Self(1 << 32 | u64::from(u32::from(v4))),
            IpAddr::V6(v6) => Self((u128::from(v6) >> 64) as u64),
        }
    }
}

impl Default for ClientKey {
    fn default() -> Self {
        Self::NONE
    }
}

/// Clients for tests of what counts by client.
#[cfg(test)]
pub mod testing {
    use super::ClientKey;

    pub fn client(n: u8) -> ClientKey {
        ClientKey::of([192, 0, 2, n].into())
    }
}
