//! `spin.toml`, manifest version 2: what of it this host runs, and clear refusals of the rest. Reads the one
//! file; it resolves no variables and opens no component.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::error::StartError;
use crate::start::FileStore;

/// A manifest that this host can run.
#[derive(Debug)]
pub struct Manifest {
    /// `[application] name`.
    pub name: String,
    /// `[application] version`.
    pub version: String,
    /// `[variables]`, by name.
    pub variables: BTreeMap<String, VariableDeclaration>,
    /// `[[trigger.http]]`, in order.
    pub http: Vec<HttpTrigger>,
    /// `[[trigger.cron]]`, in order.
    pub cron: Vec<CronTrigger>,
    /// `[component.ID]` and the inline ones, by id.
    pub components: BTreeMap<String, Component>,
}

/// One entry of `[variables]`.
#[derive(Debug, Default)]
pub struct VariableDeclaration {
    /// Its default; a required variable has none.
    pub default: Option<String>,
}

/// One `[[trigger.http]]`.
#[derive(Debug)]
pub struct HttpTrigger {
    /// Its pattern, or nothing when it is private.
    pub route: Option<String>,
    /// Who answers.
    pub answer: Answer,
}

/// Who answers an HTTP trigger.
#[derive(Debug)]
pub enum Answer {
    /// The component with this id.
    Component(String),
    /// The manifest itself.
    Static(StaticResponse),
}

/// `static_response` of an HTTP trigger.
#[derive(Debug)]
pub struct StaticResponse {
    /// Default 200.
    pub status: http::StatusCode,
    /// In the manifest's order.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Default empty.
    pub body: String,
}

/// One `[[trigger.cron]]`.
#[derive(Debug)]
pub struct CronTrigger {
    /// Who ticks.
    pub component: String,
    /// Six or seven fields: second, minute, hour, day of month, month, day of week, year.
    pub expression: String,
}

/// One `[component.ID]`.
#[derive(Debug)]
pub struct Component {
    /// The Wasm file.
    pub source: PathBuf,
    /// Labels of the stores it may open.
    pub key_value_stores: HashSet<String>,
    /// Templates of its variables, by the name it knows them by.
    pub variables: BTreeMap<String, String>,
    /// Where it may send requests.
    pub allowed_outbound_hosts: Vec<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
}

impl Manifest {
    /// Reads and checks the manifest at `path`.
    ///
    /// # Errors
    /// [`StartError::Manifest`] names the table and the field that is wrong and what would be right.
    pub fn load(path: &Path) -> Result<Self, StartError> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| StartError::manifest(path, format!("cannot be read: {e}")))?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, base).map_err(|reason| StartError::manifest(path, reason))
    }

    /// Lets components open a store that the manifest does not have.
    ///
    /// # Errors
    /// What is wrong: there is no such component.
    pub fn admit(&mut self, store: &FileStore) -> Result<(), String> {
        for id in &store.components {
            let component = self.components.get_mut(id).ok_or_else(|| {
                format!("there is no `[component.{id}]`, which is to open the store `{}`", store.label)
            })?;
            component.key_value_stores.insert(store.label.clone());
        }
        Ok(())
    }

    fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let mut root = Fields::new("the manifest", text.parse::<Table>().map_err(|e| e.to_string())?);
        match root.take("spin_manifest_version") {
            Some(Value::Integer(2)) => {}
            Some(other) => {
                return Err(format!("`spin_manifest_version` is `{other}`; this host runs version 2"));
            }
            None => return Err("`spin_manifest_version = 2` is missing".into()),
        }
        let mut application = root.table("application")?.ok_or("the table `[application]` is missing")?;
        let name = application.string("name")?.ok_or("`[application] name` is missing")?;
        let version = application.string("version")?.unwrap_or_default();
        for told_to_people in ["description", "authors", "targets", "tool", "trigger"] {
            application.take(told_to_people);
        }
        application.finish("name, version, description, authors")?;

        let variables = root.table("variables")?.map(parse_variables).transpose()?.unwrap_or_default();
        let mut components = BTreeMap::new();
        if let Some(tables) = root.table("component")? {
            for (id, value) in tables.fields {
                check_component_id(&id)?;
                let component = parse_component(Fields::of(format!("[component.{id}]"), value)?, base)?;
                components.insert(id, component);
            }
        }
        let mut triggers = root
            .table("trigger")?
            .ok_or("no trigger: at least one `[[trigger.http]]` or `[[trigger.cron]]` is needed")?;
        let mut http = Vec::new();
        for (n, trigger) in triggers.tables("http")?.into_iter().enumerate() {
            http.push(parse_http(trigger, n, base, &mut components)?);
        }
        let mut cron = Vec::new();
        for (n, trigger) in triggers.tables("cron")?.into_iter().enumerate() {
            cron.push(parse_cron(trigger, n, base, &mut components)?);
        }
        triggers.finish("http, cron")?;
        root.finish("spin_manifest_version, application, variables, trigger, component")?;
        let known = |id: &String| {
            components.contains_key(id).then_some(()).ok_or_else(|| {
                format!("a trigger names the component `{id}`, which is not declared; add `[component.{id}]`")
            })
        };
        for trigger in &http {
            if let Answer::Component(id) = &trigger.answer {
                known(id)?;
            }
        }
        for trigger in &cron {
            known(&trigger.component)?;
        }
        Ok(Self { name, version, variables, http, cron, components })
    }
}

