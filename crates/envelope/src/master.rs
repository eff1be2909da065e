use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::cipher::KEY;
use crate::key::{fingerprint, hex};

const MAX_FILE: usize = 16 * 1024;
// Shorter than a key in base64url, so a key can never be taken for an id and shown.
const MAX_ID: usize = 32;

/// A key of 32 random bytes that seals only data keys; it stands outside of the database.
pub struct MasterKey {
    id: String,
    bytes: Zeroizing<[u8; KEY]>,
}

impl MasterKey {
    /// The name that is stored beside every data key wrapped with this key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY] {
        &self.bytes
    }
}

/// The master keys of one file, one `id key` a line: the first is current, the others only open.
///
/// An id has 1 … 32 of `A-Z a-z 0-9 . _ -`; a key is 32 bytes as base64url without padding. Blank lines and
/// lines that begin with `#` mean nothing.
pub struct MasterKeys {
    current: MasterKey,
    older: Vec<MasterKey>,
}

/// Why there are no master keys; every message is one sentence that says what to do, and none shows a key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// There is no file.
    #[error("there is no master key file at {path}: put the file that belongs to this data back there")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others than owner and group can read or write the file.
    #[error(
        "the master key file {path} is open to every user (mode {mode:04o}): run `chmod 600 {path}`, or in \
         Kubernetes set `defaultMode: 0440` on the secret volume and `fsGroup` in the pod's securityContext"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Whoever copies the database's directory copies the key as well.
    #[error(
        "the master key file {path} lies inside the database's directory {directory}, so a copy of the \
         data carries its key: move the file elsewhere"
    )]
    BesideDatabase {
        /// The file.
        path: PathBuf,
        /// The directory of the database.
        directory: PathBuf,
    },
    /// A new file was to be made where one is.
    #[error(
        "the master key file {path} exists already and is never overwritten: use it, or move it away first"
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The content is not what [`MasterKeys`] describes.
    #[error(
        "{origin} is malformed, {fault}: every line must read `id key`, the key being 32 bytes in base64url"
    )]
    Malformed {
        /// Which text, usually with the file's path.
        origin: String,
        /// What is wrong and in which line.
        fault: String,
    },
    /// The system refused; the cause says why.
    #[error("the master key file {path} cannot be {action}, check its directory and permissions: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The system's random generator failed.
    #[error("the system's random generator failed, so no master key was made: try again")]
    Generator,
}

impl MasterKeys {
    /// Reads the content of a master key file.
    ///
    /// # Errors
    /// [`MasterKeyError::Malformed`] naming the line: not two words, a bad id, a key that is not 32 bytes in
    /// canonical base64url, an id that occurs twice, or no key at all.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        parse(text, "the master key text")
    }

    /// Reads a master key file that only its owner and group can read and that lies outside of
    /// `database_dir`.
    ///
    /// # Errors
    /// One for each reason to refuse: missing, open to every user, inside the database's directory (at any
    /// depth,
    /// links followed), malformed, above 16 KiB, or unreadable.
    pub fn read(path: &Path, database_dir: Option<&Path>) -> Result<Self, MasterKeyError> {
        let failed = |source: io::Error| failure(path, "read", source);
        // Opening a pipe would wait for a writer for ever.
        let kind = fs::metadata(path).map_err(failed)?.file_type();
        if !kind.is_file() && !kind.is_dir() {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o007 != 0 && !metadata.is_dir() {
            return Err(MasterKeyError::Exposed { path: path.into(), mode });
        }
        if let Some(directory) = database_dir {
            refuse_inside(path, directory)?;
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE + 64));
        file.take(MAX_FILE as u64 + 1).read_to_string(&mut text).map_err(failed)?;
        let origin = format!("the master key file {}", path.display());
        if text.len() > MAX_FILE {
            return Err(MasterKeyError::Malformed { origin, fault: "it has more than 16 KiB".into() });
        }
        parse(&text, &origin)
    }

    /// Makes a file with one new random key, readable by its owner only, and its directory where that is
    /// missing.
    ///
    /// It appears whole or not at all, also when several processes start at once, and it is on the disk when
    /// this returns. Whether the place is right, [`read`](Self::read) says.
    ///
    /// # Errors
    /// [`MasterKeyError::Exists`] if there is a file, which is left as it is; otherwise what the system
    /// refused.
    pub fn create(path: &Path) -> Result<Self, MasterKeyError> {
        let mut bytes = Zeroizing::new([0; KEY]);
        aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| MasterKeyError::Generator)?;
        let mut id = hex(&fingerprint(&bytes, b"keyward/master/1"));
        id.truncate(8);
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
        let line = Zeroizing::new(format!("{id} {}\n", *encoded));
        write_new(path, &format!(".{id}.new"), line.as_bytes())
            .map_err(|source| failure(path, "made", source))?;
        Ok(Self { current: MasterKey { id, bytes }, older: Vec::new() })
    }

    /// The key that wraps new data keys.
    #[must_use]
    pub const fn current(&self) -> &MasterKey {
        &self.current
    }

    /// The key with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&MasterKey> {
        std::iter::once(&self.current).chain(&self.older).find(|key| key.id == id)
    }
}

