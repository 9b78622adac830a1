//! `keyward audit verify`: what is believed of a log before, how a check of it is shown, and what is kept for the next one.

use std::cell::RefCell;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use keyward_auditor::{
    LogSource, Part, Progress as Watched, Report, Seen, Trust, Witness, check_note, verify,
};
use keyward_crypto::digest::unhex;
use keyward_crypto::note::VerifierKey;
use keyward_crypto::{Ring, Sealer};
use keyward_domain::error::Blame;

use super::Run;
use super::audit::without_host;
use super::audit_http::{HttpSource, claimed};
use crate::arguments::{AuditVerify, Global, SeenBefore};
use crate::aside::{Aside, write_private};
use crate::client::{Call, Client, base_of};
use crate::escape::shown_json;
use crate::failure::{Ending, Failure, Result};
use crate::progress::Progress;
use crate::table::{Cell, Table};
use crate::terminal::{Terminal, Tone};

/// The ring that opens the log.
pub const AUDIT_RING: &str = "audit_keyring";
/// Broken places that are shown one by one.
const SHOWN_MAX: usize = 200;
/// Calls that are under way at the same time over HTTP: the server works while answers travel.
const CALLS_AT_ONCE: usize = 8;
/// The longest file of a ring or a witness that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Run<'_> {
    pub(super) fn verify_log(&self, options: &AuditVerify) -> Result<Ending> {
        if options.store.is_some() || options.state_dir.is_some() {
            return Err(without_host("audit verify --store"));
        }
        let audit = options.variables.as_deref().map(audit_ring).transpose()?;
        let client = self.client()?;
        let source = HttpSource::new(&client, audit.as_ref());
        let claimed = source.claimed(None)?;
        let offered = verifier_keys(&source.head(claimed.epoch)?.keys)?;
        let check =
            Check { global: self.global, terminal: self.terminal, options, offered, threads: CALLS_AT_ONCE };
        check.run(&source, &claimed.origin)
    }
}

/// Keys as a server or a witness file writes them.
///
/// # Errors
/// One of them is none.
pub fn verifier_keys(keys: &[String]) -> Result<Vec<VerifierKey>> {
    keys.iter().map(|key| VerifierKey::parse(key)).collect::<Result<_, _>>().map_err(|fault| {
        Failure::new(Blame::Integrity, "A public key of the log cannot be used", fault.to_string())
    })
}

/// The audit ring out of a folder of variables.
///
/// # Errors
/// The file cannot be read or is no ring.
pub fn audit_ring(variables: &Path) -> Result<Sealer> {
    const WHAT: &str = "ring";
    let path = variables.join(format!("{AUDIT_RING}.json"));
    let text = std::fs::read_to_string(&path).map_err(|error| Failure::file(WHAT, &path, &error))?;
    let text = keyward_crypto::Zeroizing::new(text);
    Ring::parse(AUDIT_RING, &text)
        .map(Sealer::new)
        .map_err(|fault| Failure::new(Blame::Caller, format!("The {WHAT} cannot be used"), fault.to_string()))
}

/// One check of a log, wherever it lies.
pub struct Check<'a> {
    /// What every command takes.
    pub global: &'a Global,
    /// Where it is shown.
    pub terminal: &'a Terminal,
    /// What is to be held against it.
    pub options: &'a AuditVerify,
    /// The public keys that whoever shows the log names: pinned where none are.
    pub offered: Vec<VerifierKey>,
    /// Pieces of work at the same time.
    pub threads: usize,
}

