//! Package URLs (github.com/package-url/purl-spec), the names of packages that tools of all kinds share.

use crate::packages::{Distribution, Kind, Package};
use crate::percent;

impl Package {
    /// The package URL: `pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12`.
    #[must_use]
    pub fn purl(&self, distribution: Option<&Distribution>) -> String {
        let namespace = distribution.map_or_else(String::new, |of| escaped(&of.id.to_lowercase()) + "/");
        // Of rpm's the epoch stands by itself.
        let (epoch, version) = match self.version.split_once(':') {
            Some((epoch, version)) if self.kind == Kind::Rpm => (Some(epoch), version),
            _ => (None, &*self.version),
        };
        let name = if self.kind == Kind::Rpm { self.name.clone() } else { self.name.to_lowercase() };
        let distro = distribution.map(|of| match &of.version {
            Some(version) => format!("{}-{version}", of.id),
            None => of.id.clone(),
        });
        let qualifiers = [("arch", Some(&*self.architecture)), ("distro", distro.as_deref()), ("epoch", epoch)];
        let qualifiers: Vec<_> =
            qualifiers.iter().filter_map(|(name, value)| Some(format!("{name}={}", escaped((*value)?)))).collect();
        let (name, version) = (escaped(&name), escaped(version));
        format!("pkg:{}/{namespace}{name}@{version}?{}", self.kind, qualifiers.join("&"))
    }
}

/// Percent-encoded, as the specification wants it.
pub(crate) fn escaped(text: &str) -> String {
    let keeps = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~' | b':');
    let encoded = text.bytes().map(|byte| {
        let encoded = percent::encode(&[byte], keeps);
        // The specification of purl has upper-case digits.
        if keeps(byte) { encoded } else { encoded.to_ascii_uppercase() }
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind() {
        let package = |kind, name: &str, architecture: &str, version: &str| Package {
            kind,
            name: name.into(),
            architecture: architecture.into(),
            version: version.into(),
            source: None,
            license: None,
        };
        let of =
            |id: &str, version: &str| Distribution { id: id.into(), version: Some(version.into()), codename: None };
        let debian = package(Kind::Deb, "libstdc++6", "amd64", "1:12.2.0-14+deb12u1~x");
        assert_eq!(
            debian.purl(Some(&of("debian", "12"))),
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1~x?arch=amd64&distro=debian-12"
        );
        assert_eq!(
            package(Kind::Rpm, "Vim", "x86_64", "2:9.1-1.fc40").purl(Some(&of("fedora", "40"))),
            "pkg:rpm/fedora/Vim@9.1-1.fc40?arch=x86_64&distro=fedora-40&epoch=2"
        );
        assert_eq!(package(Kind::Apk, "musl", "x86_64", "1.2.5-r0").purl(None), "pkg:apk/musl@1.2.5-r0?arch=x86_64");
    }
}
