//! From layers to one struct: file, environment, flags, each setting with the place that it came from.
//!
//! Settings are added one at a time to what is already known to be readable, so a value that cannot be read is named
//! with its place, whatever the deserializer says of it. It reads no environment itself: it is handed one.

use super::{Documented, Holds, Key};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// What every environment variable of ours begins with.
const PREFIX: &str = "P92_";

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File { name: String, line: usize },
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(path) => write!(f, "flag --{}", path.replace('_', "-")),
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Problem {
    pub place: String,
    pub what: String,
}

/// Everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// A configuration, and where what is not default in it came from.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    pub value: T,
    pub origins: BTreeMap<String, Origin>,
}

impl<T> Loaded<T> {
    /// Something that only the whole can tell to be wrong, at the place where the setting was written.
    #[must_use]
    pub fn problem(&self, path: &str, what: impl Into<String>) -> Problem {
        let place = self.origins.get(path).map_or_else(|| "default".to_owned(), ToString::to_string);
        Problem { place, what: format!("`{path}`: {}", what.into()) }
    }
}

/// One setting as it was found.
struct Setting {
    path: Vec<String>,
    /// What it may mean, the likelier first: text that looks like a number may still be meant as text.
    readings: Vec<Value>,
    origin: Origin,
}

/// Collects layers. Later ones win.
pub struct Loader<T> {
    settings: Vec<Setting>,
    problems: Vec<Problem>,
    not_ours: Vec<String>,
    of: PhantomData<fn() -> T>,
}

impl<T> Default for Loader<T> {
    fn default() -> Self {
        Self { settings: Vec::new(), problems: Vec::new(), not_ours: Vec::new(), of: PhantomData }
    }
}

impl<T> fmt::Debug for Loader<T> {
    /// Without values: secrets are among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").field("settings", &self.settings.len()).finish_non_exhaustive()
    }
}

