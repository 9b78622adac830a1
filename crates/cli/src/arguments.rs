//! The command line of the client half. What is typed is checked here as far as its words go; what it means is the server's.
//! No argument ever takes a secret.

use std::path::PathBuf;

use crate::context::Origins;
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use keyward_crypto::note::VerifierKey;
use keyward_domain::announcement::{MessageId, Type};
use keyward_domain::application::Importance;
use keyward_domain::credential::{Kind, check_name};
use keyward_domain::duration::seconds;
use keyward_domain::event::Action;
use keyward_domain::key::EXPIRES_IN_S_MAX;
use keyward_domain::limit::{GivenLimit, NotALimit};
use keyward_domain::policy::Preset;
use keyward_domain::rotation::GRACE_S_MAX;
use keyward_domain::scope::Scope;
use keyward_domain::standing::Standing;
use keyward_domain::{ApplicationId, CredentialId, KeyId, PolicyId, RoleId, Timestamp, WebhookId};

/// Where Keyward is unless told.
pub const URL_DEFAULT: &str = "http://127.0.0.1:3000";

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// A context by its name: where Keyward answers, and the key file for it. Instead of the one in use
    #[arg(long, global = true, env = "KEYWARD_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// Where Keyward answers [default: http://127.0.0.1:3000]
    #[arg(long, global = true, env = "KEYWARD_URL", value_name = "URL")]
    pub url: Option<String>,
    /// File with the token that the calls are made with; `-` is standard input
    #[arg(
        long,
        global = true,
        env = "KEYWARD_KEY_FILE",
        value_name = "FILE",
        default_value = ".keyward/root.key"
    )]
    pub key_file: PathBuf,
    /// PEM file of certificates to trust instead of the public authorities
    #[arg(long, global = true, env = "KEYWARD_CA_CERT", value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// Print the server's JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Where the first three come from.
    #[arg(skip)]
    pub origins: Origins,
}

/// `keyward context`.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// Add one: takes --url, --key-file and --ca-cert
    Add(ContextAdd),
    /// Use it from now on, where neither flag nor environment say where Keyward is
    Use(ContextName),
    /// List them
    List,
    /// Show what a command would use, and who says so
    Show,
    /// Remove one; its key file stays where it is
    Remove(ContextName),
}

/// `keyward context add`.
#[derive(Debug, Args)]
pub struct ContextAdd {
    /// Which
    #[command(flatten)]
    pub which: ContextName,
    /// Take the place of the one of this name
    #[arg(long)]
    pub replace: bool,
}

/// A context's name.
#[derive(Debug, Args)]
pub struct ContextName {
    /// What it is called: 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`
    #[arg(value_parser = context_name)]
    pub name: String,
}

/// What the command can ask of a Keyward that runs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Applications: the partners, services and channels that keys belong to
    #[command(subcommand)]
    App(AppCommand),
    /// Roles: bundles of scopes that keys of the application `keyward` hold by reference
    #[command(subcommand)]
    Role(RoleCommand),
    /// Policies: how often keys rotate, how long they live, and what becomes of those that do not keep to it
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Keys: issue, claim, look at, change, revoke
    #[command(subcommand)]
    Key(KeyCommand),
    /// Credentials of third parties: kept in the vault, fetched by services
    #[command(subcommand)]
    Credential(CredentialCommand),
    /// Take over what lay elsewhere: credentials out of files, and keys that were issued before
    #[command(subcommand)]
    Import(ImportCommand),
    /// Webhooks: where events are told, and what could not be
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Start a service with its credentials in its environment, and start it anew when one is rotated
    #[cfg(feature = "workload")]
    Exec(crate::workload::exec::Options),
    /// Keep credentials in files, each swapped at once when it is rotated
    #[cfg(feature = "workload")]
    Agent(crate::workload::agent::Options),
    /// Find Keyward's tokens and third parties' secrets in a tree and its git history; exits with 1 when there are any
    Scan(crate::scan::Options),
    /// Ask whether a token is valid; exits with 1 when it is not
    Verify(Verify),
    /// Renew a key by itself when it is due, and put the new token into the place of the old: for a cron job beside its user
    Renew(Renew),
    /// The audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// How keys comply with their policies: by age, overdue with owner, how fast they are rotated and revoked
    Report(Report),
    /// The work that is due from time to time
    #[command(subcommand)]
    Maintenance(MaintenanceCommand),
    /// The latest refusals of requests with a right secret: which key, and why
    Activity(Activity),
    /// Emergencies: stop all issuing, revoke many keys at once
    #[command(subcommand)]
    Emergency(EmergencyCommand),
}

/// `keyward activity`.
#[derive(Debug, Args)]
pub struct Activity {
    /// Those of this application's keys
    #[arg(long, value_name = "APP_ID")]
    pub application: Option<ApplicationId>,
    /// From the minute on that this time lies in
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Go on with what comes, until stopped
    #[arg(long, short = 'f')]
    pub follow: bool,
}

/// `keyward app`.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Create an application
    Create(AppCreate),
    /// List applications
    List(Paging),
    /// Change an application
    Change(AppChange),
    /// Have a slot of an application, such as `payments-primary`, served by one of its keys
    Route(AppRoute),
    /// Show which keys serve an application's slots
    Routes(AppRoutes),
}

/// `keyward app route`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whom").required(true).args(["key", "none"]))]
pub struct AppRoute {
    /// Whose slot
    #[arg(value_name = "APP_ID")]
    pub id: ApplicationId,
    /// Which slot
    pub slot: String,
    /// The key that serves it from now on
    #[arg(long, value_name = "KEY_ID")]
    pub key: Option<KeyId>,
    /// No key serves it any more
    #[arg(long)]
    pub none: bool,
}

/// `keyward app routes`.
#[derive(Debug, Args)]
pub struct AppRoutes {
    /// Whose
    #[arg(value_name = "APP_ID")]
    pub id: ApplicationId,
}

/// `keyward app create`.
#[derive(Debug, Args)]
pub struct AppCreate {
    /// Its name, unique among applications
    pub name: String,
    /// What its tokens start with: 2 to 12 of a-z and 0-9 [default: kw]
    #[arg(long, value_parser = token_prefix)]
    pub prefix: Option<String>,
    /// Whom to reach about its keys; may repeat
    #[arg(long = "contact", value_name = "TEXT")]
    pub contacts: Vec<String>,
    /// How much hangs on its keys: low, normal, high or critical
    #[arg(long, value_name = "LEVEL", value_parser = importance)]
    pub importance: Option<Importance>,
    /// The policy of its keys that are given none of their own
    #[arg(long, value_name = "POLICY_ID")]
    pub policy: Option<PolicyId>,
    /// How much all of its keys together may use in a window of time, such as `burst=1000/60s`, `monthly=1000000/month`; may repeat. With `,pass` at the end
    /// requests pass while the counters do not answer
    #[arg(long = "limit", value_name = "LIMIT", value_parser = limit)]
    pub limits: Vec<GivenLimit>,
}

