//! The files of the pages: one style sheet, one script, one picture. Each is served under a name with a digest of its content, so that
//! browsers keep it for good and never an old one.

use keyward_crypto::digest::{hex, sha256};
use keyward_domain::{Error, Result};
use keyward_guest::Response;
use std::sync::LazyLock;

/// A file and the name that it has.
pub(crate) struct Asset {
    media_type: &'static str,
    content: &'static str,
    path: LazyLock<String>,
}

/// Below which path they lie.
const FOLDER: &str = "/dashboard/assets/";

macro_rules! asset {
    ($name:literal, $ending:literal, $media_type:literal) => {
        Asset {
            media_type: $media_type,
            content: include_str!(concat!("../assets/", $name, ".", $ending)),
            path: LazyLock::new(|| {
                named($name, $ending, include_str!(concat!("../assets/", $name, ".", $ending)))
            }),
        }
    };
}

pub(crate) static STYLE: Asset = asset!("style", "css", "text/css; charset=utf-8");
pub(crate) static SCRIPT: Asset = asset!("script", "js", "text/javascript; charset=utf-8");
pub(crate) static ICON: Asset = asset!("icon", "svg", "image/svg+xml");

fn named(name: &str, ending: &str, content: &str) -> String {
    let digest = hex(&sha256(content.as_bytes()));
    format!("{FOLDER}{name}.{}.{ending}", digest.get(..16).unwrap_or_default())
}

impl Asset {
    /// Where it lies.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// The file of this path.
pub(crate) fn serve(path: &str) -> Result<Response> {
    let found = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.path() == path);
    let asset = found.ok_or_else(|| Error::not_found("file"))?;
    Ok(Response::asset(asset.media_type, asset.content.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_digest_in_its_name_and_no_other_name() {
        let style = serve(STYLE.path()).expect("there");
        assert_eq!(style.field("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(style.field("content-type"), Some("text/css; charset=utf-8"));
        assert!(serve("/dashboard/assets/style.css").is_err() && serve(FOLDER).is_err());
    }

    #[test]
    fn nothing_in_the_files_comes_from_elsewhere() {
        for asset in [&STYLE, &SCRIPT] {
            for elsewhere in ["http:", "https:", "@import", "url(", "eval(", "innerHTML"] {
                assert!(!asset.content.contains(elsewhere), "{elsewhere} in {}", asset.path());
            }
        }
    }
}
