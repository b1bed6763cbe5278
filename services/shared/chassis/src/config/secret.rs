//! A setting that is never shown: not by `Debug`, not by `config print`, not in an error.
//!
//! It comes as text, or from a file (`password_file = "/run/secrets/password"`), as orchestrators mount it; a file is
//! read again when asked, so a rotated secret needs no restart. It refuses to know what it opens.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What is shown instead.
pub const REDACTED: &str = "<redacted>";
/// No password, token or key in text form is longer; a larger file is the wrong one.
const LARGEST: u64 = 64 << 10;

/// A secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    file: Option<PathBuf>,
}

impl Secret {
    /// A secret that stands in the configuration itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), file: None }
    }

    /// Reads it from a file. The line break that editors leave at the end is not part of it.
    pub fn from_file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        Ok(Self { text: read(&path)?, file: Some(path) })
    }

    /// The secret, as it was when the configuration was read.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The secret as it is now, read again if it comes from a file.
    pub fn current(&self) -> io::Result<String> {
        self.file.as_deref().map_or_else(|| Ok(self.text.clone()), read)
    }
}

fn read(path: &Path) -> io::Result<String> {
    if std::fs::metadata(path)?.len() > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large to be a secret"));
    }
    let text = std::fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrFile;
        impl<'de> serde::de::Visitor<'de> for TextOrFile {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret as text, or the file that holds it")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
                if text == REDACTED {
                    return Err(E::custom("this was printed, and what was printed is not the secret"));
                }
                Ok(Secret::new(text))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
                use serde::de::Error as _;
                let Some((key, path)) = map.next_entry::<String, PathBuf>()? else {
                    return Err(A::Error::missing_field("file"));
                };
                if key != "file" || map.next_entry::<String, PathBuf>()?.is_some() {
                    return Err(A::Error::unknown_field(&key, &["file"]));
                }
                Secret::from_file(&path)
                    .map_err(|error| A::Error::custom(format_args!("{}: {error}", path.display())))
            }
        }
        deserializer.deserialize_any(TextOrFile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), REDACTED);
        assert_eq!(serde_json::to_string(&secret).unwrap(), format!("{REDACTED:?}"));
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn what_was_printed_is_not_taken_for_it() {
        assert!(serde_json::from_str::<Secret>(&format!("{REDACTED:?}")).is_err());
    }

    #[test]
    fn a_file_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\n").unwrap();
        let secret: Secret = serde_json::from_value(serde_json::json!({ "file": file.path() })).unwrap();
        assert_eq!(secret.expose(), "one");
        std::fs::write(file.path(), "two\n").unwrap();
        assert_eq!(secret.current().unwrap(), "two");
    }
}
