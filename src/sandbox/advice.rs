//! Hints for a host that refuses a sandbox, from its settings.

use std::path::Path;

use rustix::io::Errno;

use crate::sandbox::cgroup;
use crate::sandbox::step::{INIT_NAME, Step};
use crate::sys::SysError;
use crate::sys::process::landlock_abi;

/// Reads a file of the host without the last newline; `None` if there is none.
type Setting<'a> = &'a dyn Fn(&str) -> Option<String>;

const DOCTOR: &str = "'hermes doctor' tries every step and reports what this host lacks";

/// What works without user namespaces.
const CROSS_ONLY: &str =
    "for a cross toolchain that runs on this host: --isolation landlock, which is not hermetic (docs/security.md)";

fn setting(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Whether this process runs in a sandbox of hermes, by the name of process 1. An environment variable could be set or
/// unset by anybody, and the host name is the user's choice.
pub(super) fn is_inside() -> bool {
    let name = std::fs::read("/proc/1/comm").unwrap_or_default();
    name.trim_ascii() == INIT_NAME.to_bytes()
}

/// Hint for a container of podman or docker: options with which a sandbox can be made in it.
fn container_hint(setting: Setting<'_>) -> Option<String> {
    let options = [
        ("/run/.containerenv", "podman run --security-opt seccomp=unconfined --security-opt unmask=ALL"),
        ("/.dockerenv", "docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined"),
    ];
    let (mark, options) = options.into_iter().find(|(mark, _)| setting(mark).is_some())?;
    Some(format!(
        "{mark} marks a container: its engine's seccomp profile, or its mounts over /proc, may forbid this; start one with '{options}'"
    ))
}

/// Hints for user namespaces that were refused with `error`.
pub(super) fn namespace_hints(error: &SysError) -> Vec<String> {
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_else(|_| "/usr/bin/hermes".into());
    let mut hints = namespaces(error, &setting, &program);
    if landlock_abi() > 0 {
        hints.insert(hints.len() - 1, CROSS_ONLY.to_owned());
    }
    hints
}

fn namespaces(error: &SysError, setting: Setting<'_>, program: &Path) -> Vec<String> {
    let mut hints = Vec::new();
    match setting("/proc/sys/user/max_user_namespaces").as_deref() {
        Some("0") => hints.push("user.max_user_namespaces is 0 (Red Hat 7, hardened kernels); as root: sysctl user.max_user_namespaces=15000".to_owned()),
        Some(most) if error.is(Errno::NOSPC) || error.is(Errno::USERS) => {
            hints.push(format!("all {most} user namespaces of this host, or 32 nested ones, are in use; as root: sysctl user.max_user_namespaces=NUMBER; a sandbox of hermes allows none"));
        }
        None if error.is(Errno::INVAL) => {
            hints.push("this kernel is built without user namespaces (CONFIG_USER_NS): use another kernel".to_owned());
        }
        _ => {}
    }
    if setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        hints.push("kernel.unprivileged_userns_clone is 0 (Debian 10 and older); as root: sysctl kernel.unprivileged_userns_clone=1".to_owned());
    }
    if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        hints.push("AppArmor denies them to programs without a profile (Ubuntu 24.04); as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or install a profile for hermes".to_owned());
        let program = program.display();
        hints.push(format!(
            r#"the profile: printf 'abi <abi/4.0>,\ninclude <tunables/global>\nprofile hermes "{program}" flags=(unconfined) {{\n  userns,\n}}\n' | sudo tee /etc/apparmor.d/hermes && sudo apparmor_parser -r /etc/apparmor.d/hermes"#
        ));
    }
    let contained = container_hint(setting);
    if hints.is_empty() && contained.is_none() {
        hints.push("in a container: its engine's seccomp profile may forbid unshare and clone; use a profile that allows user namespaces (podman, docker: --security-opt seccomp=unconfined; Kubernetes: seccompProfile type Unconfined)".to_owned());
    }
    hints.extend(contained);
    hints.push(DOCTOR.to_owned());
    hints
}

