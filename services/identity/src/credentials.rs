//! Passwords: hashing and checking with Argon2id, few at a time, and never telling by time whether there is an account.
//!
//! It knows no account and no table: in go a password and perhaps a stored hash, out comes a hash or yes or no.

use crate::config::Hashing;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as HashError, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use p92_kernel::{Failure, Random, clock};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Characters of a password. The upper bound keeps a request from costing more than a hash.
const CHARACTERS: std::ops::RangeInclusive<usize> = 8..=128;

/// A password on its way.
pub type Password = Zeroizing<String>;

/// Whether a text may become a password.
pub fn check_new(password: &str) -> Result<(), Failure> {
    let characters = password.chars().count();
    let reason = match characters {
        short if short < *CHARACTERS.start() => "PASSWORD_TOO_SHORT",
        long if long > *CHARACTERS.end() => "PASSWORD_TOO_LONG",
        _ => return Ok(()),
    };
    let text = format!("A password has {} to {} characters.", CHARACTERS.start(), CHARACTERS.end());
    Err(Failure::invalid("password", reason, text))
}

/// Hashes and checks passwords.
#[derive(Debug)]
pub struct Hasher {
    argon: Argon2<'static>,
    random: Arc<dyn Random>,
    /// Hashes at once.
    running: Semaphore,
    /// Hashes at once and those that wait.
    admitted: Semaphore,
    /// The hash of no password: checked where there is no account, so that the answer takes as long.
    nobody: String,
}

/// The settings make no hash.
#[derive(Debug, thiserror::Error)]
#[error("the settings for hashing passwords cannot be: {0}")]
pub struct BadHashing(String);

impl Hasher {
    /// A hasher with these settings.
    pub fn new(settings: &Hashing, random: Arc<dyn Random>) -> Result<Self, BadHashing> {
        let params = Params::new(settings.memory_kib, settings.passes, 1, None);
        let params = params.map_err(|error| BadHashing(error.to_string()))?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let at_once = usize::try_from(settings.at_once.max(1)).unwrap_or(1);
        let waiting = usize::try_from(settings.waiting).unwrap_or(0);
        let secret: [u8; 32] = clock::random_bytes(&*random);
        let nobody = hash(&argon, &secret, &*random).map_err(|error| BadHashing(error.to_string()))?;
        Ok(Self {
            argon,
            random,
            running: Semaphore::new(at_once),
            admitted: Semaphore::new(at_once + waiting),
            nobody,
        })
    }

    /// The hash of a new password, as a PHC string.
    pub async fn hash(&self, password: Password) -> Result<String, Failure> {
        let (argon, random) = (self.argon.clone(), Arc::clone(&self.random));
        self.run(move || hash(&argon, password.as_bytes(), &*random)).await?.map_err(Failure::internal)
    }

    /// Whether the password is the one that was hashed. `None`: there is no such account, and the answer is no.
    pub async fn verify(&self, password: Password, stored: Option<String>) -> Result<bool, Failure> {
        // Longer ones were never taken; the time that a hash takes is spent all the same.
        let possible = stored.is_some() && password.chars().count() <= *CHARACTERS.end();
        let password = if possible { password } else { Zeroizing::new(String::new()) };
        let stored = stored.filter(|_| possible).unwrap_or_else(|| self.nobody.clone());
        let argon = self.argon.clone();
        let verified = self.run(move || verify(&argon, password.as_bytes(), &stored)).await?;
        Ok(verified.map_err(Failure::internal)? && possible)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let _admitted = self.admitted.try_acquire().map_err(|_| {
            Failure::unavailable(
                "TOO_MANY_SIGN_INS",
                "Too many people are signing in at this moment. Please try again.",
                Duration::from_secs(2),
            )
        })?;
        let _running = self.running.acquire().await.map_err(Failure::internal)?;
        tokio::task::spawn_blocking(work).await.map_err(Failure::internal)
    }
}

fn hash(argon: &Argon2<'_>, password: &[u8], random: &dyn Random) -> Result<String, HashError> {
    let salt: [u8; 16] = clock::random_bytes(random);
    Ok(argon.hash_password_with_salt(password, &salt)?.to_string())
}

fn verify(argon: &Argon2<'_>, password: &[u8], stored: &str) -> Result<bool, HashError> {
    let parsed = PasswordHash::new(stored).map_err(|_| HashError::EncodingInvalid)?;
    match argon.verify_password(password, &parsed) {
        Ok(()) => Ok(true),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p92_kernel::ErrorCode;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Never the same, and no secret: for tests of what does not depend on chance.
    #[derive(Debug, Default)]
    struct Counting(AtomicU64);

    impl Random for Counting {
        fn fill(&self, out: &mut [u8]) {
            for byte in out {
                *byte = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes()[0];
            }
        }
    }

    fn hasher(waiting: u32) -> Hasher {
        let settings = Hashing { memory_kib: 64, passes: 1, at_once: 1, waiting };
        Hasher::new(&settings, Arc::new(Counting::default())).unwrap()
    }

    fn password(text: &str) -> Password {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let hasher = hasher(1);
        let stored = hasher.hash(password("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(hasher.verify(password("correct horse"), Some(stored.clone())).await.unwrap());
        assert!(!hasher.verify(password("correct horsf"), Some(stored.clone())).await.unwrap());
        assert!(!hasher.verify(password(&"x".repeat(1_000_000)), Some(stored.clone())).await.unwrap());
        assert!(!hasher.verify(password(""), None).await.unwrap());
        let again = hasher.hash(password("correct horse")).await.unwrap();
        assert_ne!(again, stored, "each has its own salt");
    }

    #[tokio::test]
    async fn beyond_the_queue_callers_are_told_to_come_back() {
        let hasher = Arc::new(hasher(1));
        let held = hasher.running.acquire().await.unwrap();
        let waiting = (0..2).map(|_| {
            let hasher = Arc::clone(&hasher);
            tokio::spawn(async move { hasher.verify(password("x"), None).await })
        });
        let waiting: Vec<_> = waiting.collect();
        while hasher.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = hasher.verify(password("x"), None).await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after.is_some()), (ErrorCode::Unavailable, true));
        drop(held);
        for one in waiting {
            assert!(!one.await.unwrap().unwrap());
        }
    }

    #[test]
    fn the_default_is_what_owasp_asks_for() {
        assert_eq!((Hashing::default().memory_kib, Hashing::default().passes), (19_456, 2));
        assert!(check_new("1234567").is_err() && check_new("12345678").is_ok());
        assert!(check_new(&"x".repeat(129)).is_err());
    }
}
