//! Rules for secrets of third parties: those of the crate `nosecrets-rules`, and those of files in the format of gitleaks. No pattern is
//! written here; what is here is how a rule is read, when it is tried, and what of a match is no secret.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use aho_corasick::AhoCorasick;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use keyward_domain::error::Blame;
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::failure::{Failure, Result};

/// The most memory that one compiled pattern may take, in bytes: those of gitleaks repeat large classes thousands of times.
const PATTERN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest file of rules that is read, in bytes: gitleaks' own has 150 KB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A text of so many bytes or more can be judged by how evenly its bytes are spread.
const SPREAD_BYTES_MIN: usize = 16;
/// The fewest bits for each byte of such a text where its rule asks for none (Shannon's entropy): random hexadecimal digits have more than
/// 3, placeholders such as `xxxxxxxx-0000` have less.
const SPREAD_MIN: f64 = 3.0;

/// How bad it is where a rule finds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It may be nothing.
    Low,
    /// It looks like a secret by what stands before it.
    Medium,
    /// It is shaped as only a secret is.
    High,
    /// The same, and much hangs on it.
    Critical,
}

impl Severity {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What a rule is called.
#[derive(Debug, PartialEq, Eq)]
pub struct About {
    /// Its stable id, such as `github-pat`.
    pub id: String,
    /// What it finds, for people.
    pub name: String,
    /// How bad that is.
    pub severity: Severity,
}

/// Which part of what a pattern matches is the secret.
enum Part {
    /// This group.
    Group(usize),
    /// The first group that took part, or else all of it.
    First,
}

/// What is no secret although a pattern matches it: where all that is given holds, or any of it.
struct Exception {
    needs_all: bool,
    paths: Vec<Regex>,
    patterns: Vec<Regex>,
    /// What `patterns` look at.
    of: Target,
    stop_words: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Target {
    #[default]
    Secret,
    Match,
    Line,
}

struct Rule {
    about: std::sync::Arc<About>,
    pattern: Regex,
    part: Part,
    /// Of the paths that it is for.
    path: Option<Regex>,
    included: Option<Gitignore>,
    excluded: Option<Gitignore>,
    spread_min: Option<f64>,
    bytes: std::ops::RangeInclusive<usize>,
    prefixes: Vec<String>,
    charset: Option<Regex>,
    values: Vec<String>,
    exceptions: Vec<Exception>,
}

/// Where a rule found a secret.
pub struct Hit {
    /// Which rule.
    pub about: std::sync::Arc<About>,
    /// The bytes of the secret.
    pub span: Range<usize>,
}

/// All rules, and the words that say which of them to try.
pub struct Rules {
    rules: Vec<Rule>,
    words: AhoCorasick,
    /// For each word, the rules that are tried where it stands.
    of_word: Vec<Vec<usize>>,
    /// Rules that have no words.
    always: Vec<usize>,
    exceptions: Vec<Exception>,
}

impl Rules {
    /// The rules that this command comes with, and those of `files`; a rule of a file takes the place of the one of its id.
    ///
    /// # Errors
    /// A file that is none of rules, or a pattern in it that cannot be compiled.
    pub fn load(files: &[impl AsRef<Path>]) -> Result<Self> {
        let mut drafts = Vec::new();
        let carried = nosecrets_rules::load_builtin_rules().map_err(|error| bug(&error))?;
        for rule in carried {
            let id = rule.id.clone();
            drafts.push(Draft::carried(rule).map_err(|error| bug(&format!("{id}: {error}")))?);
        }
        let mut exceptions = Vec::new();
        for file in files.iter().map(AsRef::as_ref) {
            let unfit = |what: &dyn std::fmt::Display| {
                Failure::new(Blame::Caller, "The rules cannot be used", format!("{}: {what}", file.display()))
            };
            let document: gitleaks::Document =
                toml::from_str(&read(file)?).map_err(|error| unfit(&error.message()))?;
            for rule in document.rules {
                let id = rule.id.clone();
                if let Some(draft) = rule.draft().map_err(|error| unfit(&format!("`{id}`: {error}")))? {
                    drafts.retain(|before: &Draft| before.rule.about.id != id);
                    drafts.push(draft);
                }
            }
            for exception in document.allowlist.into_iter().chain(document.allowlists) {
                exceptions.push(exception.build().map_err(|error| unfit(&error))?);
            }
        }
        Self::of(drafts, exceptions)
    }

