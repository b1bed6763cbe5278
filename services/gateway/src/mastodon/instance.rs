//! The server about itself: instance documents, rules, NodeInfo. Counts are the server's own.

use super::entity::instance as shape;
use crate::door::caller::Caller;
use crate::error::Problem;
use crate::gate::{Gate, Usage, ask};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use p92_proto::event::v1::ReadOptions;
use p92_proto::identity::v1::{AccountState, CountMembersRequest, ListAccountsRequest, Server};
use p92_proto::posting::v1::{GetAuthorStatsRequest, GetServerStatsRequest};
use serde_json::{Value, json};
use std::time::Duration;

const MONTH: Duration = Duration::from_hours(30 * 24);

impl Gate {
    /// How large the server is; asked for at most once a minute.
    pub async fn usage_of(&self, server: &Server) -> Result<Usage, Problem> {
        let asked = self.usage.try_get_with(server.id, self.ask_usage(server.id));
        asked.await.map_err(|problem| again(&problem))
    }

    async fn ask_usage(&self, server_id: u64) -> Result<Usage, Problem> {
        let options = Some(ReadOptions { server_id, ..ReadOptions::default() });
        let (mut posts, mut servers) = (self.deps.posts.clone(), self.deps.servers.clone());
        let posts = posts.get_server_stats(GetServerStatsRequest { options: options.clone() });
        let members = servers.count_members(CountMembersRequest { options });
        let (posts, members) = tokio::join!(posts, members);
        Ok(Usage { members: ask(members)?.members, posts: ask(posts)?.posts })
    }

    /// How many members posted within thirty days. Walks through them, at most once an hour.
    pub async fn active_month_of(&self, server: &Server) -> Result<u64, Problem> {
        let counted = self.active.try_get_with(server.id, self.count_active(server.id));
        counted.await.map_err(|problem| again(&problem))
    }

    async fn count_active(&self, server_id: u64) -> Result<u64, Problem> {
        let options = Some(ReadOptions { server_id, ..ReadOptions::default() });
        let (mut active, mut page_token) = (0, String::new());
        loop {
            let request = ListAccountsRequest {
                options: options.clone(),
                page_size: 200,
                page_token,
                states: vec![AccountState::Active.into(), AccountState::Limited.into()],
                ..ListAccountsRequest::default()
            };
            let answer = ask(self.deps.accounts.clone().list_accounts(request).await)?;
            let ids: Vec<u64> =
                answer.accounts.iter().filter_map(|one| one.account.as_ref()).map(|one| one.id).collect();
            active += self.active_among(&options, ids).await?;
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                return Ok(active);
            }
        }
    }

    async fn active_among(
        &self,
        options: &Option<ReadOptions>,
        author_ids: Vec<u64>,
    ) -> Result<u64, Problem> {
        if author_ids.is_empty() {
            return Ok(0);
        }
        let request = GetAuthorStatsRequest { options: options.clone(), author_ids };
        let stats = ask(self.deps.posts.clone().get_author_stats(request).await)?.stats;
        let now = self.deps.clock.now();
        let active = stats
            .iter()
            .filter(|one| one.last_post_ms != 0 && now.since(p92_kernel::Millis(one.last_post_ms)) <= MONTH);
        Ok(active.count() as u64)
    }
}

/// What several callers waited for failed once, for all of them.
fn again(problem: &Problem) -> Problem {
    Problem::new(problem.status, &problem.reason, problem.error.clone())
}

/// `GET /api/v2/instance`.
pub async fn v2(State(gate): State<Gate>, caller: Caller) -> Result<Json<Value>, Problem> {
    let active_month = gate.active_month_of(&caller.server).await?;
    Ok(Json(shape::v2(&caller.server, active_month, &gate.config.source_url)))
}

/// `GET /api/v1/instance`.
pub async fn v1(State(gate): State<Gate>, caller: Caller) -> Result<Json<Value>, Problem> {
    let usage = gate.usage_of(&caller.server).await?;
    Ok(Json(shape::v1(&caller.server, &usage)))
}

/// `GET /api/v1/instance/rules`.
pub async fn rules(caller: Caller) -> Json<Value> {
    Json(shape::rules(&caller.server))
}

/// `GET /.well-known/nodeinfo`.
pub async fn nodeinfo_links(caller: Caller) -> Json<Value> {
    let link = |version: &str| {
        json!({
            "rel": format!("http://nodeinfo.diaspora.software/ns/schema/{version}"),
            "href": caller.url(&format!("/nodeinfo/{version}"))
        })
    };
    Json(json!({ "links": [link("2.0"), link("2.1")] }))
}

async fn nodeinfo(gate: &Gate, caller: &Caller, version: &str) -> Result<Response, Problem> {
    let usage = gate.usage_of(&caller.server).await?;
    let active_month = gate.active_month_of(&caller.server).await?;
    let body = json!({
        "version": version,
        "software": { "name": "p92", "version": env!("CARGO_PKG_VERSION") },
        "protocols": ["activitypub"],
        "services": { "inbound": [], "outbound": [] },
        "openRegistrations": shape::registrations(&caller.server),
        "usage": {
            "users": { "total": usage.members, "activeMonth": active_month },
            "localPosts": usage.posts
        },
        "metadata": { "nodeName": caller.server.name, "nodeDescription": caller.server.description }
    });
    let kind = format!(
        "application/json; profile=\"http://nodeinfo.diaspora.software/ns/schema/{version}#\"; charset=utf-8"
    );
    Ok(([(header::CONTENT_TYPE, kind)], body.to_string()).into_response())
}

/// `GET /nodeinfo/2.0`.
pub async fn nodeinfo_2_0(State(gate): State<Gate>, caller: Caller) -> Result<Response, Problem> {
    nodeinfo(&gate, &caller, "2.0").await
}

/// `GET /nodeinfo/2.1`.
pub async fn nodeinfo_2_1(State(gate): State<Gate>, caller: Caller) -> Result<Response, Problem> {
    nodeinfo(&gate, &caller, "2.1").await
}
