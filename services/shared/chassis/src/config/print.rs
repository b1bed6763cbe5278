//! The effective configuration as a file that could be read again, with the doc comment above each key.
//!
//! Printed for the defaults, it is the reference. Secrets stay redacted.

use super::layers::Origin;
use super::{Documented, Holds, Key};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use toml::{Table, Value};

/// The configuration as TOML. What was not left at its default says where it came from, if `origins` are given.
pub fn print<T: Documented + Serialize>(
    config: &T,
    origins: &BTreeMap<String, Origin>,
) -> Result<String, toml::ser::Error> {
    let table = Table::try_from(config)?;
    let mut out = String::new();
    section(&mut out, "", T::ABOUT, T::KEYS, &table, origins);
    Ok(out)
}

fn section(
    out: &mut String,
    path: &str,
    about: &[&str],
    keys: &[Key],
    table: &Table,
    origins: &BTreeMap<String, Origin>,
) {
    let empty = Table::new();
    let within = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    comment(out, about);
    if !path.is_empty() {
        line(out, &format!("[{path}]"));
    }
    for key in keys.iter().filter(|key| matches!(key.holds, Holds::Value)) {
        line(out, "");
        comment(out, key.doc);
        if let Some(origin) = origins.get(&within(key.name)) {
            line(out, &format!("# (from {origin})"));
        }
        match table.get(key.name) {
            Some(value) => line(out, &format!("{} = {value}", key.name)),
            // An optional setting that is not set has no notation of its own.
            None => line(out, &format!("# {} = …", key.name)),
        }
    }
    for key in keys {
        if let Holds::Section(keys) = key.holds {
            line(out, "");
            let inner = table.get(key.name).and_then(Value::as_table).unwrap_or(&empty);
            section(out, &within(key.name), key.doc, keys, inner, origins);
        }
    }
}

fn comment(out: &mut String, doc: &[&str]) {
    for text in doc {
        line(out, format!("#{text}").trim_end());
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a String does not fail.
    let _written = writeln!(out, "{text}");
}
