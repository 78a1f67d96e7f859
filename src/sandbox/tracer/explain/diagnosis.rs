//! Turns denials into an explanation. Part of the supervisor, which sees the host.

use std::collections::HashMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use crate::sandbox::denial::{Denial, Denied};
use crate::sandbox::explanation::{Entry, Explanation, Remedy};
use crate::sandbox::plan::Plan;
use crate::sandbox::policy::{Caller, Network};
use crate::sandbox::tracer::explain::advice::{self, Advice};
use crate::sandbox::tracer::explain::path_resolution::{self, bind_of, is_the_images_own};

/// Maximum number of explained denials.
const MAX_TOLD: usize = 200;

/// Kind of a file on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outside {
    Directory,
    File,
    Socket,
    Device,
}

impl Outside {
    fn look(path: &Path) -> Option<Self> {
        let kind = path.metadata().ok()?.file_type();
        Some(match kind {
            _ if kind.is_dir() => Self::Directory,
            _ if kind.is_socket() => Self::Socket,
            _ if kind.is_block_device() || kind.is_char_device() => Self::Device,
            _ => Self::File,
        })
    }
}

/// File of the host for a path that is missing inside.
struct Found {
    /// Path on the host.
    path: PathBuf,
    kind: Outside,
    /// Whether it was found by its place in the home directory, not by its path.
    by_home: bool,
}

/// Context of the diagnosis.
pub(super) struct Diagnosis<'a> {
    pub(super) plan: &'a Plan,
    pub(super) caller: &'a Caller,
    look: &'a dyn Fn(&Path) -> Option<Outside>,
}

/// Explains denials; `more` is the number of those that init did not keep.
pub(in crate::sandbox) fn explain(refusals: Vec<Denial>, more: u64, plan: &Plan, caller: &Caller) -> Explanation {
    Diagnosis { plan, caller, look: &Outside::look }.explain(refusals, more)
}

