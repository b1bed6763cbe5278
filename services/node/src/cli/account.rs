//! Commands about accounts.

use super::show::{failed, table, to_json};
use super::{Common, server};
use clap::{Args, Subcommand, ValueEnum};
use p92_chassis::Transport;
use p92_proto::event::v1::{CommandContext, ReadOptions};
use p92_proto::identity::v1::account_service_client::AccountServiceClient;
use p92_proto::identity::v1::credential_service_client::CredentialServiceClient;
use p92_proto::identity::v1::*;

/// What an account may do on its server.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleName {
    Member,
    Moderator,
    Admin,
    Owner,
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Member => Self::Member,
            RoleName::Moderator => Self::Moderator,
            RoleName::Admin => Self::Admin,
            RoleName::Owner => Self::Owner,
        }
    }
}

/// What kind of account it is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KindName {
    Personal,
    Creator,
    Corporate,
}

impl From<KindName> for AccountKind {
    fn from(kind: KindName) -> Self {
        match kind {
            KindName::Personal => Self::Personal,
            KindName::Creator => Self::Creator,
            KindName::Corporate => Self::Corporate,
        }
    }
}

/// Which account is meant.
#[derive(Clone, Debug, Args)]
pub struct Whom {
    /// The handle, without @ and domain.
    name: String,
    /// The server's domain; the first server if not given.
    #[arg(long)]
    server: Option<String>,
}

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes an account, active at once; prints its id.
    Create {
        #[command(flatten)]
        whom: Whom,
        /// Where mail for it goes.
        #[arg(long)]
        email: String,
        /// Its password, at least eight characters.
        #[arg(long)]
        password: String,
        /// What it may do.
        #[arg(long, default_value = "member")]
        role: RoleName,
        /// What kind it is.
        #[arg(long, default_value = "personal")]
        kind: KindName,
        /// Whether it approves its followers.
        #[arg(long)]
        locked: bool,
    },
    /// The accounts of a server.
    List {
        /// The server's domain; the first server if not given.
        #[arg(long)]
        server: Option<String>,
    },
    /// One account.
    Show(Whom),
    /// Lets a pending account in.
    Approve(Whom),
    /// Shows an account only to its followers.
    Limit(Whom),
    /// Shuts an account out; it can be restored.
    Suspend(Whom),
    /// Takes a limit or a suspension back.
    Restore(Whom),
    /// Makes everything personal of an account unreadable, for ever. Its handle is never given again.
    Erase {
        #[command(flatten)]
        whom: Whom,
        /// Without it nothing is done.
        #[arg(long)]
        yes: bool,
    },
    /// Sets a new password and ends all sessions.
    ResetPassword {
        #[command(flatten)]
        whom: Whom,
        /// The new password, at least eight characters.
        #[arg(long)]
        password: String,
    },
    /// Sets what an account may do.
    SetRole {
        #[command(flatten)]
        whom: Whom,
        /// The role.
        role: RoleName,
    },
    /// Sets the kind of an account.
    SetKind {
        #[command(flatten)]
        whom: Whom,
        /// The kind.
        kind: KindName,
    },
}

/// An account that was found, and how commands about it begin.
struct Found {
    account_id: u64,
    context: Option<CommandContext>,
}

async fn find(channel: Transport, whom: &Whom) -> anyhow::Result<(Account, Found)> {
    let server = server::find(channel.clone(), whom.server.as_deref()).await?;
    let request = GetAccountRequest {
        options: Some(ReadOptions { server_id: server.id, ..ReadOptions::default() }),
        account: Some(get_account_request::Account::Handle(whom.name.clone())),
    };
    let answer = AccountServiceClient::new(channel).get_account(request).await.map_err(failed)?.into_inner();
    let account = answer.account.ok_or_else(|| anyhow::anyhow!("the server's answer is empty"))?;
    let context = Some(CommandContext { server_id: server.id, ..CommandContext::default() });
    let found = Found { account_id: account.id, context };
    Ok((account, found))
}

fn show(account: &Account, common: &Common) {
    if common.json {
        println!("{}", to_json(account));
    } else {
        println!(
            "{} @{}@{} {:?} {:?} {:?}",
            account.id,
            account.handle,
            account.domain,
            account.state(),
            account.role(),
            account.kind()
        );
    }
}

