//! `keyward credential create|list|show|change|write|read|roll-back|destroy|provider|rotate|cancel-rotation|retire`.

use std::path::Path;

use keyward_crypto::SecretText;
use keyward_domain::CredentialId;
use keyward_domain::credential::Kind;
use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::{Map, Value, json};

use super::Run;
use crate::answers::{Credential, CredentialValue};
use crate::arguments::{
    CredentialChange, CredentialCommand, CredentialCreate, CredentialFields, CredentialList, CredentialRead,
    CredentialReason, CredentialVersion, CredentialWrite, ProviderCommand, ProviderSet,
};
use crate::client::{Answer, Call};
use crate::failure::{Ending, Failure, Result};
use crate::secret_file::NewSecretFile;
use crate::secret_source;
use crate::signed;
use crate::table::{Card, Cell};

const ROUTE: &str = "/v1/credentials";
const VALUE_ROUTE: &str = "/v1/credentials/value";

/// What a version is to hold. Written into the call alone.
struct Fields(Vec<(String, SecretText)>);

impl Serialize for Fields {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, text) in &self.0 {
            map.serialize_entry(name, text.expose())?;
        }
        map.end()
    }
}

/// A call's body: what may be seen, and what a version holds.
#[derive(Serialize)]
struct Body {
    #[serde(flatten)]
    seen: Map<String, Value>,
    value: Fields,
}

