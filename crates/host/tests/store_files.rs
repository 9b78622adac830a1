//! Promise: a store's file is copied whole while others write it, a copy says when it is damaged, and reading a file changes
//! nothing in it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keyward_host::{NativeStore, StoreFile, StoreFileError};

const LABEL: &str = "default";
const FILE: &str = "sqlite_key_value.db";
/// So many values of 64 KiB: a copy takes several steps.
const BALLAST: usize = 256;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

fn open(folder: &Path) -> NativeStore {
    NativeStore::open(LABEL, None, folder).unwrap()
}

async fn fill(store: &NativeStore) {
    let pairs = (0..BALLAST).map(|n| (format!("ballast:{n}"), vec![u8::try_from(n % 251).unwrap(); 65_536]));
    store.set_many(pairs.collect()).await.unwrap();
}

#[test]
fn a_copy_is_one_moment_of_a_store_that_is_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let store = runtime.block_on(async {
        let store = open(folder.path());
        fill(&store).await;
        store
    });
    let file = StoreFile::of(LABEL, None, folder.path()).unwrap().unwrap();
    assert_eq!(file.path(), folder.path().join(FILE));
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            runtime.block_on(async {
                while !stop.load(Ordering::Relaxed) {
                    let n = store.increment("n", 1).await.unwrap();
                    let pair = |key: &str| (key.to_owned(), n.to_string().into_bytes());
                    store.set_many(vec![pair("a"), pair("z")]).await.unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        for round in 0..8 {
            let to = folder.path().join(format!("copy-{round}"));
            let before = written.load(Ordering::Relaxed);
            let mut steps = Vec::new();
            file.copy_to(&to, |done, all| {
                steps.push((done, all));
                assert!(steps.len() < 1000, "the copy begins anew with every write");
                // A writer that had to wait for the copy would never get here.
                let seen = written.load(Ordering::Relaxed);
                while written.load(Ordering::Relaxed) == seen {
                    std::thread::yield_now();
                }
            })
            .unwrap();
            assert!(steps.len() > 2 && written.load(Ordering::Relaxed) > before);
            assert!(steps.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 == pair[1].1));
            assert_eq!(steps.last().map(|(done, all)| done == all), Some(true));
            assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
            let copy = StoreFile::at(&to);
            copy.check().unwrap();
            assert!(copy.companions().iter().all(|path| !path.exists()));
            let copied = NativeStore::open_file(LABEL, &to).unwrap();
            runtime.handle().block_on(async {
                let (a, z) = (copied.get("a").await.unwrap(), copied.get("z").await.unwrap());
                assert_eq!(a, z, "half of a batch was copied");
                let n = copied.increment("n", 0).await.unwrap();
                let a: i64 = a.map_or(0, |a| String::from_utf8(a).unwrap().parse().unwrap());
                assert!(n == a || n == a + 1, "{n} and {a} were not there at one moment");
                assert_eq!(copied.get("ballast:7").await.unwrap().unwrap(), vec![7; 65_536]);
            });
            copied.close();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let taken = file.copy_to(&folder.path().join("copy-0"), |_, _| ()).unwrap_err();
    assert!(taken.to_string().contains("is there already"), "{taken}");
    store.close();
}

#[test]
fn what_is_no_whole_store_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = runtime().block_on(async {
        let store = open(folder.path());
        fill(&store).await;
        store
    });
    store.close();
    let path = folder.path().join(FILE);
    StoreFile::at(&path).check().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let check = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        StoreFile::at(path).check().unwrap_err()
    };
    let mut flipped = whole.clone();
    // The head of a page in the middle.
    let at = whole.len() / 2 / 4096 * 4096;
    flipped[at..at + 64].fill(0xff);
    for (name, content) in
        [("flipped", flipped.as_slice()), ("cut", &whole[..whole.len() / 2]), ("text", &[b'x'; 8192])]
    {
        assert!(matches!(check(name, content), StoreFileError::Damaged(_)), "{name}");
    }
    assert_eq!(check("empty", &[]), StoreFileError::NoStore);
    let absent = folder.path().join("absent");
    assert!(matches!(StoreFile::at(&absent).check(), Err(StoreFileError::Failed(_))));
    assert!(NativeStore::open_file(LABEL, &absent).is_err());
    assert!(!absent.exists(), "looking makes no file");
}

#[test]
fn a_file_is_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let store = runtime.block_on(async {
        let store = open(folder.path());
        store.set_many(vec![("a".into(), b"1".to_vec())]).await.unwrap();
        store.increment("n", 41).await.unwrap();
        store
    });
    let file = StoreFile::at(folder.path().join(FILE));
    assert_eq!(file.fold(), Err(StoreFileError::InUse));
    store.close();
    file.fold().unwrap();
    let before = std::fs::read(file.path()).unwrap();
    let read = NativeStore::open_file(LABEL, file.path()).unwrap();
    runtime.block_on(async {
        assert_eq!(read.get("a").await.unwrap(), Some(b"1".to_vec()));
        assert_eq!(read.increment("n", 0).await.unwrap(), 41);
        assert_eq!(read.increment("none", 0).await.unwrap(), 0);
        assert!(read.increment("n", 1).await.is_err());
        assert!(read.set_many(vec![("a".into(), b"2".to_vec())]).await.is_err());
    });
    read.close();
    assert_eq!(std::fs::read(file.path()).unwrap(), before);
    assert!(file.companions().iter().all(|path| !path.exists()));
}

#[test]
fn a_store_that_lies_in_no_file_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("runtime-config.toml");
    let of = |text: &str, label: &str| {
        std::fs::write(&config, text).unwrap();
        StoreFile::of(label, Some(&config), folder.path())
    };
    let redis = "[key_value_store.default]\ntype = \"redis\"\nurl = \"redis://127.0.0.1:1\"\n";
    assert!(of(redis, LABEL).unwrap().is_none());
    let elsewhere = "[key_value_store.default]\ntype = \"spin\"\npath = \"kept/here.db\"\n";
    let file = of(elsewhere, LABEL).unwrap().unwrap();
    assert_eq!(file.path(), folder.path().join("kept/here.db"));
    assert!(of(elsewhere, "other").is_err());
}
