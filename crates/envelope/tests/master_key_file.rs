//! A master key file is read only where it is safe, and made so that it is.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use keyward_envelope::{MasterKeyError, MasterKeys};

const LINE: &str = "first AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n";

/// A directory of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("envelope-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refusal(path: &Path, database_dir: Option<&Path>) -> MasterKeyError {
    let error = MasterKeys::read(path, database_dir).err().unwrap();
    let message = error.to_string();
    assert!(message.contains(path.to_str().unwrap()), "the path is missing: {message}");
    assert!(!message.contains("AAECAwQF") && !message.contains('\n'), "{message}");
    error
}

#[test]
fn owner_and_group_may_read_the_file() {
    let folder = Folder::new("modes");
    for mode in [0o400, 0o600, 0o440, 0o640] {
        let path = folder.file("key", LINE, mode);
        assert_eq!(MasterKeys::read(&path, None).ok().unwrap().current().id(), "first", "{mode:o}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_file_open_to_strangers_is_refused_with_the_way_out() {
    let folder = Folder::new("strangers");
    for mode in [0o644, 0o604, 0o602, 0o606, 0o444, 0o666, 0o777] {
        let path = folder.file("key", LINE, mode);
        let error = refusal(&path, None);
        assert!(matches!(error, MasterKeyError::Exposed { mode: seen, .. } if seen == mode), "{error}");
        let message = error.to_string();
        for part in ["chmod 600", "defaultMode: 0440", "fsGroup", &format!("{mode:04o}")] {
            assert!(message.contains(part), "{part} is missing: {message}");
        }
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn the_target_of_a_link_counts() {
    let folder = Folder::new("links");
    let open = folder.file("open", LINE, 0o644);
    let link = folder.0.join("link");
    symlink(open, &link).unwrap();
    assert!(matches!(refusal(&link, None), MasterKeyError::Exposed { .. }));

    let inside = folder.file("data/key", LINE, 0o600);
    let outside = folder.0.join("outside");
    symlink(inside, &outside).unwrap();
    assert!(matches!(refusal(&outside, Some(&folder.0.join("data"))), MasterKeyError::BesideDatabase { .. }));
}

#[test]
fn a_file_inside_the_database_directory_is_refused() {
    let folder = Folder::new("beside");
    let data = folder.0.join("data");
    for name in ["data/key", "data/keys/deep/key"] {
        let path = folder.file(name, LINE, 0o600);
        assert!(matches!(refusal(&path, Some(&data)), MasterKeyError::BesideDatabase { .. }));
        assert!(matches!(
            refusal(&path, Some(&data.join("../data/."))),
            MasterKeyError::BesideDatabase { .. }
        ));
        assert!(MasterKeys::read(&path, None).is_ok());
    }
    let sibling = folder.file("database/key", LINE, 0o600);
    assert!(MasterKeys::read(&sibling, Some(&data)).is_ok());
    assert!(MasterKeys::read(&sibling, Some(&folder.0.join("not-made-yet"))).is_ok());
}

#[test]
fn a_database_in_the_current_directory_counts_too() {
    let name = format!("envelope-current-directory-{}.key", std::process::id());
    fs::write(&name, LINE).unwrap();
    fs::set_permissions(&name, fs::Permissions::from_mode(0o600)).unwrap();
    let outcome = MasterKeys::read(Path::new(&name), Path::new("keyward.db").parent());
    fs::remove_file(&name).unwrap();
    assert!(matches!(outcome, Err(MasterKeyError::BesideDatabase { .. })));
}

#[test]
fn a_device_or_pipe_is_no_key_file_and_keeps_nobody_waiting() {
    let refused = MasterKeys::read(Path::new("/dev/null"), None).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("not a regular file"), "{refused}");
}

#[test]
fn a_missing_file_is_missing() {
    let folder = Folder::new("missing");
    assert!(matches!(refusal(&folder.0.join("none"), None), MasterKeyError::Missing { .. }));
    assert!(matches!(refusal(&folder.0.join("no/such/folder"), None), MasterKeyError::Missing { .. }));
}

#[test]
fn a_malformed_file_is_refused_by_name() {
    let folder = Folder::new("malformed");
    let long = LINE.repeat(400);
    for content in ["", "# nothing\n", "only-an-id\n", "id c2hvcnQ\n", &long, &LINE.repeat(2)] {
        let path = folder.file("key", content, 0o600);
        assert!(matches!(refusal(&path, None), MasterKeyError::Malformed { .. }));
    }
    let path = folder.file("key", [0xff, 0xfe, 0x00, b'\n'], 0o600);
    assert!(matches!(refusal(&path, None), MasterKeyError::Io { .. }));
    assert!(matches!(refusal(&folder.0, None), MasterKeyError::Io { .. }));
}

#[test]
fn a_made_file_is_private_and_reads_back() {
    let folder = Folder::new("made");
    let path = folder.0.join("new/folder/master.key");
    let made = MasterKeys::create(&path).unwrap_or_else(|error| panic!("{error}"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));

    let text = fs::read_to_string(&path).unwrap();
    let (id, key) = text.trim_end().split_once(' ').unwrap();
    assert_eq!((id.len(), id, key.len()), (8, made.current().id(), 43));
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let read =
        MasterKeys::read(&path, Some(&folder.0.join("data"))).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.current().id(), made.current().id());

    let key = keyward_envelope::DataKey::generate(1, keyward_envelope::Suite::GcmCtx).ok().unwrap();
    let wrapped = key.wrap(made.current(), "default").unwrap();
    assert_eq!(wrapped.unwrap(&read, "default").ok().unwrap().kcv(), key.kcv());
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let folder = Folder::new("exists");
    let path = folder.file("key", LINE, 0o600);
    assert!(matches!(MasterKeys::create(&path).err().unwrap(), MasterKeyError::Exists { .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), LINE);

    let dangling = folder.0.join("link");
    symlink(folder.0.join("nowhere"), &dangling).unwrap();
    assert!(matches!(MasterKeys::create(&dangling).err().unwrap(), MasterKeyError::Exists { .. }));
}

#[test]
fn of_several_makers_one_wins_and_nobody_sees_half_a_file() {
    let folder = Folder::new("race");
    let path = folder.0.join("new/master.key");
    let made = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let made = MasterKeys::create(&path).is_ok();
                    assert!(MasterKeys::read(&path, None).is_ok());
                    made
                })
            })
            .collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).filter(|&made| made).count()
    });
    assert_eq!(made, 1);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a draft was left behind");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = Folder::new("blocked");
    let file = folder.file("file", "", 0o600);
    let error = MasterKeys::create(&file.join("master.key")).err().unwrap();
    assert!(!error.to_string().is_empty());
}
