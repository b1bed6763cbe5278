//! What is done to accounts by those who run a server, or the installation.

use super::{App, account_id, account_stream, receipt};
use crate::credentials::{self, Password};
use crate::domain::account::{Command, State as AccountState};
use crate::domain::{Account, By};
use crate::error::unknown_word;
use crate::state::State;
use crate::wire::Unreadable;
use crate::wire::enums::{kind_in, role_in};
use futures::FutureExt as _;
use p92_eventlog::{CommandMeta, Receipt};
use p92_kernel::Failure;
use p92_proto::event::v1::{CommandContext, CommandReceipt};
use p92_proto::identity::v1;

fn nobody() -> Failure {
    Failure::not_found("account")
}

impl App {
    /// Decides a command on the account that stands there.
    pub(crate) async fn command_account(
        &self,
        id: u64,
        meta: CommandMeta,
        by: By,
        command: Command,
    ) -> Result<Receipt, Failure> {
        let stream = account_stream(id);
        self.runtime
            .execute(account_id(id)?.shard(), meta, move |round| {
                let (stream, command) = (stream.clone(), command.clone());
                async move {
                    let loaded = round.load::<Account>(&stream).await?;
                    let events = loaded.state.decide(command, by)?;
                    round.emit::<Account>(&stream, &events).await
                }
                .boxed()
            })
            .await
    }

    /// A command of moderation, and the account as it is afterwards.
    async fn moderate(
        &self,
        context: &CommandContext,
        meta: CommandMeta,
        id: u64,
        command: Command,
    ) -> Result<(Option<CommandReceipt>, Option<v1::Account>), Failure> {
        let by = self.capacity(context).await?;
        let done = self.command_account(id, meta, by, command).await?;
        let account = self.account(id).await?.ok_or_else(nobody)?;
        let state = account.state_for(context.server_id).ok_or_else(nobody)?;
        let shown = self.opened(&account, state, false, None).await?;
        Ok((Some(receipt([done])), Some(shown)))
    }