fn parse_variables(tables: Fields) -> Result<BTreeMap<String, VariableDeclaration>, String> {
    let mut variables = BTreeMap::new();
    for (name, value) in tables.fields {
        check_variable_name(&name).map_err(|e| format!("`[variables] {name}`: {e}"))?;
        let mut table = Fields::of(format!("[variables] {name}"), value)?;
        let required = table.boolean("required")?.unwrap_or(false);
        // No value is ever printed, so that a secret one needs no other treatment.
        table.boolean("secret")?;
        let default = table.string("default")?;
        table.take("description");
        table.finish("required, secret, default, description")?;
        match (required, &default) {
            (true, Some(_)) => {
                return Err(format!(
                    "`[variables] {name}` is required and has a default; it can be one of the two"
                ));
            }
            (false, None) => {
                return Err(format!("`[variables] {name}` needs `required = true` or a `default`"));
            }
            _ => {}
        }
        variables.insert(name, VariableDeclaration { default });
    }
    Ok(variables)
}

fn parse_component(mut table: Fields, base: &Path) -> Result<Component, String> {
    let at = table.at.clone();
    let source = match table.take("source") {
        Some(Value::String(path)) => base.join(path),
        Some(Value::Table(_)) => {
            return Err(format!(
                "`{at} source` is a table; this host takes the path of a local file, as in `source = \"target/app.wasm\"`"
            ));
        }
        Some(other) => return Err(format!("`{at} source` is `{other}`; the path of a Wasm file is needed")),
        None => return Err(format!("`{at} source` is missing: the path of its Wasm file")),
    };
    for ignored in ["description", "build", "tool", "targets", "exclude_files", "profile"] {
        table.take(ignored);
    }
    if let Some(value) = table.take("files")
        && value.as_array().is_none_or(|files| !files.is_empty())
    {
        return Err(format!("`{at} files` is not supported: build the files into the component"));
    }
    for refused in ["ai_models", "sqlite_databases", "dependencies", "dependencies_inherit_configuration"] {
        let present = match table.take(refused) {
            None | Some(Value::Boolean(false)) => false,
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Table(entries)) => !entries.is_empty(),
            Some(_) => true,
        };
        if present {
            return Err(format!("`{at} {refused}` is not supported by this host"));
        }
    }
    if table.take("allowed_http_hosts").is_some() {
        return Err(format!(
            "`{at} allowed_http_hosts` is of manifest version 1; use `allowed_outbound_hosts`"
        ));
    }
    let component = Component {
        source,
        key_value_stores: table.strings("key_value_stores")?.into_iter().collect(),
        variables: table.string_map("variables")?.into_iter().collect(),
        allowed_outbound_hosts: table.strings("allowed_outbound_hosts")?,
        environment: table.string_map("environment")?,
    };
    for name in component.variables.keys() {
        check_variable_name(name).map_err(|e| format!("`{at} variables` has `{name}`: {e}"))?;
    }
    table.finish("source, key_value_stores, variables, allowed_outbound_hosts, environment, build")?;
    Ok(component)
}

