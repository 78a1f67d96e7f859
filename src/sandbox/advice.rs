//! What to do about a host that refuses, as far as its own settings tell.

use rustix::io::Errno;

use crate::sandbox::cgroup;
use crate::sandbox::init::INIT_NAME;
use crate::sandbox::plan::HOSTNAME;
use crate::sys::SysError;

/// Whether this is a sandbox of hermes: by the name of its process 1, and its host name. No environment
/// variable says so, which anybody may set or take away.
pub(super) fn is_inside() -> bool {
    let name = std::fs::read("/proc/1/comm").unwrap_or_default();
    name.trim_ascii() == INIT_NAME.to_bytes() && rustix::system::uname().nodename().to_bytes() == HOSTNAME.as_bytes()
}

/// In a container, which podman and docker mark: what lets a sandbox be made in it.
fn container_hint() -> Option<String> {
    let options = [
        ("/run/.containerenv", "podman run --security-opt seccomp=unconfined --security-opt unmask=ALL"),
        ("/.dockerenv", "docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined"),
    ];
    let (_, options) = options.into_iter().find(|(mark, _)| std::fs::exists(mark).unwrap_or(false))?;
    Some(format!("this is a container, which keeps hermes from what it needs; one started with '{options}' does not"))
}

/// Where user namespaces are refused.
pub(super) fn namespace_hints() -> Vec<String> {
    let setting = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let mut hints = Vec::new();
    if setting("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        hints.push("user.max_user_namespaces is 0: ask for 'sysctl user.max_user_namespaces=15000' (Red Hat 7, hardened kernels)".to_owned());
    }
    if setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        hints.push("kernel.unprivileged_userns_clone is 0: ask for 'sysctl kernel.unprivileged_userns_clone=1' (Debian 10 and older)".to_owned());
    }
    if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        hints.push("AppArmor forbids them to programs without a profile (Ubuntu 24.04): ask for 'sysctl kernel.apparmor_restrict_unprivileged_userns=0' or a profile for hermes".to_owned());
    }
    hints.extend(container_hint());
    if hints.is_empty() {
        hints.push("in a container: its engine's seccomp profile may forbid unshare and clone; ask for one that allows user namespaces".to_owned());
    }
    hints.push("'hermes doctor' tries every step and says what this host lacks".to_owned());
    hints
}

/// Where a step of init failed.
pub(super) fn setup_hints(error: &SysError) -> Vec<String> {
    let mut hints = Vec::new();
    if error.subject.contains("overlay") {
        hints.push("overlays in a user namespace need Linux 5.11 and a store on a local file system such as ext4, xfs or btrfs: set HERMES_STORE; without '--rootfs overlay' a run takes a merged tree instead".into());
    }
    if error.subject.contains("binfmt_misc") {
        hints.push("emulation needs a kernel from 6.7 on with CONFIG_BINFMT_MISC (on a module kernel: modprobe binfmt_misc); a cross toolchain needs neither: --toolchain dockcross".into());
    }
    if error.subject == "RLIMIT_NPROC" {
        return vec![
            "--pids without a cgroup needs Linux 5.14, and a user other than root".into(),
            cgroup::DELEGATE.into(),
        ];
    }
    if error.is(Errno::PERM) || error.is(Errno::ACCESS) {
        hints.extend(container_hint());
    }
    if [Errno::LOOP, Errno::NOTDIR, Errno::ISDIR, Errno::EXIST].iter().any(|errno| error.is(*errno)) {
        // The host is not at fault.
        return vec![format!("the image has something at {} that keeps it from being run", error.subject)];
    }
    hints.push("'hermes doctor' tries every step and says what this host lacks".into());
    hints
}
