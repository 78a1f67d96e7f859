//! Files under `/etc` that belong to the run, not to the image.

use serde::Serialize;

use crate::rootfs::{Accounts, Identity, Rootfs};

/// A file laid over the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InjectedFile {
    /// Relative to the root.
    pub path: &'static str,
    /// All of it.
    pub content: String,
}

/// Files of the host for a run that shares its network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFiles {
    /// `/etc/resolv.conf`.
    pub resolver: String,
    /// `/etc/hosts`, whose names come after those of the run.
    pub hosts: String,
    /// Apt sources, for an image of packages that has none.
    pub apt_sources: Option<String>,
}

/// The files of a run: names for the host and for the user where the image has none, and, where the
/// host's network is shared, the host's resolver and names and its archives of packages (`host`). With `one_user`, who is root and the only user, a
/// line that keeps apt from becoming another: it looks whether it has.
#[must_use]
pub fn injected(
    rootfs: &Rootfs,
    accounts: &Accounts,
    identity: &Identity,
    hostname: &str,
    host: Option<HostFiles>,
    one_user: bool,
) -> Vec<InjectedFile> {
    let mut names = format!("localhost {hostname}");
    if let Some((short, _)) = hostname.split_once('.') {
        names = format!("{names} {short}");
    }
    let shares_network = host.is_some();
    let host = host.unwrap_or_default();
    let mut files = vec![
        InjectedFile { path: "etc/hostname", content: format!("{hostname}\n") },
        InjectedFile { path: "etc/hosts", content: format!("127.0.0.1 {names}\n::1 {names}\n{}", host.hosts) },
    ];
    if identity.known && identity.moved {
        files.push(InjectedFile { path: "etc/passwd", content: accounts.passwd.clone() });
    }
    if !identity.known {
        let Identity { uid, gid, name, home, .. } = identity;
        let mut append = |path, before: &str, line: String| {
            let mut content = before.to_owned();
            if !content.is_empty() && !content.ends_with('\n') {
                content.push('\n');
            }
            content.push_str(&line);
            files.push(InjectedFile { path, content });
        };
        append("etc/passwd", &accounts.passwd, format!("{name}:x:{uid}:{gid}:hermes:{home}:/bin/sh\n"));
        append("etc/group", &accounts.group, format!("{name}:x:{gid}:\n"));
    }
    files.extend(shares_network.then_some(InjectedFile { path: "etc/resolv.conf", content: host.resolver }));
    let of_apt = |content| InjectedFile { path: "etc/apt/sources.list.d/hermes.sources", content };
    files.extend(host.apt_sources.filter(|_| rootfs.has_directory("etc/apt/sources.list.d")).map(of_apt));
    if one_user && rootfs.has_directory("etc/apt/apt.conf.d") {
        let content = "APT::Sandbox::User \"root\";\n".into();
        files.push(InjectedFile { path: "etc/apt/apt.conf.d/99hermes", content });
    }
    files
}
