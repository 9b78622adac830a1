//! What each command asks for and shows. One module per noun; none of them prints a secret but where that is its job.

mod activity;
mod application;
mod audit;
mod audit_export;
mod audit_http;
mod audit_tail;
pub mod audit_verify;
pub mod audit_witness;
mod bulk;
mod claim;
pub mod context;
mod credential;
mod credential_report;
mod emergency;
mod import;
mod key;
mod maintenance;
mod policy;
mod renew;
mod report;
mod role;
mod rotation;
mod routing;
mod secret_once;
mod usage;
mod verify;
mod webhook;

use std::path::Path;

use keyward_crypto::SecretText;
use serde_json::value::RawValue;

use crate::answers::Page;
use crate::arguments::{
    AppCommand, AuditCommand, Command, EmergencyCommand, Global, ImportCommand, KeyCommand,
    MaintenanceCommand, PolicyCommand, RoleCommand, WebhookCommand,
};
use crate::client::{Answer, Client};
use crate::escape::shown_json;
use crate::failure::{Ending, Failure, Result};
use crate::secret_source;
use crate::table::Table;
use crate::terminal::Terminal;

/// Carries a command out.
///
/// # Errors
/// Whatever kept it from its work.
pub fn run(global: &Global, command: &Command, terminal: &Terminal) -> Result<Ending> {
    let run = Run { global, terminal };
    match command {
        Command::App(AppCommand::Create(options)) => run.create_application(options),
        Command::App(AppCommand::List(paging)) => run.list_applications(paging),
        Command::App(AppCommand::Change(options)) => run.change_application(options),
        Command::App(AppCommand::Route(options)) => run.assign_slot(options),
        Command::App(AppCommand::Routes(options)) => run.show_routes(options),
        Command::Role(RoleCommand::Create(options)) => run.create_role(options),
        Command::Role(RoleCommand::List(paging)) => run.list_roles(paging),
        Command::Role(RoleCommand::Show(options)) => run.show_role(options),
        Command::Role(RoleCommand::Change(options)) => run.change_role(options),
        Command::Role(RoleCommand::Retire(options)) => run.retire_role(options),
        Command::Credential(command) => run.credential(command),
        Command::Import(ImportCommand::Credentials(options)) => run.import_credentials(options),
        Command::Import(ImportCommand::Keys(options)) => run.import_keys(options),
        Command::Webhook(WebhookCommand::Create(options)) => run.create_webhook(options),
        Command::Webhook(WebhookCommand::List(options)) => run.list_webhooks(options),
        Command::Webhook(WebhookCommand::Show(which)) => run.show_webhook(which),
        Command::Webhook(WebhookCommand::Change(options)) => run.change_webhook(options),
        Command::Webhook(WebhookCommand::RotateSecret(options)) => run.rotate_webhook_secret(options),
        Command::Webhook(WebhookCommand::Test(which)) => run.test_webhook(which),
        Command::Webhook(WebhookCommand::Retire(options)) => run.retire_webhook(options),
        Command::Webhook(WebhookCommand::DeadLetters(options)) => run.list_dead_letters(options),
        Command::Webhook(WebhookCommand::Replay(options)) => run.replay_dead_letters(options),
        Command::Webhook(WebhookCommand::Drop(options)) => run.drop_dead_letters(options),
        Command::Policy(PolicyCommand::Create(options)) => run.create_policy(options),
        Command::Policy(PolicyCommand::List(paging)) => run.list_policies(paging),
        Command::Policy(PolicyCommand::Show(options)) => run.show_policy(options),
        Command::Policy(PolicyCommand::Change(options)) => run.change_policy(options),
        Command::Policy(PolicyCommand::Retire(options)) => run.retire_policy(options),
        Command::Policy(PolicyCommand::Presets) => run.list_policy_presets(),
        Command::Key(KeyCommand::Create(options)) => run.create_key(options),
        Command::Key(KeyCommand::Claim(options)) => run.claim_key(options),
        Command::Key(KeyCommand::Show(options)) => run.show_key(options),
        Command::Key(KeyCommand::List(options)) => run.list_keys(options),
        Command::Key(KeyCommand::Standings(options)) => run.count_keys(options),
        Command::Key(KeyCommand::Change(options)) => run.change_key(options),
        Command::Key(KeyCommand::Lookup(options)) => run.look_up_key(options),
        Command::Key(KeyCommand::Rotate(options)) => run.rotate_key(options),
        Command::Key(KeyCommand::RotateMany(options)) => run.rotate_keys(options),
        Command::Key(KeyCommand::FinishRotation(options)) => run.end_rotation(options, "finish"),
        Command::Key(KeyCommand::CancelRotation(options)) => run.end_rotation(options, "cancel"),
        Command::Key(KeyCommand::Revoke(options)) => run.revoke_key(options),
        Command::Key(KeyCommand::Usage(options)) => run.show_key_usage(options),
        #[cfg(feature = "workload")]
        Command::Exec(options) => crate::workload::exec::run(global, options, terminal),
        #[cfg(feature = "workload")]
        Command::Agent(options) => crate::workload::agent::run(global, options, terminal),
        Command::Scan(options) => crate::scan::run(global, options, terminal),
        Command::Renew(options) => run.renew(options),
        Command::Verify(options) => run.verify(options),
        Command::Audit(command) => run_audit(global, command, terminal),
        Command::Report(options) => run.report(options),
        Command::Activity(options) => run.show_activity(options),
        Command::Maintenance(MaintenanceCommand::Run) => run.run_maintenance(),
        Command::Emergency(EmergencyCommand::Freeze(options)) => run.set_issuing("freeze", options),
        Command::Emergency(EmergencyCommand::Thaw(options)) => run.set_issuing("thaw", options),
        Command::Emergency(EmergencyCommand::Status) => run.show_emergency(),
        Command::Emergency(EmergencyCommand::Revoke(options)) => run.revoke_keys(options),
    }
}

