//! Pages of indexes of Python packages, and requirements.
#![no_main]

use hermes::testing::pypi::{Requirement, parse_page};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(files) = parse_page(data) {
        for file in files {
            assert!(!file.url.contains('#') || data.contains(&b'{'), "a fragment is left in {}", file.url);
        }
    }
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(requirement) = text.parse::<Requirement>() {
        // It becomes a part of URLs and a line of the lockfile.
        let shown = requirement.to_string();
        assert!(shown.bytes().all(|c| c.is_ascii_graphic() && !b"/\\?#%".contains(&c)), "{shown}");
        assert_eq!(shown.parse::<Requirement>().as_ref(), Ok(&requirement));
    }
});
