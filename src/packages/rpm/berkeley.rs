//! `Packages`: a hash of Berkeley DB (its `dbinc/db_page.h`). Every page of a hash is read, in the file's order:
//! which bucket it belongs to does not matter here. Numbers are in the order of the machine that wrote them.

use crate::packages::Malformed;
use crate::packages::rpm::bytes::{Bytes, MAX_HEADER};

const MAGIC: usize = 0x0006_1561;
/// Bytes of the head of a page.
const HEADER: usize = 26;
/// Types of pages.
const HASH_UNSORTED: u8 = 2;
const OVERFLOW: u8 = 7;
const HASH: u8 = 13;
/// Types of items.
const KEYDATA: u8 = 1;
const OFFPAGE: u8 = 3;
/// Under the key 0 stands the next number of a package, not a header.
const COUNTER: [u8; 4] = [0; 4];

pub(super) fn headers(database: &Bytes<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let malformed = |why| Malformed { why, unit: "page", at: 0 };
    let big = match (database.le32(12)?, database.be32(12)?) {
        (MAGIC, _) => false,
        (_, MAGIC) => true,
        _ => return Err(malformed("it is not a hash database of Berkeley DB")),
    };
    let file = File { database: *database, page_size: 0, big };
    let page_size = file.number(database, 20)?;
    if !page_size.is_power_of_two() || !(512..=0x1_0000).contains(&page_size) {
        return Err(malformed("it has an invalid page size"));
    }
    if database.byte(24)? != 0 {
        return Err(malformed("it is encrypted"));
    }
    let file = File { page_size, ..file };
    let mut found = Found { headers: Vec::new(), left: database.0.len() };
    for number in 1..database.0.len() / page_size {
        let page = file.page(number)?;
        if matches!(page.byte(25)?, HASH | HASH_UNSORTED) {
            file.hash(&page, number, &mut found)?;
        }
    }
    Ok(found.headers)
}

struct Found {
    headers: Vec<Vec<u8>>,
    /// How many bytes more there can be.
    left: usize,
}

struct File<'a> {
    database: Bytes<'a>,
    page_size: usize,
    big: bool,
}

impl<'a> File<'a> {
    fn number(&self, bytes: &Bytes<'_>, at: usize) -> Result<usize, Malformed> {
        if self.big { bytes.be32(at) } else { bytes.le32(at) }
    }

    fn short(&self, bytes: &Bytes<'_>, at: usize) -> Result<usize, Malformed> {
        if self.big { bytes.be16(at) } else { bytes.le16(at) }
    }

    fn page(&self, number: usize) -> Result<Bytes<'a>, Malformed> {
        self.database.piece(number.saturating_mul(self.page_size), self.page_size).map(Bytes)
    }

    /// Takes the values out of a page of keys and values by turns. They lie from its end on, the first one last.
    fn hash(&self, page: &Bytes<'_>, number: usize, found: &mut Found) -> Result<(), Malformed> {
        let malformed = |why| Malformed { why, unit: "page", at: number };
        let items = self.short(page, 20)?;
        let mut end = self.page_size;
        let mut key: &[u8] = &[];
        for item in 0..items {
            let at = self.short(page, HEADER + 2 * item)?;
            let length = end.checked_sub(at).filter(|length| *length > 0);
            let content = page.piece(at, length.ok_or_else(|| malformed("its items overlap"))?)?;
            end = at;
            if item % 2 == 0 {
                key = &content[1..];
                continue;
            }
            if key == COUNTER {
                continue;
            }
            let value = match content[0] {
                KEYDATA => content[1..].to_vec(),
                OFFPAGE => {
                    let content = Bytes(content);
                    self.overflow(self.number(&content, 4)?, self.number(&content, 8)?)?
                }
                _ => return Err(malformed("a value has an unsupported type")),
            };
            // Values that share pages would fill the memory.
            let left = found.left.checked_sub(value.len());
            found.left = left.ok_or_else(|| malformed("its values are longer than the database"))?;
            found.headers.push(value);
        }
        Ok(())
    }

    /// A value in pages of its own, which are chained.
    fn overflow(&self, mut number: usize, length: usize) -> Result<Vec<u8>, Malformed> {
        if length > MAX_HEADER.min(self.database.0.len()) {
            return Err(Malformed { why: "a value is longer than its database", unit: "page", at: number });
        }
        let mut value = Vec::new();
        while value.len() < length {
            let page = self.page(number)?;
            // A page without a byte would be read for ever.
            let here = self.short(&page, 22)?.min(length - value.len());
            if page.byte(25)? != OVERFLOW || here == 0 {
                return Err(Malformed { why: "a value continues on an invalid page", unit: "page", at: number });
            }
            value.extend_from_slice(page.piece(HEADER, here)?);
            number = self.number(&page, 16)?;
        }
        Ok(value)
    }
}
