//! Sessions: the counter refresh token, its outcome table, and answers that an honest retry gets again unchanged.
//!
//! A session is one row. Its refresh token carries only the session's id and a counter under a MAC, so the store
//! holds nothing that can be presented and no row per token; `store::Sessions::advance` judges what is presented.

use std::net::IpAddr;

use hmac::{Hmac, Mac};
use sha2::Sha256;

pub mod keys;
pub mod token;

pub use keys::{DerivedId, RefreshKeys};
pub use token::{InvalidRefreshToken, RefreshToken};

/// Labels that say "the same place again" without saying where: keyed hashes of networks and identifiers.
pub struct Labels(Hmac<Sha256>);

impl Labels {
    /// Under `key`, a root secret.
    pub fn new(key: &[u8; 32]) -> Labels {
        Labels(keys::keyed(key))
    }

    /// The label of the /24 (IPv4) or /48 (IPv6) around `address`, 32 hex digits.
    pub fn network(&self, address: IpAddr) -> String {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.of("v4", &v4.octets()[..3]),
            IpAddr::V6(v6) => self.of("v6", &v6.octets()[..6]),
        }
    }

    /// The label of `address`: the whole of an IPv4 one, the /64 of an IPv6 one, since a host owns its /64.
    pub fn address(&self, address: IpAddr) -> String {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.of("host4", &v4.octets()),
            IpAddr::V6(v6) => self.of("host6", &v6.octets()[..8]),
        }
    }

    /// The label of a folded account identifier.
    pub fn identifier(&self, folded: &str) -> String {
        self.of("identifier", folded.as_bytes())
    }

    fn of(&self, kind: &str, value: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(b"keyward/label/1");
        mac.update(&[u8::try_from(kind.len()).unwrap_or(u8::MAX)]);
        mac.update(kind.as_bytes());
        mac.update(value);
        hex(&mac.finalize().into_bytes()[..16])
    }
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A readable label of the device behind a User-Agent header, such as `Firefox on Linux`; never the header itself.
pub fn device_label(user_agent: Option<&str>) -> String {
    const PROGRAMS: [(&str, &str); 9] = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chromium/", "Chromium"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
        ("okhttp/", "okhttp"),
        ("python", "Python"),
    ];
    const SYSTEMS: [(&str, &str); 6] = [
        ("Android", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iPadOS"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let Some(agent) = user_agent else { return "unknown device".into() };
    let named = |table: &[(&str, &'static str)]| {
        table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    match (named(&PROGRAMS), named(&SYSTEMS)) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(program), None) => program.into(),
        (None, Some(system)) => system.into(),
        (None, None) => "unknown device".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_network_label_but_not_an_address_label() {
        let labels = Labels::new(&[7; 32]);
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.200".parse().unwrap());
        assert_eq!(labels.network(one), labels.network(two));
        assert_ne!(labels.address(one), labels.address(two));
        assert_ne!(labels.network(one), labels.network("198.51.100.1".parse().unwrap()));
        assert_eq!(labels.network(one), labels.network("::ffff:192.0.2.9".parse().unwrap()));
    }

    #[test]
    fn a_device_label_never_repeats_the_header() {
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        assert_eq!(device_label(Some(agent)), "Firefox on Linux");
        assert_eq!(device_label(Some("<script>alert(1)</script>")), "unknown device");
        assert_eq!(device_label(None), "unknown device");
    }
}
