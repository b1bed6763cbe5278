//! Servers (tenants): made, changed, closed, found.

use super::{App, account_id, receipt};
use crate::domain::server::{Addresses, Born, Command, Face};
use crate::domain::{By, Server, host};
use crate::error::{damaged, unknown_word};
use crate::state::Names;
use crate::tables::{self, MEMBER_COUNTS, SERVERS};
use crate::wire::rows::server_in;
use crate::wire::server::{policies_in, registration_asked, resource, rules_in};
use futures::FutureExt as _;
use p92_eventlog::{CommandMeta, Receipt, Stream};
use p92_kernel::{Failure, PageSize};
use p92_proto::identity::v1;
use p92_storage::{Direction, Range};
use prost::Message;

fn no_server() -> Failure {
    Failure::not_found("server")
}

pub(crate) fn shown(server: Option<Server>) -> Result<v1::Server, Failure> {
    server.as_ref().and_then(resource).ok_or_else(no_server)
}

/// Addresses of the actor that speaks for a whole server.
fn instance_actor(public_url: &str) -> Addresses {
    let id = format!("{public_url}/actor");
    Addresses {
        inbox: format!("{id}/inbox"),
        shared_inbox: format!("{public_url}/inbox"),
        outbox: format!("{id}/outbox"),
        followers: String::new(),
        following: String::new(),
        url: format!("{public_url}/about"),
        key_id: format!("{id}#main-key"),
        featured: String::new(),
        id,
    }
}

impl App {
    /// A server in whatever state.
    pub(crate) async fn server_row(&self, id: u64) -> Result<Option<Server>, Failure> {
        let row =
            self.reads().get_message::<v1::ServerRow>(&SERVERS, tables::servers(), tables::id(id)).await?;
        row.map(server_in).transpose().map_err(damaged)
    }

    /// Makes a server.
    pub async fn create_server(
        &self,
        mut request: v1::CreateServerRequest,
    ) -> Result<v1::CreateServerResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "CreateServer", &request)?;
        let by = self.capacity(&context).await?;
        let domain = host::domain(&request.domain)?;
        let public = host::public_url(&request.public_url)?;
        let face = Face {
            name: if request.name.is_empty() { domain.clone() } else { request.name },
            description: request.description,
            rules: rules_in(request.rules),
            registration: registration_asked(request.registration).map_err(unknown_word)?,
            policies: match request.policies {
                Some(policies) => policies_in(policies).map_err(unknown_word)?,
                None => crate::domain::server::Policies::default(),
            },
            contact_email: request.contact_email,
            languages: request.languages,
        };
        let shard = self.platform().shards.of_parts(&[b"server", domain.as_bytes()]);
        let created = self
            .runtime
            .execute(shard, meta, move |round| {
                let born = Born {
                    id: round.next_id().get(),
                    domain: domain.clone(),
                    web_host: public.web_host.clone(),
                    public_url: public.url.clone(),
                    instance_actor: instance_actor(&public.url),
                };
                let command = Command::Create(Box::new(born), Box::new(face.clone()));
                async move {
                    let events = Server::default().decide(command, by)?;
                    let id = events.iter().find_map(|event| match event {
                        crate::domain::server::Event::Created { born, .. } => Some(born.id),
                        _ => None,
                    });
                    let stream = Stream::new("server", id.unwrap_or_default());
                    round.emit::<Server>(&stream, &events).await
                }
                .boxed()
            })
            .await?;
        let id = subject_id(&created)?;
        let finished = self.finish_begun(&Stream::new("server", id)).await?;
        let server = shown(self.server(id).await?)?;
        let steps = std::iter::once(created).chain(finished);
        Ok(v1::CreateServerResponse { receipt: Some(receipt(steps)), server: Some(server) })
    }

    async fn command_server(
        &self,
        id: u64,
        meta: CommandMeta,
        by: By,
        command: Command,
    ) -> Result<Receipt, Failure> {
        let shard = account_id(id).map_err(|_| no_server())?.shard();
        let stream = Stream::new("server", id);
        self.runtime
            .execute(shard, meta, move |round| {
                let (stream, command) = (stream.clone(), command.clone());
                async move {
                    let loaded = round.load::<Server>(&stream).await?;
                    let events = loaded.state.decide(command, by)?;
                    round.emit::<Server>(&stream, &events).await
                }
                .boxed()
            })
            .await
    }

    /// Changes what the mask names.
    pub async fn update_server(
        &self,
        mut request: v1::UpdateServerRequest,
    ) -> Result<v1::UpdateServerResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "UpdateServer", &request)?;
        let by = self.capacity(&context).await?;
        let standing = self.server(request.server_id).await?.ok_or_else(no_server)?;
        let mask = request.update_mask.unwrap_or_default();
        let face = masked(standing.face, &mask.paths, request.server.unwrap_or_default())?;
        let done = self.command_server(request.server_id, meta, by, Command::Update(Box::new(face))).await?;
        let server = shown(self.server(request.server_id).await?)?;
        Ok(v1::UpdateServerResponse { receipt: Some(receipt([done])), server: Some(server) })
    }

    /// Closes a server for ever.
    pub async fn close_server(
        &self,
        mut request: v1::CloseServerRequest,
    ) -> Result<v1::CloseServerResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "CloseServer", &request)?;
        let by = self.capacity(&context).await?;
        let done = self.command_server(request.server_id, meta, by, Command::Close).await?;
        Ok(v1::CloseServerResponse { receipt: Some(receipt([done])) })
    }

    /// The server that has a domain or host, as it is written in requests.
    pub(crate) async fn server_named(&self, text: &str) -> Result<Option<Server>, Failure> {
        let Ok(name) = host::domain(text) else { return Ok(None) };
        let owner = self.state.owner_of(Names::Servers, tables::name(&name)).await?;
        match owner {
            Some(id) => self.server(id).await,
            None => Ok(None),
        }
    }

    /// A server by id, domain or host.
    pub async fn get_server(&self, request: v1::GetServerRequest) -> Result<v1::GetServerResponse, Failure> {
        use v1::get_server_request::Server as By;
        self.fresh(request.options).await?;
        let found = match request.server {
            Some(By::Id(id)) => self.server(id).await?,
            Some(By::Domain(domain)) => {
                let form = host::domain(&domain).unwrap_or_default();
                self.server_named(&domain).await?.filter(|server| server.born.domain == form)
            }
            Some(By::Host(asked)) => self.server_at(&asked).await?,
            None => return Err(Failure::invalid("server", "SERVER_NEEDED", "Which server?")),
        };
        Ok(v1::GetServerResponse { server: Some(shown(found)?) })
    }

    /// The server at a host: with its port, else without.
    async fn server_at(&self, asked: &str) -> Result<Option<Server>, Failure> {
        let form = host::domain(asked).unwrap_or_default();
        let exact = self.server_named(&form).await?.filter(|server| server.born.web_host == form);
        let bare = host::without_port(&form);
        if exact.is_some() || bare == form {
            return Ok(exact);
        }
        Ok(self.server_named(bare).await?.filter(|server| server.born.web_host == bare))
    }

    /// All servers, oldest first.
    pub async fn list_servers(
        &self,
        request: v1::ListServersRequest,
    ) -> Result<v1::ListServersResponse, Failure> {
        self.fresh(request.options).await?;
        let size = PageSize::clamp(request.page_size, 50, 200);
        let from = page_start(&request.page_token)?;
        let range = Range { from: Some(tables::id(from)), to: None };
        let page = self
            .reads()
            .scan(&SERVERS, tables::servers(), range, Direction::Forward, size.get(), None)
            .await?;
        let mut servers = Vec::new();
        let mut last = 0;
        for (clustering, row) in page.rows {
            last = p92_storage::KeyReader::new(&clustering).num().map_err(Failure::internal)?;
            let row = v1::ServerRow::decode(row.value).map_err(Failure::internal)?;
            servers.extend(resource(&server_in(row).map_err(damaged)?));
        }
        let next_page_token = page.next.map(|_| (last + 1).to_string()).unwrap_or_default();
        Ok(v1::ListServersResponse { servers, next_page_token })
    }
}