fn parse_answerer(
    table: &mut Fields,
    inline_id: String,
    base: &Path,
    components: &mut BTreeMap<String, Component>,
) -> Result<Option<String>, String> {
    match table.take("component") {
        None => Ok(None),
        Some(Value::String(id)) => Ok(Some(id)),
        Some(Value::Table(inline)) => {
            let at = format!("{} component", table.at);
            components.insert(inline_id.clone(), parse_component(Fields { at, fields: inline }, base)?);
            Ok(Some(inline_id))
        }
        Some(other) => Err(format!(
            "`{} component` is `{other}`; a component's id or an inline table is needed",
            table.at
        )),
    }
}

fn parse_http(
    mut table: Fields,
    n: usize,
    base: &Path,
    components: &mut BTreeMap<String, Component>,
) -> Result<HttpTrigger, String> {
    let at = table.at.clone();
    let route = match table.take("route") {
        Some(Value::String(route)) => Some(route),
        Some(Value::Table(private))
            if private.len() == 1 && private.get("private") == Some(&Value::Boolean(true)) =>
        {
            None
        }
        Some(other) => {
            return Err(format!(
                "`{at} route` is `{other}`; a pattern such as \"/orders/:id\" or `{{ private = true }}` is needed"
            ));
        }
        None => {
            return Err(format!(
                "`{at} route` is missing: a pattern such as \"/orders/...\" or `{{ private = true }}`"
            ));
        }
    };
    let component = parse_answerer(&mut table, format!("inline-http-{n}"), base, components)?;
    let fixed = table.table("static_response")?.map(parse_static).transpose()?;
    table.take("id");
    if let Some(executor) = table.take("executor") {
        let kind = executor.get("type").and_then(Value::as_str);
        if !matches!(kind, Some("http" | "spin")) {
            return Err(format!(
                "`{at} executor` is `{executor}`; this host has only `{{ type = \"http\" }}`, which is the default"
            ));
        }
    }
    for refused in ["components", "dependencies"] {
        if table.take(refused).is_some() {
            return Err(format!("`{at} {refused}` (middleware) is not supported by this host"));
        }
    }
    table.finish("route, component, static_response, executor, id")?;
    let answer = match (component, fixed) {
        (Some(id), None) => Answer::Component(id),
        (None, Some(fixed)) if route.is_some() => Answer::Static(fixed),
        (None, Some(_)) => {
            return Err(format!("`{at}` is private and has a `static_response`; nobody could ask for it"));
        }
        (Some(_), Some(_)) => {
            return Err(format!("`{at}` has both `component` and `static_response`; it can have one"));
        }
        (None, None) => return Err(format!("`{at}` needs `component` or `static_response`")),
    };
    Ok(HttpTrigger { route, answer })
}

fn parse_static(mut table: Fields) -> Result<StaticResponse, String> {
    let at = table.at.clone();
    let status = match table.take("status_code") {
        None => http::StatusCode::OK,
        Some(value) => value
            .as_integer()
            .and_then(|code| u16::try_from(code).ok())
            .filter(|code| (200..600).contains(code))
            .and_then(|code| http::StatusCode::from_u16(code).ok())
            .ok_or_else(|| format!("`{at} status_code` is `{value}`; a number from 200 to 599 is needed"))?,
    };
    let mut headers = Vec::new();
    for (name, value) in table.string_map("headers")? {
        let parsed = (http::HeaderName::try_from(name.as_str()), http::HeaderValue::try_from(value));
        let (Ok(parsed_name), Ok(parsed_value)) = parsed else {
            return Err(format!("`{at} headers` has `{name}`, which is no valid header"));
        };
        headers.push((parsed_name, parsed_value));
    }
    let body = table.string("body")?.unwrap_or_default();
    table.finish("status_code, headers, body")?;
    Ok(StaticResponse { status, headers, body })
}

