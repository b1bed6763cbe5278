//! The file outside the store that holds the rotating keys and the installation's HMAC key.
//!
//! Store and key file are never backed up together: whoever has both can read everything, for ever.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p92_kernel::{Millis, Random, clock};
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// 256 bits.
pub type Secret = Zeroizing<[u8; 32]>;

/// A rotating key.
#[derive(Clone)]
pub struct RotatingKey {
    pub id: u64,
    pub made: Millis,
    pub secret: Secret,
}

/// The keys of an installation, and where they lie.
#[derive(Clone)]
pub struct KeyFile {
    path: PathBuf,
    pub installation: String,
    pub blinding: Secret,
    /// Oldest first; the last one wraps.
    pub rotating: Vec<RotatingKey>,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("the key file {path} cannot be {action}: {source}")]
    Io { path: PathBuf, action: &'static str, source: io::Error },
    #[error(
        "the key file {path} is not readable as one: {problem}\n  what to do: restore it from its backup; without it the sealed content of this installation cannot be opened"
    )]
    Damaged { path: PathBuf, problem: String },
    #[error(
        "the key file {path} is of installation {found}, the store of {expected}\n  what to do: name the key file of this store with --keys, or move the foreign one away"
    )]
    Foreign { path: PathBuf, found: String, expected: String },
    #[error(
        "the store has data but its key file {path} is missing\n  what to do: restore the key file; without it nobody can read the sealed content of this store"
    )]
    Missing { path: PathBuf },
}

impl KeyFile {
    /// Opens the keys of an installation; makes them if the store is `fresh`.
    pub fn open(
        path: &Path,
        installation: &str,
        fresh: bool,
        now: Millis,
        random: &dyn Random,
    ) -> Result<Self, KeyFileError> {
        match Self::look(path) {
            Ok(file) => file.of(installation),
            Err(KeyFileError::Missing { .. }) if fresh => {
                let file = Self {
                    path: path.to_owned(),
                    installation: installation.to_owned(),
                    blinding: Zeroizing::new(clock::random_bytes(random)),
                    rotating: vec![RotatingKey {
                        id: 1,
                        made: now,
                        secret: Zeroizing::new(clock::random_bytes(random)),
                    }],
                };
                file.save()?;
                Ok(file)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the keys of whatever installation they are, for those who look whether they can be read.
    pub fn look(path: &Path) -> Result<Self, KeyFileError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text)
                .map_err(|problem| KeyFileError::Damaged { path: path.to_owned(), problem }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(KeyFileError::Missing { path: path.to_owned() })
            }
            Err(source) => Err(KeyFileError::Io { path: path.to_owned(), action: "read", source }),
        }
    }

    /// The same file as it is now. One of another installation, or with another blinding key, is refused: row keys are
    /// made with that one for ever.
    pub fn read_again(&self) -> Result<Self, KeyFileError> {
        let file = Self::look(&self.path)?.of(&self.installation)?;
        if *file.blinding != *self.blinding {
            let problem = "another blinding key".to_owned();
            return Err(KeyFileError::Damaged { path: self.path.clone(), problem });
        }
        Ok(file)
    }

    /// Refuses one of another installation.
    fn of(self, installation: &str) -> Result<Self, KeyFileError> {
        if self.installation == installation {
            return Ok(self);
        }
        Err(KeyFileError::Foreign {
            path: self.path,
            found: self.installation,
            expected: installation.to_owned(),
        })
    }

    fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let mut installation = None;
        let mut blinding = None;
        let mut rotating = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["installation", id] => installation = Some((*id).to_owned()),
                ["blinding", secret] => blinding = Some(read_secret(secret)?),
                ["rotating", id, made, secret] => rotating.push(RotatingKey {
                    id: id.parse().map_err(|_| "the number of a rotating key".to_owned())?,
                    made: Millis(made.parse().map_err(|_| "the time of a rotating key".to_owned())?),
                    secret: read_secret(secret)?,
                }),
                _ => return Err("a line that is none of installation, blinding, rotating".to_owned()),
            }
        }
        if rotating.is_empty() {
            return Err("no rotating key".to_owned());
        }
        Ok(Self {
            path: path.to_owned(),
            installation: installation.ok_or("no installation")?,
            blinding: blinding.ok_or("no blinding key")?,
            rotating,
        })
    }

    /// Writes the keys beside the file, syncs, and renames: there is always one whole file.
    pub fn save(&self) -> Result<(), KeyFileError> {
        let failed = |action| move |source| KeyFileError::Io { path: self.path.clone(), action, source };
        let mut text = Zeroizing::new(String::from(
            "# Keys of a P92 installation. Keep it secret, and never in one backup with the store.\n",
        ));
        text.push_str(&format!("installation {}\n", self.installation));
        text.push_str(&format!("blinding {}\n", STANDARD.encode(*self.blinding)));
        for key in &self.rotating {
            text.push_str(&format!("rotating {} {} {}\n", key.id, key.made.0, STANDARD.encode(*key.secret)));
        }
        let new = self.path.with_extension("new");
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder).map_err(failed("made a folder for"))?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new).map_err(failed("written"))?;
        file.write_all(text.as_bytes()).map_err(failed("written"))?;
        file.sync_all().map_err(failed("synced"))?;
        fs::rename(&new, &self.path).map_err(failed("renamed"))?;
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("synced"))
    }

    /// The key that wraps now.
    #[must_use]
    pub fn current(&self) -> Option<&RotatingKey> {
        self.rotating.last()
    }

    /// The key with that number.
    #[must_use]
    pub fn rotating(&self, id: u64) -> Option<&RotatingKey> {
        self.rotating.iter().find(|key| key.id == id)
    }
}

fn read_secret(text: &str) -> Result<Secret, String> {
    let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| "a key that is not base64".to_owned())?);
    let array =
        <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| "a key that has not 32 bytes".to_owned())?;
    Ok(Zeroizing::new(array))
}
