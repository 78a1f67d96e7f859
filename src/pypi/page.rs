//! The page of a package in an index: JSON (PEP 691) or HTML (PEP 503).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::Digest;
use crate::percent;
use crate::pypi::anchors::anchors;
use crate::visible::shortened;

/// Most files of a package.
const MAX_FILES: usize = 200_000;

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub file: String,
    /// Its URL, relative to that of the page. Without the digest.
    pub url: String,
    /// Its digest, if the page has it.
    pub sha256: Option<Digest>,
    /// The reason for which its author advises against it (PEP 592); may be empty.
    pub yanked: Option<String>,
}

/// Not a page of an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid page of a package index: {0}")]
pub struct ParsePageError(String);

#[derive(Deserialize)]
struct Wire {
    meta: Meta,
    files: Vec<WireFile>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "api-version")]
    api_version: String,
}

#[derive(Deserialize)]
struct WireFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    yanked: Option<Yanked>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Yanked {
    Flag(bool),
    Reason(String),
}

/// The files of a package, by the page of an index.
///
/// # Errors
/// JSON of another version or form; more than 200,000 files. An HTML page without links lists no files.
pub fn parse_page(bytes: &[u8]) -> Result<Vec<Listed>, ParsePageError> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let files = if first == Some(&b'{') { of_json(bytes)? } else { of_html(&String::from_utf8_lossy(bytes)) };
    if files.len() > MAX_FILES {
        return Err(ParsePageError(format!("it lists more than {MAX_FILES} files")));
    }
    Ok(files)
}

fn of_json(bytes: &[u8]) -> Result<Vec<Listed>, ParsePageError> {
    let Wire { meta, files } =
        serde_json::from_slice(bytes).map_err(|error| ParsePageError(shortened(&error.to_string(), 200)))?;
    // A new minor version adds keys only (PEP 629).
    if !meta.api_version.starts_with("1.") {
        return Err(ParsePageError(format!("its version is {}", shortened(&meta.api_version, 20))));
    }
    let listed = |WireFile { filename, url, hashes, yanked }| Listed {
        file: filename,
        url,
        sha256: hashes.get("sha256").and_then(|hex| digest(hex)),
        yanked: match yanked {
            Some(Yanked::Reason(reason)) => Some(reason),
            Some(Yanked::Flag(true)) => Some(String::new()),
            Some(Yanked::Flag(false)) | None => None,
        },
    };
    Ok(files.into_iter().map(listed).collect())
}

fn of_html(page: &str) -> Vec<Listed> {
    let listed = |anchor: super::anchors::Anchor| {
        let (url, fragment) = anchor.href.split_once('#').unwrap_or((&anchor.href, ""));
        // The file has the name that is in its URL; the text of the link is for people.
        let path = url.split('?').next().unwrap_or(url);
        let name = path.rsplit('/').next().unwrap_or(path);
        let file = percent::decode(name).and_then(|name| String::from_utf8(name).ok())?;
        let sha256 = fragment.split('&').find_map(|part| part.strip_prefix("sha256=")).and_then(digest);
        Some(Listed { file, url: url.to_owned(), sha256, yanked: anchor.yanked })
    };
    // One more than are allowed, so that the caller sees it.
    anchors(page).filter_map(listed).take(MAX_FILES + 1).collect()
}

fn digest(hex: &str) -> Option<Digest> {
    Digest::from_hex(&hex.to_ascii_lowercase()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let hex = Digest::of(b"x").hex();
        let json = format!(
            r#" {{"meta":{{"api-version":"1.1","x":0}},"name":"a","versions":["1"],"files":[
            {{"filename":"a-1+b-py3-none-any.whl","url":"../f/a-1%2Bb-py3-none-any.whl","hashes":{{"md5":"1","sha256":"{hex}"}},"size":7,"yanked":false}},
            {{"filename":"a-1.tar.gz","url":"a-1.tar.gz","hashes":{{}},"yanked":"it breaks"}},
            {{"filename":"b","url":"b","yanked":true}}]}}"#
        );
        let html = format!(
            "<a href=\"../f/a-1%2Bb-py3-none-any.whl#sha256={hex}&amp;egg=a\">x</a><a href='a-1.tar.gz#md5=1' data-yanked='it breaks'>y</a>\
             <a href=b data-yanked>b</a><a href='%zz'>bad</a>"
        );
        let listed = |file: &str, url: &str, sha256, yanked: Option<&str>| Listed {
            file: file.to_owned(),
            url: url.to_owned(),
            sha256,
            yanked: yanked.map(str::to_owned),
        };
        let want = [
            listed("a-1+b-py3-none-any.whl", "../f/a-1%2Bb-py3-none-any.whl", Some(Digest::of(b"x")), None),
            listed("a-1.tar.gz", "a-1.tar.gz", None, Some("it breaks")),
            listed("b", "b", None, Some("")),
        ];
        assert_eq!(parse_page(json.as_bytes()).unwrap(), want);
        assert_eq!(parse_page(html.as_bytes()).unwrap(), want);
    }

    #[test]
    fn other_pages() {
        assert_eq!(parse_page(b"").unwrap(), []);
        assert_eq!(parse_page(b"<html>404</html>").unwrap(), []);
        for bad in ["{", "{}", r#"{"meta":{"api-version":"2.0"},"files":[]}"#, r#"{"meta":{"api-version":"1.0"}}"#] {
            assert!(parse_page(bad.as_bytes()).is_err(), "{bad}");
        }
        let many = "<a href=x>".repeat(MAX_FILES + 2);
        assert!(parse_page(many.as_bytes()).is_err());
    }
}
