//! The words that options accept for the values of other modules, with the help for each. The other modules know nothing of
//! the command line.

use std::fmt::Display;
use std::str::FromStr;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::commands::export;
use crate::commands::rebuild::Vary;
use crate::emulation::{Accel, EmulationMode};
use crate::hint::Hint;
use crate::record::Users;
use crate::sandbox::{DirectoryOrder, FakeRoot, Feature, Isolation, Network, RootStrategy};

/// Parses a value whose error has hints: clap shows one text.
pub(super) fn parsed<T: FromStr<Err: Display + Hint>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| {
        let hints = error.hints().into_iter().map(|hint| format!("hint: {hint}"));
        std::iter::once(error.to_string()).chain(hints).collect::<Vec<_>>().join("\n\n")
    })
}

/// A value, or the word that leaves the choice to hermes or means all values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OrWord<T>(pub(super) Option<T>);

/// Gives a type its words: value, word, help.
macro_rules! words {
    ($type:ty: $($value:expr, $word:literal, $help:literal;)*) => {
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &[$($value),*]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                let words = [$(($value, $word, $help)),*];
                let (_, word, help) = words.into_iter().find(|(value, ..)| value == self)?;
                Some(PossibleValue::new(word).help(help))
            }
        }
    };
}

words! { Network:
    Self::None, "none", "Loopback only";
    Self::Host, "host", "The host's network";
}
words! { Users:
    Self::Single, "single", "The caller's id alone";
    Self::Range, "range", "Also the caller's range of ids in /etc/subuid and /etc/subgid";
}
words! { FakeRoot:
    Self::Off, "off", "They fail";
    Self::Stateless, "stateless", "They succeed, without effect";
    Self::Stateful, "stateful", "They succeed, and stat shows the new owner; slower";
}
words! { Feature:
    Self::Netns, "netns", "A private network namespace";
    Self::Seccomp, "seccomp", "The system call filter";
    Self::Landlock, "landlock", "Rules on paths, signals and sockets";
}
words! { Isolation:
    Self::Namespaces, "namespaces", "Namespaces, with a private root file system";
    Self::Landlock, "landlock",
        "Landlock rules on paths of this host, without namespaces; not hermetic; for cross toolchains only";
}
words! { Accel:
    Self::Off, "off", "Use no native tools: emulate all programs of the image";
    Self::Auto, "auto", "Use the toolchain's native tools if they fit the image";
    Self::Require, "require", "Fail if native tools cannot be used";
}
words! { OrWord<EmulationMode>:
    Self(None), "auto", "Use the first mode that works here; the host's handler only if it runs the locked emulator, or if there is no other";
    Self(Some(EmulationMode::Binfmt)), "binfmt", "Register it in a private binfmt_misc of the sandbox (Linux 6.7)";
    Self(Some(EmulationMode::Host)), "host", "Use the handler that this host has registered, with flag F";
    Self(Some(EmulationMode::Ptrace)), "ptrace",
        "Register nothing: run foreign programs under ptrace (Linux 4.8)";
}
words! { OrWord<RootStrategy>:
    Self(None), "auto", "The first of these that this host allows";
    Self(Some(RootStrategy::Overlay)), "overlay", "An overlay of the image's layers";
    Self(Some(RootStrategy::Merged)), "merged",
        "The layers merged into one tree, read-only except for the usual writable directories; with --root, a copy of it";
}
words! { OrWord<DirectoryOrder>:
    Self(None), "native", "The order of the file system";
    Self(Some(DirectoryOrder::Reverse)), "reverse", "The reverse order";
}
words! { OrWord<Vary>:
    Self(None), "all", "Everything that can be varied";
    Self(Some(Vary::Hostname)), "hostname", "Another host name";
    Self(Some(Vary::Time)), "time", "Another day, month and year";
    Self(Some(Vary::Tz)), "tz", "Another time zone";
    Self(Some(Vary::Locale)), "locale", "The locale C, and another LANGUAGE";
    Self(Some(Vary::Umask)), "umask", "Umask 002";
    Self(Some(Vary::DirOrder)), "dir-order", "Reverse order of directory entries";
    Self(Some(Vary::Cpus)), "cpus", "One processor";
    Self(Some(Vary::Home)), "home", "Another home directory";
    Self(Some(Vary::BuildPath)), "build-path", "Another path of the project";
    Self(Some(Vary::Accel)), "accel", "Native tools in the first build, emulated ones in the second";
}
words! { export::Format:
    Self::Oci, "oci", "A tar of an OCI image layout, with all platforms in the store";
    Self::OciDirectory, "oci-dir", "An OCI image layout in a directory";
    Self::Docker, "docker-archive", "The format of 'docker save' and 'docker load', with one platform";
}