fn parse(text: &str, origin: &str) -> Result<MasterKeys, MasterKeyError> {
    let malformed = |fault| MasterKeyError::Malformed { origin: origin.to_owned(), fault };
    let mut keys: Vec<MasterKey> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = parse_line(line).map_err(|fault| malformed(format!("line {number} {fault}")))?;
        if keys.iter().any(|other| other.id == key.id) {
            return Err(malformed(format!("line {number} repeats the id of an earlier line")));
        }
        keys.push(key);
    }
    let mut keys = keys.into_iter();
    let current = keys.next().ok_or_else(|| malformed("it holds no key".to_owned()))?;
    Ok(MasterKeys { current, older: keys.collect() })
}

fn parse_line(line: &str) -> Result<MasterKey, &'static str> {
    let mut words = line.split_whitespace();
    let (Some(id), Some(key), None) = (words.next(), words.next(), words.next()) else {
        return Err("does not have two words");
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if id.len() > MAX_ID || !id.bytes().all(allowed) {
        return Err("has an id that is not 1 to 32 of A-Z a-z 0-9 . _ -");
    }
    let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(key).map_err(|_| "has a key that is not base64url")?);
    let bytes: &[u8; KEY] = decoded.as_slice().try_into().map_err(|_| "has a key that is not 32 bytes")?;
    Ok(MasterKey { id: id.to_owned(), bytes: Zeroizing::new(*bytes) })
}

fn failure(path: &Path, action: &'static str, source: io::Error) -> MasterKeyError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::NotFound if action == "read" => MasterKeyError::Missing { path },
        ErrorKind::AlreadyExists => MasterKeyError::Exists { path },
        _ => MasterKeyError::Io { path, action, source },
    }
}

fn refuse_inside(path: &Path, directory: &Path) -> Result<(), MasterKeyError> {
    // The parent of a bare file name is the empty path, which stands for the current directory.
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let resolved = match directory.canonicalize() {
        Ok(resolved) => resolved,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failure(path, "compared with the database's directory", error)),
    };
    let file = path.canonicalize().map_err(|source| failure(path, "read", source))?;
    if file.starts_with(resolved) {
        return Err(MasterKeyError::BesideDatabase { path: path.into(), directory: directory.into() });
    }
    Ok(())
}

/// Writes beside the path and links into place: the file appears whole, once, and never replaces another.
fn write_new(path: &Path, draft_name: &str, content: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let missing: Vec<&Path> = directory.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let draft = directory.join(draft_name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let linked = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::hard_link(&draft, path));
    let removed = std::fs::remove_file(&draft);
    linked.and(removed)?;
    sync(directory)?;
    missing.iter().filter_map(|made| made.parent()).try_for_each(sync)
}

/// A new directory entry survives a power failure only when its directory is synced.
fn sync(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const KEY_B: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8";

    fn refusal(text: &str) -> String {
        MasterKeys::parse(text).err().unwrap().to_string()
    }

    #[test]
    fn the_first_line_is_current_and_the_others_are_found() {
        let text = format!("# made in May\n\n  new\t{KEY_A}  \r\n#old {KEY_A}\nold.1 {KEY_B}");
        let keys = MasterKeys::parse(&text).ok().unwrap();
        assert_eq!(keys.current().id(), "new");
        assert_eq!(*keys.current().bytes(), std::array::from_fn(|i| i as u8));
        assert_eq!(*keys.find("old.1").unwrap().bytes(), std::array::from_fn(|i| 32 + i as u8));
        assert!(keys.find("old").is_none() && keys.find("").is_none());
    }

    #[test]
    fn malformed_lines_are_refused_by_number() {
        let cases = [
            (KEY_A.to_owned(), "line 1 does not have two words"),
            (format!("a {KEY_A} b"), "line 1 does not have two words"),
            (format!("a {KEY_A}\nb"), "line 2 does not have two words"),
            (format!("a {}", &KEY_A[..42]), "line 1 has a key that is not"),
            (format!("a {KEY_A}A"), "line 1 has a key that is not"),
            (format!("a {KEY_A}="), "line 1 has a key that is not base64url"),
            (format!("a {}9", &KEY_A[..42]), "line 1 has a key that is not base64url"),
            ("a c2hvcnQ".to_owned(), "line 1 has a key that is not 32 bytes"),
            (format!("a/b {KEY_A}"), "line 1 has an id"),
            (format!("\u{feff}a {KEY_A}"), "line 1 has an id"),
            (format!("{KEY_A} a"), "line 1 has an id"),
            (format!("{KEY_A} {KEY_B}"), "line 1 has an id"),
            (format!("a {KEY_A}\n# x\na {KEY_B}"), "line 3 repeats the id"),
        ];
        for (text, fault) in cases {
            let message = refusal(&text);
            assert!(message.contains(fault), "{text}: {message}");
            assert!(!message.contains(&KEY_A[..12]), "a key is shown: {message}");
        }
        for empty in ["", "\n\n", "# only a comment\n"] {
            assert!(refusal(empty).contains("it holds no key"));
        }
    }
}