impl App {
    /// How many members a server has, as all shards together count them.
    pub async fn count_members(
        &self,
        request: v1::CountMembersRequest,
    ) -> Result<v1::CountMembersResponse, Failure> {
        let options = self.fresh(request.options).await?;
        let partition = tables::counts_of_members(options.server_id);
        let (mut members, mut after) = (0, None);
        loop {
            let all = Range::all();
            let scan =
                self.reads().scan(&MEMBER_COUNTS, partition.clone(), all, Direction::Forward, 1_000, after);
            let page = scan.await?;
            for (_, row) in page.rows {
                members += v1::MemberCountRow::decode(row.value).map_err(Failure::internal)?.members;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(v1::CountMembersResponse { members }),
            }
        }
    }
}

/// Where a page of rising ids begins.
fn page_start(token: &str) -> Result<u64, Failure> {
    if token.is_empty() {
        return Ok(0);
    }
    token.parse().map_err(|_| bad_page_token())
}

/// A page token that nobody was given.
pub(crate) fn bad_page_token() -> Failure {
    Failure::invalid("page_token", "BAD_PAGE_TOKEN", "This page token was not given out here.")
}

/// The id of what a command made.
pub(crate) fn subject_id(receipt: &Receipt) -> Result<u64, Failure> {
    let id = receipt.subject.as_ref().and_then(Stream::id);
    id.map(p92_kernel::Id::get).ok_or_else(|| Failure::internal("a command that made nothing"))
}

/// A server's face with what the mask names taken from the request.
fn masked(mut face: Face, paths: &[String], asked: v1::Server) -> Result<Face, Failure> {
    let policies = policies_in(asked.policies.unwrap_or_default()).map_err(unknown_word)?;
    let rules = rules_in(asked.rules);
    for path in paths {
        match path.as_str() {
            "name" => face.name.clone_from(&asked.name),
            "description" => face.description.clone_from(&asked.description),
            "rules" => face.rules.clone_from(&rules),
            "registration" => {
                face.registration = registration_asked(asked.registration).map_err(unknown_word)?;
            }
            "contact_email" => face.contact_email.clone_from(&asked.contact_email),
            "languages" => face.languages.clone_from(&asked.languages),
            "policies" => face.policies = policies.clone(),
            "policies.replies" => face.policies.replies = policies.replies,
            "policies.messages" => face.policies.messages = policies.messages,
            "policies.boost_kinds" => face.policies.boost_kinds.clone_from(&policies.boost_kinds),
            "policies.post_characters" => face.policies.post_characters = policies.post_characters,
            "policies.confirm_email" => face.policies.confirm_email = policies.confirm_email,
            _ => return Err(bad_mask()),
        }
    }
    Ok(face)
}

/// A field mask that names what cannot be changed.
pub(crate) fn bad_mask() -> Failure {
    Failure::invalid("update_mask", "BAD_FIELD_MASK", "This field mask names what cannot be changed here.")
}
