//! `WWW-Authenticate`, as a registry writes it: no value leads to a token server that may not be asked.
#![no_main]

use hermes::testing::registry::Challenge;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // What else a header could hold is not taken for text.
    let Some(text) = str::from_utf8(data).ok().filter(|text| !text.contains(|c| !matches!(c, ' '..='~' | '\t' | '\n')))
    else {
        return;
    };
    let values: Vec<&str> = text.split('\n').collect();
    for scheme in ["https", "http"] {
        let Some(Challenge::Bearer { realm, refused, .. }) = Challenge::parse(&values, scheme) else { continue };
        let quoted = format!("\"{realm}\"");
        assert!(values.iter().any(|value| value.contains(&quoted)), "a realm that nobody sent: {realm:?}");
        // The URL standard drops blanks around a URL, and tabs anywhere in it.
        let plain = realm.replace('\t', "").trim_start_matches(|c: char| c <= ' ').to_ascii_lowercase();
        let safe = plain.starts_with("https:") || (scheme == "http" && plain.starts_with("http:"));
        assert!(refused.is_some() || safe, "{realm:?} is asked by {scheme}");
    }
});