    fn of(drafts: Vec<Draft>, exceptions: Vec<Exception>) -> Result<Self> {
        let words: BTreeSet<String> =
            drafts.iter().flat_map(|draft| &draft.words).map(|word| word.to_ascii_lowercase()).collect();
        let words: Vec<String> = words.into_iter().collect();
        let mut of_word = vec![Vec::new(); words.len()];
        let mut always = Vec::new();
        let mut rules = Vec::with_capacity(drafts.len());
        for (index, draft) in drafts.into_iter().enumerate() {
            if draft.words.is_empty() {
                always.push(index);
            }
            for word in &draft.words {
                let at = words.binary_search(&word.to_ascii_lowercase()).ok();
                if let Some(rules) = at.and_then(|at| of_word.get_mut(at)) {
                    rules.push(index);
                }
            }
            rules.push(draft.rule);
        }
        let words =
            AhoCorasick::builder().ascii_case_insensitive(true).build(&words).map_err(|error| bug(&error))?;
        Ok(Self { rules, words, of_word, always, exceptions })
    }

    /// Every rule there is.
    pub fn all(&self) -> impl Iterator<Item = &About> {
        self.rules.iter().map(|rule| &*rule.about)
    }

    /// What the rules find in a file of this path; two may find the same.
    pub fn find(&self, path: &str, content: &[u8]) -> Vec<Hit> {
        let mut tried = vec![false; self.rules.len()];
        let mut seen = vec![false; self.of_word.len()];
        self.always.iter().for_each(|index| mark(&mut tried, *index));
        for word in self.words.find_overlapping_iter(content) {
            let word = word.pattern().as_usize();
            if !seen.get(word).copied().unwrap_or(true) {
                mark(&mut seen, word);
                self.of_word.get(word).into_iter().flatten().for_each(|index| mark(&mut tried, *index));
            }
        }
        let mut hits = Vec::new();
        for (rule, _) in self.rules.iter().zip(tried).filter(|(_, tried)| *tried) {
            if rule.is_for(path) {
                let found = rule.pattern.captures_iter(content);
                hits.extend(found.filter_map(|found| rule.secret(&found, path, content, &self.exceptions)));
            }
        }
        hits
    }
}

fn mark(flags: &mut [bool], index: usize) {
    if let Some(flag) = flags.get_mut(index) {
        *flag = true;
    }
}

impl Rule {
    fn is_for(&self, path: &str) -> bool {
        let matches = |globs: &Gitignore| globs.matched_path_or_any_parents(path, false).is_ignore();
        self.path.as_ref().is_none_or(|pattern| pattern.is_match(path.as_bytes()))
            && self.included.as_ref().is_none_or(matches)
            && !self.excluded.as_ref().is_some_and(matches)
    }