/// Runs a command about accounts.
pub async fn run(command: Command, common: &Common) -> anyhow::Result<()> {
    let channel = common.server().await?;
    match command {
        Command::Create { whom, email, password, role, kind, locked } => {
            let server = server::find(channel.clone(), whom.server.as_deref()).await?;
            let request = CreateAccountRequest {
                context: Some(CommandContext { server_id: server.id, ..CommandContext::default() }),
                handle: whom.name,
                email,
                password,
                role: Role::from(role).into(),
                kind: AccountKind::from(kind).into(),
                locked,
                ..CreateAccountRequest::default()
            };
            let answer = AccountServiceClient::new(channel).create_account(request).await.map_err(failed)?;
            let account = answer.into_inner().account.unwrap_or_default();
            println!("{}", if common.json { to_json(&account).to_string() } else { account.id.to_string() });
            Ok(())
        }
        Command::List { server } => list(channel, server.as_deref(), common).await,
        Command::Show(whom) => {
            show(&find(channel, &whom).await?.0, common);
            Ok(())
        }
        other => moderate(channel, other, common).await,
    }
}

async fn list(channel: Transport, server: Option<&str>, common: &Common) -> anyhow::Result<()> {
    let server = server::find(channel.clone(), server).await?;
    let mut client = AccountServiceClient::new(channel);
    let mut rows = Vec::new();
    let mut page_token = String::new();
    loop {
        let options = Some(ReadOptions { server_id: server.id, ..ReadOptions::default() });
        let request =
            ListAccountsRequest { options, page_size: 200, page_token, ..ListAccountsRequest::default() };
        let page = client.list_accounts(request).await.map_err(failed)?.into_inner();
        for one in page.accounts {
            if common.json {
                println!("{}", to_json(&one));
                continue;
            }
            let account = one.account.unwrap_or_default();
            let (state, role, kind) = (account.state(), account.role(), account.kind());
            let words = [format!("{state:?}"), format!("{role:?}"), format!("{kind:?}")];
            let [state, role, kind] = words.map(|word| word.to_lowercase());
            rows.push(vec![account.id.to_string(), account.handle, state, role, kind]);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if !common.json {
        table(&["ID", "HANDLE", "STATE", "ROLE", "KIND"], &rows);
    }
    Ok(())
}

async fn moderate(channel: Transport, command: Command, common: &Common) -> anyhow::Result<()> {
    let mut accounts = AccountServiceClient::new(channel.clone());
    let account = match command {
        Command::Approve(whom) => {
            let Found { account_id, context } = find(channel, &whom).await?.1;
            let request = ApproveAccountRequest { context, account_id };
            accounts.approve_account(request).await.map_err(failed)?.into_inner().account
        }
        Command::Limit(whom) => {
            let Found { account_id, context } = find(channel, &whom).await?.1;
            let request = LimitAccountRequest { context, account_id };
            accounts.limit_account(request).await.map_err(failed)?.into_inner().account
        }
        Command::Suspend(whom) => {
            let Found { account_id, context } = find(channel, &whom).await?.1;
            let request = SuspendAccountRequest { context, account_id };
            accounts.suspend_account(request).await.map_err(failed)?.into_inner().account
        }
        Command::Restore(whom) => {
            let Found { account_id, context } = find(channel, &whom).await?.1;
            let request = RestoreAccountRequest { context, account_id };
            accounts.restore_account(request).await.map_err(failed)?.into_inner().account
        }
        Command::SetRole { whom, role } => {
            let Found { account_id, context } = find(channel, &whom).await?.1;
            let request = SetRoleRequest { context, account_id, role: Role::from(role).into() };
            accounts.set_role(request).await.map_err(failed)?.into_inner().account
        }
        Command::SetKind { whom, kind } => {
            let Found { account_id, context } = find(channel, &whom).await?.1;
            let request = SetKindRequest { context, account_id, kind: AccountKind::from(kind).into() };
            accounts.set_kind(request).await.map_err(failed)?.into_inner().account
        }
        Command::Erase { whom, yes } => {
            anyhow::ensure!(yes, "erasing {} cannot be undone; say --yes to do it", whom.name);
            let Found { account_id, context } = find(channel, &whom).await?.1;
            let request = EraseAccountRequest { context, account_id, password: String::new() };
            accounts.erase_account(request).await.map_err(failed)?;
            None
        }
        Command::ResetPassword { whom, password } => {
            let Found { account_id, context } = find(channel.clone(), &whom).await?.1;
            let request = ResetPasswordRequest { context, account_id, new_password: password };
            CredentialServiceClient::new(channel).reset_password(request).await.map_err(failed)?;
            None
        }
        Command::Create { .. } | Command::List { .. } | Command::Show(_) => None,
    };
    match account {
        Some(account) => show(&account, common),
        None => eprintln!("done"),
    }
    Ok(())
}