impl Check<'_> {
    /// Checks the log that is called `origin`, shows what it came to, and keeps what was seen of a clean one.
    ///
    /// # Errors
    /// The source does not answer; the witness cannot be read or written.
    pub fn run<S: LogSource<Error = Failure>>(&self, source: &S, origin: &str) -> Result<Ending> {
        let file = WitnessFile::of(&self.options.seen, origin)?;
        let mut witness = file.read()?;
        let is_first = witness.is_none();
        let keys = trusted(&self.options.seen, witness.as_ref(), &self.offered)?;
        let mut trust = Trust {
            origin: witness.as_ref().map(|witness| witness.origin.clone()),
            keys,
            seen: witness.as_ref().map(|witness| witness.epochs.clone()).unwrap_or_default(),
        };
        let mut remarks = Vec::new();
        if let Some(url) = &self.options.witness_url {
            trust.seen.extend(self.ask_witness(url, origin, &trust, &mut remarks)?);
        }
        let line = Shown::default();
        let mut report = verify(source, &trust, self.threads, &line)?;
        drop(line);
        report.remarks.splice(0..0, remarks);
        if report.is_clean() {
            let witness = witness.get_or_insert_with(|| Witness::new(origin.to_owned()));
            keep(witness, &report, &trust.keys, &self.offered);
            file.write(witness)?;
            if is_first {
                let pinned = if self.options.seen.log_keys.is_empty() {
                    "its public keys are pinned there, unproved"
                } else {
                    "its keys are those given"
                };
                report.remarks.push(format!(
                    "first look at this log: what was seen is kept in `{}`; {pinned}",
                    file.path.display()
                ));
            }
        }
        self.show(&report, &file.path)
    }

    fn show(&self, report: &Report, witness: &Path) -> Result<Ending> {
        let ending = match (report.findings.is_empty(), report.untold.is_empty()) {
            (false, _) => Ending::Tampered,
            (true, false) => Ending::NotTold,
            (true, true) => Ending::Done,
        };
        if self.global.json {
            let json = serde_json::json!({
                "clean": report.is_clean(),
                "witness": witness.display().to_string(),
                "report": report,
            });
            self.terminal.print(&shown_json(&json.to_string()))?;
            return Ok(ending);
        }
        if !report.findings.is_empty() {
            let mut table = Table::new(&["PLACE", "KIND", "WHAT IS WRONG"]);
            for finding in report.findings.iter().take(SHOWN_MAX) {
                table.row([
                    Cell::new(&finding.place),
                    Cell::toned(finding.kind.as_str(), Tone::Bad),
                    Cell::new(&finding.what),
                ]);
            }
            self.terminal.print(&table.render(self.terminal.styles()))?;
        }
        self.terminal.print(&summary(report))?;
        for remark in report.untold.iter().chain(&report.remarks) {
            self.terminal.note(&crate::escape::shown(remark));
        }
        Ok(ending)
    }

    /// What a witness elsewhere has seen of the log.
    fn ask_witness(
        &self,
        url: &str,
        origin: &str,
        trust: &Trust,
        remarks: &mut Vec<String>,
    ) -> Result<Vec<Seen>> {
        let client = Client::public(self.global, Some(base_of(url, "--witness-url")?))?;
        let call = |origin: &str| Call::get("/checkpoint").query("origin", Some(origin));
        let answer = client.ask(&call(origin))?;
        if answer.status == 404 {
            remarks.push(format!("the witness at {url} has not seen this log"));
            return Ok(Vec::new());
        }
        let mut seen = Vec::new();
        let no = || {
            Failure::new(
                Blame::Integrity,
                "The witness cannot be believed",
                format!("{url} answered no checkpoint of `{origin}`"),
            )
        };
        let newest = claimed(answer.text()?).filter(|_| answer.status == 200).ok_or_else(no)?;
        for epoch in 1..=newest.epoch {
            let answer = client.ask(&call(&format!("{origin}/{epoch}")))?;
            if answer.status == 404 {
                continue;
            }
            let note = answer.text()?;
            let checkpoint = check_note(note, &trust.keys, origin, epoch).map_err(|fault| {
                Failure::new(Blame::Integrity, "The witness cannot be believed", format!("{url}: {fault}"))
            })?;
            let (size, root) = (checkpoint.size, checkpoint.root);
            seen.push(Seen { epoch, size, root, taken: size, note: Some(note.to_owned()) });
        }
        Ok(seen)
    }
}

/// The keys that a checkpoint must be signed by: those given, or else those pinned, or else those that the log names itself.
pub(super) fn trusted(
    options: &SeenBefore,
    witness: Option<&Witness>,
    offered: &[VerifierKey],
) -> Result<Vec<VerifierKey>> {
    if !options.log_keys.is_empty() {
        return Ok(options.log_keys.clone());
    }
    match witness {
        Some(witness) if !witness.keys.is_empty() => verifier_keys(&witness.keys),
        _ => Ok(offered.to_vec()),
    }
}

/// Takes what a clean check saw into the witness.
fn keep(witness: &mut Witness, report: &Report, trusted: &[VerifierKey], offered: &[VerifierKey]) {
    for epoch in &report.epochs {
        let Some(root) = unhex(&epoch.root) else { continue };
        let (size, taken, note) = (epoch.size, epoch.taken, epoch.note.clone());
        witness.see(Seen { epoch: epoch.epoch, size, root, taken, note });
    }
    if witness.keys.is_empty() {
        witness.keys = trusted.iter().map(ToString::to_string).collect();
    }
    if let Some((epoch, note)) =
        report.epochs.last().and_then(|epoch| Some((epoch.epoch, epoch.note.as_ref()?)))
    {
        // A key that comes beside a trusted one is trusted from then on.
        let known: Vec<VerifierKey> = trusted.iter().chain(offered).cloned().collect();
        witness.pin(note, &keyward_auditor::keys_of(&known, &report.origin, epoch));
    }
}

