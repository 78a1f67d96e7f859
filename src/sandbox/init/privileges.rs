//! User namespaces, capabilities, landlock and the filter of the command.

use std::os::fd::{BorrowedFd, OwnedFd};

use caps::CapSet;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, AddRuleError, AddRulesError, BitFlags, CompatLevel, Compatible as _,
    PathBeneath, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, Scope,
};
use rustix::io::Errno;
use rustix::thread::CapabilitiesSecureBits;

use crate::sandbox::plan::Reach;
use crate::sandbox::policy::{Network, Profile};
use crate::sandbox::seccomp::{self, Rule};
use crate::sys::file::write_at;
use crate::sys::{Context as _, SysError};

/// Maps the user and group `outside`, which this process had, to `inside` of the user namespace it has just entered.
/// Until then it is nobody there.
///
/// Only one id can be mapped without a set-user-id helper, and only after giving up setgroups(2) (`user_namespaces(7)`,
/// CVE-2014-8989).
pub(in crate::sandbox) fn map_ids(inside: (u32, u32), outside: (u32, u32)) -> Result<(), SysError> {
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("{} {} 1", inside.0, outside.0))?;
    write("/proc/self/gid_map", &format!("{} {} 1", inside.1, outside.1))
}

/// Makes this process root of the user namespace it has just entered.
pub(in crate::sandbox) fn map_root(caller: (u32, u32)) -> Result<(), SysError> {
    map_ids((0, 0), caller)
}

fn write(path: &'static str, text: &str) -> Result<(), SysError> {
    std::fs::write(path, text).call("write", path)
}

/// Limits the user namespaces below this one to one, the command's, which cannot make another. `proc` is the sandbox's
/// own: a container engine may have made the caller's read-only.
pub(in crate::sandbox) fn limit_user_namespaces(proc: BorrowedFd) -> Result<(), SysError> {
    write_at(proc, "sys/user/max_user_namespaces", "1").call("write", "/proc/sys/user/max_user_namespaces")
}

/// Drops every capability that the profile does not keep, with `many` users or one, for good.
pub(in crate::sandbox) fn drop_capabilities(profile: Profile, many: bool) -> Result<(), SysError> {
    let keep: caps::CapsHashSet = profile.capabilities(many).iter().copied().collect();
    let numbers: Vec<u8> = keep.iter().map(caps::Capability::index).collect();
    crate::sys::process::drop_bounding_set(&numbers)?;
    if profile == Profile::Build {
        // User 0 would regain capabilities at every exec. No process is user 0 here, but a locked bit holds in any case.
        let bits = CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
        rustix::thread::set_capabilities_secure_bits(bits).call("prctl", "PR_SET_SECUREBITS")?;
    }
    keep_capabilities(&keep)
}

/// Drops every capability but `keep`.
pub(in crate::sandbox) fn keep_capabilities(keep: &caps::CapsHashSet) -> Result<(), SysError> {
    let failed = |_| SysError::new("capset", "", Errno::PERM);
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    caps::set(None, CapSet::Effective, keep).map_err(failed)?;
    caps::set(None, CapSet::Permitted, keep).map_err(failed)
}

/// Drops the capabilities by which init would find and execute files that the command, as the same user, cannot.
pub(in crate::sandbox) fn see_what_the_command_sees() -> Result<(), SysError> {
    let failed = |_| SysError::new("capset", "", Errno::PERM);
    for capability in [caps::Capability::CAP_DAC_OVERRIDE, caps::Capability::CAP_DAC_READ_SEARCH] {
        caps::drop(None, CapSet::Effective, capability).map_err(failed)?;
        caps::drop(None, CapSet::Permitted, capability).map_err(failed)?;
    }
    Ok(())
}

/// Restricts the command by landlock to the given paths, the files of its standard streams, its own signals and abstract
/// sockets, and, without a network namespace, to no TCP. It confines whatever else the command might get, such as a
/// leaked descriptor.
///
/// Best effort over kernels (landlock(7): ABI 1 is Linux 5.13, scopes are ABI 6, Linux 6.12). Returns the ABI that is in
/// force.
pub(in crate::sandbox) fn landlock<'a>(
    paths: impl IntoIterator<Item = (BorrowedFd<'a>, Reach)>,
    streams: Vec<(BorrowedFd<'_>, BitFlags<AccessFs>)>,
    network: Network,
) -> Result<u32, SysError> {
    const KNOWN: ABI = ABI::V6;
    let failed = |_| SysError::new("landlock", "", Errno::INVAL);
    let all = AccessFs::from_all(KNOWN);
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(all).map_err(failed)?;
    if network == Network::None {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp).map_err(failed)?;
    }
    let ruleset = ruleset.scope(Scope::AbstractUnixSocket | Scope::Signal).map_err(failed)?;
    let mut created = ruleset.create().map_err(failed)?;
    for (path, reach) in paths {
        let access = match reach {
            Reach::All => all,
            Reach::Read => AccessFs::from_read(KNOWN),
            Reach::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev,
        };
        created = created.add_rule(PathBeneath::new(path, access)).map_err(failed)?;
    }
    for (stream, access) in streams {
        match (&mut created).add_rule(PathBeneath::new(stream, access)) {
            Ok(_) => {}
            // A file that no path leads to, such as a pipe, needs no rule.
            Err(RulesetError::AddRules(AddRulesError::Fs(AddRuleError::AddRuleCall { source, .. })))
                if source.raw_os_error() == Some(libc::EBADFD) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let status = created.restrict_self().map_err(failed)?;
    Ok(match status.landlock {
        landlock::LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
        _ => 0,
    })
}

/// Installs the filter, and returns the listener for the calls that it passes on.
pub(in crate::sandbox) fn filter_with_listener(rules: &[Rule]) -> Result<OwnedFd, SysError> {
    crate::sys::seccomp::filter_with_listener(&seccomp::program(rules))
}

/// Installs the filter; false if this kernel was built without filters.
pub(in crate::sandbox) fn filter_calls(rules: &[Rule]) -> Result<bool, SysError> {
    match crate::sys::seccomp::filter(&seccomp::program(rules)) {
        Ok(()) => Ok(true),
        Err(error) if [Errno::NOSYS, Errno::INVAL].iter().any(|errno| error.is(*errno)) => Ok(false),
        Err(error) => Err(error),
    }
}