/// Those that are given, by their names.
fn given<const FIELDS: usize>(fields: [(&str, Option<Value>); FIELDS]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

impl Run<'_> {
    pub(super) fn credential(&self, command: &CredentialCommand) -> Result<Ending> {
        match command {
            CredentialCommand::Create(options) => self.create_credential(options),
            CredentialCommand::List(options) => self.list_credentials(options),
            CredentialCommand::Show(which) => {
                self.show_one_credential(&self.client()?.call(&Call::get(format!("{ROUTE}/{}", which.id)))?)
            }
            CredentialCommand::Change(options) => self.change_credential(options),
            CredentialCommand::Write(options) => self.write_credential(options),
            CredentialCommand::Read(options) => self.read_credential(options),
            CredentialCommand::RollBack(options) => self.roll_credential_back(options),
            CredentialCommand::Destroy(options) => self.destroy_credential_version(options),
            CredentialCommand::Provider(ProviderCommand::Set(options)) => self.set_provider(options),
            CredentialCommand::Provider(ProviderCommand::Remove(options)) => {
                self.do_with_credential("provider/remove", options)
            }
            CredentialCommand::Rotate(options) => self.do_with_credential("rotate", options),
            CredentialCommand::CancelRotation(options) => self.do_with_credential("rotation/cancel", options),
            CredentialCommand::Retire(options) => self.do_with_credential("retire", options),
        }
    }

    fn create_credential(&self, options: &CredentialCreate) -> Result<Ending> {
        let kind: Kind =
            options.kind.parse().map_err(|()| Failure::command_line("--kind names no kind of credential"))?;
        let client = self.client()?;
        let seen = given([
            ("application", Some(json!(options.app))),
            ("name", Some(json!(options.name))),
            ("kind", Some(json!(kind))),
            ("description", options.description.as_ref().map(|text| json!(text))),
            ("owner", options.owner.as_ref().map(|text| json!(text))),
            ("tags", (!options.tags.is_empty()).then(|| json!(options.tags))),
            ("expires_at", options.expires_at.as_ref().map(|at| json!(at))),
            ("policy", options.policy.map(|id| json!(id))),
        ]);
        let body = Body { seen, value: fields(kind, &options.fields)? };
        self.show_one_credential(&client.call(&Call::post(ROUTE, &body)?.creating()?)?)
    }

    fn list_credentials(&self, options: &CredentialList) -> Result<Ending> {
        let call = || {
            Call::get(ROUTE)
                .query("application", options.app)
                .query("name", options.name.as_ref())
                .query("tag", options.tag.as_ref())
                .query("state", options.state.as_ref())
        };
        let page = self.client()?.list(&options.paging, call)?;
        let headings = ["CREDENTIAL", "APPLICATION", "NAME", "KIND", "STATE", "VERSION", "DUE", "OWNER"];
        self.show_list(&page, "No credentials.", &headings, |item, table| {
            let credential: Credential = serde_json::from_str(item.get())?;
            table.row([
                Cell::new(&credential.id),
                Cell::new(&credential.application),
                Cell::new(&credential.name),
                Cell::new(&credential.kind),
                Cell::state(&credential.state),
                Cell::new(credential.current.to_string()),
                Cell::or_dash(credential.rotation_due_at.as_ref()),
                Cell::or_dash(Some(&credential.owner).filter(|owner| !owner.is_empty())),
            ]);
            Ok(())
        })
    }

    fn change_credential(&self, options: &CredentialChange) -> Result<Ending> {
        let policy = match (options.policy.policy, options.policy.no_policy) {
            (_, true) => Some(Value::Null),
            (policy, false) => policy.map(|id| json!(id)),
        };
        let expires_at = match options.never_expires {
            true => Some(Value::Null),
            false => options.expires_at.as_ref().map(|at| json!(at)),
        };
        let body = given([
            ("name", options.name.as_ref().map(|text| json!(text))),
            ("description", options.description.as_ref().map(|text| json!(text))),
            ("owner", options.owner.as_ref().map(|text| json!(text))),
            ("tags", (!options.tags.is_empty()).then(|| json!(options.tags))),
            ("expires_at", expires_at),
            ("policy", policy),
        ]);
        let call = Call::patch(format!("{ROUTE}/{}", options.id), &Value::Object(body))?;
        self.show_one_credential(&self.client()?.call(&call)?)
    }

    fn write_credential(&self, options: &CredentialWrite) -> Result<Ending> {
        let client = self.client()?;
        let route = format!("{ROUTE}/{}", options.id);
        // Which fields it has, and that it is there, before anything is typed.
        let known: Credential = client.call(&Call::get(route.as_str()))?.read()?;
        let kind: Kind = known.kind.parse().map_err(|()| {
            Failure::command_line("the credential is of a kind that this version of `keyward` does not know")
        })?;
        let seen = given([
            ("expires_at", options.expires_at.as_ref().map(|at| json!(at))),
            ("reason", options.reason.as_ref().map(|text| json!(text))),
        ]);
        let body = Body { seen, value: fields(kind, &options.fields)? };
        let answer = client.call(&Call::post(format!("{route}/versions"), &body)?.creating()?)?;
        self.show_one_credential(&answer)
    }

    fn read_credential(&self, options: &CredentialRead) -> Result<Ending> {
        let client = self.client()?;
        // Before the call: what cannot be written would be read for nothing.
        let file = options.out.as_deref().map(NewSecretFile::create).transpose()?;
        let (route, call) = match options.which.parse::<CredentialId>() {
            Ok(id) => {
                let route = format!("{ROUTE}/{id}/value");
                (route.clone(), Call::get(route))
            }
            Err(_) => {
                let call = Call::get(VALUE_ROUTE)
                    .query("name", Some(&options.which))
                    .query("application", options.app);
                (VALUE_ROUTE.to_owned(), call)
            }
        };
        let answer = signed::ask(&client, call.query("version", options.number), &route, None)?;
        let read: CredentialValue = answer.read()?;
        let main = read.kind.parse::<Kind>().map_or("value", Kind::main_field);
        let field = options.field.as_deref().unwrap_or(main);
        let Some(text) = read.value.get(field) else {
            let names: Vec<String> = read.value.keys().map(|name| format!("`{name}`")).collect();
            let detail = format!("the credential has no field of that name; it has {}", names.join(", "));
            return Err(Failure::command_line(detail));
        };
        match (file, options.out.as_deref()) {
            (Some(file), Some(path)) => self.tell_written(file, text, path, &read)?,
            _ if self.global.json => self.terminal.print(answer.text()?)?,
            _ => self.terminal.print(text.expose())?,
        }
        Ok(Ending::Done)
    }

    fn tell_written(
        &self,
        file: NewSecretFile,
        text: &SecretText,
        path: &Path,
        read: &CredentialValue,
    ) -> Result<()> {
        file.fill(text)?;
        let path = path.display().to_string();
        if self.global.json {
            let told = json!({ "id": read.id, "name": read.name, "version": read.version, "out": path });
            return self.terminal.print(&told.to_string());
        }
        let card = Card::new()
            .field("credential", Cell::new(&read.id))
            .field("name", Cell::new(&read.name))
            .field("version", Cell::new(read.version.to_string()))
            .field("value in", Cell::new(path));
        self.terminal.print(&card.render(self.terminal.styles()))
    }

    fn roll_credential_back(&self, options: &CredentialVersion) -> Result<Ending> {
        let body = json!({ "version": options.number, "reason": options.reason });
        let call = Call::post(format!("{ROUTE}/{}/roll-back", options.id), &body)?.creating()?;
        self.show_one_credential(&self.client()?.call(&call)?)
    }

    fn destroy_credential_version(&self, options: &CredentialVersion) -> Result<Ending> {
        let route = format!("{ROUTE}/{}/versions/{}/destroy", options.id, options.number);
        let call = Call::post(route, &json!({ "reason": options.reason }))?;
        self.show_one_credential(&self.client()?.call(&call)?)
    }

    fn set_provider(&self, options: &ProviderSet) -> Result<Ending> {
        let route = format!("{ROUTE}/{}/provider", options.id);
        let call = Call::post(route, &json!({ "url": options.to }))?.creating()?;
        self.show_secret_once(&call, options.out.as_deref(), "credential", card)
    }

    /// What takes a reason alone.
    fn do_with_credential(&self, deed: &str, options: &CredentialReason) -> Result<Ending> {
        let route = format!("{ROUTE}/{}/{deed}", options.id);
        let call = Call::post(route, &json!({ "reason": options.reason }))?;
        self.show_one_credential(&self.client()?.call(&call)?)
    }

    fn show_one_credential(&self, answer: &Answer) -> Result<Ending> {
        self.show(answer, || Ok(card(&answer.read()?).render(self.terminal.styles())))
    }
}

