//! Finding a wheel in the indexes that pip is configured with.

mod pip;

use crate::credentials::Credential;
use crate::digest::Digest;
use crate::hint::error_chain;
use crate::platform::Platform;
use crate::progress::Reporter;
use crate::pypi::{Listed, Requirement, WheelName, parse_page};
use crate::registry::{Client, RegistryError, host_of, is_same_server, linked, without_query};
use crate::source::{Label, SourceError};
use crate::visible::shortened;

use pip::Index;
pub(crate) use pip::PipHost;

/// Longest page, in bytes: the longest pages of packages with thousands of files are a tenth of it.
const MAX_PAGE: u64 = 64 << 20;
/// The forms of a page that hermes reads, the preferred one first (PEP 691).
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";
/// Most names of files in a message.
const MAX_NAMES: usize = 10;

/// A wheel that is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a> {
    /// Its source, in messages.
    pub label: &'a Label,
    pub requirement: &'a Requirement,
    /// The platform of its programs.
    pub platform: Platform,
    /// Its digest, if that is known.
    pub digest: Option<Digest>,
}

/// A file of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundWheel {
    /// Its name.
    pub file: String,
    /// Its digest, if the index states it.
    pub sha256: Option<Digest>,
    /// Its URL, which may have a query with a signature.
    pub(super) url: String,
    pub(super) credential: Option<Credential>,
    pub(super) yanked: Option<String>,
}

