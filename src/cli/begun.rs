//! What a hermes that fetched first hands on to the one that runs the command: which files its options named.

use std::fmt;
use std::str::FromStr;

use crate::commands::Error;
use crate::fs::opened::Identity;
use crate::sandbox::Shared;

/// What each `-v` named, as device and inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun(Vec<Identity>);

impl Begun {
    pub(super) fn new(volumes: &[Shared]) -> Result<Self, Error> {
        volumes.iter().map(identity).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the same options name the same files still.
    ///
    /// # Errors
    /// [`Error::Exchanged`].
    pub(super) fn check(&self, volumes: &[Shared]) -> Result<(), Error> {
        for (position, volume) in volumes.iter().enumerate() {
            if self.0.get(position) != Some(&identity(volume)?) {
                return Err(Error::Exchanged { path: volume.bind.source.clone() });
            }
        }
        Ok(())
    }
}

fn identity(volume: &Shared) -> Result<Identity, Error> {
    volume.source.identity().map_err(|source| Error::Volume { path: volume.bind.source.clone(), source })
}

impl fmt::Display for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(device, inode)| write!(f, "{device}:{inode},"))
    }
}

impl FromStr for Begun {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pair = |text: &str| {
            let (device, inode) = text.split_once(':')?;
            Some((device.parse().ok()?, inode.parse().ok()?))
        };
        text.split_terminator(',').map(pair).collect::<Option<_>>().map(Self).ok_or("expected DEVICE:INODE,…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::opened::Opened;

    #[test]
    fn what_is_written_is_read() {
        let volume = |path: &str| Shared::directory(Opened::directory(path.as_ref()).unwrap(), "/x".into());
        for volumes in [vec![], vec![volume("/usr")], vec![volume("/usr"), volume("/proc")]] {
            let begun = Begun::new(&volumes).unwrap();
            assert_eq!(begun.to_string().parse(), Ok(begun.clone()));
            begun.check(&volumes).unwrap();
        }
        let begun = Begun::new(&[volume("/usr")]).unwrap();
        assert!(matches!(begun.check(&[volume("/proc")]), Err(Error::Exchanged { .. })));
        assert!(begun.check(&[volume("/usr"), volume("/proc")]).is_err());
        assert!("1:2,x".parse::<Begun>().is_err());
    }
}
