//! Steps of setting up a sandbox, by which errors are told apart.

use std::ffi::CStr;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::sys::SysError;

/// Name of process 1 of every sandbox.
pub(super) const INIT_NAME: &CStr = c"hermes-init";

/// A step of setting up a sandbox. [`fmt::Display`] describes what was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    NameInit,
    FollowHermes,
    StartSession,
    MapUser,
    MapUserRange,
    EnterCgroup,
    HideCgroup,
    MakeMountsPrivate,
    BringLoopbackUp,
    SetHostname,
    OpenHostPath,
    MountScratch,
    PrepareScratch,
    MountOverlay,
    MountManyLayers,
    MountMergedTree,
    MountCopy,
    OpenRoot,
    OpenWritablePlaces,
    WriteFiles,
    MakeDirectory,
    MakeLink,
    MountProc,
    MountSys,
    CoverKernelFiles,
    MountDev,
    OpenStreams,
    BindHostPath,
    BindNativeTool,
    WriteProgram,
    EnterRoot,
    FindOwners,
    RegisterEmulator,
    OpenTerminal,
    HideInit,
    ForkCommand,
    SuperviseCommand,
    AttachTracer,
    InspectCalls,
    ShareDescriptors,
    MapCommandUsers,
    FollowSubreaper,
    ShowCommand,
    StartCommandSession,
    TakeTerminal,
    AttachStreams,
    EnterUserNamespace,
    SetResourceLimits,
    LimitMemory,
    LimitCpus,
    LimitProcesses,
    ChooseCpus,
    SetNice,
    EnterDirectory,
    CheckDirectory,
    SetPersonality,
    DropCapabilities,
    SetNoNewPrivs,
    ApplyLandlock,
    CloseDescriptors,
    FilterCalls,
    ListenToCalls,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameInit => "naming init",
            Self::FollowHermes => "tying the sandbox to hermes",
            Self::StartSession => "starting a session",
            Self::MapUser => "mapping the user",
            Self::MapUserRange => "mapping the range of users",
            Self::EnterCgroup => "entering the cgroup",
            Self::HideCgroup => "entering a cgroup namespace",
            Self::MakeMountsPrivate => "making mounts private",
            Self::BringLoopbackUp => "bringing up the loopback device",
            Self::SetHostname => "setting the host name",
            Self::OpenHostPath => "opening a file of the host",
            Self::MountScratch => "mounting scratch space",
            Self::PrepareScratch => "preparing scratch space",
            Self::MountOverlay => "mounting the overlay of the image's layers",
            Self::MountManyLayers => "mounting the overlay of very many layers",
            Self::MountMergedTree => "mounting the merged layers",
            Self::MountCopy => "mounting the copy",
            Self::OpenRoot => "opening the new root",
            Self::OpenWritablePlaces => "making the usual places writable",
            Self::WriteFiles => "writing files under /etc",
            Self::MakeDirectory => "making a directory",
            Self::MakeLink => "making a link",
            Self::MountProc => "mounting /proc",
            Self::MountSys => "mounting /sys",
            Self::CoverKernelFiles => "covering files of /proc and /sys",
            Self::MountDev => "mounting /dev",
            Self::OpenStreams => "opening the standard streams",
            Self::BindHostPath => "mounting a file or directory of the host",
            Self::BindNativeTool => "mounting a native tool",
            Self::WriteProgram => "writing a wrapper program",
            Self::EnterRoot => "entering the new root",
            Self::FindOwners => "looking up the owners of files",
            Self::RegisterEmulator => "registering the emulator",
            Self::OpenTerminal => "opening a terminal",
            Self::HideInit => "hiding init",
            Self::ForkCommand => "starting the command",
            Self::SuperviseCommand => "supervising the command",
            Self::AttachTracer => "attaching to the command as its tracer",
            Self::InspectCalls => "reading the system calls of the command",
            Self::ShareDescriptors => "reading directories of the command",
            Self::MapCommandUsers => "mapping the command's users",
            Self::FollowSubreaper => "tying the command to its subreaper",
            Self::ShowCommand => "making the command visible in /proc",
            Self::StartCommandSession => "starting the command's session",
            Self::TakeTerminal => "taking the terminal",
            Self::AttachStreams => "attaching the standard streams",
            Self::EnterUserNamespace => "entering the inner user namespace",
            Self::SetResourceLimits => "setting resource limits",
            Self::LimitMemory => "limiting memory",
            Self::LimitCpus => "limiting processors",
            Self::LimitProcesses => "limiting processes",
            Self::ChooseCpus => "choosing processors",
            Self::SetNice => "setting the nice value",
            Self::EnterDirectory => "entering the working directory",
            Self::CheckDirectory => "checking the working directory",
            Self::SetPersonality => "setting the personality",
            Self::DropCapabilities => "dropping capabilities",
            Self::SetNoNewPrivs => "setting no_new_privs",
            Self::ApplyLandlock => "applying landlock",
            Self::CloseDescriptors => "closing descriptors",
            Self::FilterCalls => "filtering system calls",
            Self::ListenToCalls => "listening to system calls",
        })
    }
}

/// A step that failed, and the system call that made it fail.
#[derive(Debug)]
pub(super) struct StepError {
    pub(super) step: Step,
    pub(super) error: SysError,
}

/// Adds the step to the failure of a system call.
pub(super) trait AtStep<T> {
    fn at(self, step: Step) -> Result<T, StepError>;
}

impl<T> AtStep<T> for Result<T, SysError> {
    fn at(self, step: Step) -> Result<T, StepError> {
        self.map_err(|error| StepError { step, error })
    }
}