    fn secret(
        &self,
        found: &regex::bytes::Captures<'_>,
        path: &str,
        content: &[u8],
        exceptions: &[Exception],
    ) -> Option<Hit> {
        let whole = found.get(0)?;
        let secret = match self.part {
            Part::Group(group) => found.get(group)?,
            Part::First => found.iter().skip(1).flatten().find(|group| !group.is_empty()).unwrap_or(whole),
        };
        let span = with_armor(content, secret.range())?;
        let text = content.get(span.clone())?;
        let fits = self.bytes.contains(&text.len())
            && (self.prefixes.is_empty() || self.prefixes.iter().any(|one| text.starts_with(one.as_bytes())))
            && self.charset.as_ref().is_none_or(|charset| charset.is_match(text));
        let is_spread = match self.spread_min {
            Some(least) => spread(text) >= least,
            None => text.len() < SPREAD_BYTES_MIN || spread(text) >= SPREAD_MIN,
        };
        if !fits || !is_spread || is_reference(text) {
            return None;
        }
        if self.values.iter().any(|value| value.as_bytes() == text) {
            return None;
        }
        let seen = Seen { path, secret: text, whole: whole.as_bytes(), line: line_of(content, &span) };
        let is_excepted = self.exceptions.iter().chain(exceptions).any(|exception| exception.holds(&seen));
        (!is_excepted).then(|| Hit { about: std::sync::Arc::clone(&self.about), span })
    }
}

/// What exceptions look at.
struct Seen<'a> {
    path: &'a str,
    secret: &'a [u8],
    whole: &'a [u8],
    line: &'a [u8],
}

impl Exception {
    fn holds(&self, seen: &Seen<'_>) -> bool {
        let text = match self.of {
            Target::Secret => seen.secret,
            Target::Match => seen.whole,
            Target::Line => seen.line,
        };
        let secret = String::from_utf8_lossy(seen.secret).to_ascii_lowercase();
        let given = [
            (!self.paths.is_empty())
                .then(|| self.paths.iter().any(|path| path.is_match(seen.path.as_bytes()))),
            (!self.patterns.is_empty()).then(|| self.patterns.iter().any(|pattern| pattern.is_match(text))),
            (!self.stop_words.is_empty())
                .then(|| self.stop_words.iter().any(|word| secret.contains(word.as_str()))),
        ];
        let mut given = given.into_iter().flatten().peekable();
        match (given.peek(), self.needs_all) {
            (None, _) => false,
            (Some(_), true) => given.all(|holds| holds),
            (Some(_), false) => given.any(|holds| holds),
        }
    }
}

/// The whole of an armored key (RFC 7468) where its first line alone was found; none where there is no more than that line, which is
/// what documents say.
fn with_armor(content: &[u8], span: Range<usize>) -> Option<Range<usize>> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    /// Of 16384 bits in base64, and headers.
    const ARMOR_BYTES_MAX: usize = 32 * 1024;
    /// The shortest private key, of Ed25519, has 64 characters.
    const BODY_BYTES_MIN: usize = 64;
    let head = content.get(span.clone())?;
    if !head.starts_with(BEGIN) || head.windows(END.len()).any(|part| part == END) {
        return Some(span);
    }
    let label = head.get(BEGIN.len()..)?;
    let end = [END, label].concat();
    let rest = content.get(span.end..)?;
    let rest = rest.get(..ARMOR_BYTES_MAX.min(rest.len()))?;
    let at = rest.windows(end.len()).position(|part| part == end)?;
    (at >= BODY_BYTES_MIN).then(|| span.start..span.end.saturating_add(at).saturating_add(end.len()))
}

/// Whether a text stands for a secret that comes from elsewhere: `${DB_PASSWORD}`, `{{ password }}`, `<password>`, `%(password)s`,
/// `YOUR-PASSWORD`, `SECRET`.
fn is_reference(text: &[u8]) -> bool {
    const OPENINGS: [&[u8]; 7] = [b"$", b"{", b"<", b"%(", b"%{", b"%s", b"#{"];
    let is_of_name = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    OPENINGS.iter().any(|opening| text.starts_with(opening))
        || text.iter().all(is_of_name)
            && (text.len() < SPREAD_BYTES_MIN || text.iter().any(|byte| matches!(byte, b'-' | b'_')))
}

/// Shannon's entropy, in bits for each byte.
fn spread(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count = count.saturating_add(1);
        }
    }
    let all = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / all)
        .map(|p| -p * p.log2())
        .sum()
}

/// The line that a span begins in, without its end.
pub fn line_of<'a>(content: &'a [u8], span: &Range<usize>) -> &'a [u8] {
    let before = content.get(..span.start).unwrap_or_default();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    let rest = content.get(start..).unwrap_or_default();
    rest.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// A rule with the words that it is tried by.
struct Draft {
    rule: Rule,
    words: Vec<String>,
}

impl Draft {
    fn carried(rule: nosecrets_rules::Rule) -> Result<Self, String> {
        let severity = match rule.severity {
            nosecrets_rules::Severity::Critical => Severity::Critical,
            nosecrets_rules::Severity::High => Severity::High,
            nosecrets_rules::Severity::Medium => Severity::Medium,
            nosecrets_rules::Severity::Low => Severity::Low,
        };
        let valid = rule.validate.unwrap_or_default();
        let paths = rule.paths.unwrap_or_default();
        let (patterns, values) = rule.allow.map(|allow| (allow.patterns, allow.values)).unwrap_or_default();
        let charset = valid.charset.map(|charset| compile(&format!("^[{charset}]*$"))).transpose()?;
        let bytes = match valid.length {
            Some(length) => length..=length,
            None => valid.min_length.unwrap_or(1)..=valid.max_length.unwrap_or(usize::MAX),
        };
        Ok(Self {
            rule: Rule {
                pattern: compile(&rule.pattern)?,
                about: std::sync::Arc::new(About { id: rule.id, name: rule.name, severity }),
                part: Part::Group(rule.capture),
                path: None,
                included: globs(&paths.include)?,
                excluded: globs(&paths.exclude)?,
                spread_min: None,
                bytes,
                prefixes: valid.prefix,
                charset,
                values,
                exceptions: vec![Exception {
                    needs_all: false,
                    paths: Vec::new(),
                    patterns: compile_all(&patterns)?,
                    of: Target::Secret,
                    stop_words: Vec::new(),
                }],
            },
            words: rule.keywords,
        })
    }
}

