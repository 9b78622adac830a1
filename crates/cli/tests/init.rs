//! `keyward init` makes a state that its owner alone can read, whole, and shows no secret of it.
#![cfg(feature = "host")]

#[cfg(test)]
mod init {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};

    use keyward_crypto::Ring;

    fn folder(name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("init").join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn keyward(folder: &Path, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_keyward"))
            .current_dir(folder)
            .env_clear()
            .args(arguments)
            .output()
            .unwrap()
    }

    fn modes(root: &Path, folder: &Path, found: &mut BTreeMap<String, u32>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let data = std::fs::metadata(&path).unwrap();
            found.insert(
                path.strip_prefix(root).unwrap().to_string_lossy().into_owned(),
                data.permissions().mode() & 0o777,
            );
            if data.is_dir() {
                modes(root, &path, found);
            }
        }
    }

    #[test]
    fn a_state_is_whole_private_and_made_once() {
        let folder = folder("whole");
        let made = keyward(&folder, &["init", "--state-dir", "a state", "--json"]);
        assert!(made.status.success(), "{made:?}");
        let state = folder.join("a state");
        let mut found = BTreeMap::new();
        modes(&folder, &folder, &mut found);
        let expected = [
            ("a state", 0o700),
            ("a state/root.key", 0o600),
            ("a state/sqlite_key_value.db", 0o600),
            ("a state/variables", 0o700),
            ("a state/variables.env", 0o600),
            ("a state/variables/audit_keyring.json", 0o600),
            ("a state/variables/peppers.json", 0o600),
            ("a state/variables/records_keyring.json", 0o600),
            ("a state/variables/signing_keys.json", 0o600),
        ];
        assert_eq!(found, expected.map(|(name, mode)| (name.to_owned(), mode)).into());

        let root_key = std::fs::read_to_string(state.join("root.key")).unwrap();
        keyward_domain::token::parse(root_key.strip_suffix('\n').unwrap()).unwrap();

        // A shell must read the very text that lies in the files.
        let shell = Command::new("sh")
            .args(["-c", ". './a state/variables.env'; set"])
            .current_dir(&folder)
            .env_clear()
            .output()
            .unwrap();
        let (shell, shown) =
            (String::from_utf8(shell.stdout).unwrap(), String::from_utf8(made.stdout).unwrap());
        let mut rings = Vec::new();
        for name in ["records_keyring", "audit_keyring", "peppers", "signing_keys"] {
            let text = std::fs::read_to_string(state.join(format!("variables/{name}.json"))).unwrap();
            Ring::parse(name, &text).unwrap();
            let upper = name.to_ascii_uppercase();
            assert!(shell.contains(&format!("SPIN_VARIABLE_{upper}='{text}'")), "{name}");
            let key = text.split('"').find(|word| word.len() == 43).unwrap().to_owned();
            assert!(!rings.contains(&key), "every ring has a key of its own");
            rings.push(key);
        }
        let parts = shown.split('"').map(str::to_owned).collect::<Vec<_>>();
        assert!(parts.contains(&"a state/root.key".to_owned()), "{shown}");
        assert!(shown.contains(
            "(set -a; . 'a state/variables.env'; spin up --build --from spin.toml --state-dir 'a state')"
        ));
        let said = format!("{shown}{}", String::from_utf8_lossy(&made.stderr));
        for secret in rings.iter().map(String::as_str).chain([root_key.trim_end()]) {
            assert!(!said.contains(secret));
        }

        let again = keyward(&folder, &["init", "--state-dir", "a state"]);
        assert_eq!(again.status.code(), Some(4));
        assert_eq!(std::fs::read_to_string(state.join("root.key")).unwrap(), root_key);
    }
}
