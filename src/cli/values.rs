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
    Self::Single, "single", "One";
    Self::Range, "range", "Many";
}
words! { FakeRoot:
    Self::Off, "off", "They fail";
    Self::Stateless, "stateless", "They succeed, without effect";
    Self::Stateful, "stateful", "They succeed, and stat shows the new owner; slower";
}
words! { Feature:
    Self::Netns, "netns", "A network of its own";
    Self::Seccomp, "seccomp", "The system call filter";
    Self::Landlock, "landlock", "Rules on paths, signals and sockets";
}
words! { Isolation:
    Self::Namespaces, "namespaces", "Namespaces, with a root of their own";
    Self::Landlock, "landlock",
        "Not hermetic: rules on this host's paths, for a cross toolchain where user namespaces are not available";
}
words! { Accel:
    Self::Off, "off", "None: every program is the image's, emulated";
    Self::Auto, "auto", "Where the toolchain has some that fit";
    Self::Require, "require", "Run nothing without them";
}
words! { OrWord<EmulationMode>:
    Self(None), "auto", "The first of these that works here; the host's only if it is the locked one, or there is no other";
    Self(Some(EmulationMode::Binfmt)), "binfmt", "Registered with the kernel for this sandbox alone (Linux 6.7)";
    Self(Some(EmulationMode::Host)), "host", "Whatever this host has registered, with flag F";
    Self(Some(EmulationMode::Ptrace)), "ptrace",
        "Nothing registered: hermes runs foreign programs under ptrace (Linux 4.8)";
}
words! { OrWord<RootStrategy>:
    Self(None), "auto", "The first that this host allows";
    Self(Some(RootStrategy::Overlay)), "overlay", "An overlay of the image's layers";
    Self(Some(RootStrategy::Merged)), "merged",
        "The layers merged into one tree, read-only but for the usual places; with --root, a copy of it";
}
words! { OrWord<DirectoryOrder>:
    Self(None), "native", "The file system's";
    Self(Some(DirectoryOrder::Reverse)), "reverse", "From its end";
}
words! { OrWord<Vary>:
    Self(None), "all", "All that can be";
    Self(Some(Vary::Hostname)), "hostname", "Another name of the host";
    Self(Some(Vary::Time)), "time", "Another day, month and year";
    Self(Some(Vary::Tz)), "tz", "A time zone far away";
    Self(Some(Vary::Locale)), "locale", "The locale C, and another language";
    Self(Some(Vary::Umask)), "umask", "Umask 002";
    Self(Some(Vary::DirOrder)), "dir-order", "Directories from their end";
    Self(Some(Vary::Cpus)), "cpus", "One processor";
    Self(Some(Vary::Home)), "home", "Another home directory";
    Self(Some(Vary::BuildPath)), "build-path", "The project at another place";
    Self(Some(Vary::Accel)), "accel", "The first has native tools in place of emulated ones, the second has not";
}
words! { export::Format:
    Self::Oci, "oci", "A tar of an OCI image layout, with all platforms in the store";
    Self::OciDirectory, "oci-dir", "An OCI image layout in a directory";
    Self::Docker, "docker-archive", "The format of 'docker save' and 'docker load', with one platform";
}
