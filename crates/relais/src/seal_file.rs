//! The key that seals credentials at rest: from the environment, or a file beside the store.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use relais_engine::seal::SealKey;

use crate::config::{Environment, StoreUrl};

/// The variable that holds the key.
const VARIABLE: &str = "RELAIS_SEAL_KEY";
/// The file beside the database.
const FILE: &str = "relais.key";

/// Finds the key, or makes it at the first start.
pub(crate) fn seal_key(store: &StoreUrl, environment: Environment<'_>) -> anyhow::Result<SealKey> {
    if let Some(text) = environment(VARIABLE).filter(|text| !text.is_empty()) {
        let secret = decode(&text);
        // The text is a secret: it is not repeated.
        return secret.map(SealKey::new).with_context(|| {
            format!("{VARIABLE} must be 32 bytes, in hexadecimal (64 digits) or base64 (44)")
        });
    }
    match store {
        // What is in memory is never at rest.
        StoreUrl::Memory => Ok(SealKey::new(draw())),
        StoreUrl::Sqlite(path) => of_file(&file_of(path)),
    }
}

/// Judges what [`seal_key`] would find, and makes nothing.
///
/// # Errors
/// What it would fail with.
pub(crate) fn check(store: &StoreUrl, environment: Environment<'_>) -> anyhow::Result<()> {
    let is_said = environment(VARIABLE).is_some_and(|text| !text.is_empty());
    let is_made = matches!(store, StoreUrl::Sqlite(path) if file_of(path).exists());
    if is_said || is_made { seal_key(store, environment).map(drop) } else { Ok(()) }
}

/// Where the key of a database is: beside its file, behind all links, as everything of the store.
fn file_of(database: &Path) -> PathBuf {
    let behind = fs::canonicalize(database);
    behind.as_deref().unwrap_or(database).with_file_name(FILE)
}

fn of_file(path: &Path) -> anyhow::Result<SealKey> {
    let shown = path.display();
    match fs::read_to_string(path) {
        Ok(text) => {
            let mode = fs::metadata(path)?.mode();
            if mode & 0o077 != 0 {
                bail!(
                    "{shown} can be read by others (mode {:03o}): chmod 600 {shown}",
                    mode & 0o777
                );
            }
            let secret = decode(&text).with_context(|| {
                format!("{shown} is damaged: it must hold 32 bytes in hexadecimal")
            })?;
            Ok(SealKey::new(secret))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(path),
        Err(error) => Err(error).with_context(|| format!("could not read {shown}")),
    }
}

/// Writes a new key so that it survives before anything is sealed with it: without it what is sealed
/// is lost.
fn make(path: &Path) -> anyhow::Result<SealKey> {
    let secret = draw();
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("could not make the seal key {}", path.display()))?;
    Ok(SealKey::new(secret))
}

fn decode(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let bytes = crate::config::unhex(text).map(|bytes| bytes.to_vec());
    let bytes = bytes.or_else(|| {
        let alphabets = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
        alphabets.iter().find_map(|alphabet| alphabet.decode(text).ok())
    });
    bytes?.try_into().ok()
}

/// 32 unguessable bytes.
pub(crate) fn draw() -> [u8; 32] {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let store = StoreUrl::Sqlite(folder.path().join("relais.db"));
        let nothing = |_: &str| None;
        seal_key(&store, &nothing).unwrap();
        let path = folder.path().join("relais.key");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        seal_key(&store, &nothing).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(seal_key(&store, &nothing).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn the_variable_holds_32_bytes_and_is_never_shown() {
        let secret = [7_u8; 32];
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [hex, STANDARD.encode(secret), URL_SAFE_NO_PAD.encode(secret)] {
            assert_eq!(decode(&format!("{text}\n")), Some(secret));
        }
        let bad = |_: &str| Some("c2VjcmV0".to_owned());
        let error = seal_key(&StoreUrl::Memory, &bad).unwrap_err();
        assert!(!format!("{error:#}").contains("c2VjcmV0"));
    }
}