/// `keyward app change`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true).args(["name", "contacts", "importance", "policy", "no_policy", "limits", "no_limits"]))]
pub struct AppChange {
    /// Which
    #[arg(value_name = "APP_ID")]
    pub id: ApplicationId,
    /// Another name
    #[arg(long)]
    pub name: Option<String>,
    /// Whom to reach about its keys; may repeat: these are all
    #[arg(long = "contact", value_name = "TEXT")]
    pub contacts: Vec<String>,
    /// How much hangs on its keys: low, normal, high or critical
    #[arg(long, value_name = "LEVEL", value_parser = importance)]
    pub importance: Option<Importance>,
    /// The policy of its keys that have none of their own
    #[command(flatten)]
    pub policy: PolicyChoice,
    /// Its limits, in the place of those that it has
    #[command(flatten)]
    pub limits: LimitChoice,
}

/// Another policy, or none any more.
#[derive(Debug, Args)]
pub struct PolicyChoice {
    /// The policy from now on
    #[arg(long, value_name = "POLICY_ID")]
    pub policy: Option<PolicyId>,
    /// No policy of its own from now on
    #[arg(long, conflicts_with = "policy")]
    pub no_policy: bool,
}

/// Other limits, or none any more.
#[derive(Debug, Args)]
pub struct LimitChoice {
    /// A limit from now on, such as `burst=1000/60s` or `monthly=1000000/month`; may repeat: these are all. With `,pass` at the end requests
    /// pass while the counters do not answer
    #[arg(long = "limit", value_name = "LIMIT", value_parser = limit)]
    pub limits: Vec<GivenLimit>,
    /// No limits from now on
    #[arg(long, conflicts_with = "limits")]
    pub no_limits: bool,
}

/// `keyward role`.
#[derive(Debug, Subcommand)]
pub enum RoleCommand {
    /// Create a role out of scopes that you hold
    Create(RoleCreate),
    /// List roles
    List(Paging),
    /// Show a role
    Show(RoleShow),
    /// Change a role, for every key that holds it at once
    Change(RoleChange),
    /// Retire a role that no living key holds, for good
    Retire(RoleRetire),
}

/// `keyward role create`.
#[derive(Debug, Args)]
pub struct RoleCreate {
    /// Its name, unique among roles
    pub name: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// What whoever holds it may do, such as `keys:read` or `keys:write@app_...`; may repeat
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope, required = true)]
    pub scopes: Vec<String>,
}

/// `keyward role show`.
#[derive(Debug, Args)]
pub struct RoleShow {
    /// Which
    #[arg(value_name = "ROLE_ID")]
    pub id: RoleId,
}

/// `keyward role change`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true).args(["name", "description", "scopes", "no_scopes"]))]
pub struct RoleChange {
    /// Which
    #[arg(value_name = "ROLE_ID")]
    pub id: RoleId,
    /// Another name
    #[arg(long)]
    pub name: Option<String>,
    /// Another description
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// What whoever holds it may do from now on; may repeat: these are all
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    pub scopes: Vec<String>,
    /// Whoever holds it may do nothing by it from now on
    #[arg(long, conflicts_with = "scopes")]
    pub no_scopes: bool,
}

/// `keyward role retire`.
#[derive(Debug, Args)]
pub struct RoleRetire {
    /// Which
    #[arg(value_name = "ROLE_ID")]
    pub id: RoleId,
    /// Why, for the audit log
    #[arg(long)]
    pub reason: String,
}

/// `keyward credential`.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Create a credential with its first version
    Create(CredentialCreate),
    /// List credentials, without what they hold
    List(CredentialList),
    /// Show a credential and its versions, without what they hold
    Show(CredentialWhich),
    /// Change what is known of a credential
    Change(CredentialChange),
    /// Write a new version, the current one from then on
    Write(CredentialWrite),
    /// Print, or write into a file, what a field of a credential holds; the audit log says so
    Read(CredentialRead),
    /// Make an earlier version the current one again
    RollBack(CredentialVersion),
    /// Destroy what a version holds, for good
    Destroy(CredentialVersion),
    /// Who rotates a credential at the third party
    #[command(subcommand)]
    Provider(ProviderCommand),
    /// Have the provider of a credential rotate it
    Rotate(CredentialReason),
    /// Take a rotation back, while the version before has not been ended
    CancelRotation(CredentialReason),
    /// Retire a credential, for good, and destroy what it holds
    Retire(CredentialReason),
}

/// What a version holds. None of it is an argument but what may be seen.
#[derive(Debug, Args)]
pub struct CredentialFields {
    /// A field out of a file, such as `private_key=key.pem`; `-` is standard input; may repeat. A line feed at the end is dropped
    #[arg(long = "from", value_name = "FIELD=FILE", value_parser = field)]
    pub from: Vec<(String, String)>,
    /// A field that is no secret, such as `username=app`; may repeat. Whatever field is still missing is asked for on the terminal
    #[arg(long = "plain", value_name = "FIELD=TEXT", value_parser = field)]
    pub plain: Vec<(String, String)>,
}

/// `keyward credential create`.
#[derive(Debug, Args)]
pub struct CredentialCreate {
    /// What it is fetched by, such as `payments/db`
    pub name: String,
    /// Whose services fetch it
    #[arg(long, value_name = "APP_ID")]
    pub app: ApplicationId,
    /// What kind of secret it is
    #[arg(long, value_name = "KIND", default_value = "opaque", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)))]
    pub kind: String,
    /// What it holds
    #[command(flatten)]
    pub fields: CredentialFields,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Whom to ask about it
    #[arg(long, value_name = "TEXT")]
    pub owner: Option<String>,
    /// A word by which it is found; may repeat
    #[arg(long = "tag", value_name = "TEXT")]
    pub tags: Vec<String>,
    /// When the third party ends it, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub expires_at: Option<String>,
    /// The policy that says how often it is to be rotated
    #[arg(long, value_name = "POLICY_ID")]
    pub policy: Option<PolicyId>,
}

