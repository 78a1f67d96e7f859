//! The table `Packages` of an `SQLite` file (sqlite.org, "Database File Format"). Two columns: the number, which is
//! the row's own, and the header.

use crate::packages::Malformed;
use crate::packages::rpm::bytes::{Bytes, MAX_HEADER};

const MAGIC: &[u8] = b"SQLite format 3\0";
/// Length of the file's header, which the first page begins with.
const HEADER: usize = 100;
/// Types of the pages of a table.
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;

pub(super) fn headers(database: &Bytes<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let file = File::open(database)?;
    let mut root = None;
    file.rows(1, &mut |row| {
        // type, name, tbl_name, rootpage, sql
        let columns = columns(&Bytes(&row))?;
        if let [Value::Text(b"table"), Value::Text(b"Packages"), _, Value::Number(page), ..] = columns[..] {
            root = Some(page);
        }
        Ok(())
    })?;
    let root = root.ok_or(Malformed { why: "it has no table 'Packages'", unit: "page", at: 1 })?;
    let (mut headers, mut total) = (Vec::new(), 0);
    file.rows(root, &mut |row| {
        // Rows that share pages would fill the memory.
        total += row.len();
        if total > database.0.len() {
            return Err(Malformed { why: "its rows are longer than the database", unit: "row", at: headers.len() + 1 });
        }
        let columns = columns(&Bytes(&row))?;
        let Some(Value::Blob(header)) = columns.get(1) else {
            return Err(Malformed { why: "a row has no header", unit: "row", at: headers.len() + 1 });
        };
        headers.push(header.to_vec());
        Ok(())
    })?;
    Ok(headers)
}

struct File<'a> {
    database: Bytes<'a>,
    page_size: usize,
    /// Bytes of a page that are used.
    usable: usize,
    pages: usize,
}

impl<'a> File<'a> {
    fn open(database: &Bytes<'a>) -> Result<Self, Malformed> {
        let malformed = |why| Malformed { why, unit: "page", at: 1 };
        if database.piece(0, MAGIC.len())? != MAGIC {
            return Err(malformed("it is not an SQLite database"));
        }
        let page_size = match database.be16(16)? {
            1 => 0x1_0000,
            size if size.is_power_of_two() && size >= 512 => size,
            _ => return Err(malformed("it has an invalid page size")),
        };
        let usable = page_size - usize::from(database.byte(20)?);
        if usable < 480 {
            return Err(malformed("it has an invalid page size"));
        }
        Ok(Self { database: *database, page_size, usable, pages: database.0.len() / page_size })
    }

    /// The page of this number, from 1.
    fn page(&self, number: usize) -> Result<Bytes<'a>, Malformed> {
        if number == 0 || number > self.pages {
            return Err(Malformed { why: "it points to a page that does not exist", unit: "page", at: number });
        }
        self.database.piece((number - 1) * self.page_size, self.page_size).map(Bytes)
    }

    /// Gives the rows of the table whose tree begins with page `root` to `visit`.
    fn rows(&self, root: usize, visit: &mut dyn FnMut(Vec<u8>) -> Result<(), Malformed>) -> Result<(), Malformed> {
        let (mut waiting, mut seen) = (vec![root], 0);
        while let Some(number) = waiting.pop() {
            // No tree has a page twice.
            seen += 1;
            if seen > self.pages {
                return Err(Malformed { why: "its pages form a cycle", unit: "page", at: number });
            }
            let page = self.page(number)?;
            let start = if number == 1 { HEADER } else { 0 };
            let (kind, cells) = (page.byte(start)?, page.be16(start + 3)?);
            let first = match kind {
                LEAF => start + 8,
                INTERIOR => start + 12,
                _ => return Err(Malformed { why: "a page does not belong to a table", unit: "page", at: number }),
            };
            let mut children = Vec::new();
            for cell in 0..cells {
                let at = page.be16(first + 2 * cell)?;
                if kind == LEAF {
                    visit(self.payload(&page, at)?)?;
                } else {
                    children.push(page.be32(at)?);
                }
            }
            if kind == INTERIOR {
                children.push(page.be32(start + 8)?);
            }
            waiting.extend(children.into_iter().rev());
            // More cannot be right, and a page that names itself a thousand times would fill the memory.
            if waiting.len() > self.pages {
                return Err(Malformed { why: "its pages form a cycle", unit: "page", at: number });
            }
        }
        Ok(())
    }

    /// All of a row: what is in its cell, and what overflowed into pages of its own.
    fn payload(&self, page: &Bytes<'a>, at: usize) -> Result<Vec<u8>, Malformed> {
        let (size, length) = page.varint(at)?;
        let (_, more) = page.varint(at + length)?;
        let at = at + length + more;
        let longest = MAX_HEADER.min(self.database.0.len());
        let too_long = Malformed { why: "a row is too long", unit: "byte", at };
        let size = usize::try_from(size).ok().filter(|size| *size <= longest).ok_or(too_long)?;
        let most = self.usable - 35;
        if size <= most {
            return page.piece(at, size).map(<[u8]>::to_vec);
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let fitting = least + (size - least) % (self.usable - 4);
        let here = if fitting <= most { fitting } else { least };
        let mut payload = page.piece(at, here)?.to_vec();
        let mut next = page.be32(at + here)?;
        while payload.len() < size {
            let page = self.page(next)?;
            let length = (size - payload.len()).min(self.usable - 4);
            payload.extend_from_slice(page.piece(4, length)?);
            next = page.be32(0)?;
        }
        Ok(payload)
    }
}

enum Value<'a> {
    Text(&'a [u8]),
    Blob(&'a [u8]),
    /// A page's number; others are of no interest.
    Number(usize),
    Other,
}

/// The columns of a row.
fn columns<'a>(row: &Bytes<'a>) -> Result<Vec<Value<'a>>, Malformed> {
    let (head, mut at) = row.varint(0)?;
    let short = Malformed { why: "a row ends early", unit: "byte", at };
    let head = usize::try_from(head).map_err(|_| short.clone())?;
    let mut content = head;
    let mut columns = Vec::new();
    while at < head {
        let (kind, length) = row.varint(at)?;
        at += length;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).unwrap_or_default(),
            5 => 6,
            6 | 7 => 8,
            _ => usize::try_from((kind.max(12) - 12) / 2).map_err(|_| short.clone())?,
        };
        let bytes = row.piece(content, size)?;
        content += size;
        columns.push(match kind {
            1..=4 => Value::Number(bytes.iter().fold(0, |value, byte| value << 8 | usize::from(*byte))),
            9 => Value::Number(1),
            12.. if kind % 2 == 0 => Value::Blob(bytes),
            12.. => Value::Text(bytes),
            _ => Value::Other,
        });
    }
    Ok(columns)
}
