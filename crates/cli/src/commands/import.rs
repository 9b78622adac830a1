//! `keyward import credentials|keys`: files are read and checked whole before anything is sent; then all is sent, with a report of what became of
//! each. Made again, it finds what was imported before.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use keyward_crypto::{SecretText, Zeroizing};
use keyward_domain::Timestamp;
use keyward_domain::credential::{IMPORTED_AT_ONCE_MAX, Kind};
use keyward_domain::error::Blame;
use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::{Map, Value, json};

use super::Run;
use crate::arguments::{ImportCredentials, ImportFormat, ImportKeys, Importing, KeyTableFormat, OnConflict};
use crate::escape::shown;
use crate::failure::{Ending, Failure, Result};
use crate::import::calls::Sending;
use crate::import::item::{Counts, Item, State};
use crate::import::keys::{self, Defaults, NoKey, Record};
use crate::import::naming;
use crate::import::source::{Fault, Source};
use crate::import::{Found, Held, aws_csv, env, json, nested, report, vault_kv, yaml};
use crate::secret_file::NewSecretFile;
use crate::table::{Cell, Table};

/// What a call sends of keys at most, in bytes: the server takes 64 KiB.
const KEYS_BYTES_MAX: usize = 60 * 1024;
/// Refused ones that are shown; the report has them all.
const SHOWN_MAX: usize = 20;

/// Others with the same name that one is told of.
const OTHERS_MAX: usize = 3;

/// What is imported, in words.
struct Words {
    one: &'static str,
    many: &'static str,
}

const CREDENTIALS: Words = Words { one: "credential", many: "credentials" };
const KEYS: Words = Words { one: "key", many: "keys" };

/// A credential as it is sent.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    seen: &'a Map<String, Value>,
    name: &'a str,
    kind: Kind,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    value: Fields<'a>,
}

/// What it is to hold. Written into the call alone.
struct Fields<'a>(&'a [(&'static str, SecretText)]);

impl Serialize for Fields<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, text) in self.0 {
            map.serialize_entry(name, text.expose())?;
        }
        map.end()
    }
}

