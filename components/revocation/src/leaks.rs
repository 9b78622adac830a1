//! `/v1/leaks`: tokens that GitHub's secret scanning found, in its format and under its signature.

use keyward_control::Plane;
use keyward_domain::event::Action;
use keyward_domain::{Code, Error, Result};
use keyward_guest::headers::Field;
use keyward_guest::{Incoming, Response, variables};
use keyward_service::{LeakReport, MATCHES_MAX};

/// The longest report, in bytes: ten thousand matches of 800.
const REPORT_BYTES_MAX: usize = MATCHES_MAX * 800;

pub(crate) async fn report(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    let header = |field, name: &str| match incoming.headers().single(field) {
        Ok(Some(value)) => std::str::from_utf8(value)
            .map(|text| text.trim().to_owned())
            .map_err(|_| Error::parameter(name, "is not valid", "ASCII")),
        Ok(None) => Err(Error::new(
            Code::Unauthenticated,
            format!("the report is not signed; expected the header `{name}`"),
        )),
        Err(_) => Err(Error::parameter(name, "stands more than once", "one value")),
    };
    let identifier = header(Field::GithubPublicKeyIdentifier, "Github-Public-Key-Identifier")?;
    let signature = header(Field::GithubPublicKeySignature, "Github-Public-Key-Signature")?;
    let variables = variables::leaks().await?;
    let Some(keys) = &variables.report_keys else {
        let detail = "nobody may report leaks here; set the variable `leak_report_keys` to the keys that reports are signed with";
        return Err(Error::new(Code::NotFound, detail));
    };
    let body = incoming.body_of(REPORT_BYTES_MAX).await?;
    keys.verify(&identifier, &signature, &body)
        .map_err(|error| Error::new(Code::Unauthenticated, format!("the report is {error}")))?;
    // The parser's own words quote the input.
    let report: LeakReport = serde_json::from_slice(&body).map_err(|fault| {
        let place = format!("line {}, column {}", fault.line(), fault.column());
        Error::new(Code::InvalidBody, format!("the report is no list of matches: fault at {place}"))
    })?;
    plane
        .hold(incoming, Action::KeyLeaked, async |service, attempt| {
            Response::json(200, &service.report_leaks(attempt, &report).await?)
        })
        .await
}
