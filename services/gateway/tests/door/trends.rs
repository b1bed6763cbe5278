//! Trends in the shape of Mastodon, each server's own.

use super::client::client;
use super::world::World;
use http::StatusCode;
use p92_proto::ranking::v1::ranking_service_server::RankingService;
use p92_proto::ranking::v1::{ListTrendingTagsRequest, ListTrendingTagsResponse, TagDay, TrendingTag};
use serde_json::json;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl RankingService for World {
    async fn list_trending_tags(
        &self,
        request: Request<ListTrendingTagsRequest>,
    ) -> Result<Response<ListTrendingTagsResponse>, Status> {
        let request = request.into_inner();
        let state = self.at("list_trending_tags");
        let tags = state.trends.get(&request.options.unwrap().server_id).cloned().unwrap_or_default();
        let page = tags.into_iter().skip(request.skip as usize).take(request.page_size as usize);
        Ok(Response::new(ListTrendingTagsResponse { tags: page.collect() }))
    }
}

fn tag(name: &str) -> TrendingTag {
    let days = (0..7).map(|n| TagDay { day_ms: (20_000 - n) * 86_400_000, uses: 7 - n, accounts: 3 });
    TrendingTag { name: name.to_owned(), days: days.collect(), explanation: None }
}

#[tokio::test]
async fn trends_have_a_history_of_seven_days_in_strings() {
    let client = client();
    client.world.state().trends.insert(1, vec![tag("River"), tag("storm")]);
    client.world.state().trends.insert(2, vec![tag("elsewhere")]);
    for path in ["/api/v1/trends/tags", "/api/v1/trends"] {
        let found = client.get(path, "").await.ok();
        assert_eq!(found.as_array().unwrap().len(), 2, "{found}");
        let first = &found[0];
        assert_eq!((&first["name"], &first["id"]), (&json!("River"), &json!("river")));
        assert!(first["url"].as_str().unwrap().ends_with("/tags/river"));
        assert_eq!(first["history"].as_array().unwrap().len(), 7);
        assert_eq!(first["history"][0], json!({ "day": "1728000000", "uses": "7", "accounts": "3" }));
    }
    let second = client.get("/api/v1/trends/tags?limit=1&offset=1", "").await.ok();
    assert_eq!((second.as_array().unwrap().len(), &second[0]["name"]), (1, &json!("storm")));
    assert_eq!(client.get("/api/v1/trends/tags?offset=9999999999999", "").await.ok(), json!([]));
    let bad = client.get("/api/v1/trends/tags?offset=-1", "").await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
}