fn parse_cron(
    mut table: Fields,
    n: usize,
    base: &Path,
    components: &mut BTreeMap<String, Component>,
) -> Result<CronTrigger, String> {
    let at = table.at.clone();
    let component = parse_answerer(&mut table, format!("inline-cron-{n}"), base, components)?
        .ok_or_else(|| format!("`{at} component` is missing"))?;
    let expression = table.string("cron_expression")?.ok_or_else(|| {
        format!(
            "`{at} cron_expression` is missing, as in \"0 */5 * * * *\" (sec min hour dom mon dow [year])"
        )
    })?;
    table.take("id");
    table.finish("component, cron_expression, id")?;
    Ok(CronTrigger { component, expression })
}

/// Lower-case letters, digits and single underscores, a letter first: Spin's rule for variables.
pub(crate) fn check_variable_name(name: &str) -> Result<(), String> {
    let well_formed = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.contains("__");
    if well_formed {
        Ok(())
    } else {
        Err("a variable's name has lower-case letters, digits and single underscores, and starts with a letter".into())
    }
}

fn check_component_id(id: &str) -> Result<(), String> {
    let well_formed = id.split('-').all(|word| {
        word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(|c| c.is_ascii_alphanumeric())
    });
    if well_formed {
        Ok(())
    } else {
        Err(format!("`[component.{id}]`: a component's id is words of letters and digits joined by `-`"))
    }
}

/// A table being taken apart; what is left at the end was not understood.
struct Fields {
    at: String,
    fields: Table,
}

impl Fields {
    fn new(at: impl Into<String>, fields: Table) -> Self {
        Self { at: at.into(), fields }
    }

    fn of(at: String, value: Value) -> Result<Self, String> {
        match value {
            Value::Table(fields) => Ok(Self { at, fields }),
            other => Err(format!("`{at}` is `{other}`; a table is needed")),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name)
    }

    fn table(&mut self, name: &str) -> Result<Option<Self>, String> {
        let at = if self.at.starts_with('[') { format!("{} {name}", self.at) } else { format!("[{name}]") };
        self.take(name).map(|value| Self::of(at, value)).transpose()
    }