impl Diagnosis<'_> {
    fn explain(&self, refusals: Vec<Denial>, more: u64) -> Explanation {
        // A lookup whose name is known makes the entry for the address of the name server superfluous.
        let is_unnamed = |what: &Denied| matches!(what, Denied::Lookup { name: None });
        let named = refusals.iter().any(|refusal| matches!(refusal.what, Denied::Lookup { name: Some(_) }));
        let told = refusals.into_iter().filter(|refusal| !(named && is_unnamed(&refusal.what)));
        let mut told: Vec<(Denial, Advice)> =
            told.filter_map(|refusal| self.advice(&refusal).map(|advice| (refusal, advice))).collect();
        told.sort_by_key(|(refusal, advice)| (advice.rank, std::cmp::Reverse(refusal.last)));
        let mut entries: Vec<Entry> = Vec::new();
        let mut mounts: HashMap<Remedy, usize> = HashMap::new();
        for (refusal, advice) in told {
            let Advice { what, why, remedy, merges, .. } = advice;
            if merges && let Some(known) = mounts.get(&remedy) {
                let known = &mut entries[*known];
                known.count += refusal.count;
                known.others += 1;
                continue;
            }
            if merges {
                mounts.insert(remedy.clone(), entries.len());
            }
            let error = (refusal.errno != 0).then(|| error_name(refusal.errno));
            let Denial { call, count, program, pid, .. } = refusal;
            entries.push(Entry { what, call, error, count, others: 0, program, pid, why, remedy });
        }
        let beyond = entries.len().saturating_sub(MAX_TOLD);
        entries.truncate(MAX_TOLD);
        Explanation { refused: entries, more: more + u64::try_from(beyond).unwrap_or(0) }
    }

    fn advice(&self, refusal: &Denial) -> Option<Advice> {
        match &refusal.what {
            Denied::Path { path, missing: Some(missing), outside } => {
                let found = self.found(Path::new(path), outside.as_deref().map(Path::new));
                let is_named = path_resolution::is_named(path, &self.plan.policy.argv);
                found.and_then(|found| self.missing(Path::new(path), Path::new(missing), &found, is_named))
            }
            Denied::Path { path, missing: None, outside } => Some(self.forbidden(refusal, path, outside.as_deref())),
            Denied::Interpreter { program, path } => Some(self.interpreter(program, Path::new(path))),
            Denied::SetUserId { path } => Some(advice::set_user_id(path, self.plan.policy.profile)),
            Denied::Lookup { name } => Some(advice::lookup(name.as_deref())),
            // No process listens there: the sandbox denied nothing.
            Denied::Address { loopback: true, .. }
                if refusal.errno == libc::ECONNREFUSED && self.plan.policy.network == Network::Host =>
            {
                None
            }
            Denied::Address { ip, port, loopback } => {
                Some(advice::address(refusal, (ip, *port, *loopback), self.plan.policy.network))
            }
            Denied::Abstract { name } => Some(advice::unnamed_socket(name)),
            Denied::RawSocket { family } => Some(advice::raw_socket(&refusal.call, family)),
            Denied::Call { detail } => Some(advice::call(&refusal.call, detail.as_deref(), self.plan.policy.profile)),
        }
    }

    /// Finds the file of the host that is missing inside: beside a mounted directory, at the same path, or in the
    /// caller's home, which has another name inside.
    fn found(&self, path: &Path, outside: Option<&Path>) -> Option<Found> {
        let home = || -> Option<PathBuf> {
            let inside = self.plan.policy.environment.iter().rfind(|(name, _)| name == "HOME")?;
            let rest = path.strip_prefix(&inside.1).ok()?;
            let is_start_file = ["bash", "profile", "inputrc", "terminfo", "zsh", "hushlogin"].iter();
            let name = rest.to_str()?.strip_prefix('.').unwrap_or_default();
            let habit = name.is_empty() || is_start_file.into_iter().any(|start| name.starts_with(start));
            self.caller.home.as_ref().filter(|_| !habit).map(|home| home.join(rest))
        };
        let candidates = [outside.map(Path::to_owned), Some(path.to_owned()), home()];
        let look = |(at, path): (usize, Option<PathBuf>)| {
            let path = path?;
            (self.look)(&path).map(|kind| Found { path, kind, by_home: at == 2 })
        };
        candidates.into_iter().enumerate().find_map(look)
    }

    /// Advice about a file that the host has and the sandbox lacks.
    fn missing(&self, path: &Path, missing: &Path, found: &Found, is_named: bool) -> Option<Advice> {
        let what = advice::shown(path);
        let rank = if is_named { 0 } else { 10 };
        let advice = |rank, why: String, remedy| Some(Advice { rank, what: what.clone(), why, remedy, merges: true });
        if found.kind == Outside::Device || path.starts_with("/dev") {
            // A directory of devices, or one of them.
            let remedy = Remedy::Cannot("devices of the host are never given".into());
            return (found.kind == Outside::Device)
                .then_some(())
                .and_then(|()| advice(30, "it is a device of the host".into(), remedy));
        }
        if found.kind == Outside::Socket {
            let why = "it is a socket of the host, and what listens there is not confined".into();
            return advice(rank + 2, why, advice::volume(&found.path, path, false));
        }
        let binds = path_resolution::binds(self.plan);
        if let Some(bind) = binds.iter().find(|bind| found.path.starts_with(&bind.source)) {
            let rest = found.path.strip_prefix(&bind.source).unwrap_or(Path::new(""));
            let inside = bind.target.join(rest);
            let why = format!("it is {} inside", advice::shown(&inside));
            return advice(rank, why, advice::same_path(bind));
        }
        if is_the_images_own(path) && !is_named {
            return None;
        }
        let depth = self.worth_mounting(path, missing, &found.path);
        let (source, target) = (up(&found.path, depth), up(path, depth));
        let why =
            if found.by_home { "it exists only in your home directory" } else { "it exists only outside the sandbox" };
        advice(if found.by_home && !is_named { 60 } else { rank }, why.into(), advice::volume(source, target, true))
    }

    /// Number of components to drop from the end of `path`, so that the mount is neither one of many files nor all of
    /// `/data`, and never a whole home.
    fn worth_mounting(&self, path: &Path, missing: &Path, found: &Path) -> usize {
        let depth = |path: &Path| path.components().count() - 1;
        let mut keep = depth(missing).max(2);
        let homes = [self.caller.home.as_deref(), Some(Path::new("/home/-")), Some(Path::new("/root"))];
        for home in homes.into_iter().flatten() {
            let in_home = if home.ends_with("-") { found.starts_with("/home") } else { found.starts_with(home) };
            if in_home {
                // The two paths differ in depth if they start at different places.
                let inside = (depth(home) + 1 + depth(path)).saturating_sub(depth(found));
                keep = keep.max(inside);
            }
        }
        depth(path).saturating_sub(keep)
    }

    fn interpreter(&self, program: &str, path: &Path) -> Advice {
        let what = format!("{}, which {} names to be run by", advice::shown(path), advice::shown(Path::new(program)));
        let on_host = (self.look)(path).is_some() && !is_the_images_own(path);
        let (why, remedy) = if on_host {
            ("it exists only outside the sandbox", advice::volume(path, path, true))
        } else {
            ("the image has none", Remedy::Cannot("use an image that has it, or another program".into()))
        };
        Advice { rank: 0, what, why: why.into(), remedy, merges: false }
    }

    /// Advice about a file that exists and was denied.
    fn forbidden(&self, refusal: &Denial, path: &str, outside: Option<&str>) -> Advice {
        let binds = path_resolution::binds(self.plan);
        let bind = bind_of(Path::new(path), &binds);
        let is_named = path_resolution::is_named(path, &self.plan.policy.argv);
        let mut advice = advice::forbidden(refusal, Path::new(path), bind, self.plan.policy.profile);
        if is_named {
            advice.rank = advice.rank.min(5);
        }
        if bind.is_some()
            && let Some(outside) = outside
        {
            advice.why = format!("{} ({} outside)", advice.why, advice::shown(Path::new(outside)));
        }
        advice
    }
}

