//! What this host allows.

/// What to do where user namespaces are refused, as far as the host's settings tell.
#[must_use]
pub fn namespace_hints() -> Vec<String> {
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
    if hints.is_empty() {
        hints.push("in a container: its engine's seccomp profile may forbid unshare and clone; ask for one that allows user namespaces".to_owned());
    }
    hints.push("'hermes doctor' tries every step and says what this host lacks".to_owned());
    hints
}
