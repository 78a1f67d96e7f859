//! `hermes verify`.

use std::fmt::{self, Write as _};

use indicatif::DecimalBytes;

use crate::cli::args::Verify;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::exit;
use crate::cli::printer::Print;
use crate::cli::settings;
use crate::commands::{Error, verify};
use crate::store::{Treatment, Verified};
use crate::visible::visible;

impl Exec for Verify {
    fn exec(self, app: App) -> Result<Exit, Error> {
        let references = settings::references(&self.references)?;
        let verified = verify::verify(&app.context, &references, self.dry_run)?;
        let code = if verified.damage.is_empty() { 0 } else { exit::INTEGRITY };
        Ok(Exit::show_with(verified, code))
    }
}

impl Print for Verified {
    fn write(&self, out: &mut String) -> fmt::Result {
        for damage in &self.damage {
            let done = match damage.treatment {
                Treatment::Removed => "; taken out",
                Treatment::Rewritten => "; written anew",
                Treatment::InUse => "; in use by a running hermes, and left",
                Treatment::Left => "",
            };
            writeln!(out, "{}: {}{done}", visible(&damage.path.to_string_lossy()), visible(&damage.what))?;
        }
        let Self { blobs, layers, sources, bytes, damage } = self;
        let sources = if *sources == 0 { String::new() } else { format!(", {sources} unpacked sources") };
        write!(out, "{blobs} blobs and {layers} unpacked layers{sources}, {}: ", DecimalBytes(*bytes))?;
        if damage.is_empty() {
            return writeln!(out, "all is as it should be");
        }
        match damage.len() {
            1 => writeln!(out, "1 file is not as it should be")?,
            many => writeln!(out, "{many} files are not as they should be")?,
        }
        if damage.iter().any(|damage| damage.treatment == Treatment::Removed) {
            writeln!(out, "what was taken out comes back with the next 'hermes pull', or with the run that needs it")?;
        }
        Ok(())
    }
}
