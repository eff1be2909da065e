//! Networks, web origins and issuers, as strict as those who compare them byte by byte.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A network such as `10.0.0.0/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Whether the address lies in the network; an IPv4 address written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix) == Some(self.network)
    }
}

impl FromStr for Cidr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Cidr, &'static str> {
        const FORM: &str = "write a network such as `10.0.0.0/8` or one address";
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let network: IpAddr = address.parse().map_err(|_| FORM)?;
        if network != network.to_canonical() {
            return Err("write it as an IPv4 network");
        }
        let prefix = match prefix {
            None if network.is_ipv4() => 32,
            None => 128,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| FORM)?
            }
            Some(_) => return Err(FORM),
        };
        match masked(network, prefix) {
            None => Err("the prefix is longer than the address"),
            Some(start) if start != network => Err("set the bits behind the prefix to zero"),
            Some(_) => Ok(Cidr { network, prefix }),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let behind = 32u32.checked_sub(prefix.into())?;
            let mask = u32::MAX.checked_shl(behind).unwrap_or(0);
            Some(Ipv4Addr::from_bits(v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let behind = 128u32.checked_sub(prefix.into())?;
            let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
            Some(Ipv6Addr::from_bits(v6.to_bits() & mask).into())
        }
    }
}

/// Says what keeps the text from being an issuer (RFC 8414 §2, plain http only on loopback), as advice.
pub(super) fn issuer(text: &str) -> Result<(), &'static str> {
    if text.contains(['?', '#']) {
        return Err("leave out query and fragment");
    }
    if text.ends_with('/') {
        return Err("leave out the slash at the end");
    }
    let (scheme, host, path) = parts(text)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&byte);
    if !path.bytes().all(allowed) || path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err("write the path plainly, without empty parts, dots or special characters");
    }
    if scheme == "http" && !loopback(host) {
        return Err("write https; plain http is only for localhost");
    }
    Ok(())
}

/// Says what keeps the text from being an origin as browsers send it (RFC 6454 §6.2), as advice.
pub(super) fn origin(text: &str) -> Result<(), &'static str> {
    match text {
        "*" => {
            Err("list each origin; `*` would let the pages of every site use the tokens of their visitors")
        }
        "null" => Err("leave it out; sandboxed pages of any site call themselves `null`"),
        _ => match parts(text)? {
            (_, _, "") => Ok(()),
            _ => Err("leave out everything behind host and port"),
        },
    }
}

/// Whether two listeners could not both have the addresses; port 0 never clashes.
pub(super) fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: IpAddr, other: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || other.is_ipv4());
    let same = a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip());
    a.port() != 0 && a.port() == b.port() && same
}

fn parts(text: &str) -> Result<(&str, &str, &str), &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("begin with https://")?;
    if !matches!(scheme, "http" | "https") {
        return Err("begin with https:// (or http:// on localhost)");
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("leave out user and password");
    }
    let (host, port) = match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => (&authority[..at], Some(&authority[at + 1..])),
        _ => (authority, None),
    };
    if !host_is_plain(host) {
        return Err("write the host in lower case, as a DNS name or an IP address in its short form");
    }
    let usual = if scheme == "http" { "80" } else { "443" };
    match port {
        Some(port) if port == usual => Err("leave out the scheme's usual port"),
        Some(port) if port.starts_with(['0', '+']) || port.parse::<u16>().is_err() => {
            Err("write a port from 1 to 65535")
        }
        _ => Ok((scheme, host, path)),
    }
}

fn host_is_plain(host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[') {
        let literal = literal.strip_suffix(']').unwrap_or("");
        return literal.parse::<Ipv6Addr>().is_ok_and(|address| address.to_string() == literal);
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let labels = host.split('.').all(|label| (1..=63).contains(&label.len()) && label.bytes().all(plain));
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    labels && host.len() <= 253 && (!numeric || host.parse::<Ipv4Addr>().is_ok())
}

fn loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_issuer_is_a_plain_https_url_or_http_on_loopback() {
        for good in [
            "https://auth.example",
            "https://auth.example:8443/tenant/a",
            "http://localhost:8080",
            "http://127.0.0.1",
            "http://127.9.9.9:1",
            "http://[::1]:8080",
            "https://[2001:db8::1]",
        ] {
            assert_eq!(issuer(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "auth.example",
            "//auth.example",
            "https://",
            "https:///x",
            "https://auth.example/",
            "https://auth.example?x",
            "https://auth.example#x",
            "https://me:pw@auth.example",
            "https://Auth.example",
            "HTTPS://auth.example",
            "https://auth.example:443",
            "https://auth.example:0",
            "https://auth.example:",
            "https://auth.example:65536",
            "https://auth.example//x",
            "https://auth.example/../x",
            "https://auth.example/a b",
            "https://auth..example",
            "https://[::1",
            "https://[0:0::1]",
            "https://300.1.1.1",
            "http://auth.example",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "ftp://localhost",
            "https://bücher.example",
        ] {
            assert!(issuer(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_alone() {
        for good in ["https://app.example", "http://localhost:5173", "https://app.example:8443"] {
            assert_eq!(origin(good), Ok(()), "{good}");
        }
        for bad in
            ["*", "null", "https://app.example/", "https://app.example/x", "app.example", "https://*.example"]
        {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let ten: Cidr = "10.0.0.0/8".parse().unwrap();
        assert!(ten.contains("10.255.0.1".parse().unwrap()));
        assert!(ten.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!ten.contains("11.0.0.1".parse().unwrap()));
        assert!(!ten.contains("::1".parse().unwrap()));
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("192.0.2.1".parse().unwrap()) && !all.contains("2001:db8::1".parse().unwrap()));
        let one: Cidr = "2001:db8::1".parse().unwrap();
        assert!(
            one.contains("2001:db8::1".parse().unwrap()) && !one.contains("2001:db8::2".parse().unwrap())
        );
        assert_eq!(one.to_string(), "2001:db8::1/128");
        for bad in
            ["10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "x/8", "::ffff:10.0.0.0/104"]
        {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn listeners_clash_where_the_kernel_would_refuse_the_second() {
        for (a, b, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "[::1]:80", false),
        ] {
            assert_eq!(clash(a.parse().unwrap(), b.parse().unwrap()), expected, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}", address in "(https?://)?[\\[\\]:@/.a-z0-9]{0,20}") {
            for text in [&text, &address] {
                let _ = (issuer(text), origin(text), text.parse::<Cidr>());
            }
        }
    }
}