    fn tables(&mut self, name: &str) -> Result<Vec<Self>, String> {
        let at = format!("[[trigger.{name}]]");
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items.into_iter().map(|item| Self::of(at.clone(), item)).collect(),
            Some(_) => Err(format!("`{at}` must be written with two brackets")),
        }
    }

    fn string(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("`{} {name}` is `{other}`; a string is needed", self.at)),
        }
    }

    fn boolean(&mut self, name: &str) -> Result<Option<bool>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(value)),
            Some(other) => Err(format!("`{} {name}` is `{other}`; true or false is needed", self.at)),
        }
    }

    fn strings(&mut self, name: &str) -> Result<Vec<String>, String> {
        let items = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => {
                return Err(format!("`{} {name}` is `{other}`; a list of strings is needed", self.at));
            }
        };
        let as_string = |item: Value| match item {
            Value::String(text) => Ok(text),
            other => Err(format!("`{} {name}` holds `{other}`; a string is needed", self.at)),
        };
        items.into_iter().map(as_string).collect()
    }

    fn string_map(&mut self, name: &str) -> Result<Vec<(String, String)>, String> {
        let entries = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Table(entries)) => entries,
            Some(other) => {
                return Err(format!("`{} {name}` is `{other}`; a table of strings is needed", self.at));
            }
        };
        let as_pair = |(key, value): (String, Value)| match value {
            Value::String(text) => Ok((key, text)),
            _ => Err(format!("`{} {name}` has `{key}`, whose value is no string", self.at)),
        };
        entries.into_iter().map(as_pair).collect()
    }

    fn finish(self, known: &str) -> Result<(), String> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(unknown) => {
                Err(format!("{} has `{unknown}`, which this host does not know; known are {known}", self.at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "spin_manifest_version = 2\n[application]\nname = \"a\"\n";

    fn parse(rest: &str) -> Result<Manifest, String> {
        Manifest::parse(&format!("{HEAD}{rest}"), Path::new("/app"))
    }

    #[test]
    fn a_further_store_is_opened_by_components_that_there_are() {
        let mut manifest = parse(
            "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"front\"\n[component.front]\nsource = \"front.wasm\"",
        )
        .unwrap();
        let store = |component: &str| FileStore {
            label: "witness".into(),
            path: "w.db".into(),
            components: vec![component.into()],
        };
        manifest.admit(&store("front")).unwrap();
        assert!(manifest.components["front"].key_value_stores.contains("witness"));
        assert!(manifest.admit(&store("back")).unwrap_err().contains("no `[component.back]`"));
    }

    #[test]
    fn a_whole_manifest_is_understood() {
        let manifest = parse(
            r#"
            version = "1.2.3"
            [variables]
            secret_one = { required = true, secret = true }
            plain = { default = "x" }
            [[trigger.http]]
            route = "/a/..."
            component = "front"
            [[trigger.http]]
            route = { private = true }
            component = "front"
            [[trigger.http]]
            route = "/robots.txt"
            static_response = { status_code = 404, headers = { x-a = "b" }, body = "no" }
            [[trigger.http]]
            route = "/inline"
            component = { source = "i.wasm" }
            [[trigger.cron]]
            component = "front"
            cron_expression = "0 * * * * *"
            [component.front]
            source = "target/front.wasm"
            key_value_stores = ["default"]
            allowed_outbound_hosts = ["https://example.com"]
            variables = { mine = "{{ plain }}" }
            environment = { A = "b" }
            [component.front.build]
            command = "make"
            "#,
        )
        .unwrap();
        assert_eq!(manifest.http.len(), 4);
        assert!(manifest.variables["secret_one"].default.is_none());
        assert_eq!(manifest.components["front"].source, Path::new("/app/target/front.wasm"));
        assert!(manifest.components.contains_key("inline-http-3"));
        assert!(matches!(&manifest.http[2].answer, Answer::Static(s) if s.status == 404 && s.body == "no"));
    }

    #[test]
    fn each_fault_is_named_with_what_would_be_right() {
        let component = "[component.c]\nsource = \"c.wasm\"\n";
        let route = "[[trigger.http]]\nroute = \"/\"\ncomponent = \"c\"\n";
        for (text, part) in [
            ("", "no trigger"),
            (&*format!("{route}[component.c]\n"), "`[component.c] source` is missing"),
            (&*format!("{route}{component}files = [\"a\"]\n"), "`[component.c] files` is not supported"),
            (&*format!("{route}{component}colour = 1\n"), "[component.c] has `colour`"),
            (route, "not declared; add `[component.c]`"),
            (&*format!("[[trigger.http]]\ncomponent = \"c\"\n{component}"), "route` is missing"),
            (
                &*format!("[[trigger.http]]\nroute = \"/\"\n{component}"),
                "needs `component` or `static_response`",
            ),
            (&*format!("[[trigger.redis]]\n{component}"), "`redis`, which this host does not know"),
            (&*format!("[variables]\nA = {{ default = \"\" }}\n{route}{component}"), "lower-case"),
            (
                &*format!("[variables]\na = {{ }}\n{route}{component}"),
                "needs `required = true` or a `default`",
            ),
            (&*format!("{route}[component.c]\nsource = {{ url = \"x\" }}\n"), "path of a local file"),
        ] {
            let seen = parse(text).map(|_| ()).unwrap_err();
            assert!(seen.contains(part), "for {text}: {seen}");
        }
    }
}