impl<T: Documented + DeserializeOwned> Loader<T> {
    /// A TOML file. It must be there.
    #[must_use]
    pub fn file(mut self, path: &Path) -> Self {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => self.text(&name, &text),
            Err(error) => {
                self.problems.push(Problem { place: name, what: error.to_string() });
                self
            }
        }
    }

    /// The text of a TOML file of this name.
    #[must_use]
    pub fn text(mut self, name: &str, text: &str) -> Self {
        let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        match DeTable::parse(text) {
            Ok(table) => {
                let at = |span: std::ops::Range<usize>| Origin::File {
                    name: name.to_owned(),
                    line: line(span.start),
                };
                self.table(&[], table.get_ref(), T::KEYS, &at);
            }
            Err(error) => {
                let line = error.span().map_or(1, |span| line(span.start));
                let place = Origin::File { name: name.to_owned(), line }.to_string();
                self.problems.push(Problem { place, what: error.message().to_owned() });
            }
        }
        self
    }

    /// Variables that begin with the prefix and are no settings.
    #[must_use]
    pub fn ignoring<I: IntoIterator<Item = &'static str>>(mut self, names: I) -> Self {
        self.not_ours.extend(names.into_iter().map(str::to_owned));
        self
    }

    /// The environment: `P92_LISTEN__HTTP` is `listen.http`. To be called after `ignoring`.
    #[must_use]
    pub fn environment<I: IntoIterator<Item = (String, String)>>(mut self, variables: I) -> Self {
        let mut variables: Vec<_> = variables.into_iter().collect();
        // One order, whatever order the environment has, so that errors are the same each time.
        variables.sort();
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if self.not_ours.contains(&name) {
                continue;
            }
            let path: Vec<_> = rest.split("__").map(str::to_ascii_lowercase).collect();
            if matches!(find(T::KEYS, &path), Found::Unknown { .. }) && is_service_link(rest) {
                continue;
            }
            self.setting(path, readings(&text), Origin::Variable(name));
        }
        self
    }

    /// A flag: a dotted path and a value.
    #[must_use]
    pub fn flag(mut self, path: &str, text: &str) -> Self {
        let segments = path.split('.').map(str::to_owned).collect();
        self.setting(segments, readings(text), Origin::Flag(path.to_owned()));
        self
    }

    fn table(
        &mut self,
        above: &[String],
        table: &DeTable<'_>,
        keys: &'static [Key],
        at: &dyn Fn(std::ops::Range<usize>) -> Origin,
    ) {
        for (name, value) in table {
            let path: Vec<_> = above.iter().cloned().chain([name.get_ref().to_string()]).collect();
            let key = keys.iter().find(|key| key.name == name.get_ref().as_ref());
            match (key.map(|key| key.holds), value.get_ref()) {
                (Some(Holds::Section(keys)), DeValue::Table(inner)) => self.table(&path, inner, keys, at),
                _ => self.setting(path, vec![owned(value)], at(name.span())),
            }
        }
    }

    fn setting(&mut self, mut path: Vec<String>, mut readings: Vec<Value>, origin: Origin) {
        let what = match find(T::KEYS, &path) {
            Found::Value => {
                self.settings.push(Setting { path, readings, origin });
                return;
            }
            Found::Section => format!("`{}` is a section, not a value", path.join(".")),
            Found::Unknown { nearest } => {
                let written = path.join(".");
                // `password_file` holds the path of the file that holds `password`.
                if let Some(last) = path.last_mut()
                    && let Some(name) = last.strip_suffix("_file")
                {
                    *last = name.to_owned();
                    if matches!(find(T::KEYS, &path), Found::Value) {
                        let file = |value| Value::Table(Table::from_iter([("file".to_owned(), value)]));
                        readings = readings.into_iter().map(file).collect();
                        self.settings.push(Setting { path, readings, origin });
                        return;
                    }
                }
                let advice = nearest.map(|near| format!("; did you mean {}?", spelled(&near, &origin)));
                format!("there is no setting `{written}`{}", advice.unwrap_or_default())
            }
        };
        self.problems.push(Problem { place: origin.to_string(), what });
    }

    /// The whole, or everything that is wrong with it.
    pub fn load(self) -> Result<Loaded<T>, Problems>
    where
        T: Default,
    {
        let Self { settings, mut problems, .. } = self;
        let (mut table, mut origins, mut value) = (Table::new(), BTreeMap::new(), T::default());
        for Setting { path, readings, origin } in settings {
            let mut refused = None;
            let taken = readings.into_iter().find_map(|reading| {
                let mut next = table.clone();
                put(&mut next, &path, reading);
                match T::deserialize(Value::Table(next.clone())) {
                    Ok(value) => Some((next, value)),
                    Err(error) => {
                        refused.get_or_insert(error);
                        None
                    }
                }
            });
            let path = path.join(".");
            match (taken, refused) {
                (Some(taken), _) => {
                    (table, value) = taken;
                    origins.insert(path, origin);
                }
                (None, error) => {
                    let why = error.map(|error| error.message().trim().to_owned()).unwrap_or_default();
                    problems.push(Problem { place: origin.to_string(), what: format!("`{path}`: {why}") });
                }
            }
        }
        if problems.is_empty() { Ok(Loaded { value, origins }) } else { Err(Problems(problems)) }
    }
}

/// What text of a variable or flag may mean: a TOML value if it is one, and itself.
fn readings(text: &str) -> Vec<Value> {
    let parsed = (!text.contains('\n'))
        .then(|| format!("v = {text}").parse::<Table>().ok())
        .flatten()
        .and_then(|mut table| table.remove("v"));
    parsed.into_iter().chain([Value::String(text.to_owned())]).collect()
}

fn owned(value: &Spanned<DeValue<'_>>) -> Value {
    // A parsed value is a value; the conversion goes through the deserializer, whose only errors are of types.
    serde::Deserialize::deserialize(toml::de::ValueDeserializer::from(value.clone()))
        .unwrap_or_else(|_| Value::String(String::new()))
}

