//! Amounts of disk space.

use std::time::SystemTime;

use serde::Serialize;

use crate::fs::measure::Room;

/// How many things there are, and what they take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Blobs, layers, …
    pub count: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Files, directories and links on disk.
    pub inodes: u64,
}

impl Totals {
    pub(super) fn add(&mut self, room: Room) {
        self.count += 1;
        self.bytes += room.bytes;
        self.inodes += room.inodes;
    }

    /// All of `things`.
    pub(super) fn of<'a>(things: impl IntoIterator<Item = &'a Object>) -> Self {
        let mut totals = Self::default();
        for thing in things {
            totals.add(thing.room);
        }
        totals
    }

    /// All of `parts` together.
    pub(super) fn sum(parts: &[Self]) -> Self {
        parts.iter().fold(Self::default(), |sum, part| Self {
            count: sum.count + part.count,
            bytes: sum.bytes + part.bytes,
            inodes: sum.inodes + part.inodes,
        })
    }
}

/// Something in the store that has a digest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object {
    pub(super) room: Room,
    /// When it was last used; of a blob, when it came.
    pub(super) used: SystemTime,
}