/// `keyward import`.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Credentials out of `.env` files, JSON, YAML, exports of Vault's KV store and tables of AWS
    Credentials(ImportCredentials),
    /// Keys that another system issued, so that partners keep the tokens that they have: a table in CSV, JSON or JSON lines with the columns
    /// `digest` or `token`, `name`, `application`, `environment`, `scopes`, `tags`, `expires_at`, `network`, `policy`
    Keys(ImportKeys),
}

/// How an import goes about it.
#[derive(Debug, Args)]
pub struct Importing {
    /// Only tell what would become of each
    #[arg(long)]
    pub dry_run: bool,
    /// Write what became of each into a new file, a table where its name ends in `.csv`, else JSON; what they hold is not in it
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "imported by `keyward import`")]
    pub reason: String,
}

/// `keyward import credentials`.
#[derive(Debug, Args)]
pub struct ImportCredentials {
    /// The files; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Whose services fetch them
    #[arg(long, value_name = "APP_ID")]
    pub app: ApplicationId,
    /// What the files are; `auto` goes by their names and first bytes
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub format: ImportFormat,
    /// What stands before each name, such as `shop/`
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = name_prefix)]
    pub prefix: String,
    /// What kind one text is: `api-key` or `opaque`. Several fields are of the kind that has these
    #[arg(long, value_name = "KIND", default_value = "api-key", value_parser = PossibleValuesParser::new([Kind::ApiKey.as_str(), Kind::Opaque.as_str()]))]
    pub kind: String,
    /// Whom to ask about them
    #[arg(long, value_name = "TEXT")]
    pub owner: Option<String>,
    /// A word by which they are found; may repeat
    #[arg(long = "tag", value_name = "TEXT")]
    pub tags: Vec<String>,
    /// The policy that says how often they are to be rotated
    #[arg(long, value_name = "POLICY_ID")]
    pub policy: Option<PolicyId>,
    /// What becomes of a name that is taken and holds something else: it is kept, or has a new version written
    #[arg(long, value_name = "WHAT", default_value = "keep")]
    pub on_conflict: OnConflict,
    /// How
    #[command(flatten)]
    pub importing: Importing,
}

/// What a file of credentials is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// What its name and its first bytes say
    Auto,
    /// A `.env` file
    Env,
    /// Names and values in JSON
    Json,
    /// Names and values in YAML
    Yaml,
    /// What `vault kv get -format=json` writes, a list of these with their paths, or a map of paths
    VaultKv,
    /// `accessKeys.csv` and `new_user_credentials.csv` of AWS
    AwsCsv,
}

/// `keyward import keys`.
#[derive(Debug, Args)]
pub struct ImportKeys {
    /// The table; `-` is standard input. Tokens in it are hashed here and not sent
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What the file is; `auto` goes by its name and first bytes
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub format: KeyTableFormat,
    /// Whose those are that do not say it
    #[arg(long, value_name = "APP_ID")]
    pub app: Option<ApplicationId>,
    /// Which environment those are of that do not say it: live or test
    #[arg(long, value_enum, default_value = "live")]
    pub environment: Environment,
    /// What those may do that have no scopes; may repeat
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    pub scopes: Vec<String>,
    /// A column that is not to be imported; may repeat
    #[arg(long = "ignore", value_name = "COLUMN")]
    pub ignore: Vec<String>,
    /// How
    #[command(flatten)]
    pub importing: Importing,
}

/// What a table of keys is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyTableFormat {
    /// What its name and its first bytes say
    Auto,
    /// Comma-separated values, with the columns' names in the first line
    Csv,
    /// A list of objects
    Json,
    /// An object in each line
    Jsonl,
}

/// What becomes of a name that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnConflict {
    /// What is there is kept, and what was to be imported is refused
    Keep,
    /// A new version is written
    Write,
}

/// `keyward credential list`.
#[derive(Debug, Args)]
pub struct CredentialList {
    /// Those of this application
    #[arg(long, value_name = "APP_ID")]
    pub app: Option<ApplicationId>,
    /// Those whose name begins so
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Those with this tag
    #[arg(long, value_name = "TEXT")]
    pub tag: Option<String>,
    /// Those that stand so
    #[arg(long, value_name = "STATE", value_parser = ["active", "expiring", "overdue", "expired", "retired"])]
    pub state: Option<String>,
    /// How many
    #[command(flatten)]
    pub paging: Paging,
}

/// A credential by its id.
#[derive(Debug, Args)]
pub struct CredentialWhich {
    /// Which
    #[arg(value_name = "CREDENTIAL_ID")]
    pub id: CredentialId,
}

/// `keyward credential change`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true).args(["name", "description", "owner", "tags", "expires_at", "never_expires", "policy", "no_policy"]))]
pub struct CredentialChange {
    /// Which
    #[arg(value_name = "CREDENTIAL_ID")]
    pub id: CredentialId,
    /// Another name: services that fetch it by the old one find it no longer
    #[arg(long)]
    pub name: Option<String>,
    /// Another description
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Whom to ask about it
    #[arg(long, value_name = "TEXT")]
    pub owner: Option<String>,
    /// A word by which it is found; may repeat: these are all
    #[arg(long = "tag", value_name = "TEXT")]
    pub tags: Vec<String>,
    /// When the third party ends it, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub expires_at: Option<String>,
    /// Nobody knows of an end
    #[arg(long, conflicts_with = "expires_at")]
    pub never_expires: bool,
    /// Its policy
    #[command(flatten)]
    pub policy: PolicyChoice,
}

/// `keyward credential write`.
#[derive(Debug, Args)]
pub struct CredentialWrite {
    /// Which
    #[arg(value_name = "CREDENTIAL_ID")]
    pub id: CredentialId,
    /// What it holds
    #[command(flatten)]
    pub fields: CredentialFields,
    /// When the third party ends it, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub expires_at: Option<String>,
    /// Why, for the audit log
    #[arg(long)]
    pub reason: Option<String>,
}

/// `keyward credential read`.
#[derive(Debug, Args)]
pub struct CredentialRead {
    /// Which: an id, or a name
    #[arg(value_name = "CREDENTIAL")]
    pub which: String,
    /// The application that a name belongs to; a service need not name its own
    #[arg(long, value_name = "APP_ID")]
    pub app: Option<ApplicationId>,
    /// Which field [default: the secret one of its kind]
    #[arg(long)]
    pub field: Option<String>,
    /// Which version [default: the current one]
    #[arg(long = "number", value_name = "NUMBER")]
    pub number: Option<u32>,
    /// Write it into this new file, readable by its owner alone, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// A version of a credential.
#[derive(Debug, Args)]
pub struct CredentialVersion {
    /// Which
    #[arg(value_name = "CREDENTIAL_ID")]
    pub id: CredentialId,
    /// The version's number
    pub number: u32,
    /// Why, for the audit log
    #[arg(long)]
    pub reason: String,
}

/// `keyward credential provider`.
#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// Give a credential a provider: prints, or writes into a file, the secret that its calls are signed with, once
    Set(ProviderSet),
    /// Take the provider away: from then on people rotate the credential
    Remove(CredentialReason),
}

