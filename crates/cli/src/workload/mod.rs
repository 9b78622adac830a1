//! What runs beside a service so that it carries no credential along: `exec` starts it with its credentials in its environment, `agent`
//! keeps them in files and hands them out at a Unix socket. Both learn of a new version within moments, and go on through an outage for as long as policies allow.

pub mod agent;
pub mod exec;
mod process;
mod selector;
mod socket;
mod watch;

use crate::arguments::Global;
use crate::failure::{Failure, Result};
use keyward_client::{Client, Token};
use keyward_domain::ApplicationId;
use keyward_domain::error::{Blame, Code};

pub use selector::Selector;

/// The client of the services' side, for the server and the token that the arguments name.
fn client(global: &Global, application: Option<ApplicationId>, signer: Option<&str>) -> Result<Client> {
    if global.key_file.as_os_str() == "-" {
        return Err(Failure::command_line(
            "the token has to be in a file, from which it is read anew when it is rotated",
        ));
    }
    let url = global.url.as_deref().unwrap_or(crate::arguments::URL_DEFAULT);
    Client::builder(url)
        .token(Token::file(&global.key_file))
        .application(application.map(|id| id.to_string()))
        .ca_cert(global.ca_cert.clone())
        .signer(signer.map(str::to_owned))
        .user_agent(concat!("keyward/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| failure(None, &error))
}

/// Why a credential was not had, as the command ends with it.
fn failure(name: Option<&str>, error: &keyward_client::Error) -> Failure {
    use keyward_client::Error;
    let about = |what: &str| name.map_or_else(|| what.to_owned(), |name| format!("`{name}`: {what}"));
    match error {
        Error::Misused(what) => Failure::command_line(what.clone()),
        Error::Refused { code, detail } => {
            let blame = code.parse::<Code>().map_or(Blame::Caller, Code::blame);
            Failure::new(blame, "The credential was refused", about(&format!("{detail} ({code})")))
        }
        Error::Unavailable(what) => Failure::new(Blame::Store, "Keyward cannot be reached", about(what)),
        Error::NotAuthentic(what) => {
            Failure::new(Blame::Integrity, "The answer is not authentic", about(what))
        }
    }
}