/// Rules as gitleaks writes them: <https://github.com/gitleaks/gitleaks#configuration>. Members that are not here are passed over.
mod gitleaks {
    use serde::Deserialize;

    use super::{About, Draft, Exception, Part, Rule, Severity, Target, compile, compile_all};

    #[derive(Deserialize)]
    pub struct Document {
        #[serde(default)]
        pub rules: Vec<Written>,
        pub allowlist: Option<Allowlist>,
        #[serde(default)]
        pub allowlists: Vec<Allowlist>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Written {
        pub id: String,
        #[serde(default)]
        description: String,
        regex: Option<String>,
        path: Option<String>,
        #[serde(default)]
        secret_group: usize,
        entropy: Option<f64>,
        #[serde(default)]
        keywords: Vec<String>,
        allowlist: Option<Allowlist>,
        #[serde(default)]
        allowlists: Vec<Allowlist>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Allowlist {
        #[serde(default)]
        condition: String,
        #[serde(default)]
        paths: Vec<String>,
        #[serde(default)]
        regexes: Vec<String>,
        #[serde(default)]
        regex_target: Target,
        #[serde(default)]
        stopwords: Vec<String>,
    }

    impl Written {
        /// The rule; none where it looks at paths alone, which hold no secret.
        pub fn draft(self) -> Result<Option<Draft>, String> {
            let Some(regex) = self.regex else { return Ok(None) };
            let exceptions = self.allowlist.into_iter().chain(self.allowlists);
            // They say of none how bad it is; what goes by a word before it is called generic.
            let severity = if self.id.starts_with("generic") { Severity::Medium } else { Severity::High };
            let name = if self.description.is_empty() { self.id.clone() } else { self.description };
            let part = if self.secret_group == 0 { Part::First } else { Part::Group(self.secret_group) };
            Ok(Some(Draft {
                rule: Rule {
                    about: std::sync::Arc::new(About { id: self.id, name, severity }),
                    pattern: compile(&regex)?,
                    part,
                    path: self.path.as_deref().map(compile).transpose()?,
                    included: None,
                    excluded: None,
                    spread_min: self.entropy,
                    bytes: 1..=usize::MAX,
                    prefixes: Vec::new(),
                    charset: None,
                    values: Vec::new(),
                    exceptions: exceptions.map(Allowlist::build).collect::<Result<_, _>>()?,
                },
                words: self.keywords,
            }))
        }
    }

    impl Allowlist {
        pub fn build(self) -> Result<Exception, String> {
            Ok(Exception {
                needs_all: self.condition.eq_ignore_ascii_case("and"),
                paths: compile_all(&self.paths)?,
                patterns: compile_all(&self.regexes)?,
                of: self.regex_target,
                stop_words: self.stopwords.iter().map(|word| word.to_ascii_lowercase()).collect(),
            })
        }
    }
}

/// A pattern over bytes, as tools of this kind mean it: `\w` is ASCII. Where that cannot be, it is one over characters.
fn compile(pattern: &str) -> Result<Regex, String> {
    let build = |unicode| {
        RegexBuilder::new(pattern)
            .unicode(unicode)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .build()
    };
    build(false).or_else(|_| build(true)).map_err(|error| error.to_string())
}

fn compile_all(patterns: &[String]) -> Result<Vec<Regex>, String> {
    patterns.iter().map(|pattern| compile(pattern)).collect()
}

/// Globs in the notation of `.gitignore`; none where there are none.
fn globs(lines: &[String]) -> Result<Option<Gitignore>, String> {
    if lines.is_empty() {
        return Ok(None);
    }
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        builder.add_line(None, line).map_err(|error| error.to_string())?;
    }
    builder.build().map(Some).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| Failure::file("rules", path, &error))?;
    Ok(text)
}

