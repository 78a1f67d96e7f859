//! Parses socket addresses and DNS queries from the memory of the command, which may contain anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Peer of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Peer {
    /// Path of a Unix socket.
    Path(String),
    /// Abstract name of a Unix socket (unix(7)).
    Abstract(String),
    /// Internet address and port.
    Internet(IpAddr, u16),
}

/// Parses a `struct sockaddr`.
pub(super) fn peer(bytes: &[u8]) -> Option<Peer> {
    let (family, rest) = bytes.split_first_chunk()?;
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_UNIX => match rest {
            [] => None,
            [0, name @ ..] => Some(Peer::Abstract(text(name))),
            path => Some(Peer::Path(text(path.split(|byte| *byte == 0).next()?))),
        },
        libc::AF_INET => {
            let (port, rest) = rest.split_first_chunk()?;
            let ip: &[u8; 4] = rest.first_chunk()?;
            Some(Peer::Internet(Ipv4Addr::from(*ip).into(), u16::from_be_bytes(*port)))
        }
        libc::AF_INET6 => {
            let (port, rest) = rest.split_first_chunk()?;
            let ip: &[u8; 16] = rest.get(4..)?.first_chunk()?;
            Some(Peer::Internet(Ipv6Addr::from(*ip).to_canonical(), u16::from_be_bytes(*port)))
        }
        _ => None,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Name in a DNS query (RFC 1035, section 4.1).
pub(super) fn question(message: &[u8]) -> Option<String> {
    const ONE_QUESTION: [u8; 6] = [0, 1, 0, 0, 0, 0];
    let (header, mut rest) = message.split_first_chunk::<12>()?;
    // A standard query: neither a response nor another operation.
    if header[2] & 0xf8 != 0 || header[4..10] != ONE_QUESTION {
        return None;
    }
    let mut labels: Vec<&str> = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        if *length == 0 {
            break;
        }
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        if *length > 63 || labels.len() > 30 || !label.iter().all(is_name) {
            return None;
        }
        labels.push(str::from_utf8(label).ok()?);
        rest = after;
    }
    (!labels.is_empty()).then(|| labels.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers() {
        let unix = |path: &[u8]| [&1_u16.to_ne_bytes()[..], path].concat();
        let four = [&2_u16.to_ne_bytes()[..], &[1, 187, 10, 0, 0, 1, 0, 0]].concat();
        let six = [&10_u16.to_ne_bytes()[..], &[0, 53, 0, 0, 0, 0], &[0; 15], &[1]].concat();
        for (bytes, want) in [
            (unix(b"/run/x.sock\0rest"), Some(Peer::Path("/run/x.sock".into()))),
            (unix(b"/run/x"), Some(Peer::Path("/run/x".into()))),
            (unix(b"\0name"), Some(Peer::Abstract("name".into()))),
            (unix(b""), None),
            (four.clone(), Some(Peer::Internet([10, 0, 0, 1].into(), 443))),
            (four[..6].to_vec(), None),
            (six.clone(), Some(Peer::Internet(Ipv6Addr::LOCALHOST.into(), 53))),
            (six[..20].to_vec(), None),
            (vec![16, 0, 0, 0], None),
            (vec![1], None),
            (vec![], None),
        ] {
            assert_eq!(peer(&bytes), want, "{bytes:?}");
        }
    }

    #[test]
    fn questions() {
        let asked = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";
        assert_eq!(question(asked).as_deref(), Some("example.com"));
        for cut in 0..asked.len() - 4 {
            assert_eq!(question(&asked[..cut]), None, "{cut}");
        }
        let changed = |at: usize, byte| {
            let mut message = asked.to_vec();
            message[at] = byte;
            question(&message)
        };
        // A response, two questions, a pointer in place of a label, an invalid byte in a name.
        for (at, byte) in [(2, 0x81), (5, 2), (12, 0xc0), (13, b' ')] {
            assert_eq!(changed(at, byte), None, "{at} {byte}");
        }
    }
}