impl Run<'_> {
    pub(super) fn import_credentials(&self, options: &ImportCredentials) -> Result<Ending> {
        let kind: Kind =
            options.kind.parse().map_err(|()| Failure::command_line("--kind names no kind of credential"))?;
        let seen = [
            ("application", Some(json!(options.app))),
            ("owner", options.owner.as_ref().map(|text| json!(text))),
            ("tags", (!options.tags.is_empty()).then(|| json!(options.tags))),
            ("policy", options.policy.map(|id| json!(id))),
        ];
        let seen = seen.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let mut items = Vec::new();
        for path in &options.files {
            let source = Source::read(path, self.terminal)?;
            let found = found(&source, options.format).map_err(|fault| source.failure(&fault))?;
            let file: Rc<str> = source.name.as_str().into();
            for one in found {
                items.push(item(&file, one, &options.prefix, kind, &seen)?);
            }
        }
        refuse_twins(&mut items, "name");
        let on_conflict = match options.on_conflict {
            OnConflict::Keep => "keep",
            OnConflict::Write => "write",
        };
        let sending = Sending::credentials(head(&options.importing, [("on_conflict", json!(on_conflict))]));
        self.import(&sending, items, &options.importing, &CREDENTIALS)
    }

    pub(super) fn import_keys(&self, options: &ImportKeys) -> Result<Ending> {
        let source = Source::read(&options.file, self.terminal)?;
        let records = records(&source, options).map_err(|fault| source.failure(&fault))?;
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Failure::system("clock", error))?;
        let defaults = Defaults {
            application: options.app,
            environment: options.environment.as_str().to_owned(),
            scopes: options.scopes.clone(),
            now: Timestamp::from_unix_ms(i64::try_from(now.as_millis()).unwrap_or(i64::MAX)),
        };
        let file: Rc<str> = source.name.as_str().into();
        let item = |record: &Record| {
            let (identity, weak, state) = match record.key(&defaults) {
                Ok(key) => {
                    let body = keys::body(&key).map_err(|error| Failure::system("JSON", error))?;
                    (key.digest().to_owned(), key.weak, State::Ready(body))
                }
                Err(NoKey::LeftOut(why)) => (String::new(), None, State::LeftOut(why.to_owned())),
                Err(NoKey::Unfit(what)) => (String::new(), None, State::Unfit(what)),
            };
            let name = record.name().to_owned();
            Ok(Item { file: Rc::clone(&file), place: record.place, name, identity, weak, state })
        };
        let mut items = records.iter().map(item).collect::<Result<Vec<_>>>()?;
        drop(records);
        refuse_twins(&mut items, "token");
        let sending = Sending {
            route: "/v1/keys/import",
            list: "keys",
            head: head(&options.importing, []),
            count_max: IMPORTED_AT_ONCE_MAX,
            bytes_max: KEYS_BYTES_MAX,
        };
        self.import(&sending, items, &options.importing, &KEYS)
    }

    /// Sends what is ready, and tells what became of each.
    fn import(
        &self,
        sending: &Sending,
        mut items: Vec<Item>,
        importing: &Importing,
        words: &Words,
    ) -> Result<Ending> {
        // Before the first call: what cannot be written would be imported without a word.
        let file = importing.report.as_deref().map(NewSecretFile::create).transpose()?;
        let client = self.client()?;
        let stop = Arc::new(AtomicBool::new(false));
        // A second one ends it at once.
        signal_hook::flag::register_conditional_default(signal_hook::consts::SIGINT, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&stop)))
            .map_err(|error| Failure::system("signals", error))?;
        let sent = sending.send(&client, &mut items, &stop);
        if let (Some(file), Some(path)) = (file, importing.report.as_deref()) {
            file.fill(&report::text(path, &items, importing.dry_run)?)?;
        }
        if self.global.json {
            self.terminal.print(&report::json(&items, importing.dry_run)?)?;
        } else {
            self.show_import(&items, importing, words)?;
        }
        let counts = Counts::of(&items);
        let again = "run the same command again to go on: what was imported is found there";
        sent.map_err(|failure| failure.advise(again))?;
        if counts.not_sent > 0 && stop.load(Ordering::Relaxed) {
            let detail = format!("{} not sent", of(counts.not_sent, words));
            return Err(Failure::new(Blame::Caller, "Stopped", detail).advise(again));
        }
        if counts.refused > 0 {
            let detail = format!("{} refused; the others are done", of(counts.refused, words));
            let detail = if importing.dry_run {
                format!("{} would be refused", of(counts.refused, words))
            } else {
                detail
            };
            return Err(Failure::new(Blame::Caller, "Not all can be imported", detail));
        }
        Ok(Ending::Done)
    }

    /// What a person is told: what was refused or left out, and how many came to what.
    fn show_import(&self, items: &[Item], importing: &Importing, words: &Words) -> Result<()> {
        let told: Vec<(&Item, String)> =
            items.iter().filter_map(|item| Some((item, item.state.why()?.1))).collect();
        if !told.is_empty() {
            let mut table = Table::new(&["PLACE", "NAME", "OUTCOME", "WHY"]);
            for (item, why) in told.iter().take(SHOWN_MAX) {
                table.row([
                    Cell::new(format!("{}:{}", item.file, item.place.line)),
                    Cell::new(&item.name),
                    Cell::state(item.state.outcome()),
                    Cell::new(why),
                ]);
            }
            self.terminal.print(&table.render(self.terminal.styles()))?;
            if let Some(more) = told.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
                self.terminal.note(&format!("{more} more; --report FILE has them all."));
            }
        }
        let counts = Counts::of(items);
        let would = if importing.dry_run { "would be " } else { "" };
        let mut line =
            format!("{} {would}imported, {} there before", of(counts.imported, words), counts.existing);
        for (count, what) in [
            (counts.written, "written as new versions"),
            (counts.refused, "refused"),
            (counts.left_out, "left out"),
        ] {
            if count > 0 {
                line.push_str(&format!(", {count} {would}{what}"));
            }
        }
        self.terminal.note(&format!("{line}."));
        if counts.weak > 0 {
            let detail = format!("{} can be guessed; rotate them soon", of(counts.weak, words));
            self.terminal.warn(&detail);
        }
        let is_done =
            counts.refused == 0 && counts.not_sent == 0 && counts.unknown == 0 && !importing.dry_run;
        if is_done {
            let mut files: Vec<&str> = items.iter().map(|item| &*item.file).collect();
            files.dedup();
            for file in files.into_iter().filter(|file| Path::new(file).exists()) {
                self.terminal.note(&format!(
                    "{} still holds secrets: remove it, and its copies, once nothing reads it any more.",
                    shown(file)
                ));
            }
        }
        Ok(())
    }
}

fn of(count: usize, words: &Words) -> String {
    format!("{count} {}", if count == 1 { words.one } else { words.many })
}