fn bug(error: &dyn std::fmt::Display) -> Failure {
    Failure::system("rules", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried() -> Rules {
        Rules::load(&[] as &[&Path]).unwrap()
    }

    fn found(rules: &Rules, path: &str, content: &str) -> Vec<(String, String)> {
        let hits = rules.find(path, content.as_bytes());
        hits.into_iter().map(|hit| (hit.about.id.clone(), content[hit.span].to_owned())).collect()
    }

    /// Digits and letters as random as a secret's, in one piece nowhere in this file.
    fn noise(length: usize) -> String {
        let digits = b"q7Rt2Zp9Lm4Xc8Vb1Nk6Js3Hd5Gf0Ya";
        (0..length).map(|at| char::from(digits[(at * 7 + at / 31) % digits.len()])).collect()
    }

    #[test]
    fn what_is_shaped_as_a_secret_is_found() {
        let rules = carried();
        assert!(rules.all().count() > 40);
        let token = format!("ghp_{}", noise(36));
        let hits = found(&rules, "a.py", &format!("x = '{token}'\n"));
        assert_eq!(hits, [("github-pat".to_owned(), token.clone())]);
        let hits = found(&rules, "a.py", &format!("url = 'postgres://app:{}@db/x'\n", noise(20)));
        assert_eq!(hits, [("postgres-connection-uri".to_owned(), noise(20))]);
        assert!(found(&rules, "a.py", &format!("g h p _ {}", noise(36))).is_empty());
    }

    #[test]
    fn what_stands_for_a_secret_is_none() {
        let rules = carried();
        for text in [
            "password = \"${DB_PASSWORD}\"",
            "password: '{{ vault.password }}'",
            "password: \"<your secret here>\"",
            "api_key = \"xxxxxxxxxxxxxxxxxxxxxxxx\"",
            "postgres://app:${PASSWORD}@db/x",
            "postgres://app:EDGE-PASSWORD@db/x",
            "postgres://app:SECRET@db/x",
            "format!(\"postgres://app:{}@db/x\")",
        ] {
            assert!(found(&rules, "a.yaml", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_private_key_is_found_whole_or_not_at_all() {
        let rules = carried();
        let (begin, end) =
            (["-----BEGIN", "PRIVATE KEY-----"].join(" "), ["-----END", "PRIVATE KEY-----"].join(" "));
        assert!(found(&rules, "a.rs", &format!("looks for `{begin}`")).is_empty());
        assert!(found(&rules, "a.rs", &format!("between {begin} and {end}")).is_empty());
        let key = format!("{begin}\r\n{}\r\n{}\r\n{end}", noise(64), noise(20));
        let hits = found(&rules, "a.pem", &format!("x\r\n{key}\r\n"));
        assert_eq!(hits, [("private-key".to_owned(), key)]);
    }

    #[test]
    fn rules_in_the_format_of_gitleaks() {
        let folder = std::env::temp_dir().join(format!("keyward-rules-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("gitleaks.toml");
        std::fs::write(
            &file,
            r#"
            title = "ours"
            [allowlist]
            paths = ['''^vendor/''']
            [[rules]]
            id = "acme"
            description = "A key of Acme"
            regex = '''(?i)acme[_-]key\s*=\s*(?:'|")?([a-z0-9]{12,})\b'''
            entropy = 2.5
            keywords = ["Acme"]
            [[rules.allowlists]]
            condition = "AND"
            regexTarget = "line"
            regexes = ['''fixture''']
            paths = ['''\.test$''']
            [[rules.allowlists]]
            stopwords = ["sample"]
            [[rules]]
            id = "paths-alone"
            path = '''\.p12$'''
            [[rules]]
            id = "github-pat"
            regex = '''never[0-9]here'''
            "#,
        )
        .unwrap();
        let rules = Rules::load(&[&file]).unwrap();
        let secret = noise(20).to_lowercase();
        let line = format!("ACME_KEY = '{secret}' # fixture");
        assert_eq!(found(&rules, "a.py", &line), [("acme".to_owned(), secret)]);
        assert!(found(&rules, "a.test", &line).is_empty(), "both hold");
        assert!(found(&rules, "vendor/a.py", &line).is_empty());
        assert!(found(&rules, "a.py", "acme_key = aaaaaaaaaaaa1").is_empty(), "not spread");
        assert!(found(&rules, "a.py", "acme_key = q7rt2sample9lm4").is_empty(), "a stop word");
        assert!(
            found(&rules, "a.py", &format!("x = ghp_{}", noise(36))).is_empty(),
            "another rule of this id"
        );

        std::fs::write(&file, "[[rules]]\nid = 'a'\nregex = '(?=x)'\n").unwrap();
        let failure = Rules::load(&[&file]).err().unwrap();
        assert!(failure.detail().contains("`a`"), "{}", failure.detail());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
