//! Keys that another system issued, as its table has them: in CSV, JSON or JSON lines. A row has the digest of a token, or the token itself,
//! which is hashed here and goes no further.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use keyward_crypto::digest::sha256;
use keyward_crypto::{SecretText, Zeroizing};
use keyward_domain::imported::{Algorithm, Digest, LENGTH_MAX, LENGTH_MIN, is_importable, is_weak};
use keyward_domain::{ApplicationId, Timestamp};
use serde::Serialize;

use super::kinds::copy;
use super::source::{Fault, Place};
use super::tables::Table;
use super::tree::{Node, Shape};

/// The columns that a table may have; it has one of the first two, and no other is needed.
pub const COLUMNS: [&str; 10] = [
    "digest",
    "token",
    "name",
    "application",
    "environment",
    "scopes",
    "tags",
    "expires_at",
    "network",
    "policy",
];
/// What a key is called whose row has no name.
const NAME_DEFAULT: &str = "imported";
/// Numbers from this on are milliseconds since 1970, those below are seconds: as seconds this is the year 33658.
const MILLISECONDS_MIN: i64 = 1_000_000_000_000;
/// Base64 in either alphabet is told apart by its characters; padding may be there or not.
const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, ANY_PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, ANY_PADDING);

/// A row: what stands below each of its columns. A list has several texts.
pub struct Record {
    /// Where it begins.
    pub place: Place,
    cells: Vec<(String, Vec<SecretText>)>,
}

/// What holds for rows that do not say it themselves.
pub struct Defaults {
    /// Whose key it is.
    pub application: Option<ApplicationId>,
    /// `live` or `test`.
    pub environment: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it is.
    pub now: Timestamp,
}