/// `keyward credential provider set`.
#[derive(Debug, Args)]
pub struct ProviderSet {
    /// Which
    #[arg(value_name = "CREDENTIAL_ID")]
    pub id: CredentialId,
    /// Where its hook is
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// Write the secret into this new file, readable by its owner alone, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// A credential by its id, and why something is done with it.
#[derive(Debug, Args)]
pub struct CredentialReason {
    /// Which
    #[arg(value_name = "CREDENTIAL_ID")]
    pub id: CredentialId,
    /// Why, for the audit log
    #[arg(long)]
    pub reason: String,
}

/// `keyward webhook`.
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Create a webhook: prints, or writes into a file, the secret that deliveries are signed with, once
    Create(WebhookCreate),
    /// List webhooks
    List(WebhookList),
    /// Show a webhook, and how delivery to it goes
    Show(WebhookWhich),
    /// Change a webhook, or switch it off and on
    Change(WebhookChange),
    /// Give a webhook another secret; the one before signs as well for a day
    RotateSecret(WebhookRotateSecret),
    /// Send a message to a webhook now; exits with 1 where it does not arrive
    Test(WebhookWhich),
    /// Retire a webhook, for good
    Retire(WebhookRetire),
    /// List what could not be delivered, what most hangs on first
    DeadLetters(DeadLetterList),
    /// Try dead letters of a webhook anew
    Replay(DeadLetterReplay),
    /// Give dead letters of a webhook up, for good
    Drop(DeadLetterDrop),
}

/// `keyward webhook create`.
#[derive(Debug, Args)]
pub struct WebhookCreate {
    /// Whose events it tells; with the application `keyward`, those of all
    #[arg(long, value_name = "APP_ID")]
    pub app: ApplicationId,
    /// Where it leads, such as `https://hooks.example.com/keyward`
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// A type that it tells of, such as `key.revoked`; may repeat [default: all]
    #[arg(long = "event", value_name = "TYPE", value_parser = event_type)]
    pub events: Vec<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Write the secret into this new file, readable by its owner alone, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `keyward webhook list`.
#[derive(Debug, Args)]
pub struct WebhookList {
    /// Those of this application
    #[arg(long, value_name = "APP_ID")]
    pub app: Option<ApplicationId>,
    /// How many
    #[command(flatten)]
    pub paging: Paging,
}

/// A webhook by its id.
#[derive(Debug, Args)]
pub struct WebhookWhich {
    /// Which
    #[arg(value_name = "WEBHOOK_ID")]
    pub id: WebhookId,
}

/// `keyward webhook change`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("webhook_change").required(true).multiple(true).args(["to", "events", "description", "disable", "enable"]))]
pub struct WebhookChange {
    /// Which
    #[arg(value_name = "WEBHOOK_ID")]
    pub id: WebhookId,
    /// Another place where it leads
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// A type that it tells of from now on, or `*`; may repeat: these are all
    #[arg(long = "event", value_name = "TYPE", value_parser = event_type)]
    pub events: Vec<String>,
    /// Another description
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Send nothing to it for now
    #[arg(long)]
    pub disable: bool,
    /// Send to it again
    #[arg(long, conflicts_with = "disable")]
    pub enable: bool,
}

/// `keyward webhook rotate-secret`.
#[derive(Debug, Args)]
pub struct WebhookRotateSecret {
    /// Which
    #[arg(value_name = "WEBHOOK_ID")]
    pub id: WebhookId,
    /// Write the secret into this new file, readable by its owner alone, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `keyward webhook retire`.
#[derive(Debug, Args)]
pub struct WebhookRetire {
    /// Which
    #[arg(value_name = "WEBHOOK_ID")]
    pub id: WebhookId,
    /// Why, for the audit log
    #[arg(long)]
    pub reason: String,
}

/// `keyward webhook dead-letters`.
#[derive(Debug, Args)]
pub struct DeadLetterList {
    /// Those of this webhook
    #[arg(long, value_name = "WEBHOOK_ID")]
    pub webhook: Option<WebhookId>,
    /// Those of this application's webhooks
    #[arg(long, value_name = "APP_ID")]
    pub app: Option<ApplicationId>,
    /// How many
    #[command(flatten)]
    pub paging: Paging,
}

/// `keyward webhook replay`.
#[derive(Debug, Args)]
pub struct DeadLetterReplay {
    /// Whose
    #[arg(value_name = "WEBHOOK_ID")]
    pub id: WebhookId,
    /// One message; without it, as many as the webhook's queue has room for
    #[arg(long, value_name = "MESSAGE_ID", value_parser = message_id)]
    pub message: Option<MessageId>,
}

/// `keyward webhook drop`.
#[derive(Debug, Args)]
pub struct DeadLetterDrop {
    /// Whose
    #[arg(value_name = "WEBHOOK_ID")]
    pub id: WebhookId,
    /// One message
    #[arg(long, value_name = "MESSAGE_ID", value_parser = message_id, required_unless_present = "all")]
    pub message: Option<MessageId>,
    /// All of them
    #[arg(long, conflicts_with = "message")]
    pub all: bool,
    /// Why, for the audit log
    #[arg(long)]
    pub reason: String,
}

/// `keyward policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Create a policy, out of a preset or out of terms of your own
    Create(PolicyCreate),
    /// List policies
    List(Paging),
    /// Show a policy
    Show(PolicyShow),
    /// Change a policy, for every key that has it at once
    Change(PolicyChange),
    /// Retire a policy: nobody is given it any more, whoever has it keeps its terms
    Retire(PolicyRetire),
    /// Show the presets: what each sets, and why
    Presets,
}

/// `keyward policy create`.
#[derive(Debug, Args)]
pub struct PolicyCreate {
    /// Its name, unique among policies
    pub name: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// The preset whose terms hold where no others are given
    #[arg(long, value_parser = Preset::ALL.map(Preset::as_str))]
    pub preset: Option<String>,
    /// What it says
    #[command(flatten)]
    pub terms: PolicyTerms,
}

/// Terms of a policy.
#[derive(Debug, Args)]
pub struct PolicyTerms {
    /// How long after a version was claimed its successor is due, such as `90d`, from `5m` up, or `never`
    #[arg(long, value_name = "TIME", value_parser = term)]
    pub rotate_every: Option<Term>,
    /// How long a version goes on after its successor was claimed, such as `7d` or `0s`
    #[arg(long, value_name = "TIME", value_parser = grace_s)]
    pub grace: Option<u32>,
    /// The longest life of a key that is issued, such as `365d`, or `never` for a life without bound
    #[arg(long, value_name = "TIME", value_parser = term)]
    pub lifetime_max: Option<Term>,
    /// How long a key may go unused before that is told, such as `30d`, or `never`
    #[arg(long, value_name = "TIME", value_parser = term)]
    pub idle_after: Option<Term>,
    /// Whether whoever claims a version is given a renewal token with it
    #[arg(long, value_name = "BOOL")]
    pub self_renewal: Option<bool>,
    /// What a renewal token does that is used twice, beside the alarm
    #[arg(long, value_name = "WHAT", value_parser = ["stop", "incident"])]
    pub on_renewal_reuse: Option<String>,
    /// What becomes of a key that breaks its policy, beside the warning
    #[arg(long, value_name = "WHAT", value_parser = ["warn", "retire"])]
    pub on_breach: Option<String>,
    /// What becomes of a key whose token was found where anybody can read it, beside the alarm
    #[arg(long, value_name = "WHAT", value_parser = ["revoke", "rotate"])]
    pub on_leak: Option<String>,
    /// How long whoever read a credential goes on with it before asking again, such as `5m`: from `5s` to `1d`
    #[arg(long, value_name = "TIME", value_parser = span_s)]
    pub lease: Option<u32>,
    /// How long whoever read a credential goes on with it while Keyward cannot be asked, such as `1h`: up to `30d`
    #[arg(long, value_name = "TIME", value_parser = span_s)]
    pub outage: Option<u32>,
}

/// A time that a policy names in seconds, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term(pub Option<i64>);

/// `keyward policy show`.
#[derive(Debug, Args)]
pub struct PolicyShow {
    /// Which
    #[arg(value_name = "POLICY_ID")]
    pub id: PolicyId,
}

/// `keyward policy change`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true).args(["name", "description", "rotate_every", "grace",
    "lifetime_max", "idle_after", "self_renewal", "on_renewal_reuse", "on_breach", "on_leak", "lease", "outage"]))]
