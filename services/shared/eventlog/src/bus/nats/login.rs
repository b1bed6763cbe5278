//! Who we are to NATS. Secrets stand in files and are read anew for each connection: whoever exchanges a file changes
//! the password without a restart. Nothing of a secret is kept or printed.

use async_nats::{Auth, AuthError};
use nkeys::KeyPair;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// How a connection says who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The server asks nobody.
    Nobody,
    /// A name, and a file with the password; a line end behind it is no part of it.
    Password { user: String, file: PathBuf },
    /// A file with the seed of an nkey (`SU…`).
    Nkey { seed: PathBuf },
    /// A credentials file as `nsc` writes it: a token of the account and the seed of its key.
    Credentials { file: PathBuf },
}

impl Login {
    /// What the server is told, whose greeting carried this nonce.
    pub(super) async fn answer(&self, nonce: &[u8]) -> Result<Auth, AuthError> {
        let mut auth = Auth::new();
        match self {
            Self::Nobody => {}
            Self::Password { user, file } => {
                let password = read(file).await?;
                auth.username = Some(user.clone());
                auth.password = Some(password.trim_end_matches(['\r', '\n']).to_owned());
            }
            Self::Nkey { seed } => {
                let text = read(seed).await?;
                let seed_line = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
                let pair = pair(seed, seed_line)?;
                auth.nkey = Some(pair.public_key());
                auth.signature = Some(sign(seed, &pair, nonce)?);
            }
            Self::Credentials { file } => {
                let text = read(file).await?;
                let token = between(&text, "NATS USER JWT").ok_or_else(|| lacks(file, "NATS USER JWT"))?;
                let pair = pair(file, between(&text, "USER NKEY SEED"))?;
                auth.jwt = Some(token.to_owned());
                auth.signature = Some(sign(file, &pair, nonce)?);
            }
        }
        Ok(auth)
    }
}

async fn read(file: &Path) -> Result<Zeroizing<String>, AuthError> {
    let text = tokio::fs::read_to_string(file).await;
    text.map(Zeroizing::new)
        .map_err(|error| AuthError::new(format!("{} cannot be read: {error}", file.display())))
}

fn lacks(file: &Path, what: &str) -> AuthError {
    AuthError::new(format!("{} has no {what}", file.display()))
}

fn pair(file: &Path, seed: Option<&str>) -> Result<KeyPair, AuthError> {
    // The error of a seed that is none could quote it.
    KeyPair::from_seed(seed.unwrap_or_default()).map_err(|_| lacks(file, "seed of a user's nkey"))
}

fn sign(file: &Path, pair: &KeyPair, nonce: &[u8]) -> Result<Vec<u8>, AuthError> {
    pair.sign(nonce).map_err(|_| lacks(file, "seed that can sign"))
}

/// The line that stands between `-----BEGIN name-----` and the line of its end.
fn between<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("---") && line.contains("BEGIN") && line.contains(name))?;
    lines.next().filter(|line| !line.is_empty() && !line.starts_with("---"))
}

#[cfg(test)]
mod tests {
    use super::Login;
    use nkeys::KeyPair;
    use std::io::Write as _;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[tokio::test]
    async fn a_password_is_read_anew() {
        let file = file("one\n");
        let login = Login::Password { user: "posting".to_owned(), file: file.path().to_owned() };
        let password = async || login.answer(b"").await.ok().and_then(|auth| auth.password);
        assert_eq!(password().await.as_deref(), Some("one"));
        std::fs::write(file.path(), "two").unwrap();
        assert_eq!(password().await.as_deref(), Some("two"));
        std::fs::remove_file(file.path()).unwrap();
        assert!(login.answer(b"").await.err().unwrap().to_string().contains("cannot be read"));
        std::fs::write(file.path(), "").unwrap();
    }

    #[tokio::test]
    async fn a_nonce_is_signed_by_the_key_of_the_file() {
        let pair = KeyPair::new_user();
        let seed = pair.seed().unwrap();
        let nkey = file(&format!("{seed}\n"));
        let auth = Login::Nkey { seed: nkey.path().to_owned() }.answer(b"nonce").await.ok().unwrap();
        assert_eq!(auth.nkey, Some(pair.public_key()));
        pair.verify(b"nonce", &auth.signature.unwrap()).unwrap();

        let text = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.eXAi\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let credentials = file(&text);
        let login = Login::Credentials { file: credentials.path().to_owned() };
        let auth = login.answer(b"nonce").await.ok().unwrap();
        assert_eq!(auth.jwt.as_deref(), Some("eyJ0.eXAi"));
        pair.verify(b"nonce", &auth.signature.unwrap()).unwrap();
    }

    #[tokio::test]
    async fn what_is_no_seed_is_named_but_not_quoted() {
        let file = file("SUsecret");
        let said = Login::Nkey { seed: file.path().to_owned() }.answer(b"nonce").await.err().unwrap();
        assert!(said.to_string().contains("has no seed"), "{said}");
        assert!(!said.to_string().contains("SUsecret"), "{said}");
    }
}