/// A key as it is sent.
#[derive(Serialize)]
pub struct Key {
    digest: String,
    /// Whether its token can be guessed, where it was at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weak: Option<bool>,
    application: String,
    name: String,
    environment: String,
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_s: Option<i64>,
    #[serde(skip_serializing_if = "Rules::is_empty")]
    rules: Rules,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

#[derive(Serialize)]
struct Rules {
    network: Vec<String>,
}

impl Rules {
    fn is_empty(&self) -> bool {
        self.network.is_empty()
    }
}

impl Key {
    /// What no two keys share.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// Why a row becomes no key.
pub enum NoKey {
    /// It needs none: it has expired.
    LeftOut(&'static str),
    /// It is wrong, and what would be right.
    Unfit(String),
}

/// The rows of a table in CSV. Columns that are none of ours are refused, unless they are to be `passed_over`.
///
/// # Errors
/// It is no table, or has other columns.
pub fn of_csv(text: &str, passed_over: &[String]) -> Result<Vec<Record>, Fault> {
    let table = Table::read(text)?;
    for column in &table.columns {
        check_column(column, Place { line: 1, column: 1 }, passed_over)?;
    }
    let rows = table.rows.iter().map(|row| {
        let cells = COLUMNS.iter().filter_map(|column| {
            let cell = table.cell(row, column)?;
            Some(((*column).to_owned(), vec![SecretText::new(cell.to_owned())]))
        });
        Record { place: row.place, cells: cells.collect() }
    });
    Ok(rows.collect())
}

/// The rows of a list in JSON, or of the lines of a file; members are columns.
///
/// # Errors
/// It is something else, or has other members.
pub fn of_nodes<'n>(
    nodes: impl IntoIterator<Item = &'n Node>,
    passed_over: &[String],
) -> Result<Vec<Record>, Fault> {
    let record = |node: &Node| {
        let Some(members) = node.members() else {
            return Err(Fault::new(
                node.place,
                "no object; expected `{\"digest\": \"...\", \"name\": \"...\"}`",
            ));
        };
        let mut cells = Vec::new();
        for member in members {
            let name = member.name.to_ascii_lowercase();
            check_column(&name, member.place, passed_over)?;
            let texts = match &member.node.shape {
                _ if !COLUMNS.contains(&name.as_str()) => continue,
                Shape::Null => continue,
                Shape::Scalar(_, text) => vec![copy(text)],
                Shape::List(elements) => {
                    let texts = elements.iter().map(|element| element.text().map(copy));
                    texts
                        .collect::<Option<_>>()
                        .ok_or_else(|| Fault::new(member.place, "no list of texts"))?
                }
                Shape::Map(_) => {
                    return Err(Fault::new(member.place, "an object; expected a text or a list of texts"));
                }
            };
            if cells.iter().any(|(known, _)| *known == name) {
                return Err(Fault::new(member.place, format!("`{name}` stands here twice")));
            }
            cells.push((name, texts));
        }
        Ok(Record { place: node.place, cells })
    };
    nodes.into_iter().map(record).collect()
}

/// The elements of a list in JSON.
///
/// # Errors
/// It is no list.
pub fn elements(root: &Node) -> Result<impl Iterator<Item = &Node>, Fault> {
    match &root.shape {
        Shape::List(elements) => Ok(elements.iter().map(|element| &**element)),
        _ => Err(Fault::new(root.place, "no list; expected `[{\"digest\": \"...\", \"name\": \"...\"}]`")),
    }
}

fn check_column(name: &str, place: Place, passed_over: &[String]) -> Result<(), Fault> {
    if COLUMNS.contains(&name) || passed_over.iter().any(|one| one.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let what = format!(
        "no column is called `{name}`; expected {}; name what is not to be imported with --ignore",
        COLUMNS.map(|column| format!("`{column}`")).join(", ")
    );
    Err(Fault::new(place, what))
}

impl Record {
    /// What stands below a column as one text; nothing where it is blank.
    fn text(&self, column: &str) -> Option<&str> {
        let (_, texts) = self.cells.iter().find(|(name, _)| name == column)?;
        texts.first().map(|text| text.expose().trim()).filter(|text| !text.is_empty())
    }

    /// What stands below a column as words: elements of a list, parted by blanks and semicolons.
    fn words(&self, column: &str) -> Vec<String> {
        let texts = self.cells.iter().filter(|(name, _)| name == column).flat_map(|(_, texts)| texts);
        let words = texts.flat_map(|text| text.expose().split(|c: char| c.is_whitespace() || c == ';'));
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        self.text("name").unwrap_or(NAME_DEFAULT)
    }

    /// The key that it becomes.
    ///
    /// # Errors
    /// It becomes none.
    pub fn key(&self, defaults: &Defaults) -> Result<Key, NoKey> {
        let unfit = |what: &str| NoKey::Unfit(what.to_owned());
        let (digest, weak) = match (self.text("digest"), self.text("token")) {
            (Some(text), None) => (digest(text).ok_or_else(|| unfit(DIGEST_EXPECTED))?, None),
            (None, Some(token)) if is_importable(token) => {
                let bytes = sha256(token.as_bytes()).to_vec();
                (Digest::new(Algorithm::Sha256, bytes), Some(is_weak(token)))
            }
            (None, Some(_)) => {
                return Err(NoKey::Unfit(format!(
                    "its token cannot be imported; expected {LENGTH_MIN} to {LENGTH_MAX} visible ASCII characters without a comma, and no \
                     token of Keyward"
                )));
            }
            (Some(_), Some(_)) => return Err(unfit("it has a digest and a token; expected one of both")),
            (None, None) => return Err(unfit("it has neither a digest nor a token; expected one of both")),
        };
        let application = self.text("application").map(str::to_owned);
        let application = application.or(defaults.application.map(|id| id.to_string()));
        let application = application.ok_or_else(|| {
            unfit("it does not say whose it is; name the application in its column `application`, or for all with --app")
        })?;
        let expires_in_s = match self.text("expires_at") {
            None => None,
            Some(text) => {
                let at = time(text).ok_or_else(|| {
                    unfit("its `expires_at` is no time; expected RFC 3339, like `2027-01-31T08:00:00Z`, or seconds or milliseconds since 1970")
                })?;
                // Rounded up: a key that lives for less than a second is no dead one.
                let left_ms = at.unix_ms().saturating_sub(defaults.now.unix_ms());
                if left_ms <= 0 {
                    return Err(NoKey::LeftOut("it has expired"));
                }
                Some(left_ms.saturating_add(999) / 1_000)
            }
        };
        let scopes = self.words("scopes");
        Ok(Key {
            digest: digest.to_string(),
            weak,
            application,
            name: self.name().to_owned(),
            environment: self.text("environment").unwrap_or(&defaults.environment).to_ascii_lowercase(),
            scopes: if scopes.is_empty() { defaults.scopes.clone() } else { scopes },
            tags: self.words("tags"),
            expires_in_s,
            rules: Rules { network: self.words("network") },
            policy: self.text("policy").map(str::to_owned),
        })
    }
}

const DIGEST_EXPECTED: &str = "its digest is none; expected SHA-256 or SHA-512 of the whole token, as `sha256:` or `sha512:` and hex, as hex, or as base64";

/// A digest as tables have it: with the name of what made it, as hex, or as base64 in either alphabet; which one it is, its length says.
fn digest(text: &str) -> Option<Digest> {
    let (named, bare) = match text.split_once(':') {
        Some((name, bare)) => {
            let of_name = |one: &Algorithm| name.eq_ignore_ascii_case(one.as_str());
            (Some(Algorithm::ALL.into_iter().find(of_name)?), bare)
        }
        None => (None, text),
    };
    let fits = |algorithm: &Algorithm| named.is_none_or(|named| named == *algorithm);
    let as_hex = |algorithm: Algorithm| format!("{}:{bare}", algorithm.as_str()).parse::<Digest>().ok();
    let mut algorithms = Algorithm::ALL.into_iter().filter(fits);
    algorithms.clone().find_map(as_hex).or_else(|| {
        let bytes = STANDARD.decode(bare).or_else(|_| URL_SAFE.decode(bare)).ok()?;
        let algorithm = algorithms.find(|one| one.length() == bytes.len())?;
        Some(Digest::new(algorithm, bytes))
    })
}

/// A time as tables have it.
fn time(text: &str) -> Option<Timestamp> {
    match text.parse::<i64>() {
        Ok(number) if number >= MILLISECONDS_MIN => Some(Timestamp::from_unix_ms(number)),
        Ok(number) => Some(Timestamp::from_unix_ms(number.checked_mul(1_000)?)),
        Err(_) => Timestamp::parse(text),
    }
}

/// A key's JSON. It has a digest in it, so it is wiped.
///
/// # Errors
/// It is no JSON: a bug.
pub fn body(key: &Key) -> serde_json::Result<Zeroizing<String>> {
    serde_json::to_string(key).map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::json;
    use proptest::prelude::*;

    const TOKEN: &str = "pk_live_51H8Zk2eZvKYlo2C8uXq";
    /// `printf %s pk_live_51H8Zk2eZvKYlo2C8uXq | sha256sum`.
    fn hex() -> String {
        keyward_crypto::digest::hex(&sha256(TOKEN.as_bytes()))
    }

    fn defaults() -> Defaults {
        Defaults {
            application: "app_0000000000000000000002".parse().ok(),
            environment: "live".to_owned(),
            scopes: vec!["orders:read".to_owned()],
            now: Timestamp::from_unix_ms(1_800_000_000_000),
        }
    }

    fn told(records: &[Record]) -> Vec<String> {
        let told = records.iter().map(|record| match record.key(&defaults()) {
            Ok(key) => body(&key).expect("JSON").to_string(),
            Err(NoKey::LeftOut(why)) => format!("<{why}>"),
            Err(NoKey::Unfit(what)) => format!("<<{what}>>"),
        });
        told.collect()
    }

    #[test]
    fn a_table_is_read_with_defaults_for_what_it_does_not_say() {
        let hex = hex();
        let csv = format!(
            "Digest,Name,application,environment,scopes,tags,expires_at,network,internal_id\r\n\
             sha256:{hex},\"Acme, Inc.\",app_0000000000000000000003,TEST,orders:read orders:write,eu;old,2027-01-15T08:00:10Z,10.0.0.0/8 ::1/128,7\r\n\
             {hex},,,,,,,,\r\n\
             sha512:{},x,,,,,1800000060,,\r\n\
             {hex},x,,,,,1799999999000,,\r\n",
            "AB".repeat(64),
        );
        assert!(of_csv(&csv, &[]).err().expect("refused").what.contains("`internal_id`"));
        let records = of_csv(&csv, &["Internal_ID".to_owned()]).expect("reads");
        assert_eq!(
            told(&records),
            [
                format!(
                    "{{\"digest\":\"sha256:{hex}\",\"application\":\"app_0000000000000000000003\",\"name\":\"Acme, Inc.\",\"environment\":\"test\",\
                     \"scopes\":[\"orders:read\",\"orders:write\"],\"tags\":[\"eu\",\"old\"],\"expires_in_s\":10,\
                     \"rules\":{{\"network\":[\"10.0.0.0/8\",\"::1/128\"]}}}}"
                ),
                format!(
                    "{{\"digest\":\"sha256:{hex}\",\"application\":\"app_0000000000000000000002\",\"name\":\"imported\",\"environment\":\"live\",\
                     \"scopes\":[\"orders:read\"]}}"
                ),
                format!(
                    "{{\"digest\":\"sha512:{}\",\"application\":\"app_0000000000000000000002\",\"name\":\"x\",\"environment\":\"live\",\
                     \"scopes\":[\"orders:read\"],\"expires_in_s\":60}}",
                    "ab".repeat(64)
                ),
                "<it has expired>".to_owned(),
            ]
        );
        assert_eq!(records[1].place.line, 3);
    }

    #[test]
    fn a_token_is_hashed_here_and_judged() {
        let csv =
            format!("token,name\n{TOKEN},strong\nacme-partner-2019,weak\nshort,x\nhas a blank in it,x\n");
        let told = told(&of_csv(&csv, &[]).expect("reads"));
        assert!(told[0].contains(&format!("\"sha256:{}\",\"weak\":false", hex())), "{}", told[0]);
        assert!(told[1].contains("\"weak\":true"), "{}", told[1]);
        for refused in &told[2..] {
            assert!(refused.contains("16 to 512 visible"), "{refused}");
        }
        assert!(
            told.iter().all(|told| !told.contains(TOKEN)
                && !told.contains("acme-partner")
                && !told.contains("short"))
        );
    }

    #[test]
    fn json_has_the_same_members_and_lists() {
        let text = format!(
            "[{{\"token\": \"{TOKEN}\", \"name\": \"a\", \"scopes\": [\"a:b\", \"c:d\"], \"expires_at\": null, \"id\": 7}}]"
        );
        let root = json::read(&text).expect("JSON");
        let records = of_nodes(elements(&root).expect("a list"), &["id".to_owned()]).expect("reads");
        assert!(told(&records)[0].contains("\"scopes\":[\"a:b\",\"c:d\"]"), "{:?}", told(&records));
        let lines = json::read_lines(&format!("{{\"digest\":\"{}\"}}\n{{\"digest\":\"hush\"}}\n", hex()))
            .expect("JSON");
        let records = of_nodes(&lines, &[]).expect("reads");
        assert_eq!(records[1].place.line, 2);
        let told = told(&records);
        assert!(
            told[0].contains(&hex()) && told[1].contains("its digest is none") && !told[1].contains("hush")
        );
        for (text, says) in [
            ("{}", "no list"),
            ("[1]", "no object"),
            ("[{\"scopes\":{}}]", "an object"),
            ("[{\"hush\":1}]", "no column"),
        ] {
            let root = json::read(text).expect("JSON");
            let fault =
                elements(&root).map(Iterator::collect::<Vec<_>>).and_then(|nodes| of_nodes(nodes, &[]));
            assert!(fault.err().expect("refused").what.contains(says), "{text}");
        }
    }

    #[test]
    fn digests_are_read_as_tables_have_them() {
        let bytes = sha256(TOKEN.as_bytes());
        let expected = Some(format!("sha256:{}", hex()));
        for text in [
            hex(),
            hex().to_uppercase(),
            format!("SHA256:{}", hex()),
            STANDARD.encode(bytes),
            STANDARD.encode(bytes).trim_end_matches('=').to_owned(),
            URL_SAFE.encode(bytes),
        ] {
            assert_eq!(digest(&text).map(|digest| digest.to_string()), expected, "{text}");
        }
        let long = STANDARD.encode([7_u8; 64]);
        assert_eq!(digest(&long).map(|digest| digest.algorithm()), Some(Algorithm::Sha512));
        for bad in ["", "sha256:", "md5:0123", &format!("sha512:{}", hex()), &hex()[1..], "zz"] {
            assert!(digest(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_a_table_says_is_what_is_sent(names in proptest::collection::vec("[ -~]{1,30}", 1..6)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["token", "name"]).expect("writes");
            for (index, name) in names.iter().enumerate() {
                writer.write_record([format!("{TOKEN}{index}"), name.clone()]).expect("writes");
            }
            let text = String::from_utf8(writer.into_inner().expect("bytes")).expect("text");
            let records = of_csv(&text, &[]).expect("reads");
            prop_assert_eq!(records.len(), names.len());
            for (record, name) in records.iter().zip(&names) {
                let expected = if name.trim().is_empty() { NAME_DEFAULT } else { name.trim() };
                prop_assert_eq!(record.name(), expected);
            }
        }
    }
}