pub struct PolicyChange {
    /// Which
    #[arg(value_name = "POLICY_ID")]
    pub id: PolicyId,
    /// Another name
    #[arg(long)]
    pub name: Option<String>,
    /// Another description
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// What it says from now on; what is not given stays
    #[command(flatten)]
    pub terms: PolicyTerms,
}

/// `keyward policy retire`.
#[derive(Debug, Args)]
pub struct PolicyRetire {
    /// Which
    #[arg(value_name = "POLICY_ID")]
    pub id: PolicyId,
    /// Why, for the audit log
    #[arg(long)]
    pub reason: String,
}

/// `keyward key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Issue a key: prints the link that its holder claims the token with, once
    #[command(visible_alias = "issue")]
    Create(KeyCreate),
    /// Claim a key's token with a ticket or a claim's link
    Claim(KeyClaim),
    /// Show a key
    Show(KeyShow),
    /// List keys
    List(KeyList),
    /// Count keys by how they stand: what is expiring, overdue, revoked
    Standings(KeyStandings),
    /// Change a key
    Change(KeyChange),
    /// Tell whose a token is: for a token that was found
    Lookup(KeyLookup),
    /// Offer a successor of a key's version: prints the link that its holder claims it with
    Rotate(KeyRotate),
    /// Offer successors of many keys at once: by application, tag, standing, time; all that is given must hold of a key
    RotateMany(KeyRotateMany),
    /// End the overlap of a rotation: every version but the newest dies
    FinishRotation(KeyRevoke),
    /// Take the offer of a successor back
    CancelRotation(KeyRevoke),
    /// Revoke a key, at once and for good
    Revoke(KeyRevoke),
    /// Show how often a key was used, by the hour or the day
    Usage(KeyUsage),
}

/// `keyward key usage`.
#[derive(Debug, Args)]
pub struct KeyUsage {
    /// Which
    #[arg(value_name = "KEY_ID")]
    pub id: KeyId,
    /// Whether by the hour, of which a week is kept, or by the day, of which ninety are
    #[arg(long, value_name = "LENGTH")]
    pub by: Option<BucketLength>,
    /// From the hour or day on that this time lies in; a day of hours, or a month of days, where it is left out
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
}

/// How long the buckets of a key's use are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BucketLength {
    /// An hour
    Hour,
    /// A day
    Day,
}

impl BucketLength {
    /// As the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// Where a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// For real.
    Live,
    /// For tests.
    Test,
}

