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

impl Common {
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
        there.with_context(|| {
            format!(
                "no service answers at {endpoint}\n  what to do: name the internal address of a service (`internal.listen` of `p92 serve identity` for accounts, apps, tokens and servers); if services use TLS, `tls` must name this command's certificates too"
            )
        })?;
        Ok(way)
    }
}