/// What a version of this kind is to hold: out of files, out of arguments where it is no secret, and the rest from the terminal.
fn fields(kind: Kind, options: &CredentialFields) -> Result<Fields> {
    let mut fields = Vec::new();
    for field in kind.fields() {
        let from = options.from.iter().find(|(name, _)| name == field.name);
        let plain = options.plain.iter().find(|(name, _)| name == field.name);
        let text = match (from, plain) {
            (Some(_), Some(_)) => {
                let detail = format!("the field `{}` stands in --from and in --plain", field.name);
                return Err(Failure::command_line(detail));
            }
            (Some((name, path)), None) => secret_source::read_value(Path::new(path), name)?,
            (None, Some((name, _))) if kind.main_field() == name => {
                let detail = format!(
                    "`{name}` is the secret: take --from {name}=FILE, or leave it out to be asked for it"
                );
                return Err(Failure::command_line(detail));
            }
            (None, Some((_, text))) => SecretText::new(text.clone()),
            (None, None) if field.is_optional => continue,
            (None, None) => secret_source::read(None, field.name, &format!("{}: ", field.name))?,
        };
        fields.push((field.name.to_owned(), text));
    }
    let names = options.from.iter().chain(&options.plain).map(|(name, _)| name);
    match names.into_iter().find(|name| !kind.fields().iter().any(|field| field.name == *name)) {
        Some(name) => {
            let detail = format!("a credential of kind `{}` has no field `{name}`", kind.as_str());
            Err(Failure::command_line(detail))
        }
        None => Ok(Fields(fields)),
    }
}

fn card(credential: &Credential) -> Card {
    let optional = |text: &String| Cell::or_dash(Some(text).filter(|text| !text.is_empty()));
    let mut card = Card::new()
        .field("credential", Cell::new(&credential.id))
        .field("application", Cell::new(&credential.application))
        .field("name", Cell::new(&credential.name))
        .field("kind", Cell::new(&credential.kind));
    if !credential.description.is_empty() {
        card = card.field("description", Cell::new(&credential.description));
    }
    card = card.field("owner", optional(&credential.owner)).field("state", Cell::state(&credential.state));
    if !credential.tags.is_empty() {
        card = card.field("tags", Cell::new(credential.tags.join(", ")));
    }
    card = card
        .field("current", Cell::new(credential.current.to_string()))
        .field("rotation due", Cell::or_dash(credential.rotation_due_at.as_ref()))
        .field("expires", Cell::or_dash(credential.expires_at.as_ref()))
        .field("created", Cell::new(&credential.created_at));
    if let Some(provider) = &credential.provider {
        card = card.field("provider", Cell::new(&provider.url));
    }
    if let Some(rotation) = &credential.rotation {
        card = card
            .field("rotation", Cell::new(&rotation.phase))
            .field("called next", Cell::new(&rotation.next_attempt_at));
        if let Some(failure) = &rotation.last_failure {
            let status = failure.status.map(|status| format!(" {status}")).unwrap_or_default();
            card =
                card.field("last failure", Cell::new(format!("{}{status}, {}", failure.fault, failure.at)));
        }
    }
    if let Some(last) = &credential.last_rotation {
        card = card.field("last rotation", Cell::new(format!("{}, {}", last.ending, last.ended_at)));
    }
    let versions = credential.versions.iter().map(|version| {
        let at = version.destroyed_at.as_ref().unwrap_or(&version.written_at);
        format!("{} {} {at}", version.number, version.state)
    });
    card.field("versions", Cell::new(versions.collect::<Vec<_>>().join(", ")))
}