impl Environment {
    /// As the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// `keyward key create`.
#[derive(Debug, Args)]
pub struct KeyCreate {
    /// The application that it belongs to
    #[arg(long, value_name = "APP_ID")]
    pub application: ApplicationId,
    /// What people call it
    #[arg(long)]
    pub name: String,
    /// Where it works
    #[arg(long, value_enum, default_value = "live")]
    pub environment: Environment,
    /// What it may do, such as `orders:read` or `orders:*`; may repeat. Without any it may do nothing
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    pub scopes: Vec<String>,
    /// A role whose scopes it holds as well, for keys of the application `keyward`; may repeat
    #[arg(long = "role", value_name = "ROLE_ID")]
    pub roles: Vec<RoleId>,
    /// How long it works, such as `90d`, `12h`, `30m`, `600s`; for ever unless told
    #[arg(long, value_name = "TIME", value_parser = duration_s)]
    pub expires_in: Option<i64>,
    /// A network that it may be used from, such as `10.0.0.0/8`; may repeat
    #[arg(long = "network", value_name = "CIDR")]
    pub networks: Vec<String>,
    /// The person or workload that it stands for: for keys of the application `keyward`, and only for them
    #[arg(long)]
    pub principal: Option<String>,
    /// A word by which it is found together with others, in any case; may repeat
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// How much it may use in a window of time, such as `burst=1000/60s`, `monthly=1000000/month`; may repeat. With `,pass` at the end
    /// requests pass while the counters do not answer
    #[arg(long = "limit", value_name = "LIMIT", value_parser = limit)]
    pub limits: Vec<GivenLimit>,
    /// Its own policy, in the place of its application's
    #[arg(long, value_name = "POLICY_ID")]
    pub policy: Option<PolicyId>,
    /// Claim the token at once, into this new file
    #[arg(long, value_name = "FILE")]
    pub claim_out: Option<PathBuf>,
    /// With --claim-out: the renewal token that came with it, into this new file
    #[arg(long, value_name = "FILE", requires = "claim_out")]
    pub renewal_out: Option<PathBuf>,
}

/// `keyward key claim`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("destination").required(true).args(["out", "print"]))]
pub struct KeyClaim {
    /// File with the ticket or the claim's link, `-` for standard input; asked for on a terminal unless given
    #[arg(value_name = "FILE")]
    pub ticket: Option<PathBuf>,
    /// Write the token into this new file, readable by its owner alone
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write the renewal token that came with it into this new file, for `keyward renew`
    #[arg(long, value_name = "FILE", requires = "out")]
    pub renewal_out: Option<PathBuf>,
    /// Print the token on standard output
    #[arg(long)]
    pub print: bool,
    /// The thumbprint of the key that must have signed the answer
    #[arg(long, value_name = "KID", allow_hyphen_values = true)]
    pub signer: Option<String>,
    /// Ask again for an answer that was lost, within 60 s, by the key that the lost call was made with
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub idempotency_key: Option<String>,
}

/// `keyward key show`.
#[derive(Debug, Args)]
pub struct KeyShow {
    /// Which
    #[arg(value_name = "KEY_ID")]
    pub id: KeyId,
}

/// `keyward key list`.
#[derive(Debug, Args)]
pub struct KeyList {
    /// Whose; all that you may see where it is left out
    #[arg(long, value_name = "APP_ID")]
    pub application: Option<ApplicationId>,
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Only those that stand so
    #[arg(long, value_parser = PossibleValuesParser::new(Standing::ALL.map(Standing::as_str)))]
    pub standing: Option<String>,
    /// Only those whose name begins so
    #[arg(long, value_name = "BEGINNING")]
    pub name: Option<String>,
    /// By when they were issued
    #[arg(long, value_parser = ["newest", "oldest"])]
    pub order: Option<String>,
    /// How many
    #[command(flatten)]
    pub paging: Paging,
}

/// `keyward key standings`.
#[derive(Debug, Args)]
pub struct KeyStandings {
    /// Whose; all that you may see where it is left out
    #[arg(long, value_name = "APP_ID")]
    pub application: Option<ApplicationId>,
}

/// `keyward key change`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true).args(["name", "policy", "no_policy", "limits", "no_limits"]))]
pub struct KeyChange {
    /// Which
    #[arg(value_name = "KEY_ID")]
    pub id: KeyId,
    /// Another name
    #[arg(long)]
    pub name: Option<String>,
    /// Its own policy, in the place of its application's
    #[command(flatten)]
    pub policy: PolicyChoice,
    /// Its limits, in the place of those that it has
    #[command(flatten)]
    pub limits: LimitChoice,
}

/// `keyward key lookup`.
#[derive(Debug, Args)]
pub struct KeyLookup {
    /// File with the token, `-` for standard input; asked for on a terminal unless given
    #[arg(value_name = "FILE")]
    pub token: Option<PathBuf>,
}

/// `keyward key rotate`.
#[derive(Debug, Args)]
pub struct KeyRotate {
    /// Which
    #[arg(value_name = "KEY_ID")]
    pub id: KeyId,
    /// Why, for the audit log
    #[arg(long)]
    pub reason: String,
    /// A secret may be in the wrong hands: every version so far dies at once
    #[arg(long, conflicts_with = "grace")]
    pub incident: bool,
    /// How long the version in use goes on once its successor was claimed, such as `7d` or `12h`; what its policy says unless given
    #[arg(long, value_name = "TIME", value_parser = duration_s)]
    pub grace: Option<i64>,
    /// The version to rotate away from: where the key has another by then, nothing is done
    #[arg(long, value_name = "NUMBER")]
    pub version: Option<u16>,
}

/// `keyward key rotate-many`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("selection").required(true).multiple(true).args(["application", "tag", "standing", "actor", "since", "until", "claimed_until"]))]
#[command(after_help = "\
Keys whose successor waits for its claim already, or whose last overlap goes on, are skipped and named. Cut off, the same command takes
the work up where it stopped; in an incident with the `--claimed-until` that it then names.
Exits with 3 where keys are meant that this key may not rotate; they are named.")]
pub struct KeyRotateMany {
    /// Which keys
    #[command(flatten)]
    pub which: KeySelection,
    /// Keys that stand so
    #[arg(long, value_parser = Standing::ALL.map(Standing::as_str))]
    pub standing: Option<String>,
    /// Keys whose newest version was claimed before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub claimed_until: Option<String>,
    /// Why, for the audit log
    #[arg(long)]
    pub reason: String,
    /// Secrets may be in the wrong hands: every version so far of these keys dies at once
    #[arg(long, conflicts_with = "grace")]
    pub incident: bool,
    /// How long the versions in use go on once their successors were claimed, such as `7d` or `12h`; what each policy says unless given
    #[arg(long, value_name = "TIME", value_parser = duration_s)]
    pub grace: Option<i64>,
    /// A new file for the claims, one line of JSON each, that only its owner can read; else their links are printed
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Whether to look first
    #[command(flatten)]
    pub asking: Asking,
}

/// `keyward renew`.
#[derive(Debug, Args)]
pub struct Renew {
    /// The file with the token in use; the new one takes its place
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// The file with the renewal token; the next one takes its place. What a renewal under way needs lies beside it, in FILE.pending
    #[arg(long, value_name = "FILE")]
    pub renewal_file: PathBuf,
    /// A URL of your own gateway that must accept the new token, in `Authorization: Bearer`, before it takes the old one's place
    #[arg(long, value_name = "URL")]
    pub probe: Option<String>,
    /// Renew although it is not due
    #[arg(long)]
    pub force: bool,
    /// The thumbprint of the key that must have signed the answer
    #[arg(long, value_name = "KID", allow_hyphen_values = true)]
    pub signer: Option<String>,
}

/// `keyward key revoke|finish-rotation|cancel-rotation`.
#[derive(Debug, Args)]
pub struct KeyRevoke {
    /// Which
    #[arg(value_name = "KEY_ID")]
    pub id: KeyId,
    /// Why, for the audit log
    #[arg(long)]
    pub reason: String,
}

/// `keyward verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// File with the token, `-` for standard input; asked for on a terminal unless given
    #[arg(value_name = "FILE")]
    pub token: Option<PathBuf>,
    /// A scope that it must hold; may repeat, all are needed
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    pub scopes: Vec<String>,
    /// The address of whoever presented it
    #[arg(long, value_name = "ADDRESS")]
    pub client_ip: Option<std::net::IpAddr>,
}

