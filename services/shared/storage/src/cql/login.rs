//! Who we are to the store, told anew for each connection.
//!
//! It refuses to know where a password is kept.

use async_trait::async_trait;
use scylla::authentication::{
    AuthError, AuthenticatorProvider, AuthenticatorSession, PlainTextAuthenticator,
};
use std::fmt;
use std::sync::Arc;

/// Tells the password that holds at this moment; in words why it cannot.
#[derive(Clone)]
pub struct Password(Arc<dyn Fn() -> Result<String, String> + Send + Sync>);

impl Password {
    /// Asked at each connection, since it may have been exchanged.
    pub fn told_by(tell: impl Fn() -> Result<String, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// One that is never exchanged.
    #[must_use]
    pub fn fixed(text: &str) -> Self {
        let text = text.to_owned();
        Self::told_by(move || Ok(text.clone()))
    }
}

/// Who we are to the store.
#[derive(Clone)]
pub struct CqlUser {
    pub name: String,
    pub password: Password,
}

impl fmt::Debug for CqlUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CqlUser").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl AuthenticatorProvider for CqlUser {
    async fn start_authentication_session(
        &self,
        authenticator: &str,
    ) -> Result<(Option<Vec<u8>>, Box<dyn AuthenticatorSession>), AuthError> {
        let password = (self.password.0)()?;
        let today = PlainTextAuthenticator::new(self.name.clone(), password);
        today.start_authentication_session(authenticator).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn each_connection_gets_the_password_of_its_moment() {
        let kept = Arc::new(Mutex::new(Ok("first".to_owned())));
        let told = Arc::clone(&kept);
        let password = Password::told_by(move || told.lock().unwrap().clone());
        let user = CqlUser { name: "p92".to_owned(), password };
        let says = async || match user.start_authentication_session("Password").await {
            Ok((says, _)) => String::from_utf8(says.unwrap()).unwrap(),
            Err(problem) => problem,
        };
        assert_eq!(says().await, "\0p92\0first");
        *kept.lock().unwrap() = Ok("second".to_owned());
        assert_eq!(says().await, "\0p92\0second");
        *kept.lock().unwrap() = Err("the file is gone".to_owned());
        assert_eq!(says().await, "the file is gone");
        assert!(!format!("{user:?}").contains("second"));
    }
}
