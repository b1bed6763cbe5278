//! The way of commands to the server that they are for: the socket of a data directory, or a service of a cluster.

use crate::cli::Common;
use crate::settings::Flags;
use crate::socket;
use anyhow::Context as _;
use p92_chassis::Transport;
use p92_chassis::tls::Credentials;
use p92_chassis::transport::Network;
use p92_proto::operator::v1::ListTablesRequest;
use p92_proto::operator::v1::operator_service_client::OperatorServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;

/// A client of the operator API, whichever way it goes.
pub(crate) type Operators = OperatorServiceClient<InterceptedService<Transport, Bearer>>;

/// Shows a token with each call, if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A request whose answer takes its time: a rebuild, or a reader that has to come to it.
pub(crate) fn patient<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    // The longest that servers grant.
    request.set_timeout(std::time::Duration::from_secs(120));
    request
}

/// What is told at once may be large: a page of a table, a row of a log.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

impl Common {
    /// The operator API of the process that commands are for.
    pub(crate) async fn operators(&self) -> anyhow::Result<Operators> {
        let (way, bearer) = match (&self.operator, &self.token_file) {
            (Some(address), Some(file)) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("the token {} cannot be read", file.display()))?;
                // The first of several is the newest, as the file of the server is written.
                let token = text.lines().map(str::trim).find(|line| !line.is_empty());
                let token = token.with_context(|| format!("{} holds no token", file.display()))?;
                let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
                value.set_sensitive(true);
                (Transport::remote(Network::new([address])?), Bearer(Some(value)))
            }
            _ => (self.server().await?, Bearer::default()),
        };
        Ok(OperatorServiceClient::with_interceptor(way, bearer).max_decoding_message_size(ANSWER_BYTES))
    }

    /// The server that commands are for, or what to do if none answers.
    pub(crate) async fn server(&self) -> anyhow::Result<Transport> {
        let Some(endpoint) = &self.endpoint else {
            // Asked first, so that a missing server is told as such.
            drop(socket::connect(&self.data).await?);
            return Ok(Transport::remote(Network::socket(socket::path(&self.data))));
        };
        let settings = Flags::of_environment().load()?;
        let credentials = Credentials::load(&settings.tls)?;
        let network = Network::new([endpoint])?
            .with_server_name(settings.internal.server_name.as_deref())
            .with_credentials(credentials);
        let way = Transport::remote(network);
        let there = OperatorServiceClient::new(way.clone()).list_tables(ListTablesRequest {}).await;
        // Where the operator API is not served, the answer that it is not is an answer too.
        let there = match there {
            Err(status) if status.code() != tonic::Code::Unimplemented => Err(status),
            _ => Ok(()),
        };
        there.with_context(|| {
            format!(
                "no service answers at {endpoint}\n  what to do: name the internal address of a service (`internal.listen` of `p92 serve identity` for accounts, apps, tokens and servers); if services use TLS, `tls` must name this command's certificates too"
            )
        })?;
        Ok(way)
    }
}