/// `keyward audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List events, newest first
    List(AuditList),
    /// Check the whole log, its lists and the state beside it, over HTTP or in the store itself
    Verify(AuditVerify),
    /// Write events out, oldest first, as JSON lines or CSV
    Export(AuditExport),
    /// Show the last events, and with --follow what comes
    Tail(AuditTail),
    /// Keep the last heads of a log apart from it, and serve them
    Witness(AuditWitness),
    /// Take a store that was set back to an older copy into use again, with what was revoked since revoked again
    NewEpoch(AuditNewEpoch),
}

/// `keyward audit new-epoch`.
#[derive(Debug, Args)]
pub struct AuditNewEpoch {
    /// Where `keyward init` put rings and store
    #[arg(long, value_name = "DIR", default_value = ".keyward")]
    pub state_dir: PathBuf,
    /// Spin's runtime configuration, where the store lies elsewhere or the witness's store does
    #[arg(long, value_name = "FILE")]
    pub runtime_config_file: Option<PathBuf>,
    /// The log as `keyward audit export` wrote it last, oldest event first
    #[arg(long, value_name = "FILE")]
    pub log: PathBuf,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The label of the store that is the witness, as the variable `witness_store` has it
    #[arg(long, value_name = "LABEL", requires = "runtime_config_file")]
    pub witness_store: Option<String>,
    /// The witness's file, as `keyward up` has it
    #[arg(long, value_name = "FILE", conflicts_with = "witness_store")]
    pub witness_file: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// `keyward audit verify`.
#[derive(Debug, Args)]
pub struct AuditVerify {
    /// An SQLite file of a store, or a copy of one: read where it lies, and not changed
    #[arg(long, value_name = "FILE", conflicts_with = "runtime_config_file")]
    pub store: Option<PathBuf>,
    /// Where `keyward init` put rings and store: the store there is read, past any server
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Spin's runtime configuration, where the store of that directory lies elsewhere
    #[arg(long, value_name = "FILE", requires = "state_dir")]
    pub runtime_config_file: Option<PathBuf>,
    /// The folder with the rings' files, where it is not the state directory's [default: .keyward/variables with --store]
    #[arg(long, value_name = "DIR")]
    pub variables: Option<PathBuf>,
    /// What was seen of the log before, and is kept for the next time
    #[command(flatten)]
    pub seen: SeenBefore,
    /// A witness to ask what it has seen: `keyward audit witness` or any that answers like it
    #[arg(long, value_name = "URL")]
    pub witness_url: Option<String>,
}

/// What a check holds the log to.
#[derive(Debug, Args)]
pub struct SeenBefore {
    /// File of what was seen of the log; made at the first look [default: $XDG_STATE_HOME/keyward/witness/<origin>.json]
    #[arg(long = "witness", visible_alias = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// A public key that the log must be signed by, as `name+hash+key`; may repeat. Pinned at the first look unless told
    #[arg(long = "log-key", value_name = "VKEY", value_parser = log_key)]
    pub log_keys: Vec<VerifierKey>,
}

/// Which events.
#[derive(Debug, Args)]
pub struct Which {
    /// Only what was done to this application
    #[arg(long, value_name = "APP_ID")]
    pub application: Option<ApplicationId>,
    /// Only what was done to this key
    #[arg(long, value_name = "KEY_ID")]
    pub key: Option<KeyId>,
    /// Only what was done with this key
    #[arg(long, value_name = "KEY_ID")]
    pub actor: Option<KeyId>,
    /// Only this action, such as `key.issue`
    #[arg(long, value_name = "ACTION", value_parser = action)]
    pub action: Option<String>,
    /// Only from this time on, such as `2026-01-31T08:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<String>,
}

/// How events are written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Each event's JSON on a line of its own
    Jsonl,
    /// A table for spreadsheets
    Csv,
}

/// `keyward audit export`.
#[derive(Debug, Args)]
pub struct AuditExport {
    /// Which
    #[command(flatten)]
    pub which: Which,
    /// How
    #[arg(long, value_enum, default_value = "jsonl")]
    pub format: ExportFormat,
    /// Into this new file, readable by its owner alone, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    Table,
    /// All figures, the sums of all pages
    Json,
    /// The figures for spreadsheets: a line for each application, and one for all
    Csv,
}

/// `keyward report`.
#[derive(Debug, Args)]
pub struct Report {
    /// The keys, or credentials, of this application alone
    #[arg(long, value_name = "APP_ID")]
    pub application: Option<ApplicationId>,
    /// How credentials of the vault stand, in the place of keys
    #[arg(long, conflicts_with = "since")]
    pub credentials: bool,
    /// Rotations and revocations from then on, such as `2026-01-01T00:00:00Z`; how keys stand is always as of now
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<String>,
    /// How
    #[arg(long, value_enum, default_value = "table")]
    pub format: ReportFormat,
    /// With --format csv: a line for each overdue key instead, or for each credential that somebody is to see to
    #[arg(long)]
    pub overdue: bool,
}

/// `keyward audit tail`.
#[derive(Debug, Args)]
pub struct AuditTail {
    /// Which
    #[command(flatten)]
    pub which: Which,
    /// Go on with what comes, until stopped
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// How many of the last ones come first
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub lines: u32,
}

/// `keyward audit witness`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").required(true).args(["listen", "once"]))]
pub struct AuditWitness {
    /// Address to serve what was seen at: `GET /checkpoint?origin=`
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<std::net::SocketAddr>,
    /// Look once and end, as a cron job does
    #[arg(long)]
    pub once: bool,
    /// How often to look, such as `60s`, `5m`
    #[arg(long, value_name = "TIME", value_parser = duration_s, default_value = "60s")]
    pub interval: i64,
    /// What was seen before
    #[command(flatten)]
    pub seen: SeenBefore,
}

/// `keyward audit list`.
#[derive(Debug, Args)]
pub struct AuditList {
    /// Which
    #[command(flatten)]
    pub which: Which,
    /// How many
    #[command(flatten)]
    pub paging: Paging,
}

/// `keyward maintenance`.
#[derive(Debug, Subcommand)]
pub enum MaintenanceCommand {
    /// Do now what is due: for where no scheduler ticks, from a job with a key that may do this alone
    Run,
}

/// `keyward emergency`.
#[derive(Debug, Subcommand)]
pub enum EmergencyCommand {
    /// Stop all issuing: nobody issues a key or takes a claim, whatever they hold, until it is thawed
    Freeze(EmergencySwitch),
    /// Go on issuing
    Thaw(EmergencySwitch),
    /// Show whether issuing is frozen, since when, by whom and why
    Status,
    /// Revoke many keys, for good: by who issued them, by tag, by time; all that is given must hold of a key
    Revoke(EmergencyRevoke),
}