fn put(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            table.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

enum Found {
    Value,
    Section,
    Unknown { nearest: Option<Vec<String>> },
}

/// What stands at a path. Below a value there may be more: a value may be a map.
fn find(keys: &'static [Key], path: &[String]) -> Found {
    let mut level = keys;
    for name in path {
        match level.iter().find(|key| key.name == name).map(|key| key.holds) {
            Some(Holds::Value) => return Found::Value,
            Some(Holds::Section(keys)) => level = keys,
            None => return Found::Unknown { nearest: nearest(keys, path) },
        }
    }
    Found::Section
}

/// The setting whose path is nearest to this one, if any is near: a slip of the fingers, or the wrong section.
fn nearest(keys: &'static [Key], path: &[String]) -> Option<Vec<String>> {
    let mut all = Vec::new();
    paths(keys, &mut Vec::new(), &mut all);
    let written = path.join(".");
    let by_distance = |known: &Vec<String>| {
        let slip = distance(&known.join("."), &written);
        // The right name in the wrong section is as near as one slip.
        if known.last() == path.last() { slip.min(1) } else { slip }
    };
    let near = all.into_iter().min_by_key(by_distance)?;
    (by_distance(&near) <= (written.len() / 4).max(1)).then_some(near)
}

fn paths(keys: &'static [Key], above: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
    for key in keys {
        above.push(key.name.to_owned());
        match key.holds {
            Holds::Value => all.push(above.clone()),
            Holds::Section(keys) => paths(keys, above, all),
        }
        above.pop();
    }
}

/// How many letters have to be changed, added, removed or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let cell = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    let mut rows: [Vec<usize>; 2] = [Vec::new(), (0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        let [before, above] = &rows;
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let changed = cell(above, j) + usize::from(x != y);
            let mut least = changed.min(cell(above, j + 1) + 1).min(cell(&row, j) + 1);
            let previous = |text: &[char], at: usize| at.checked_sub(1).and_then(|at| text.get(at)).copied();
            if previous(&a, i) == Some(*y) && previous(&b, j) == Some(*x) {
                least = least.min(cell(before, j.saturating_sub(1)) + 1);
            }
            row.push(least);
        }
        let [_, above] = rows;
        rows = [above, row];
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(0)
}

/// A path as it would be written where the mistake was made.
fn spelled(path: &[String], origin: &Origin) -> String {
    match origin {
        Origin::Variable(_) => format!("`{PREFIX}{}`", path.join("__").to_ascii_uppercase()),
        Origin::File { .. } | Origin::Flag(_) => format!("`{}`", path.join(".")),
    }
}

/// Kubernetes puts the addresses of every Service of the namespace into each container: a Service `p92-posting` gives
/// `P92_POSTING_SERVICE_HOST`, `P92_POSTING_PORT_8093_TCP_ADDR` and more. They are no settings of ours and no mistake.
fn is_service_link(rest: &str) -> bool {
    rest.ends_with("_SERVICE_HOST")
        || rest.contains("_SERVICE_PORT")
        || rest.ends_with("_PORT")
        || rest.split_once("_PORT_").is_some_and(|(_, port)| port.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_fingers_are_near() {
        for (a, b, steps) in [
            ("title", "title", 0),
            ("titel", "title", 1),
            ("", "ab", 2),
            ("nodes", "node", 1),
            ("abc", "xyz", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (steps, steps), "{a} {b}");
        }
    }

    #[test]
    fn only_what_kubernetes_writes_is_a_link() {
        assert!(is_service_link("POSTING_PORT_8093_TCP"));
        assert!(is_service_link("POSTING_SERVICE_PORT"));
        assert!(!is_service_link("HTTP_PORTAL"));
        assert!(!is_service_link("STORE__NODE"));
    }
}
