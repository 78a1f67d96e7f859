//! `hermes verify`.

use std::fmt::{self, Write as _};

use crate::cli::args::Verify;
use crate::cli::exec::{App, Exec, Exit};
use crate::cli::exit;
use crate::cli::printer::Print;
use crate::commands::verify::{Recomposed, State};
use crate::commands::{Error, verify};
use crate::size;
use crate::store::{Treatment, Verified};
use crate::visible::visible;

impl Exec for Verify {
    fn exec(self, app: App) -> Result<Exit, Error> {
        if let Some(toolchains) = self.compose {
            let composed = verify::compose(&app.context, &toolchains)?;
            let has = |state| composed.iter().any(|root| root.state == state);
            let code = match (has(State::Different), has(State::Unknown)) {
                (true, _) => exit::INTEGRITY,
                (false, true) => exit::UNAVAILABLE,
                (false, false) => 0,
            };
            return Ok(Exit::show_with(composed, code));
        }
        let references = self.references;
        let verified = verify::verify(&app.context, &references, self.dry_run)?;
        let code = if verified.damage.is_empty() { 0 } else { exit::INTEGRITY };
        Ok(Exit::show_with(verified, code))
    }
}

impl Print for Vec<Recomposed> {
    fn write(&self, out: &mut String) -> fmt::Result {
        for root in self {
            write!(out, "{} for {}: ", visible(&root.toolchain), root.platform.name())?;
            match (root.state, root.locked, root.found) {
                (State::Same, _, _) => writeln!(out, "composed again, with the same bytes")?,
                (State::Different, Some(locked), Some(found)) => writeln!(out, "composed to {found}, not to {locked}")?,
                (_, None, _) => writeln!(out, "not verified, because it has not been composed yet")?,
                _ => writeln!(out, "not verified, because this machine has no emulator for it")?,
            }
            for difference in &root.differences {
                writeln!(out, "  {}", visible(difference))?;
            }
        }
        Ok(())
    }
}

impl Print for Verified {
    fn write(&self, out: &mut String) -> fmt::Result {
        for damage in &self.damage {
            let done = match damage.treatment {
                Treatment::Removed => "; removed",
                Treatment::Rewritten => "; rewritten",
                Treatment::InUse => "; kept, because a running hermes uses it",
                Treatment::Left => "",
            };
            writeln!(out, "{}: {}{done}", visible(&damage.path.to_string_lossy()), visible(&damage.what))?;
        }
        let Self { blobs, layers, sources, bytes, damage } = self;
        let sources = if *sources == 0 { String::new() } else { format!(", {sources} unpacked sources") };
        write!(out, "{blobs} blobs and {layers} unpacked layers{sources}, {}: ", size::shown(*bytes))?;
        if damage.is_empty() {
            return writeln!(out, "no corruption found");
        }
        match damage.len() {
            1 => writeln!(out, "1 corrupt file")?,
            many => writeln!(out, "{many} corrupt files")?,
        }
        if damage.iter().any(|damage| damage.treatment == Treatment::Removed) {
            writeln!(out, "the next 'hermes pull', or the run that needs it, restores what was removed")?;
        }
        Ok(())
    }
}