/// `keyward emergency freeze` and `thaw`.
#[derive(Debug, Args)]
pub struct EmergencySwitch {
    /// Why, for the audit log
    #[arg(long)]
    pub reason: String,
}

/// `keyward emergency revoke`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("selection").required(true).multiple(true).args(["actor", "tag", "since", "until"]))]
#[command(after_help = "\
What goes on issuing meanwhile is not found: freeze issuing first, or revoke the actor's own key.
Cut off, the same command takes the work up where it stopped.
Exits with 3 where keys are meant that this key may not revoke; they are named. The key of the call itself is never revoked.")]
pub struct EmergencyRevoke {
    /// Which keys
    #[command(flatten)]
    pub which: KeySelection,
    /// Why, for the audit log
    #[arg(long)]
    pub reason: String,
    /// Whether to look first
    #[command(flatten)]
    pub asking: Asking,
}

/// Which of many keys: all that is given must hold of a key.
#[derive(Debug, Args)]
pub struct KeySelection {
    /// Keys that were issued with this key of the application `keyward`
    #[arg(long, value_name = "KEY_ID")]
    pub actor: Option<KeyId>,
    /// Keys with this tag, in any case
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// Keys issued at this time or later, such as `2026-01-31T08:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<String>,
    /// Keys issued before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<String>,
    /// Only those of this application
    #[arg(long, value_name = "APP_ID")]
    pub application: Option<ApplicationId>,
    /// Only those of this environment
    #[arg(long, value_enum)]
    pub environment: Option<Environment>,
}

/// Whether what is done to many keys is looked at first.
#[derive(Debug, Args)]
pub struct Asking {
    /// Only show which it would be done to
    #[arg(long)]
    pub dry_run: bool,
    /// Do it at once, without looking first and asking
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
}

/// How much of a list.
#[derive(Debug, Args)]
pub struct Paging {
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// Go on where a list ended: the `next_cursor` of its JSON
    #[arg(long)]
    pub cursor: Option<String>,
}

fn event_type(text: &str) -> Result<String, String> {
    match text.parse::<Type>() {
        Err(()) if text != "*" => Err("expected a type such as `key.revoked`, or `*` for all".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn importance(text: &str) -> Result<Importance, String> {
    Importance::parse(text).ok_or_else(|| "expected `low`, `normal`, `high` or `critical`".to_owned())
}

fn message_id(text: &str) -> Result<MessageId, String> {
    text.parse().map_err(|_| "expected a message's id, such as `msg_1_42`".to_owned())
}

/// A field of a credential, and what stands behind its `=`.
fn field(text: &str) -> Result<(String, String), String> {
    let (name, rest) = text.split_once('=').ok_or("expected FIELD=...")?;
    let is_known = Kind::ALL.iter().any(|kind| kind.fields().iter().any(|field| field.name == name));
    match is_known {
        true => Ok((name.to_owned(), rest.to_owned())),
        false => Err(format!("no kind of credential has a field `{name}`")),
    }
}

fn name_prefix(text: &str) -> Result<String, String> {
    match check_name("name", &format!("{text}x")) {
        Ok(()) => Ok(text.to_owned()),
        Err(_) => {
            Err("begins no name; expected segments of `[a-z0-9._-]` with a `/` behind each, such as `shop/`"
                .to_owned())
        }
    }
}

fn scope(text: &str) -> Result<String, String> {
    Scope::parse(text).map(|_| text.to_owned()).map_err(|fault| fault.to_string())
}

fn context_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-') {
        Ok(text.to_owned())
    } else {
        Err("is no name of a context; expected 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`".to_owned())
    }
}

fn action(text: &str) -> Result<String, String> {
    let known = || Action::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(", ");
    text.parse::<Action>()
        .map(|_| text.to_owned())
        .map_err(|()| format!("is no action; expected one of {}", known()))
}

fn time(text: &str) -> Result<String, String> {
    Timestamp::parse(text)
        .map(|_| text.to_owned())
        .ok_or_else(|| "is no time; expected RFC 3339, like `2026-01-31T08:00:00Z`".to_owned())
}

fn log_key(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::parse(text).map_err(|fault| fault.to_string())
}

fn token_prefix(text: &str) -> Result<String, String> {
    if keyward_domain::token::is_prefix(text) {
        Ok(text.to_owned())
    } else {
        Err("is no prefix; expected 2 to 12 of a-z and 0-9".to_owned())
    }
}

fn idempotency_key(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("is no Idempotency-Key; expected 1 to 255 visible ASCII characters".to_owned())
    }
}

/// A duration, of one second at least.
fn duration_s(text: &str) -> Result<i64, String> {
    seconds(text).filter(|seconds| (1..=EXPIRES_IN_S_MAX).contains(seconds)).ok_or_else(|| {
        "is no duration; expected a number and one of s, m, h, d, such as `90d`, of at most ten years"
            .to_owned()
    })
}

/// `burst=1000/60s`, `daily=5/day`, `monthly=1000000/month`, each with `,pass` at the end or not.
fn limit(text: &str) -> Result<GivenLimit, String> {
    text.parse().map_err(|not_one: NotALimit| not_one.to_string())
}

/// A duration or `never`.
fn term(text: &str) -> Result<Term, String> {
    if text == "never" { Ok(Term(None)) } else { duration_s(text).map(|seconds| Term(Some(seconds))) }
}

/// A duration of at most ninety days, which may be none.
fn span_s(text: &str) -> Result<u32, String> {
    let seconds = seconds(text).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.ok_or_else(|| "is no time; expected a number and one of s, m, h, d, such as `5m`".to_owned())
}

fn grace_s(text: &str) -> Result<u32, String> {
    let seconds = seconds(text).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.filter(|seconds| *seconds <= GRACE_S_MAX).ok_or_else(|| {
        "is no grace; expected a number and one of s, m, h, d, such as `7d`, of at most ninety days"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in
            [("1s", 1), ("30m", 1800), ("12h", 43_200), ("90d", 7_776_000), ("3650d", EXPIRES_IN_S_MAX)]
        {
            assert_eq!(duration_s(text), Ok(expected), "{text}");
        }
        for text in
            ["", "s", "90", "0s", "-1d", "+1d", "1.5h", "1 d", "1w", "3651d", "9223372036854775807d", "1é"]
        {
            assert!(duration_s(text).is_err(), "{text}");
        }
    }
}
