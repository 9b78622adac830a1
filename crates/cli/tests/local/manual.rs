//! There is a manual page for every command, and completions that a shell can use.

use std::process::Command;

use crate::folder::Folder;

/// The subcommands that a help page lists.
fn listed(help: &str) -> Vec<String> {
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn walk(folder: &Folder, words: &[String], pages: &mut Vec<String>) {
    let (help, _) = folder.says(&format!("{} --help", words.join(" ")), 0);
    pages.push(
        std::iter::once("keyward").chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join("-"),
    );
    for name in listed(&help) {
        walk(folder, &[words, &[name]].concat(), pages);
    }
}

#[test]
fn every_command_has_its_page_and_every_page_the_exit_codes() {
    let folder = Folder::new("manual");
    folder.says("man --dir pages", 0);
    let mut pages = Vec::new();
    walk(&folder, &[], &mut pages);
    assert!(pages.len() > 20, "{pages:?}");
    for page in &pages {
        let text = folder.read(&format!("pages/{page}.1"));
        assert!(text.contains(&format!(".TH {page} 1")), "{page}");
        assert!(text.contains("5  Keyward or its store cannot be reached"), "{page}");
    }
}

#[test]
fn bash_completes_what_there_is() {
    let folder = Folder::new("completions");
    let (script, _) = folder.says("completions bash", 0);
    assert!(script.contains("#   5  Keyward or its store cannot be reached"));
    std::fs::write(folder.path("script"), script).unwrap();
    let complete = |words: &str| {
        let last = words.split_whitespace().count();
        let ask = format!(
            "source ./script; COMP_WORDS=(keyward {words} ''); COMP_CWORD={}; _keyward keyward '' x; echo \"${{COMPREPLY[*]}}\"",
            last + 1
        );
        let bash = Command::new("bash").args(["-c", &ask]).current_dir(folder.path(".")).output().unwrap();
        assert!(bash.status.success() && bash.stderr.is_empty(), "{bash:?}");
        String::from_utf8(bash.stdout).unwrap()
    };
    for word in ["init", "key", "context", "completions"] {
        assert!(complete("").split_whitespace().any(|seen| seen == word), "{word}");
    }
    for word in ["status", "add", "activate", "retire"] {
        assert!(complete("ring").split_whitespace().any(|seen| seen == word), "{word}");
    }
    assert!(complete("ring add").contains("audit_keyring"));
}
