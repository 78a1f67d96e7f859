//! Errors of runs: the sandbox, emulators, native tools, outputs.

use std::time::Duration;

use rustix::io::Errno;

use crate::attest::ProvenanceError;
use crate::compare::{CompareError, ListError, Listing};
use crate::emulation::native::{Incompatibility, Tool};
use crate::emulation::{EmulationError, Fault, NoHostHandler};
use crate::hint::Hint as _;
use crate::lock::{Feature, FileOfImage, Origin};
use crate::sandbox::cgroup::NoGroup;
use crate::sandbox::{Cause, Entry, Explanation, Remedy, SandboxError, Step};

use super::{cause, digest, error, foreign, io, path, reference, sys};

/// The hints for refused namespaces depend on this host: `src/sandbox/advice.rs` tests them.
fn sandbox(failure: &SandboxError) -> String {
    match failure {
        SandboxError::Namespaces(_) => cause(failure),
        _ => error(failure),
    }
}

/// A step of init, and the hints where it fails.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as the macro passes all examples")]
fn step(step: &Step) -> String {
    let source = sys("open", "/a", Errno::INVAL);
    SandboxError::Setup { step: *step, source }
        .hints()
        .iter()
        .fold(format!("{step}\n"), |text, hint| text + "  " + hint + "\n")
}

fn explanation() -> Explanation {
    let entry = Entry {
        what: "/data".into(),
        call: "openat".into(),
        error: Some("ENOENT".into()),
        count: 2,
        others: 0,
        program: "make".into(),
        pid: 7,
        why: "the sandbox has no such file".into(),
        remedy: Remedy::Allow("-v /data".into()),
    };
    Explanation { refused: vec![entry], more: 0 }
}

#[test]
fn sandboxes() {
    variants!(sandbox SandboxError {
        Namespaces(sys("clone", "", Errno::PERM)),
        Nested(sys("clone", "", Errno::PERM)),
        Setup { step: Step::MountProc, source: sys("mount", "/proc", Errno::INVAL) },
        Missing(Feature::Landlock),
        NoLandlock {},
        NoSubIds { file: "/etc/subuid", user: "ada".into() },
        MapHelper { program: "newuidmap", said: "it is not installed".into() },
        RangeOnDisk {},
        NotFound("gcc".into()),
        NotExecutable { program: "./a".into(), source: sys("execve", "./a", Errno::ACCESS) },
        NoInterpreter("./a".into()),
        Explained { error: Box::new(SandboxError::NotFound("./a".into())), explanation: explanation() },
        Threads {},
        Stream("standard input"),
        Supervise(sys("waitid", "", Errno::CHILD)),
        Vanished("signal 9".into()),
    } also {
        Missing(Feature::Netns),
        NotFound("/opt/a".into()),
        NotExecutable { program: "./a".into(), source: sys("execve", "./a", Errno::NOEXEC) },
        NotExecutable { program: "./a".into(), source: sys("execve", "./a", Errno::TOOBIG) },
    });
}

#[test]
fn steps() {
    variants!(step Step {
        NameInit {},
        FollowHermes {},
        StartSession {},
        MapUser {},
        MapUserRange {},
        EnterCgroup {},
        HideCgroup {},
        MakeMountsPrivate {},
        BringLoopbackUp {},
        SetHostname {},
        OpenHostPath {},
        MountScratch {},
        PrepareScratch {},
        MountOverlay {},
        MountManyLayers {},
        MountMergedTree {},
        MountCopy {},
        OpenRoot {},
        OpenWritablePlaces {},
        WriteFiles {},
        MakeDirectory {},
        MakeLink {},
        MountProc {},
        MountSys {},
        CoverKernelFiles {},
        MountDev {},
        OpenStreams {},
        BindHostPath {},
        BindNativeTool {},
        WriteProgram {},
        EnterRoot {},
        FindOwners {},
        RegisterEmulator {},
        OpenTerminal {},
        HideInit {},
        ForkCommand {},
        SuperviseCommand {},
        AttachTracer {},
        InspectCalls {},
        ShareDescriptors {},
        MapCommandUsers {},
        FollowSubreaper {},
        ShowCommand {},
        StartCommandSession {},
        TakeTerminal {},
        AttachStreams {},
        EnterUserNamespace {},
        SetResourceLimits {},
        LimitMemory {},
        LimitCpus {},
        LimitProcesses {},
        ChooseCpus {},
        SetNice {},
        EnterDirectory {},
        CheckDirectory {},
        SetPersonality {},
        DropCapabilities {},
        SetNoNewPrivs {},
        ApplyLandlock {},
        CloseDescriptors {},
        FilterCalls {},
        ListenToCalls {},
    });
}

#[test]
fn ends() {
    variants!(error Cause {
        Timeout(Duration::from_secs(5400)),
        Interrupted {},
        Terminated {},
        Memory { limit: 2 << 30, killed: 3 },
        Pids { limit: 100, refused: 7 },
    });
    variants!(error NoGroup {
        NotMounted {},
        NotDelegated("memory cpu".into()),
        Refused { path: path("/sys/fs/cgroup/hermes-1"), source: io() },
    });
}

#[test]
fn emulators() {
    let program = || "/usr/bin/qemu-aarch64".into();
    let name = || "qemu-aarch64".to_owned();
    variants!(fault Fault {
        NotMounted {},
        SwitchedOff {},
        Absent {},
        OtherFiles(name()),
        Disabled(name()),
        NotFixed { name: name(), interpreter: program() },
        Missing { name: name(), interpreter: program() },
    });
    examples!(error NoHostHandler [NoHostHandler { platform: foreign(), fault: Fault::Absent }]);
    let origin = Origin::Image(FileOfImage { image: reference(), path: "/usr/bin/qemu-aarch64".into() });
    variants!(error EmulationError {
        Absent { platform: foreign(), program: name() },
        Unreadable { path: program(), source: io() },
        Unfit { path: program(), what: "dynamically linked".into() },
        Changed { path: program(), wanted: digest("a"), found: digest("b") },
        NotThere { origin: Box::new(origin), platform: foreign() },
    });
    variants!(error Incompatibility {
        Differs("GCC 12.2.0 in the image, GCC 13.1.0 among the native tools".into()),
        Unknown("ld".parse::<Tool>().unwrap_err()),
        NoCompiler(foreign()),
        NoCrossCompiler {},
        File { path: path("/usr/bin/aarch64-linux-gnu-gcc"), what: "is not a program" },
        Occupied(path("/usr/lib/hermes")),
        Specs(path("/usr/lib/gcc/aarch64-linux-gnu/14/specs")),
        Unpackaged { path: path("/usr/bin/gcc"), whose: "image" },
        Io { path: path("/usr/bin/gcc"), source: io() },
        SelfTest("the objects differ with -O2".into()),
        Silent("exit code 1".into()),
    });
}

fn fault(fault: &Fault) -> String {
    error(&NoHostHandler { platform: foreign(), fault: fault.clone() })
}

#[test]
fn outputs() {
    variants!(cause CompareError {
        Absent { path: path("build") },
        Look { path: path("build"), source: io() },
    });
    examples!(cause ListError [ListError { path: path("build/a"), source: io() }]);
    examples!(cause ParseListingError [Listing::parse("x").unwrap_err()]);
    let time = || chrono::DateTime::parse_from_rfc3339("today").unwrap_err();
    variants!(error ProvenanceError {
        NoOutputs { id: digest("a") },
        BadTime { id: digest("a"), source: time() },
    });
}