fn up(path: &Path, levels: usize) -> &Path {
    path.ancestors().nth(levels).unwrap_or(path)
}

/// Name of an error in C.
fn error_name(errno: i32) -> String {
    let named = nix::errno::Errno::from_raw(errno);
    if named == nix::errno::Errno::UnknownErrno { format!("errno {errno}") } else { format!("{named:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::opened::Opened;
    use crate::platform::Platform;
    use crate::rootfs::{Identity, Rootfs};
    use crate::sandbox::plan::{Root, RootStrategy, Scratch};
    use crate::sandbox::policy::{Bind, Policy, Profile, Shared};

    fn plan(profile: Profile) -> Plan {
        let bind =
            |source: &str, target: &str, read_only| Bind { source: source.into(), target: target.into(), read_only };
        let policy = Policy {
            profile,
            binds: [bind("/home/me/project", "/work", false), bind("/srv/given", "/given", true)]
                .map(|bind| Shared { bind, source: Opened::here().unwrap() })
                .into(),
            environment: vec![("HOME".into(), "/home/builder".into())],
            explain: Some(Caller::default()),
            ..Policy::new(vec!["cat".into(), "/usr/share/named".into()], "/work".into())
        };
        let identity = Identity {
            uid: 1,
            gid: 1,
            name: "builder".into(),
            home: "/home/builder".into(),
            known: true,
            moved: false,
        };
        let rootfs = Rootfs::new("/store".into(), &[crate::digest::Digest::of(b"x")]);
        let root = Root {
            rootfs,
            files: vec![],
            scratch: Scratch::Memory("/store/tmp".into()),
            strategy: RootStrategy::Overlay,
        };
        Plan::new(policy, root, (1000, 1000), &identity, Platform::Amd64, None)
    }

    fn refusal(what: Denied, call: &str, errno: i32, last: u64) -> Denial {
        Denial { what, call: call.into(), errno, count: 1, last, program: "sh".into(), pid: 2 }
    }

    fn explained(profile: Profile, refusals: Vec<Denial>) -> Vec<String> {
        let look = |path: &Path| match path.to_str()? {
            "/run/docker.sock" => Some(Outside::Socket),
            "/dev/kvm" => Some(Outside::Device),
            path if path.contains("no-such") => None,
            _ => Some(Outside::File),
        };
        let caller = Caller { home: Some("/home/me".into()) };
        let case = Diagnosis { plan: &plan(profile), caller: &caller, look: &look };
        case.explain(refusals, 0).refused.iter().map(Entry::sentence).collect()
    }

    #[test]
    fn what_is_missing() {
        for (path, missing, outside, want) in [
            (
                "/opt/tool/bin/cc",
                "/opt/tool",
                None,
                "it exists only outside the sandbox; allow it with -v /opt/tool:/opt/tool:ro",
            ),
            ("/data/a/b/c", "/data", None, "it exists only outside the sandbox; allow it with -v /data/a:/data/a:ro"),
            ("/data", "/data", None, "it exists only outside the sandbox; allow it with -v /data:/data:ro"),
            // Never a whole home, of the caller or of others.
            (
                "/home/me/lib/x/y",
                "/home/me",
                None,
                "it exists only outside the sandbox; allow it with -v /home/me/lib:/home/me/lib:ro",
            ),
            (
                "/home/you/lib/x",
                "/home/you",
                None,
                "it exists only outside the sandbox; allow it with -v /home/you/lib:/home/you/lib:ro",
            ),
            (
                "/lib2/x",
                "/lib2",
                Some("/home/me/lib2/x"),
                "it exists only outside the sandbox; allow it with -v /home/me/lib2/x:/lib2/x:ro",
            ),
            (
                "/home/me/project/src/x",
                "/home/me",
                None,
                "it is /work/src/x inside; allow it with -v /home/me/project:/home/me/project -w /home/me/project",
            ),
            (
                "/run/docker.sock",
                "/run/docker.sock",
                None,
                "it is a socket of the host, and what listens there is not confined; allow it with -v /run/docker.sock:/run/docker.sock",
            ),
            (
                "/dev/kvm",
                "/dev/kvm",
                None,
                "it is a device of the host; cannot be allowed: devices of the host are never given",
            ),
            (
                "/usr/share/named",
                "/usr/share/named",
                None,
                "it exists only outside the sandbox; allow it with -v /usr/share/named:/usr/share/named:ro",
            ),
            (
                "/opt/a b",
                "/opt/a b",
                None,
                "it exists only outside the sandbox; allow it with -v '/opt/a b:/opt/a b:ro'",
            ),
            (
                "/opt/a:b",
                "/opt/a:b",
                None,
                "it exists only outside the sandbox; cannot be allowed: -v takes no path with a colon: give it another name",
            ),
            (
                "/opt/\u{1b}x",
                "/opt/\u{1b}x",
                None,
                r"it exists only outside the sandbox; allow it with -v $'/opt/\x1bx:/opt/\x1bx:ro'",
            ),
        ] {
            let what =
                Denied::Path { path: path.into(), missing: Some(missing.into()), outside: outside.map(str::to_owned) };
            let told = explained(Profile::Build, vec![refusal(what, "openat", libc::ENOENT, 1)]);
            assert!(told.len() == 1 && told[0].ends_with(&format!(": {want}")), "{path}: {told:?}");
        }
        for path in ["/opt/no-such", "/usr/bin/cmake", "/etc/x"] {
            let what = Denied::Path { path: path.into(), missing: Some(path.into()), outside: None };
            let told = explained(Profile::Build, vec![refusal(what, "openat", libc::ENOENT, 1)]);
            assert!(told.is_empty(), "{path}: {told:?}");
        }
    }

    #[test]
    fn the_most_telling_comes_first_and_the_same_mount_once() {
        let missing = |path: &str| Denied::Path { path: path.into(), missing: Some("/opt/t".into()), outside: None };
        let there = |path: &str| Denied::Path { path: path.into(), missing: None, outside: None };
        let call = || Denied::Call { detail: None };
        let told = explained(
            Profile::Build,
            vec![
                refusal(call(), "io_uring_setup", libc::ENOSYS, 1),
                refusal(call(), "mount", libc::EPERM, 2),
                refusal(missing("/opt/t/a"), "stat", libc::ENOENT, 3),
                refusal(there("/given/x"), "openat", libc::EROFS, 4),
                refusal(missing("/opt/t/b"), "openat", libc::ENOENT, 5),
                refusal(Denied::Lookup { name: None }, "connect", 0, 6),
                refusal(Denied::Lookup { name: Some("example.com".into()) }, "sendmmsg", 0, 7),
            ],
        );
        let starts: Vec<_> = told.iter().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(starts, ["the address of example.com", "/opt/t/b", "/given/x", "mount", "io_uring_setup"]);
        assert!(told[2].ends_with("allow it with -v /srv/given:/given"), "{}", told[2]);
    }

    #[test]
    fn what_root_may() {
        let what = || Denied::Path { path: "/etc/x".into(), missing: None, outside: None };
        let told = |profile, errno| explained(profile, vec![refusal(what(), "openat", errno, 1)]).remove(0);
        assert!(told(Profile::Build, libc::EACCES).ends_with("allow it with --root"));
        assert!(told(Profile::Provision, libc::EACCES).contains("cannot be allowed"));
        let chown = |profile| explained(profile, vec![refusal(what(), "fchownat", libc::EINVAL, 1)]).remove(0);
        assert!(chown(Profile::Build).ends_with("allow it with --root"));
        assert!(chown(Profile::Provision).contains("--fake-root stateless"));
    }
}