/// Finds the wheel: that with the digest, where one is given; otherwise the only one for the platform, of several builds the
/// last. A wheel that its author has withdrawn counts where there is no other, with a note.
///
/// # Errors
/// pip has no index; no index answers; none has a wheel that fits, or several do; the wheel has another digest now.
pub(crate) async fn find(
    query: &Query<'_>,
    pip: &PipHost,
    client: &Client,
    reporter: &dyn Reporter,
) -> Result<FoundWheel, SourceError> {
    let indexes = pip.indexes(reporter);
    if indexes.is_empty() {
        return Err(SourceError::NoIndex { name: query.label.clone() });
    }
    let (mut fitting, mut others, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for index in &indexes {
        match ask(query, index, pip, client, reporter).await {
            Ok(wheels) => {
                let fits =
                    |wheel: &FoundWheel| WheelName::parse(&wheel.file).is_some_and(|name| name.fits(query.platform));
                let (here, elsewhere): (Vec<_>, Vec<_>) = wheels.into_iter().partition(fits);
                fitting.extend(here);
                others.extend(elsewhere.into_iter().map(|wheel| wheel.file));
            }
            Err(Miss::Absent) => {}
            Err(Miss::Failed(why)) => {
                let line = format!("{}: {why}", index.url);
                reporter.verbose(&format!("source {}: {line}", query.label));
                failed.push(line);
            }
        }
    }
    if fitting.is_empty() && !failed.is_empty() {
        return Err(SourceError::Unavailable { name: query.label.clone(), tried: failed.join("; ") });
    }
    let wheel = choose(query, fitting, others)?;
    if let Some(reason) = &wheel.yanked {
        let reason = if reason.is_empty() { String::new() } else { format!(": {}", shortened(reason, 200)) };
        reporter.warn(&format!("source {}: {} was withdrawn by its author{reason}", query.label, wheel.file));
    }
    Ok(wheel)
}

/// Why an index does not list a package.
enum Miss {
    /// It does not have the package.
    Absent,
    Failed(String),
}

/// The wheels that an index lists for a package.
async fn ask(
    query: &Query<'_>,
    index: &Index,
    pip: &PipHost,
    client: &Client,
    reporter: &dyn Reporter,
) -> Result<Vec<FoundWheel>, Miss> {
    let url = format!("{}/{}/", index.url, query.requirement.name());
    let of_netrc = |url: &str| pip.credential(&host_of(url)?, reporter);
    let credential = index.credential.clone().or_else(|| of_netrc(&url));
    let (bytes, base) = match client.page(&url, ACCEPT, credential.as_ref(), MAX_PAGE).await {
        Ok(page) => page,
        Err(RegistryError::NotFound { .. }) => return Err(Miss::Absent),
        Err(error) => return Err(Miss::Failed(error_chain(&error))),
    };
    let listed = parse_page(&bytes).map_err(|error| Miss::Failed(error.to_string()))?;
    let wheel = |Listed { file, url: link, sha256, yanked }| {
        let link = linked(&base, &link)?;
        // Credentials of the index are for its server alone.
        let credential = if is_same_server(&link, &url) { credential.clone() } else { of_netrc(&link) };
        Some(FoundWheel { file, sha256, url: link, credential, yanked })
    };
    let is_asked = |listed: &Listed| WheelName::parse(&listed.file).is_some_and(|name| name.is_of(query.requirement));
    Ok(listed.into_iter().filter(is_asked).filter_map(wheel).collect())
}

/// The wheel that is meant, of those that fit. `others` are files of other platforms.
fn choose(query: &Query<'_>, fitting: Vec<FoundWheel>, others: Vec<String>) -> Result<FoundWheel, SourceError> {
    let name = || query.label.clone();
    if let Some(expected) = query.digest {
        let stated = fitting.iter().find_map(|wheel| Some((wheel, wheel.sha256?)));
        let is_wanted = |wheel: &&FoundWheel| wheel.sha256.is_none_or(|digest| digest == expected);
        // One whose digest the index states is preferred; the bytes of another one are verified later.
        let wanted = fitting.iter().filter(is_wanted).max_by_key(|wheel| wheel.sha256.is_some());
        return match (wanted, stated) {
            (Some(wheel), _) => Ok(wheel.clone()),
            (None, Some((wheel, got))) => Err(SourceError::Changed {
                name: name(),
                location: without_query(&wheel.url).to_owned(),
                expected: Box::new(expected),
                got: Box::new(got),
            }),
            (None, None) => Err(no_wheel(query, others)),
        };
    }
    let has_other = fitting.iter().any(|wheel| wheel.yanked.is_none());
    let build = |wheel: &FoundWheel| WheelName::parse(&wheel.file).map_or(0, |name| name.build);
    let mut left: Vec<FoundWheel> = fitting.into_iter().filter(|wheel| !has_other || wheel.yanked.is_none()).collect();
    let last = left.iter().map(build).max();
    left.retain(|wheel| Some(build(wheel)) == last);
    let is_same = |one: &FoundWheel, other: &FoundWheel| one.file == other.file && one.sha256 == other.sha256;
    match &left[..] {
        [] => Err(no_wheel(query, others)),
        [first, rest @ ..] if rest.iter().all(|wheel| is_same(first, wheel)) => Ok(left.swap_remove(0)),
        all => {
            let mut files: Vec<String> = all.iter().map(|wheel| wheel.file.clone()).collect();
            files.sort();
            files.truncate(MAX_NAMES);
            Err(SourceError::SeveralWheels { name: name(), requirement: Box::new(query.requirement.clone()), files })
        }
    }
}

fn no_wheel(query: &Query<'_>, mut others: Vec<String>) -> SourceError {
    others.sort();
    others.truncate(MAX_NAMES);
    let (name, requirement, platform) = (query.label.clone(), Box::new(query.requirement.clone()), query.platform);
    SourceError::NoWheel { name, requirement, platform, others }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel(file: &str, content: Option<&[u8]>) -> FoundWheel {
        FoundWheel {
            file: file.to_owned(),
            sha256: content.map(Digest::of),
            url: format!("https://files.example.org/{file}?signature=secret"),
            credential: None,
            yanked: None,
        }
    }

    fn chosen(digest: Option<Digest>, wheels: &[FoundWheel]) -> Result<String, SourceError> {
        let (label, requirement) = (Label::of_toolchain("zig", "ziglang"), "a==1".parse().unwrap());
        let query = Query { label: &label, requirement: &requirement, platform: Platform::Amd64, digest };
        choose(&query, wheels.to_vec(), vec!["a-1-py3-none-win_amd64.whl".into()]).map(|wheel| wheel.file)
    }

    #[test]
    fn without_a_digest_the_only_one_is_meant() {
        let any = wheel("a-1-py3-none-any.whl", Some(b"x"));
        assert_eq!(chosen(None, std::slice::from_ref(&any)).unwrap(), any.file);
        // Two indexes have the same file.
        assert_eq!(chosen(None, &[any.clone(), any.clone()]).unwrap(), any.file);
        let last = wheel("a-1-10-py3-none-any.whl", Some(b"y"));
        assert_eq!(
            chosen(None, &[any.clone(), wheel("a-1-9-py3-none-any.whl", None), last.clone()]).unwrap(),
            last.file
        );
        let yanked = FoundWheel { yanked: Some(String::new()), ..last.clone() };
        assert_eq!(chosen(None, &[any.clone(), yanked.clone()]).unwrap(), any.file);
        assert_eq!(chosen(None, std::slice::from_ref(&yanked)).unwrap(), last.file);
        let other = wheel("a-1-py3-none-linux_x86_64.whl", Some(b"z"));
        for two in
            [[any.clone(), other], [any.clone(), FoundWheel { sha256: Some(Digest::of(b"other")), ..any.clone() }]]
        {
            assert!(matches!(chosen(None, &two), Err(SourceError::SeveralWheels { files, .. }) if files.len() == 2));
        }
        assert!(matches!(chosen(None, &[]), Err(SourceError::NoWheel { others, .. }) if others.len() == 1));
    }

    #[test]
    fn a_digest_chooses_and_another_one_is_a_change() {
        let [one, two] =
            ["a-1-py3-none-any.whl", "a-1-py3-none-linux_x86_64.whl"].map(|file| wheel(file, Some(file.as_bytes())));
        let silent = wheel("a-1-2-py3-none-any.whl", None);
        let digest = two.sha256;
        assert_eq!(chosen(digest, &[one.clone(), silent.clone(), two.clone()]).unwrap(), two.file);
        assert_eq!(chosen(digest, &[one.clone(), silent.clone()]).unwrap(), silent.file);
        let error = chosen(digest, std::slice::from_ref(&one)).unwrap_err();
        assert!(matches!(&error, SourceError::Changed { got, .. } if Some(**got) == one.sha256));
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(matches!(chosen(digest, &[]), Err(SourceError::NoWheel { .. })));
    }
}
