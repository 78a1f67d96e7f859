//! Rules of consent in `config.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::consent::Access;

/// Access that the projects in a directory have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The directory of a project, or a directory above it.
    pub project: PathBuf,
    /// Whether they may use the host's network.
    pub network: bool,
    /// Files and directories that they may read.
    pub read: Vec<PathBuf>,
    /// Hosts that they may fetch from by ssh.
    pub ssh: Vec<String>,
}

impl Rule {
    /// Whether the project in the directory `project` may have `access`.
    #[must_use]
    pub(crate) fn allows(&self, project: &Path, access: &Access) -> bool {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let reads = |path: &Path| self.read.iter().any(|place| path.starts_with(real(place)));
        project.starts_with(real(&self.project))
            && match access {
                Access::HostNetwork => self.network,
                // Mounting a directory above the current one takes consent for that project alone.
                Access::Mount(_) => false,
                Access::Read(path) => reads(path),
                // A repository inside the project can lead git out of the directories that may be read.
                Access::Repository(path) => !path.starts_with(project) && reads(path),
                Access::Ssh(url) => self.ssh.iter().any(|host| Some(host.as_str()) == ssh_host(url)),
            }
    }
}

/// The host in `ssh://[USER@]HOST[:PORT]/PATH`. `None` with a `%`: git decodes `%2f` first, and would use another host.
fn ssh_host(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("ssh://")?.split('/').next().filter(|authority| !authority.contains('%'))?;
    let address = authority.rsplit('@').next()?;
    // An IPv6 address is in brackets.
    let end = address.find(']').map_or(0, |end| end + 1);
    Some(address[end..].find(':').map_or(address, |colon| &address[..end + colon]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_ssh() {
        for (url, host) in [
            ("ssh://git.example.org/a.git", Some("git.example.org")),
            ("ssh://git@git.example.org:22/a.git", Some("git.example.org")),
            ("ssh://git.example.org@evil.example/a", Some("evil.example")),
            ("ssh://[::1]:22/a", Some("[::1]")),
            ("ssh://[::1]/a", Some("[::1]")),
            ("ssh://evil.example%2f@git.example.org/a", None),
            ("https://git.example.org/a", None),
        ] {
            assert_eq!(ssh_host(url), host, "{url}");
        }
    }
}
