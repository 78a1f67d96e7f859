//! MD5, by which dpkg tells whether a configuration file was changed. It protects nothing.

use std::io::{self, Read};

use md5::{Digest as _, Md5};

use crate::digest::hex;

#[cfg(test)]
thread_local! {
    /// Bytes that this thread has read.
    pub(super) static READ: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// The MD5 digest of all that `from` has, in hexadecimal digits.
///
/// # Errors
/// Those of `from`.
pub(super) fn of_reader(mut from: impl Read) -> io::Result<String> {
    let mut md5 = Md5::new();
    let mut buffer = [0; 8192];
    loop {
        match from.read(&mut buffer)? {
            0 => break,
            length => {
                #[cfg(test)]
                READ.set(READ.get() + length as u64);
                md5.update(&buffer[..length]);
            }
        }
    }
    Ok(hex(&md5.finalize()))
}

#[cfg(test)]
mod tests {
    use super::of_reader;

    #[test]
    fn digests() {
        assert_eq!(of_reader(&b"abc"[..]).unwrap(), "900150983cd24fb0d6963f7d28e17f72");
    }
}
