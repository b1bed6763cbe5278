//! OAuth apps: registered at one server, known by client id, trusted by secret or by PKCE.

use super::App;
use crate::domain::oauth::{self, Registration};
use crate::domain::scope::Scopes;
use crate::error::too_many;
use crate::state::{SecretHash, secret_hash};
use p92_kernel::{ErrorCode, Failure};
use p92_proto::identity::v1;
use subtle::ConstantTimeEq as _;

const CLIENT_SECRET: &str = "client_secret";
const BATCH: usize = 500;

/// There is no such app, or the secret is not its own.
pub(crate) fn no_client() -> Failure {
    Failure::new(
        ErrorCode::Unauthenticated,
        "INVALID_CLIENT",
        "This app is not known here, or its secret is wrong.",
    )
}

/// Scopes that an app asks for, if they are within its own.
pub(crate) fn within(app: &v1::App, asked: &[String]) -> Result<Scopes, Failure> {
    let own = Scopes::parse(app.scopes.iter().map(String::as_str))?;
    let asked = Scopes::parse(asked.iter().map(String::as_str))?;
    own.check(&asked)?;
    Ok(asked)
}

impl App {
    /// Registers an app.
    pub async fn register_app(
        &self,
        request: v1::RegisterAppRequest,
    ) -> Result<v1::RegisterAppResponse, Failure> {
        self.active_server(request.server_id).await?;
        oauth::check_registration(Registration {
            name: &request.name,
            website: &request.website,
            redirect_uris: &request.redirect_uris,
            client_id: &request.client_id,
            client_secret: &request.client_secret,
        })?;
        let scopes = Scopes::parse(request.scopes.iter().map(String::as_str))?;
        let or_new = |chosen: String| if chosen.is_empty() { self.state.new_secret() } else { chosen };
        let client_secret = or_new(request.client_secret);
        let app = v1::App {
            id: self.state.new_id(),
            server_id: request.server_id,
            client_id: or_new(request.client_id),
            name: request.name,
            website: request.website,
            redirect_uris: request.redirect_uris,
            scopes: scopes.names(),
            created_ms: self.now().0,
        };
        let hash = secret_hash(request.server_id, CLIENT_SECRET, &client_secret);
        if !self.state.add_app(&app, &hash).await? {
            let text = "There is an app with this client id already.";
            let taken = Failure::invalid("client_id", "CLIENT_ID_TAKEN", text);
            return Err(Failure { code: ErrorCode::AlreadyExists, ..taken });
        }
        Ok(v1::RegisterAppResponse { app: Some(app), client_secret })
    }

    /// An app by id or client id.
    pub async fn get_app(&self, request: v1::GetAppRequest) -> Result<v1::GetAppResponse, Failure> {
        use v1::get_app_request::App as By;
        let row = match request.app {
            Some(By::Id(id)) => self.state.app_by_id(request.server_id, id).await?,
            Some(By::ClientId(client_id)) => self.state.app(request.server_id, &client_id).await?,
            None => return Err(Failure::invalid("app", "APP_NEEDED", "Which app?")),
        };
        let app = row.and_then(|row| row.app).ok_or_else(|| Failure::not_found("app"))?;
        Ok(v1::GetAppResponse { app: Some(app) })
    }

    /// Those of the ids that there are.
    pub async fn batch_get_apps(
        &self,
        request: v1::BatchGetAppsRequest,
    ) -> Result<v1::BatchGetAppsResponse, Failure> {
        if request.ids.len() > BATCH {
            return Err(too_many("ids", BATCH));
        }
        let mut apps = Vec::with_capacity(request.ids.len());
        for id in request.ids {
            let row = self.state.app_by_id(request.server_id, id).await?;
            apps.extend(row.and_then(|row| row.app));
        }
        Ok(v1::BatchGetAppsResponse { apps })
    }

    /// The app with a client id, whoever asks.
    pub(crate) async fn client(&self, server: u64, client_id: &str) -> Result<v1::AppRow, Failure> {
        self.state.app(server, client_id).await?.ok_or_else(no_client)
    }

    /// The app with a client id, if the secret is its own.
    pub(crate) async fn trusted_client(
        &self,
        server: u64,
        client_id: &str,
        secret: &str,
    ) -> Result<v1::App, Failure> {
        let row = self.client(server, client_id).await?;
        let hash: SecretHash = secret_hash(server, CLIENT_SECRET, secret);
        let fits: bool = hash.ct_eq(row.secret_hash.as_ref()).into();
        row.app.filter(|_| fits).ok_or_else(no_client)
    }
}