    /// Notes that the e-mail address is its owner's.
    pub async fn confirm_email(
        &self,
        mut request: v1::ConfirmEmailRequest,
    ) -> Result<v1::ConfirmEmailResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "ConfirmEmail", &request)?;
        let account = self.account(request.account_id).await?.ok_or_else(nobody)?;
        let server = self.server(account.born.home).await?.ok_or_else(nobody)?;
        let approval = server.face.registration == crate::domain::server::Registration::Approval;
        let command = Command::ConfirmEmail { approval };
        let (receipt, account) = self.moderate(&context, meta, request.account_id, command).await?;
        Ok(v1::ConfirmEmailResponse { receipt, account })
    }

    /// Lets a pending account in.
    pub async fn approve_account(
        &self,
        mut request: v1::ApproveAccountRequest,
    ) -> Result<v1::ApproveAccountResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "ApproveAccount", &request)?;
        let (receipt, account) = self.moderate(&context, meta, request.account_id, Command::Approve).await?;
        Ok(v1::ApproveAccountResponse { receipt, account })
    }

    /// Limits an account in the scope of the context.
    pub async fn limit_account(
        &self,
        mut request: v1::LimitAccountRequest,
    ) -> Result<v1::LimitAccountResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "LimitAccount", &request)?;
        let command = Command::Limit { scope: context.server_id };
        let (receipt, account) = self.moderate(&context, meta, request.account_id, command).await?;
        Ok(v1::LimitAccountResponse { receipt, account })
    }

    /// Suspends an account in the scope of the context.
    pub async fn suspend_account(
        &self,
        mut request: v1::SuspendAccountRequest,
    ) -> Result<v1::SuspendAccountResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "SuspendAccount", &request)?;
        let command = Command::Suspend { scope: context.server_id };
        let (receipt, account) = self.moderate(&context, meta, request.account_id, command).await?;
        Ok(v1::SuspendAccountResponse { receipt, account })
    }

    /// Ends limit and suspension in the scope of the context.
    pub async fn restore_account(
        &self,
        mut request: v1::RestoreAccountRequest,
    ) -> Result<v1::RestoreAccountResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "RestoreAccount", &request)?;
        let command = Command::Restore { scope: context.server_id };
        let (receipt, account) = self.moderate(&context, meta, request.account_id, command).await?;
        Ok(v1::RestoreAccountResponse { receipt, account })
    }

    /// Changes what a member may do.
    pub async fn set_role(&self, mut request: v1::SetRoleRequest) -> Result<v1::SetRoleResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "SetRole", &request)?;
        let role = role_in(request.role).ok_or_else(|| unknown_word(Unreadable("role")))?;
        let command = Command::SetRole(role);
        let (receipt, account) = self.moderate(&context, meta, request.account_id, command).await?;
        Ok(v1::SetRoleResponse { receipt, account })
    }

    /// Says what kind an account is.
    pub async fn set_kind(&self, mut request: v1::SetKindRequest) -> Result<v1::SetKindResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "SetKind", &request)?;
        let kind = kind_in(request.kind).ok_or_else(|| unknown_word(Unreadable("kind")))?;
        let command = Command::SetKind(kind);
        let (receipt, account) = self.moderate(&context, meta, request.account_id, command).await?;
        Ok(v1::SetKindResponse { receipt, account })
    }

    /// Sets somebody's password.
    pub async fn reset_password(
        &self,
        mut request: v1::ResetPasswordRequest,
    ) -> Result<v1::ResetPasswordResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "ResetPassword", &request)?;
        credentials::check_new(&request.new_password)?;
        let by = self.capacity(&context).await?;
        let done = self.set_password(request.account_id, meta, by, request.new_password, 0).await?;
        Ok(v1::ResetPasswordResponse { receipt: Some(receipt([done])) })
    }

    /// The actor's own new password.
    pub async fn change_password(
        &self,
        mut request: v1::ChangePasswordRequest,
    ) -> Result<v1::ChangePasswordResponse, Failure> {
        let context = request.context.take().unwrap_or_default();
        let meta = self.meta(&context, "ChangePassword", &request)?;
        credentials::check_new(&request.new_password)?;
        let actor = self.actor(&context).await?;
        let current = Password::new(request.current_password);
        self.own_password(&actor, current, "current_password").await?;
        let kept = request.keep_session_id;
        let id = actor.born.id;
        let done = self.set_password(id, meta, By::Itself, request.new_password, kept).await?;
        Ok(v1::ChangePasswordResponse { receipt: Some(receipt([done])) })
    }

    /// Whether somebody who is signed in knows his own password.
    pub(crate) async fn own_password(
        &self,
        account: &Account,
        password: Password,
        field: &'static str,
    ) -> Result<(), Failure> {
        let stored = self.state.password(account.born.id, account.credential).await?;
        if self.hasher.verify(password, stored).await? {
            return Ok(());
        }
        let text = "This is not your password.";
        Err(Failure {
            code: p92_kernel::ErrorCode::PermissionDenied,
            ..Failure::invalid(field, "WRONG_PASSWORD", text)
        })
    }

    async fn set_password(
        &self,
        id: u64,
        meta: CommandMeta,
        by: By,
        password: String,
        kept_session: u64,
    ) -> Result<Receipt, Failure> {
        // Before the hash, which is dear: there is somebody whose password it would be.
        let account = self.account(id).await?.ok_or_else(nobody)?;
        if account.state_for(account.born.home).is_none_or(|state| state == AccountState::Erased) {
            return Err(nobody());
        }
        let hash = self.hasher.hash(Password::new(password)).await?;
        let (stream, credential) = (account_stream(id), self.state.new_credential());
        let done = self
            .runtime
            .execute(account_id(id)?.shard(), meta, move |round| {
                let (stream, hash) = (stream.clone(), hash.clone());
                async move {
                    let loaded = round.load::<Account>(&stream).await?;
                    let change = Command::ChangePassword { credential, kept_session };
                    let events = loaded.state.decide(change, by)?;
                    let now = round.now().0;
                    round.write_before(State::set_password(id, credential, hash, now));
                    round.emit::<Account>(&stream, &events).await
                }
                .boxed()
            })
            .await?;
        // The reader of PasswordChanged does the same; here so that it is done before the answer.
        if !done.repeated {
            self.state.revoke_all(id, self.now().0, kept_session).await?;
        }
        Ok(done)
    }
}
