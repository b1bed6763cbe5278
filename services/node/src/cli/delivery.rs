//! What other hosts must get, as operators look at it.

use super::Common;
use super::show::{failed, table, to_json};
use clap::Subcommand;
use p92_proto::federation_delivery::v1::delivery_service_client::DeliveryServiceClient;
use p92_proto::federation_delivery::v1::*;

/// What can be looked at.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Which hosts must get what happened to a post, and why.
    Plan {
        /// The post's id.
        post: u64,
    },
    /// Hosts of which accounts are known here.
    Peers {
        /// Where to go on: the last host of the page before.
        #[arg(long, default_value = "")]
        after: String,
    },
}

/// Runs a command about delivery.
pub async fn run(command: Command, common: &Common) -> anyhow::Result<()> {
    let mut client =
        DeliveryServiceClient::new(common.server().await?).max_decoding_message_size(64 * 1024 * 1024);
    match command {
        Command::Plan { post } => {
            let request = GetDeliveryPlanRequest { post_id: post, ..GetDeliveryPlanRequest::default() };
            let answer = client.get_delivery_plan(request).await.map_err(failed)?.into_inner();
            if common.json {
                println!("{}", to_json(&answer));
                return Ok(());
            }
            let rows: Vec<_> = answer.plans.iter().flat_map(lines).collect();
            table(&["ACTIVITY", "KIND", "HOST", "WHY"], &rows);
        }
        Command::Peers { after } => {
            let request = ListPeersRequest { page_token: after, ..ListPeersRequest::default() };
            let answer = client.list_peers(request).await.map_err(failed)?.into_inner();
            if common.json {
                println!("{}", to_json(&answer));
                return Ok(());
            }
            let row = |peer: &Peer| vec![peer.host.clone(), peer.accounts.to_string()];
            table(&["HOST", "ACCOUNTS"], &answer.peers.iter().map(row).collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// A line per host; one line without a host if nobody elsewhere is told.
fn lines(plan: &DeliveryPlan) -> Vec<Vec<String>> {
    let kind = format!("{:?}", plan.kind());
    let line =
        |host: &str, why: String| vec![plan.activity_id.to_string(), kind.clone(), host.to_owned(), why];
    let why = |one: &Destination| one.reasons().map(|why| format!("{why:?}")).collect::<Vec<_>>().join(", ");
    if plan.destinations.is_empty() {
        return vec![line("-", "nobody elsewhere".to_owned())];
    }
    plan.destinations.iter().map(|one| line(&one.host, why(one))).collect()
}