/// Hints for a step of init that failed by `error`.
pub(super) fn setup_hints(step: Step, error: &SysError) -> Vec<String> {
    let only = |hint: &str| vec![hint.to_owned()];
    let mut hints = match step {
        Step::ListenToCalls => {
            return only(
                "--fake-root stateful needs Linux 5.6, and no container engine that listens to system calls itself; --fake-root stateless needs neither",
            );
        }
        Step::OpenHostPath if error.is(Errno::STALE) => {
            return only("another process renamed the path while hermes opened it: find out which, then try again");
        }
        Step::AttachTracer => {
            return only(
                "this host forbids ptrace(2) (kernel.yama.ptrace_scope=3, a container engine), or hermes is being traced: omit --explain, --clock and --dir-order; foreign programs do not need ptrace on Linux 6.7",
            );
        }
        Step::InspectCalls => {
            return only("--explain, --clock and --dir-order need ptrace(2) of Linux 5.3: omit them");
        }
        Step::ShareDescriptors => {
            return only(
                "--dir-order needs pidfd_getfd(2) of Linux 5.6, and no container engine that forbids it: omit the option",
            );
        }
        Step::LimitProcesses => {
            return vec![
                "--pids without a cgroup needs Linux 5.14, and a user other than root".into(),
                cgroup::DELEGATE.into(),
            ];
        }
        Step::MountOverlay | Step::MountManyLayers => only(
            "overlays in a user namespace need Linux 5.11 and a store on a local file system such as ext4, xfs or btrfs: set HERMES_STORE; without '--rootfs overlay' a run uses a merged tree instead",
        ),
        Step::RegisterEmulator => only(
            "a private binfmt_misc needs Linux 6.7 with CONFIG_BINFMT_MISC (if it is a module, as root: modprobe binfmt_misc); --emulation ptrace needs neither",
        ),
        _ => vec![],
    };
    if error.is(Errno::PERM) || error.is(Errno::ACCESS) {
        hints.extend(container_hint(&setting));
    }
    if [Errno::LOOP, Errno::NOTDIR, Errno::ISDIR, Errno::EXIST].iter().any(|errno| error.is(*errno)) {
        // The image is at fault, not the host.
        return vec![format!("the image has a file at {}, which prevents the mount", error.subject)];
    }
    hints.push(DOCTOR.into());
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_forbids_user_namespaces_is_named() {
        let on = |errno, files: &[(&str, &str)], parts: &[&str]| {
            let error = SysError::new("clone", "", errno);
            let setting =
                |path: &str| files.iter().find(|(name, _)| path.ends_with(name)).map(|(_, text)| (*text).to_owned());
            let hints = namespaces(&error, &setting, Path::new("/opt/hermes"));
            assert_eq!(hints.len(), parts.len() + 1, "{hints:#?}");
            for (hint, part) in hints.iter().zip(parts) {
                assert!(hint.contains(part), "no {part:?} in {hint:?}");
            }
            assert_eq!(hints.last().unwrap(), DOCTOR);
        };
        let most = ("max_user_namespaces", "31000");
        on(Errno::NOSPC, &[("max_user_namespaces", "0")], &["sysctl user.max_user_namespaces=15000"]);
        on(Errno::NOSPC, &[most], &["all 31000 user namespaces"]);
        on(Errno::USERS, &[most], &["or 32 nested ones"]);
        on(Errno::INVAL, &[], &["CONFIG_USER_NS"]);
        on(Errno::PERM, &[most], &["seccomp=unconfined"]);
        on(Errno::PERM, &[most, ("unprivileged_userns_clone", "0")], &["kernel.unprivileged_userns_clone=1"]);
        on(Errno::PERM, &[most, ("unprivileged_userns_clone", "1")], &["seccomp=unconfined"]);
        let apparmor = ("apparmor_restrict_unprivileged_userns", "1");
        on(
            Errno::ACCESS,
            &[most, apparmor],
            &["restrict_unprivileged_userns=0", r#"profile hermes "/opt/hermes" flags"#],
        );
        on(
            Errno::PERM,
            &[most, apparmor, (".dockerenv", "")],
            &["restrict_unprivileged_userns=0", "apparmor_parser -r", "systempaths=unconfined"],
        );
    }
}
