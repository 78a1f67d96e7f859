//! The id of this boot: files written in another boot may have come to disk only in part.

use std::fs;
use std::sync::OnceLock;

/// What stands for a boot whose id cannot be read.
const UNKNOWN: &str = "unknown";

/// The id of this boot.
#[must_use]
pub(crate) fn current() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        if is_id(id.trim()) { id.trim().to_owned() } else { UNKNOWN.to_owned() }
    })
}

/// Whether `id` is that of this boot, for certain.
#[must_use]
pub(crate) fn is_current(id: &str) -> bool {
    id == current() && id != UNKNOWN
}

/// Whether `id` is one that [`current`] can have given.
#[must_use]
pub(crate) fn is_id(id: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    id == UNKNOWN || (id.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && id.split('-').all(digits))
}
