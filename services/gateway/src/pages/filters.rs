//! How numbers stand in pages. Askama finds these by the name of the module.

use askama::Values;

/// ` · 3` behind a word; nothing for zero.
#[askama::filter_fn]
pub fn dotted(count: &u64, _: &dyn Values) -> askama::Result<String> {
    Ok(if *count == 0 { String::new() } else { format!(" · {count}") })
}

/// `1 reply`, `2 replies`.
#[askama::filter_fn]
pub fn counted(count: &u64, _: &dyn Values, one: &str, many: &str) -> askama::Result<String> {
    Ok(format!("{count} {}", if *count == 1 { one } else { many }))
}
