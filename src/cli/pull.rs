//! `hermes pull` and `hermes fetch`.

use std::fmt::{self, Write as _};

use crate::cli::args::{Fetch, Pull};
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::printer::{Print, table};
use crate::cli::settings;
use crate::commands::preview::{Amount, Preview, Previews};
use crate::commands::pull::Pulled;
use crate::commands::{Error, TargetSelector, fetch, preview, pull};
use crate::platform::Platform;
use crate::resolve::Wanted;
use crate::size;

impl Exec for Pull {
    fn exec(self, app: App) -> Result<Exit, Error> {
        let (context, selector) = (&app.context, settings::selector(self.which));
        let references = self.references;
        Ok(match (references.is_empty(), self.dry_run) {
            (true, true) => Exit::show(preview::toolchain(context, selector)?),
            (true, false) => Exit::show(vec![pull::toolchain(context, selector)?]),
            (false, true) => Exit::show(preview::images(context, &references, &wanted(selector))?),
            (false, false) => {
                let wanted = wanted(selector);
                let pulled = references.iter().map(|reference| pull::image(context, reference, &wanted));
                Exit::show(pulled.collect::<Result<Vec<_>, _>>()?)
            }
        })
    }
}

impl Exec for Fetch {
    fn exec(self, app: App) -> Result<Exit, Error> {
        Ok(Exit::show(fetch::fetch(&app.context, &settings::fetch(self))?))
    }
}

/// Which of the images that a reference leads to.
fn wanted(selector: TargetSelector) -> Wanted {
    Wanted { platform: selector.platform.unwrap_or_else(Platform::host), label: selector.image_platform }
}

impl Print for Vec<Pulled> {
    fn write(&self, out: &mut String) -> fmt::Result {
        for pulled in self {
            writeln!(out, "{}  {}  {}", pulled.reference, pulled.platform.name(), pulled.manifest)?;
        }
        Ok(())
    }
}

impl Print for Previews {
    fn write(&self, out: &mut String) -> fmt::Result {
        let cells = |amount: &Amount| {
            let about = if amount.unpack_estimated { "about " } else { "" };
            vec![
                size::shown(amount.fetch_bytes),
                format!("{about}{}", size::shown(amount.unpack_bytes)),
                amount.unpack_inodes.map_or_else(|| "unknown".into(), |inodes| inodes.to_string()),
            ]
        };
        let row = |preview: &Preview| {
            let name = vec![preview.reference.to_string(), preview.platform.name().into()];
            let (count, here) = match &preview.packages {
                Some(packages) => (format!("{} packages", packages.count), packages.here),
                None => (preview.amount.layers.to_string(), preview.amount.layers_here),
            };
            [name, vec![count, here.to_string()], cells(&preview.amount)].concat()
        };
        let mut rows: Vec<_> = self.images.iter().map(row).collect();
        if rows.len() > 1 {
            let layers = [self.total.layers, self.total.layers_here].map(|count| count.to_string());
            rows.push([vec!["all".into(), String::new()], layers.into(), cells(&self.total)].concat());
        }
        table(out, &["IMAGE", "PLATFORM", "LAYERS", "HERE", "TO FETCH", "TO UNPACK", "FILES"], &rows)
    }
}
