//! `hermes toolchain`.

use std::fmt::{self, Write as _};

use crate::cli::args::Toolchain;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::printer::{Print, names, table};
use crate::commands::toolchains::{Named, New};
use crate::commands::{Error, toolchains};
use crate::platform::Platform;
use crate::toolchain::{Content, Definition, EmulatorSource, Native};
use crate::visible::visible;

impl Exec for Toolchain {
    fn exec(self, app: App) -> Result<Exit, Error> {
        Ok(match self {
            Self::List => Exit::show(toolchains::list(&app.context)?),
            Self::Show { name } => Exit::show(toolchains::show(&app.context, &name)?),
            Self::Add { name, suites, signed_by, platforms, packages } => {
                Exit::show(toolchains::add(&app.context, &New { name, suites, signed_by, platforms, packages })?)
            }
        })
    }
}

impl Print for Vec<Named> {
    fn write(&self, out: &mut String) -> fmt::Result {
        let row = |named: &Named| {
            let platforms = names(named.definition.platform.keys());
            vec![named.name.clone(), origin(&named.definition), platforms]
        };
        table(out, &["TOOLCHAIN", "FROM", "PLATFORMS"], &self.iter().map(row).collect::<Vec<_>>())
    }
}

/// Where the roots of a toolchain come from.
fn origin(definition: &Definition) -> String {
    let has =
        |is_image| definition.platform.values().any(|target| matches!(target.content, Content::Image(_)) == is_image);
    let images = has(true).then(|| "images".to_owned());
    let packages = definition.debian.as_ref().filter(|_| has(false));
    let packages = packages.map(|debian| format!("packages of {}", debian.suites.join(", ")));
    images.into_iter().chain(packages).collect::<Vec<_>>().join("; ")
}

impl Print for Named {
    fn write(&self, out: &mut String) -> fmt::Result {
        let rows: Vec<Vec<String>> = self
            .definition
            .platform
            .iter()
            .map(|(platform, target)| {
                let how = match target.image_platform {
                    Some(host) if host != *platform => format!("cross, from {}", host.name()),
                    _ if Platform::host().runs(*platform) => "native".into(),
                    _ => "emulated".into(),
                };
                let content = match &target.content {
                    Content::Image(image) => image.to_string(),
                    Content::Packages { .. } => "packages".to_owned(),
                };
                vec![platform.name().into(), content, how]
            })
            .collect();
        writeln!(out, "{}: {}", visible(&self.name), visible(&self.definition.description))?;
        match &self.definition.emulator {
            Some(EmulatorSource::Image { image, path }) => writeln!(out, "emulator: {path} in {image}")?,
            Some(EmulatorSource::Package { package, path }) => {
                writeln!(out, "emulator: {path} in the package {package}")?;
            }
            Some(EmulatorSource::File { path, sha256 }) => writeln!(out, "emulator: {} with {sha256}", path.display())?,
            None => {}
        }
        match &self.definition.native {
            Some(Native::Image { image, tools }) => {
                writeln!(out, "native tools: {} in {image}", visible(&tools.join(", ")))?;
            }
            Some(Native::Off) => writeln!(out, "native tools: none")?,
            Some(Native::Auto) | None => {}
        }
        if let Some(debian) = &self.definition.debian {
            let all: Vec<_> = debian.packages.iter().map(ToString::to_string).collect();
            writeln!(out, "packages of {}: {}", debian.suites.join(", "), all.join(" "))?;
        }
        let of_platforms = self.definition.platform.values().map(|target| &target.additions.sources);
        let sources = std::iter::once(&self.definition.additions.sources).chain(of_platforms).flatten();
        for (name, source) in sources {
            let origin = visible(&source.definition.origin.shown());
            writeln!(out, "source {name}: {origin} at {}", visible(&source.mount.to_string_lossy()))?;
        }
        out.push('\n');
        table(out, &["PLATFORM", "IMAGE", "HOW"], &rows)
    }
}
