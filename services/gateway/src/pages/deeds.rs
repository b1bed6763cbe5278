//! What forms do: publish, delete, like, boost, follow. Each is checked, done once, and answered by a redirect.

use super::onward;
use super::read::{Composer, draw_home};
use super::visit::{Visit, said};
use crate::door::caller::Actor;
use crate::error::Problem;
use crate::gate::ask;
use crate::mastodon::entity::status::visibility_of;
use crate::params::Params;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use p92_kernel::Id;
use p92_proto::event::v1::CommandContext;
use p92_proto::identity::v1 as identity;
use p92_proto::posting::v1 as posting;

fn context(visit: &Visit, actor: Actor, key: Option<&str>) -> Option<CommandContext> {
    Some(visit.gate.command(actor.server_id, actor.account_id, actor.app_id, key))
}

fn id_of(text: &str) -> Result<u64, Problem> {
    text.parse::<Id>().map(Id::get).map_err(|_| Problem::not_found())
}

fn back(params: &Params) -> Result<Response, Problem> {
    Ok(onward(params.text("back")?.unwrap_or("/home")))
}

/// `POST /home`.
pub async fn publish(visit: Visit, params: Params) -> Response {
    let done = async {
        let actor = visit.form(&params)?;
        match write(&visit, &params, actor).await {
            // What was typed is shown again with what is wrong with it.
            Err(problem) if problem.status == StatusCode::UNPROCESSABLE_ENTITY => {
                let mut composer = Composer::new(&visit, "compose", "What is on your mind?");
                composer.text = params.text("text")?.unwrap_or_default().to_owned();
                composer.warning = params.text("warning")?.unwrap_or_default().to_owned();
                composer.reply_to = params.id("in_reply_to_id")?;
                composer.visibility = params.text("visibility")?.unwrap_or_default().to_owned();
                composer.wrong = said(&problem);
                draw_home(&visit, &Params::default(), StatusCode::UNPROCESSABLE_ENTITY, composer).await
            }
            Err(problem) => Err(problem),
            Ok(()) => back(&params),
        }
    };
    visit.answer(done.await)
}

async fn write(visit: &Visit, params: &Params, actor: Actor) -> Result<(), Problem> {
    let key = params.text("key")?.filter(|key| !key.is_empty() && key.len() <= 255);
    let name = params.text("visibility")?.unwrap_or("public");
    let visibility =
        visibility_of(name).ok_or_else(|| Problem::invalid("visibility", "INVALID", "does not exist"))?;
    let language = visit.me.as_ref().and_then(|me| me.preferences.clone()).unwrap_or_default().language;
    let mut request = posting::PublishPostRequest {
        context: context(visit, actor, key),
        text: params.text("text")?.unwrap_or_default().to_owned(),
        content_warning: params.text("warning")?.unwrap_or_default().to_owned(),
        in_reply_to_id: params.id("in_reply_to_id")?,
        language: Some(language),
        ..posting::PublishPostRequest::default()
    };
    request.sensitive = Some(!request.content_warning.is_empty());
    request.set_visibility(visibility);
    let answer = ask(visit.gate.deps.posts.clone().publish_post(request).await)?;
    visit.gate.tell(actor.account_id, answer.receipt.as_ref()).await;
    Ok(())
}

/// `POST /posts/:id/:deed`.
pub async fn on_post(visit: Visit, Path((id, deed)): Path<(String, String)>, params: Params) -> Response {
    let done = async {
        let actor = visit.form(&params)?;
        do_to_post(&visit, actor, id_of(&id)?, &deed).await?;
        back(&params)
    };
    visit.answer(done.await)
}

async fn do_to_post(visit: &Visit, actor: Actor, post_id: u64, deed: &str) -> Result<(), Problem> {
    let context = context(visit, actor, None);
    let mut reactions = visit.gate.deps.reactions.clone();
    let receipt = match deed {
        "like" => ask(reactions.like(posting::LikeRequest { context, post_id, remote: None }).await)?.receipt,
        "unlike" => ask(reactions.unlike(posting::UnlikeRequest { context, post_id }).await)?.receipt,
        "boost" => {
            let request = posting::BoostRequest { context, post_id, ..posting::BoostRequest::default() };
            ask(reactions.boost(request).await)?.receipt
        }
        "unboost" => ask(reactions.unboost(posting::UnboostRequest { context, post_id }).await)?.receipt,
        "delete" => {
            let request = posting::DeletePostRequest { context, post_id };
            ask(visit.gate.deps.posts.clone().delete_post(request).await)?.receipt
        }
        _ => return Err(Problem::not_found()),
    };
    visit.gate.tell(actor.account_id, receipt.as_ref()).await;
    Ok(())
}

/// `POST /accounts/:id/:deed`.
pub async fn on_account(visit: Visit, Path((id, deed)): Path<(String, String)>, params: Params) -> Response {
    let done = async {
        let actor = visit.form(&params)?;
        let (account_id, context) = (id_of(&id)?, context(&visit, actor, None));
        let mut relationships = visit.gate.deps.relationships.clone();
        let receipt = match deed.as_str() {
            "follow" => {
                let request =
                    identity::FollowRequest { context, account_id, ..identity::FollowRequest::default() };
                ask(relationships.follow(request).await)?.receipt
            }
            "unfollow" => {
                let request = identity::UnfollowRequest { context, account_id };
                ask(relationships.unfollow(request).await)?.receipt
            }
            _ => return Err(Problem::not_found()),
        };
        visit.gate.tell(actor.account_id, receipt.as_ref()).await;
        back(&params)
    };
    visit.answer(done.await)
}
