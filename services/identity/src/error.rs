//! How rejections of the domain look at an edge: code, reason, public text, field. Nothing here decides anything.

use crate::domain::account::Taken;
use crate::domain::authority::NotAllowed;
use crate::domain::email::BadEmail;
use crate::domain::handle::BadHandle;
use crate::domain::host::BadHost;
use crate::domain::oauth::BadOAuth;
use crate::domain::profile::BadProfile;
use crate::domain::scope::BadScopes;
use crate::domain::{account, relationship, server};
use crate::wire::Unreadable;
use p92_kernel::ErrorCode::{
    AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, ResourceExhausted,
};
use p92_kernel::{ErrorCode, Failure};

fn said(code: ErrorCode, reason: &'static str, why: &impl ToString) -> Failure {
    Failure::new(code, reason, why.to_string())
}

fn at(field: &'static str, reason: &'static str, why: &impl ToString) -> Failure {
    Failure::invalid(field, reason, why.to_string())
}

impl From<NotAllowed> for Failure {
    fn from(why: NotAllowed) -> Self {
        let reason = match why {
            NotAllowed::Role => "ROLE_NEEDED",
            NotAllowed::NotBeneath => "NOT_BENEATH",
            NotAllowed::NotAMember => "NOT_A_MEMBER",
        };
        said(PermissionDenied, reason, &why)
    }
}

impl From<account::Rejection> for Failure {
    fn from(why: account::Rejection) -> Self {
        use account::Rejection as R;
        match why {
            R::NoSuchAccount => said(NotFound, "NOT_FOUND", &why),
            R::Exists => said(AlreadyExists, "ACCOUNT_EXISTS", &why),
            R::NotPending => said(FailedPrecondition, "NOT_PENDING", &why),
            R::Remote => said(FailedPrecondition, "REMOTE_ACCOUNT", &why),
            R::KindNeeded => at("kind", "KIND_NEEDED", &why),
            R::NotAllowed(why) => why.into(),
        }
    }
}

impl From<relationship::Rejection> for Failure {
    fn from(why: relationship::Rejection) -> Self {
        use relationship::Rejection as R;
        match why {
            R::Oneself => said(FailedPrecondition, "ONESELF", &why),
            R::ActorCannotAct => said(PermissionDenied, "ACCOUNT_CANNOT_ACT", &why),
            R::NoSuchAccount | R::NoRequest => said(NotFound, "NOT_FOUND", &why),
            R::BlockedBy => said(PermissionDenied, "BLOCKED", &why),
            R::Blocking => said(PermissionDenied, "BLOCKING", &why),
            R::TooManyFollows => said(ResourceExhausted, "TOO_MANY_FOLLOWS", &why),
            R::Languages => at("languages", "BAD_LANGUAGES", &why),
            R::TooLong => at("duration_ms", "MUTE_TOO_LONG", &why),
        }
    }
}

impl From<server::Rejection> for Failure {
    fn from(why: server::Rejection) -> Self {
        use server::Rejection as R;
        match (why, why.field()) {
            (R::NoSuchServer, _) => said(NotFound, "NOT_FOUND", &why),
            (R::Exists, _) => said(AlreadyExists, "SERVER_EXISTS", &why),
            (R::NotAllowed(why), _) => why.into(),
            (_, Some(field)) => at(field, "BAD_SERVER", &why),
            (_, None) => said(InvalidArgument, "BAD_SERVER", &why),
        }
    }
}

impl From<BadHandle> for Failure {
    fn from(why: BadHandle) -> Self {
        let reason = match why {
            BadHandle::Empty => "HANDLE_NEEDED",
            BadHandle::TooLong => "HANDLE_TOO_LONG",
            BadHandle::Characters => "HANDLE_CHARACTERS",
            BadHandle::Reserved => "HANDLE_RESERVED",
        };
        at("handle", reason, &why)
    }
}

impl From<BadEmail> for Failure {
    fn from(why: BadEmail) -> Self {
        at("email", "BAD_EMAIL", &why)
    }
}

impl From<BadHost> for Failure {
    fn from(why: BadHost) -> Self {
        match why {
            BadHost::Domain => at("domain", "BAD_DOMAIN", &why),
            BadHost::PublicUrl | BadHost::NotLoopback => at("public_url", "BAD_PUBLIC_URL", &why),
        }
    }
}

impl From<BadProfile> for Failure {
    fn from(why: BadProfile) -> Self {
        at(why.field(), "BAD_PROFILE", &why)
    }
}

impl From<BadScopes> for Failure {
    fn from(why: BadScopes) -> Self {
        at("scopes", "INVALID_SCOPE", &why)
    }
}

impl From<BadOAuth> for Failure {
    fn from(why: BadOAuth) -> Self {
        match why {
            BadOAuth::Name => at("name", "BAD_APP_NAME", &why),
            BadOAuth::Website => at("website", "BAD_WEBSITE", &why),
            BadOAuth::RedirectUris | BadOAuth::RedirectUri => at("redirect_uris", "BAD_REDIRECT_URI", &why),
            BadOAuth::ClientId => at("client_id", "BAD_CLIENT_ID", &why),
            BadOAuth::Secret => at("client_secret", "BAD_SECRET", &why),
            BadOAuth::UnknownRedirectUri => at("redirect_uri", "INVALID_REDIRECT_URI", &why),
            BadOAuth::Challenge => at("code_challenge", "INVALID_REQUEST", &why),
        }
    }
}

/// A request that names a word which does not exist.
pub fn unknown_word(why: Unreadable) -> Failure {
    at(why.0, "UNKNOWN_VALUE", &"This value does not exist.")
}

/// A row or event of ours that cannot be read.
pub fn damaged(why: Unreadable) -> Failure {
    Failure::internal(why)
}

/// A name that is another's.
pub fn taken(what: Taken) -> Failure {
    let (field, reason, text) = match what {
        Taken::Handle => ("handle", "HANDLE_TAKEN", "This handle is taken."),
        Taken::Email => ("email", "EMAIL_TAKEN", "There is an account with this e-mail address already."),
    };
    Failure { code: AlreadyExists, ..Failure::invalid(field, reason, text) }
}

/// The account that acts is none, or may not.
pub fn no_actor() -> Failure {
    Failure::new(ErrorCode::Unauthenticated, "ACTOR_NEEDED", "Sign in to do this.")
}

/// Too many at once.
pub fn too_many(field: &'static str, most: usize) -> Failure {
    Failure::invalid(field, "TOO_MANY", format!("At most {most} at once."))
}