/// What stands beside the list in each call.
fn head<const COUNT: usize>(importing: &Importing, more: [(&str, Value); COUNT]) -> Map<String, Value> {
    let given =
        [("reason", json!(importing.reason)), ("dry_run", json!(importing.dry_run))].into_iter().chain(more);
    given.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The secrets of a file.
fn found(source: &Source, format: ImportFormat) -> Result<Vec<Found>, Fault> {
    let text = source.text();
    let ending = |ending: &str| {
        Path::new(&source.name).extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
    };
    match format {
        ImportFormat::Env => env::read(text),
        ImportFormat::Json => nested::read(&json::read(text)?),
        ImportFormat::Yaml => nested::read(&*yaml::read(text)?),
        ImportFormat::AwsCsv => aws_csv::read(text),
        ImportFormat::VaultKv if is_json(text) => vault_kv::read(&json::read(text)?, source.stem.as_deref()),
        ImportFormat::VaultKv => vault_kv::read(&*yaml::read(text)?, source.stem.as_deref()),
        ImportFormat::Auto if is_json(text) || ending("json") => {
            let node = json::read(text)?;
            match vault_kv::is_certain(&node) {
                true => vault_kv::read(&node, source.stem.as_deref()),
                false => nested::read(&node),
            }
        }
        ImportFormat::Auto if ending("yaml") || ending("yml") => nested::read(&*yaml::read(text)?),
        ImportFormat::Auto if aws_csv::is_certain(text) => aws_csv::read(text),
        ImportFormat::Auto => env::read(text),
    }
}

/// Whether a text begins as JSON that has names does.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// One secret of a file, ready to be sent where it can be.
fn item(file: &Rc<str>, found: Found, prefix: &str, kind: Kind, seen: &Map<String, Value>) -> Result<Item> {
    let Found { place, path, description, held } = found;
    let as_it_stands = path.join("/");
    let item = |name: String, state: State| Item {
        file: Rc::clone(file),
        place,
        identity: name.clone(),
        weak: None,
        name,
        state,
    };
    let (kind, fields) = match held {
        Held::Text(text) => (kind, vec![(kind.main_field(), text)]),
        Held::Fields(kind, fields) => (kind, fields),
        Held::Nothing(why) => return Ok(item(as_it_stands, State::LeftOut(why.to_owned()))),
        Held::Unfit(why) => return Ok(item(as_it_stands, State::Unfit(why))),
    };
    let name = match naming::name(prefix, &path) {
        Ok(name) => name,
        Err(why) => return Ok(item(as_it_stands, State::Unfit(why))),
    };
    if let Some(error) = kind.check(fields.iter().map(|(name, text)| (*name, text.expose().len()))).first() {
        let why = format!("{} {}; expected {}", error.field, error.reason, error.expected);
        return Ok(item(name, State::Unfit(why)));
    }
    let body = Body { seen, name: &name, kind, description: &description, value: Fields(&fields) };
    let body = serde_json::to_string(&body).map_err(|error| Failure::system("JSON", error))?;
    Ok(item(name, State::Ready(Zeroizing::new(body))))
}

/// Refuses those that are the same by their `what`: which of them is meant, only people know.
fn refuse_twins(items: &mut [Item], what: &str) {
    let mut known: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        if matches!(item.state, State::Ready(_)) {
            known.entry(item.identity.clone()).or_default().push(index);
        }
    }
    for twins in known.into_values().filter(|twins| twins.len() > 1) {
        let places: Vec<String> = twins
            .iter()
            .filter_map(|index| items.get(*index))
            .map(|item| format!("{}:{}", item.file, item.place))
            .collect();
        for (turn, index) in twins.iter().enumerate() {
            let others = places.iter().enumerate().filter(|(other, _)| *other != turn);
            let others =
                others.map(|(_, place)| place.as_str()).take(OTHERS_MAX).collect::<Vec<_>>().join(", ");
            if let Some(item) = items.get_mut(*index) {
                item.state =
                    State::Unfit(format!("its {what} is that of {others} as well; change or remove one"));
            }
        }
    }
}

/// The rows of a table of keys.
fn records(source: &Source, options: &ImportKeys) -> Result<Vec<Record>, Fault> {
    let (text, ignore) = (source.text(), &options.ignore);
    let begins = |with: char| text.trim_start().starts_with(with);
    match options.format {
        KeyTableFormat::Csv => keys::of_csv(text, ignore),
        KeyTableFormat::Jsonl => keys::of_nodes(&json::read_lines(text)?, ignore),
        KeyTableFormat::Json => keys::of_nodes(keys::elements(&json::read(text)?)?, ignore),
        KeyTableFormat::Auto if begins('[') => keys::of_nodes(keys::elements(&json::read(text)?)?, ignore),
        KeyTableFormat::Auto if begins('{') => keys::of_nodes(&json::read_lines(text)?, ignore),
        KeyTableFormat::Auto => keys::of_csv(text, ignore),
    }
}
