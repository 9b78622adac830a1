//! Named contexts, kept in a file of the user's own: where a Keyward answers, and where the key file for it lies; never a key. A
//! flag goes before the environment, the environment before the context in use. A context's key goes to its own URL alone.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use keyward_domain::error::Blame;
use serde::{Deserialize, Serialize};

use crate::arguments::{Global, URL_DEFAULT};
use crate::aside::{Aside, write_private};
use crate::failure::{Failure, Result};

/// The file below the user's folder of configurations.
const FILE: &str = "keyward/contexts.toml";

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// A context.
    Context,
    /// Nobody.
    #[default]
    Default,
}

impl Origin {
    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::Context => "context",
            Self::Default => "default",
        }
    }

    fn of(matches: &ArgMatches, argument: &str) -> Self {
        match matches.value_source(argument) {
            Some(ValueSource::CommandLine) => Self::Flag,
            Some(ValueSource::EnvVariable) => Self::Environment,
            _ => Self::Default,
        }
    }

    const fn is_said(self) -> bool {
        matches!(self, Self::Flag | Self::Environment)
    }
}

/// Who says where Keyward is and what to present there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origins {
    /// The URL.
    pub url: Origin,
    /// The key file.
    pub key_file: Origin,
    /// The certificates.
    pub ca_cert: Origin,
    /// The context's name.
    pub context: Origin,
}

impl Origins {
    /// As the command line was parsed.
    pub fn of(matches: &ArgMatches) -> Self {
        let of = |argument| Origin::of(matches, argument);
        Self { url: of("url"), key_file: of("key_file"), ca_cert: of("ca_cert"), context: of("context") }
    }

    /// Whether somebody says for this very command where Keyward is.
    pub const fn is_said(self) -> bool {
        self.url.is_said() || self.context.is_said()
    }
}

/// One context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Where Keyward answers.
    pub url: String,
    /// Where the key file for it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Where certificates lie to trust instead of the public authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<PathBuf>,
}

/// All contexts of a user.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Each by its name.
    #[serde(default, rename = "context")]
    pub all: BTreeMap<String, Context>,
}

/// Where the file is: below `XDG_CONFIG_HOME`, or else `.config` in the home folder (XDG Base Directory Specification 0.8). `None`
/// for who has neither.
fn path() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(folder.join(FILE))
}

fn unusable(path: &Path, detail: &str) -> Failure {
    let detail = format!("{}: {detail}", path.display());
    Failure::new(Blame::Caller, "The file of contexts cannot be used", detail)
}

impl Contexts {
    /// Reads them; none where there is no file.
    ///
    /// # Errors
    /// The file cannot be read, says something else, or others may write it: who writes it says where keys are sent.
    pub fn load() -> Result<Self> {
        let Some(path) = path() else { return Ok(Self::default()) };
        let mode = match std::fs::metadata(&path) {
            Ok(file) => file.permissions().mode(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unusable(&path, &error.to_string())),
        };
        if mode & 0o022 != 0 {
            return Err(unusable(
                &path,
                "others may write it, and so have keys sent elsewhere; `chmod 600` it",
            ));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| unusable(&path, &error.to_string()))?;
        toml::from_str(&text).map_err(|error| unusable(&path, error.message()))
    }

    /// Writes them, readable by their owner alone.
    ///
    /// # Errors
    /// There is no home, or the disk refuses.
    pub fn save(&self) -> Result<()> {
        let Some(path) = path() else {
            let detail = "neither XDG_CONFIG_HOME nor HOME says where contexts are kept";
            return Err(Failure::new(Blame::Caller, "There is no place for contexts", detail));
        };
        let text = toml::to_string(self).map_err(|error| Failure::system("TOML", error))?;
        if let Some(folder) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|error| unusable(folder, &error.to_string()))?;
        }
        let aside = Aside::of(&path);
        write_private(aside.path(), &text)?;
        aside.put_into_place()
    }

    /// The context of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, name: &str) -> Result<&Context> {
        self.all.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.all.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Failure::command_line(format!("there is no context `{name}`; there is {known}"))
        })
    }
}

/// Fills in from a context what flags and environment leave open: the one that `--context` names, before the environment's URL; or
/// the one in use, after it.
///
/// # Errors
/// A flag for each; the file of contexts cannot be used, or has no context of that name.
pub fn resolve(global: &mut Global) -> Result<()> {
    let said = global.origins;
    if said.url == Origin::Flag && said.context == Origin::Flag {
        return Err(Failure::command_line("only one of --context and --url can say where Keyward is"));
    }
    if said.url == Origin::Flag || (said.url == Origin::Environment && said.context != Origin::Flag) {
        // Another place than a context's: its key stays out of it.
        global.context = None;
        return Ok(());
    }
    let contexts = Contexts::load()?;
    let Some(name) = global.context.clone().or_else(|| contexts.current.clone()) else { return Ok(()) };
    let context = contexts.get(&name)?;
    // A flag beats the context; so does the environment, unless a flag names the context.
    let is_open = |origin: Origin| {
        origin == Origin::Default || (origin == Origin::Environment && said.context == Origin::Flag)
    };
    global.url = Some(context.url.clone());
    global.origins.url = Origin::Context;
    if let (true, Some(path)) = (is_open(said.key_file), &context.key_file) {
        global.key_file.clone_from(path);
        global.origins.key_file = Origin::Context;
    }
    if is_open(said.ca_cert) && context.ca_cert.is_some() {
        global.ca_cert.clone_from(&context.ca_cert);
        global.origins.ca_cert = Origin::Context;
    }
    global.context = Some(name);
    Ok(())
}

/// Where Keyward is, as far as it is said.
pub fn url_of(global: &Global) -> &str {
    global.url.as_deref().unwrap_or(URL_DEFAULT)
}