fn summary(report: &Report) -> String {
    let mut out = String::new();
    for epoch in &report.epochs {
        let root = epoch.root.get(..16).unwrap_or(&epoch.root);
        out.push_str(&format!(
            "epoch {}: {} entries ({} voided, {} behind the tree), root {root}…\n",
            epoch.epoch, epoch.size, epoch.voids, epoch.behind
        ));
    }
    let held = format!(
        "{} records, {} lists and {} registers held against the log `{}`",
        report.records, report.lists, report.registers, report.origin
    );
    let end = match (report.findings.len(), report.untold.is_empty()) {
        (0, true) => "clean".to_owned(),
        (0, false) => "not everything could be told".to_owned(),
        (count, _) if count > SHOWN_MAX => format!("{count} broken places, of which {SHOWN_MAX} are shown"),
        (1, _) => "1 broken place".to_owned(),
        (count, _) => format!("{count} broken places"),
    };
    out.push_str(&crate::escape::shown(&held));
    out.push_str(&format!(": {end}\n"));
    out
}

/// The progress of a check, part by part.
#[derive(Default)]
struct Shown(RefCell<Option<(Part, Progress)>>);

impl Watched for Shown {
    fn at(&self, part: Part, done: u64, of: u64) {
        let what = match part {
            Part::Entries => "Reading entries",
            Part::Tree => "Computing the tree",
            Part::Checkpoints => "Opening checkpoints",
            Part::Lists => "Comparing lists",
            Part::State => "Comparing the state",
        };
        let mut shown = self.0.borrow_mut();
        if shown.as_ref().is_none_or(|(known, _)| *known != part) {
            *shown = Some((part, Progress::new(what)));
        }
        if let Some((_, line)) = shown.as_mut() {
            line.at(done, of);
        }
    }
}

/// Where the witness of a log lies.
pub struct WitnessFile {
    path: PathBuf,
}

impl WitnessFile {
    /// As the options say, or where the user's state is kept.
    ///
    /// # Errors
    /// Nobody says where that is.
    pub fn of(options: &SeenBefore, origin: &str) -> Result<Self> {
        if let Some(path) = &options.file {
            return Ok(Self { path: path.clone() });
        }
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state =
            absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        let state = state.ok_or_else(|| {
            Failure::command_line(
                "neither XDG_STATE_HOME nor HOME says where to keep what was seen; --witness FILE does",
            )
        })?;
        Ok(Self { path: state.join("keyward/witness").join(file_name(origin)) })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was seen before; `None` at the first look.
    ///
    /// # Errors
    /// The file cannot be read or is no witness.
    pub fn read(&self) -> Result<Option<Witness>> {
        const WHAT: &str = "witness file";
        let file = match std::fs::File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| Failure::file(WHAT, &self.path, &error))?,
        };
        let reader = std::io::Read::take(file, FILE_BYTES_MAX);
        serde_json::from_reader(reader).map(Some).map_err(|fault| {
            Failure::new(
                Blame::Caller,
                format!("The {WHAT} cannot be used"),
                format!("{}: {fault}; expected what `keyward audit verify` wrote", self.path.display()),
            )
        })
    }

    /// Keeps it: written aside, and put in the place of the one before when it is whole on the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, witness: &Witness) -> Result<()> {
        let text = serde_json::to_string_pretty(witness).map_err(|error| Failure::system("JSON", error))?;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|error| Failure::file("witness file", folder, &error))?;
        }
        let aside = Aside::of(&self.path);
        write_private(aside.path(), &format!("{text}\n"))?;
        aside.put_into_place()
    }
}

/// A file's name out of a log's: whoever names the log does not choose a place outside of the folder.
fn file_name(origin: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
    let name: String = origin.chars().map(fit).collect();
    format!("{}.json", name.trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logs_name_is_no_path() {
        for (origin, expected) in [
            ("keyward.example/3f9c", "keyward.example_3f9c.json"),
            ("../../etc/passwd", "_.._etc_passwd.json"),
            (".hidden", "hidden.json"),
        ] {
            assert_eq!(file_name(origin), expected);
        }
    }
}
