//! A note on what the mirrors of a site lack.

use std::time::Duration;

use super::look_for;
use crate::commands::{Context, Error, network};
use crate::hint::error_chain;
use crate::lock::{FileKind, LockFile, LockedFile};
use crate::mirror::Place;
use crate::registry::Client;
use crate::visible::quoted;

/// Longest time for all questions to registries.
const LONGEST: Duration = Duration::from_secs(5);
/// Most files that are looked for. A root of Debian packages has some 150.
const MAX_FILES: usize = 2000;
/// Most names in the note, of each kind.
const MAX_NAMES: usize = 5;

/// Notes which sources and packages of the lock are in no mirror of the site, with the command that copies them. A mirror of a
/// site is a directory or a repository in `mirrors` of `config.toml`. Nothing is noted without such a mirror, and none of its
/// failures is an error.
pub(in crate::commands) fn note(context: &Context, lock: &LockFile) {
    let [of_sources, of_packages] = [&context.source_mirrors, &context.debian_mirrors].map(|mirrors| places(mirrors));
    if context.offline || (of_sources.is_empty() && of_packages.is_empty()) {
        return;
    }
    let Ok(lock) = lock.read() else { return };
    let (sources, packages): (Vec<_>, Vec<_>) =
        lock.files().into_iter().take(MAX_FILES).partition(|file| file.kind == FileKind::Source);
    let found = network::run(context, async |client| {
        let looked = async {
            let mut missing: Vec<(Place, Vec<LockedFile>)> = Vec::new();
            for (places, files) in [(of_sources, sources), (of_packages, packages)] {
                match (missing_in(context, places, files, &client).await, missing.last_mut()) {
                    // One command copies both.
                    (Some((place, files)), Some((known, others))) if place == *known => others.extend(files),
                    (found, _) => missing.extend(found),
                }
            }
            missing
        };
        Ok::<_, Error>(tokio::time::timeout(LONGEST, looked).await.ok())
    });
    match found {
        Ok(Some(missing)) => {
            for (place, files) in missing {
                context.reporter.warn(&line(&place, &files));
            }
        }
        Ok(None) => context.reporter.verbose("the mirrors of this site did not say in time what they lack"),
        Err(error) => context.reporter.verbose(&error_chain(&error)),
    }
}

/// The mirrors that `hermes mirror` can write. A directory with an archive is left to whoever copies that.
fn places(mirrors: &[String]) -> Vec<Place> {
    let is_of_content = |place: &Place| !matches!(place, Place::Directory(path) if path.join("dists").is_dir());
    mirrors.iter().filter_map(|mirror| Place::of_setting(mirror)).filter(is_of_content).collect()
}

/// The first of `places` that answers, with those of `files` that none of them has. `None` where nothing is known to be missing.
async fn missing_in(
    context: &Context,
    places: Vec<Place>,
    mut files: Vec<LockedFile>,
    client: &Client,
) -> Option<(Place, Vec<LockedFile>)> {
    let mut first = None;
    for place in places {
        match look_for(&files, &place, context.jobs, client).await {
            Ok(there) => {
                let mut there = there.into_iter();
                files.retain(|_| !there.next().unwrap_or(false));
                first.get_or_insert(place);
            }
            Err(error) => {
                context.reporter.verbose(&format!("mirror {}: {}", place.shown(), error_chain(&error)));
            }
        }
    }
    first.filter(|_| !files.is_empty()).map(|place| (place, files))
}

/// What is missing, and the command that copies it.
fn line(place: &Place, files: &[LockedFile]) -> String {
    let kinds = [(FileKind::Source, "source"), (FileKind::Package, "package"), (FileKind::Index, "file of an archive")];
    let of_kind = |(kind, one): (FileKind, &str)| {
        let names: Vec<_> = files.iter().filter(|file| file.kind == kind).map(|file| file.name.as_str()).collect();
        let many = if kind == FileKind::Index { "files of archives".to_owned() } else { format!("{one}s") };
        match names.len() {
            0 => None,
            1 => Some(format!("the {one} {}", names[0])),
            count if count <= MAX_NAMES => Some(format!("the {many} {}", names.join(", "))),
            count => Some(format!("{count} {many}")),
        }
    };
    let missing: Vec<_> = kinds.into_iter().filter_map(of_kind).collect();
    format!(
        "no mirror of this site has {}; copy what is missing: hermes mirror {}",
        missing.join("; "),
        quoted(&place.shown())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::oci::Descriptor;

    fn file(kind: FileKind, name: &str) -> LockedFile {
        LockedFile { kind, name: name.to_owned(), blob: Descriptor::new("", Digest::of(name.as_bytes()), 1) }
    }

    #[test]
    fn a_few_are_named_and_many_counted() {
        let place = Place::Repository("registry.example.org/debs".into());
        let sources = [file(FileKind::Source, "lua"), file(FileKind::Source, "zlib")];
        assert_eq!(
            line(&place, &sources),
            "no mirror of this site has the sources lua, zlib; copy what is missing: hermes mirror oci://registry.example.org/debs"
        );
        let packages: Vec<_> = (0..=MAX_NAMES).map(|at| file(FileKind::Package, &format!("p{at} 1 all"))).collect();
        let index = file(FileKind::Index, "InRelease of bookworm");
        let all = [&sources[..1], &packages, &[index]].concat();
        let line = line(&Place::Directory("/srv/mirror".into()), &all);
        assert_eq!(
            line,
            "no mirror of this site has the source lua; 6 packages; the file of an archive InRelease of bookworm; \
             copy what is missing: hermes mirror /srv/mirror"
        );
    }

    #[test]
    fn archives_and_web_servers_are_no_mirrors_to_be_written() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("archive/dists")).unwrap();
        let [archive, content] = ["archive", "content"].map(|name| directory.path().join(name).display().to_string());
        let mirrors =
            ["https://deb.example.org/debian".to_owned(), archive, content.clone(), "oci://a.example.org/b".to_owned()];
        let shown: Vec<_> = places(&mirrors).iter().map(Place::shown).collect();
        assert_eq!(shown, [content, "oci://a.example.org/b".to_owned()]);
    }
}
