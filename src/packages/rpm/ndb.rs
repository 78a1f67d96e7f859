//! `Packages.db` (rpm's `lib/backend/ndb/rpmpkg.c`): slots that say where the header of a package lies; all numbers
//! little-endian.

use crate::packages::Malformed;
use crate::packages::rpm::bytes::Bytes;

const MAGIC: usize = magic(*b"RpmP");
const SLOT: usize = magic(*b"Slot");
const BLOB: usize = magic(*b"BlbS");
/// Bytes of the file's header, of a slot, and of a block.
const HEADER: usize = 32;
const SLOT_SIZE: usize = 16;
const BLOCK: usize = 16;
const PAGE: usize = 4096;

const fn magic(text: [u8; 4]) -> usize {
    u32::from_le_bytes(text) as usize
}

pub(super) fn headers<'a>(database: &Bytes<'a>) -> Result<Vec<&'a [u8]>, Malformed> {
    if database.le32(0)? != MAGIC || database.le32(4)? != 0 {
        return Err(Malformed { why: "it is not an ndb database of version 0", unit: "byte", at: 0 });
    }
    let slots = database.piece(0, database.le32(12)?.saturating_mul(PAGE))?.len();
    let mut headers = Vec::new();
    for at in (HEADER..slots).step_by(SLOT_SIZE) {
        let malformed = |why| Malformed { why, unit: "byte", at };
        if database.le32(at)? != SLOT {
            return Err(malformed("a slot is none"));
        }
        let (package, block) = (database.le32(at + 4)?, database.le32(at + 8)?);
        if block == 0 {
            continue;
        }
        let blob = block.saturating_mul(BLOCK);
        if database.le32(blob)? != BLOB || database.le32(blob + 4)? != package {
            return Err(malformed("a slot does not point to its package"));
        }
        headers.push(database.piece(blob + 16, database.le32(blob + 12)?)?);
    }
    Ok(headers)
}
