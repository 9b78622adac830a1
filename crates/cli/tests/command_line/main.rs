//! The command as a person or a script runs it: arguments and recorded answers in, output and exit code out. Each case is data in
//! `cases/*.toml`; this file only runs them, against a server that answers from the case and checks what it was asked.

#[cfg(test)]
mod case;
#[cfg(test)]
mod stub;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[test]
fn every_case_ends_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut ran, mut report) = (0, String::new());
    for file in files {
        let group = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let cases: case::File = toml::from_str(&text).unwrap_or_else(|fault| panic!("{group}: {fault}"));
        for case in cases.case.iter().filter(|case| cfg!(feature = "host") || !case.host) {
            ran += 1;
            if let Err(differences) = case::run(&group, case) {
                let _ = writeln!(report, "\n{group}: {}{differences}", case.name);
            }
        }
    }
    assert!(report.is_empty(), "{report}");
    assert!(ran >= 30, "only {ran} cases were found");
}
