//! Tells private IP addresses from public ones (pure).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is not the address of a public host: private, loopback, link-local, multicast
/// or otherwise special. For an IPv6 address that contains an IPv4 address (mapped, NAT64, 6to4),
/// the IPv4 address decides.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => is_private_v6(v6),
    }
}

/// Whether an IPv4 address is in a special-purpose block of RFC 6890 and its registry.
fn is_private_v4(a: Ipv4Addr) -> bool {
    let [first, second, third, _] = a.octets();
    a.is_private()
        || a.is_loopback()
        || a.is_link_local()
        || a.is_multicast()
        || a.is_documentation()
        || first == 0
        || first >= 240
        || (first == 100 && (64..128).contains(&second))
        || (first == 192 && second == 0 && third == 0)
        || (first == 192 && second == 88 && third == 99)
        || (first == 198 && (second == 18 || second == 19))
}

/// Whether an IPv6 address is not public. Only the global unicast addresses, 2000::/3, are public,
/// except the special blocks in that range.
fn is_private_v6(a: Ipv6Addr) -> bool {
    let s = a.segments();
    let embedded = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    if let Some(v4) = a.to_ipv4_mapped() {
        return is_private_v4(v4);
    }
    if s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_private_v4(embedded(s[6], s[7]));
    }
    if s[0] == 0x2002 {
        return is_private_v4(embedded(s[1], s[2]));
    }
    let global = s[0] & 0xe000 == 0x2000;
    // The protocol assignments (Teredo, ORCHID, ...) and the two blocks for documentation.
    let special = (s[0] == 0x2001 && s[1] < 0x200)
        || s[..2] == [0x2001, 0xdb8]
        || (s[0] == 0x3fff && s[1] < 0x1000);
    !global || special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_private() {
        let v4 = "127.0.0.1 10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 \
                  100.64.0.1 100.127.255.255 0.0.0.0 0.1.2.3 224.0.0.1 239.255.255.255 240.0.0.1 \
                  255.255.255.255 198.18.0.1 198.19.255.255 192.0.0.8 192.0.2.1 198.51.100.1 \
                  203.0.113.1 192.88.99.1";
        let v6 = "::1 :: fe80::1 febf::1 fec0::1 fc00::1 fd00::1 ff02::1 ::ffff:10.0.0.1 \
                  ::ffff:127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2002:a00:1:: \
                  ::127.0.0.1 100::1 2001::1 2001:20::1 2001:db8::1 3fff::1 4000::1 5f00::1";
        for text in v4.split_whitespace().chain(v6.split_whitespace()) {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn public_addresses_are_not_private() {
        let public = "8.8.8.8 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 192.0.1.1 198.20.0.1 \
                      223.255.255.255 2606:4700::1111 2001:4860:4860::8888 2a00::1 \
                      ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::";
        for text in public.split_whitespace() {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
    }
}
