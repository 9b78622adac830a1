//! The claim page: explains what waits behind a link, claims on a click, shows the token once. Nothing comes from another origin.

use keyward_guest::Response;

const FRAME: &str = include_str!("claim_page/page.html");
const STYLE: &str = include_str!("claim_page/style.css");
const SCRIPT: &str = include_str!("claim_page/script.js");

pub(crate) fn page() -> Response {
    let html = FRAME.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
    Response::page(&html, SCRIPT, STYLE)
}
