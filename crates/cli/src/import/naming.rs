//! Names of what had other names before: made fit by rules that docs/import.md states, or refused.

use keyward_domain::credential::{NAME_BYTES_MAX, check_name};

/// The name of a credential whose path in a file has these segments: each may have further ones, parted by `/`.
///
/// Letters become small; each run of what no name may have becomes one `-`; a segment begins with its first letter or digit and ends
/// without a `-`.
///
/// # Errors
/// What would be right, where nothing is left of a segment, the name is too long, or it begins as an application's id does.
pub fn name(prefix: &str, path: &[String]) -> Result<String, String> {
    let mut segments = Vec::new();
    for segment in path.iter().flat_map(|segment| segment.split('/')).filter(|segment| !segment.is_empty()) {
        let fit = fit(segment);
        if fit.is_empty() {
            return Err("its name has a part without a letter of a-z or a digit; rename it".to_owned());
        }
        segments.push(fit);
    }
    if segments.is_empty() {
        return Err("it has no name; name it".to_owned());
    }
    let name = format!("{prefix}{}", segments.join("/"));
    match check_name("name", &name) {
        Ok(()) => Ok(name),
        Err(_) if name.len() > NAME_BYTES_MAX => {
            Err(format!("its name would have {} bytes; at most {NAME_BYTES_MAX} with the prefix", name.len()))
        }
        Err(_) => Err("its name would begin as an application's id does; give a --prefix".to_owned()),
    }
}

fn fit(segment: &str) -> String {
    let mut fit = String::with_capacity(segment.len());
    for c in segment.chars() {
        let c = c.to_ascii_lowercase();
        match c {
            'a'..='z' | '0'..='9' => fit.push(c),
            '.' | '_' | '-' if !fit.is_empty() => fit.push(c),
            _ if fit.is_empty() || fit.ends_with('-') => {}
            _ => fit.push('-'),
        }
    }
    fit.truncate(fit.trim_end_matches('-').len());
    fit
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(prefix: &str, path: &[&str]) -> Result<String, String> {
        name(prefix, &path.iter().map(|&segment| segment.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_are_made_fit() {
        for (path, expected) in [
            (&["DATABASE_URL"][..], "database_url"),
            (&["Stripe Key (live)"], "stripe-key-live"),
            (&["_private"], "private"),
            (&["a", "B", "c.d"], "a/b/c.d"),
            (&["secret/shop/db"], "secret/shop/db"),
            (&["/secret//shop/"], "secret/shop"),
            (&["grün"], "gr-n"),
            (&["a--b__c"], "a--b__c"),
            (&["x - - y"], "x---y"),
        ] {
            assert_eq!(of("", path).as_deref(), Ok(expected), "{path:?}");
        }
        assert_eq!(of("shop/", &["A"]).as_deref(), Ok("shop/a"));
        for (path, says) in [
            (&["日本"][..], "without a letter"),
            (&["/"], "no name"),
            (&[], "no name"),
            (&["app_x"], "--prefix"),
        ] {
            assert!(of("", path).expect_err("refused").contains(says), "{path:?}");
        }
        assert!(of("", &[&"x".repeat(81)]).expect_err("refused").contains("81 bytes"));
    }

    proptest! {
        #[test]
        fn what_comes_out_is_a_name_and_stays_one(path in proptest::collection::vec(".{0,20}", 0..4)) {
            if let Ok(name) = super::name("", &path) {
                prop_assert_eq!(check_name("name", &name), Ok(()));
                prop_assert_eq!(super::name("", std::slice::from_ref(&name)), Ok(name));
            }
        }
    }
}
