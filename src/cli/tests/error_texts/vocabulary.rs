//! Errors of reading words: references, digests, platforms, sizes, times.

use crate::digest::Digest;
use crate::emulation::native::Tool;
use crate::oci::DocumentError;
use crate::platform::Platform;
use crate::pypi::{Requirement, parse_page};
use crate::reference::Reference;
use crate::registry::ParseBandwidthError;
use crate::sandbox::Clock;
use crate::size::{Cpus, Size, Time};

use super::{cause, error, not_json};

#[test]
fn words() {
    examples!(error ParseReferenceError [
        "UPPER".parse::<Reference>().unwrap_err(),
        "".parse::<Reference>().unwrap_err(),
        "a:b c".parse::<Reference>().unwrap_err(),
        "a@sha256:12".parse::<Reference>().unwrap_err(),
        "a b/c".parse::<Reference>().unwrap_err(),
    ]);
    examples!(error ParseDigestError ["sha256:12".parse::<Digest>().unwrap_err()]);
    examples!(error ParsePlatformError ["linux/vax".parse::<Platform>().unwrap_err()]);
    examples!(cause ParseToolError ["ld".parse::<Tool>().unwrap_err()]);
    examples!(cause ParseRequirementError ["ziglang>=1".parse::<Requirement>().unwrap_err()]);
    examples!(cause ParsePageError [
        parse_page(b"{}").unwrap_err(),
        parse_page(br#"{"meta":{"api-version":"2.0"},"files":[]}"#).unwrap_err(),
    ]);
}

#[test]
fn numbers() {
    examples!(cause ParseSizeError ["5X".parse::<Size>().unwrap_err()]);
    examples!(cause ParseCpusError ["0".parse::<Cpus>().unwrap_err()]);
    examples!(cause ParseTimeError ["soon".parse::<Time>().unwrap_err()]);
    examples!(cause NoClock ["tomorrow".parse::<Clock>().unwrap_err()]);
    variants!(cause ParseBandwidthError {
        Size("5X".parse::<Size>().unwrap_err()),
        TooSlow {},
    });
}

#[test]
fn documents() {
    variants!(error DocumentError {
        Malformed { what: "manifest", source: not_json() },
        Confused("it has both 'manifests' and 'layers'"),
        Schema1 {},
        LayerCount { layers: 2, diff_ids: 3 },
        TooManyLayers(1000),
        NotAnImage("application/vnd.cncf.helm.chart.content.v1.tar+gzip".into()),
    });
}
