//! `hermes packages`.

use std::fmt::{self, Write as _};

use crate::cli::args::packages::{Format, Packages};
use crate::cli::exec::{App, Exec, Exit, Json};
use crate::cli::printer::{self, Print, table};
use crate::commands::image_diff::ImageChanges;
use crate::commands::packages::{self, Listed, Locked, Why};
use crate::commands::{Error, spdx};
use crate::packages::{Package, PackageChanges, Unread};
use crate::visible::visible;

impl Exec for Packages {
    fn exec(self, App { context, .. }: App) -> Result<Exit, Error> {
        let platform = self.platform;
        let Some(reference) = self.reference else {
            let toolchain = context.toolchain(self.toolchain);
            return Ok(match &self.why {
                Some(name) => Exit::show(packages::why(&context, &toolchain, platform, name)?),
                None if self.format == Format::Spdx => {
                    Exit::show(Json(spdx::of_toolchain(&context, toolchain, platform)?))
                }
                None => Exit::show(packages::of_toolchain(&context, toolchain, platform)?),
            });
        };
        if let Some(old) = &self.since {
            let changes = packages::changes(&context, old, &reference, platform)?;
            tell_of_unread(&changes.unread);
            return Ok(Exit::show(changes));
        }
        if self.format == Format::Spdx {
            return Ok(Exit::show(Json(spdx::of_image(&context, &reference, platform)?)));
        }
        let listed = packages::list(&context, &reference, platform)?;
        tell_of_unread(&listed.inventory.unread);
        Ok(Exit::show(listed))
    }
}

/// Warns of unreadable package databases, so that their packages do not seem to be absent.
fn tell_of_unread(unread: &[Unread]) {
    for Unread { path, why } in unread {
        printer::line_to_stderr(&format!("note: cannot read the packages in {path}: {why}"));
    }
}

fn row(mark: &str, package: &Package) -> Vec<String> {
    let Package { kind, name, architecture, version, .. } = package;
    vec![format!("{mark}{name}"), version.clone(), architecture.clone(), kind.to_string()]
}

impl Print for Listed {
    fn write(&self, out: &mut String) -> fmt::Result {
        let rows: Vec<_> = self
            .inventory
            .packages
            .iter()
            .map(|package| {
                let source = package.source.as_ref().map_or_else(|| "-".into(), |source| source.name.clone());
                let license = package.license.clone().unwrap_or_else(|| "-".into());
                [row("", package), vec![source, license]].concat()
            })
            .collect();
        table(out, &["PACKAGE", "VERSION", "ARCH", "KIND", "SOURCE", "LICENSE"], &rows)
    }
}

impl Print for Locked {
    fn write(&self, out: &mut String) -> fmt::Result {
        let rows: Vec<_> = self.packages.iter().map(|package| row("", package)).collect();
        table(out, &["PACKAGE", "VERSION", "ARCH", "KIND"], &rows)
    }
}

impl Print for Why {
    fn write(&self, out: &mut String) -> fmt::Result {
        let chain: Vec<_> = self.chain.iter().map(|name| visible(name)).collect();
        writeln!(out, "{}", chain.join(" -> "))
    }
}

impl Print for PackageChanges {
    fn write(&self, out: &mut String) -> fmt::Result {
        let mut rows: Vec<_> = self
            .changed
            .iter()
            .map(|changed| {
                let versions = format!("{} -> {}", changed.old, changed.new);
                vec![format!("~ {}", changed.name), versions, changed.architecture.clone(), changed.kind.to_string()]
            })
            .collect();
        rows.extend(self.added.iter().map(|package| row("+ ", package)));
        rows.extend(self.removed.iter().map(|package| row("- ", package)));
        if rows.is_empty() {
            writeln!(out, "no package changed")
        } else {
            table(out, &["  PACKAGE", "VERSION", "ARCH", "KIND"], &rows)
        }
    }
}

impl Print for ImageChanges {
    fn write(&self, out: &mut String) -> fmt::Result {
        match &self.packages {
            Some(packages) => packages.write(out)?,
            None => writeln!(out, "cannot compare the packages: some layers are not in the store")?,
        }
        let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "(none)".to_owned(), visible);
        for change in &self.config {
            let setting = visible(&change.setting);
            writeln!(out, "{setting}: {} -> {}", shown(&change.old), shown(&change.new))?;
        }
        Ok(())
    }
}