/// Carries out what a command asks of the log over HTTP.
///
/// # Errors
/// Whatever kept it from its work.
pub fn run_audit(global: &Global, command: &AuditCommand, terminal: &Terminal) -> Result<Ending> {
    Run { global, terminal }.audit(command)
}

/// One run of the command.
struct Run<'a> {
    global: &'a Global,
    terminal: &'a Terminal,
}

impl Run<'_> {
    fn client(&self) -> Result<Client> {
        Client::with_credential(self.global, self.terminal)
    }

    /// A client, and the token that its call asks about: from a file, standard input or a prompt.
    fn client_and_token(&self, source: Option<&Path>) -> Result<(Client, SecretText)> {
        let is_stdin = |path: &Path| path.as_os_str() == "-";
        if source.is_some_and(is_stdin) && is_stdin(&self.global.key_file) {
            return Err(Failure::command_line("only one of --key-file and the token can be standard input"));
        }
        // The credential first: nobody types a token that cannot be asked about.
        let client = self.client()?;
        Ok((client, secret_source::read(source, "token", "Token: ")?))
    }

    /// Prints an answer: as it came with `--json`, or else as `card` shows it to a person.
    fn show(&self, answer: &Answer, card: impl FnOnce() -> Result<String>) -> Result<Ending> {
        // Read in both cases: what is not of the route's shape is an error for a program too.
        let for_person = card()?;
        if self.global.json {
            self.terminal.print(&shown_json(answer.text()?))?;
        } else {
            self.terminal.print(&for_person)?;
        }
        Ok(Ending::Done)
    }

    /// Prints a list. `nothing` is said, on standard error, where it is empty.
    fn show_list(
        &self,
        page: &Page,
        nothing: &str,
        headings: &[&str],
        mut row: impl FnMut(&RawValue, &mut Table) -> serde_json::Result<()>,
    ) -> Result<Ending> {
        let mut table = Table::new(headings);
        for item in &page.items {
            row(item, &mut table).map_err(|_| {
                let detail = "an item of the list is of another shape than this version of `keyward` knows";
                Failure::new(keyward_domain::error::Blame::Store, "The answer is not Keyward's", detail)
            })?;
        }
        if self.global.json {
            let items: Vec<&str> = page.items.iter().map(|item| item.get()).collect();
            let cursor =
                serde_json::to_string(&page.next_cursor).map_err(|error| Failure::system("JSON", error))?;
            let json = format!(r#"{{"items":[{}],"next_cursor":{cursor}}}"#, items.join(","));
            self.terminal.print(&shown_json(&json))?;
            return Ok(Ending::Done);
        }
        if table.is_empty() {
            self.terminal.note(nothing);
        } else {
            self.terminal.print(&table.render(self.terminal.styles()))?;
        }
        if page.next_cursor.is_some() {
            self.terminal.note("There are more: ask for them with --limit.");
        }
        Ok(Ending::Done)
    }
}
