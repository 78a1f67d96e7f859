//! The fields of one paragraph of a control file (Debian policy, §5.1), all of them and in their order.

use crate::visible::shortened;

/// Most fields of a paragraph. Debian's have some 30.
const MAX_FIELDS: usize = 1000;

/// Fields with their values, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads a paragraph, which must be all of `text` but for empty lines around it.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
        let text = text.trim_matches('\n');
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.split('\n') {
            if line.contains(['\0', '\r']) {
                return Err("a line has a control character".into());
            }
            if line.starts_with([' ', '\t']) {
                let (_, value) = fields.last_mut().ok_or("it begins in the middle of a field")?;
                if line.trim().is_empty() {
                    return Err("a line has only blanks".into());
                }
                value.push('\n');
                value.push_str(line);
                continue;
            }
            if line.is_empty() {
                return Err("it has more than one paragraph".into());
            }
            let (name, value) = line.split_once(':').ok_or("a line is neither a field nor its continuation")?;
            let is_name = |c: char| c.is_ascii_graphic();
            if name.is_empty() || name.starts_with(['-', '#']) || !name.chars().all(is_name) {
                return Err(format!("invalid name of a field: '{}'", shortened(name, 100)));
            }
            if fields.len() == MAX_FIELDS {
                return Err(format!("it has more than {MAX_FIELDS} fields"));
            }
            fields.push((name.to_owned(), value.trim_start().to_owned()));
        }
        // Blanks at the end of a line belong to the value, as to dpkg, unless the value ends there.
        for (_, value) in &mut fields {
            value.truncate(value.trim_end().len());
        }
        let mut names: Vec<_> = fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("it has the field '{}' twice", shortened(&pair[0], 100))),
            None => Ok(Self(fields)),
        }
    }

    /// The value of a field, in any case of letters; continuation lines follow the first one as they are.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All fields, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}
