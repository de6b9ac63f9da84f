//! The key that seals credentials at rest: from the environment, or a file beside the store.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use relais_engine::seal::{SealKey, SealKeyId};

use crate::config::{Environment, StoreUrl};

/// The variable that holds the key.
const VARIABLE: &str = "RELAIS_SEAL_KEY";
/// The file beside the database.
const FILE: &str = "relais.key";

/// Finds the key, or makes it at the first start. `sealed` are the keys that sealed what the store
/// has: what another key sealed cannot be opened, so that this is no start unless `may_be_lost`.
pub(crate) fn seal_key(
    store: &StoreUrl,
    environment: Environment<'_>,
    sealed: &[SealKeyId],
    may_be_lost: bool,
) -> anyhow::Result<SealKey> {
    let found = find(store, environment)?;
    if let Some(lost) = lost(store, environment, found.as_ref(), sealed) {
        if !may_be_lost {
            bail!("{lost}. {PUT_BACK}");
        }
        tracing::warn!("{lost}; the tasks that it sealed will fail as seal-key-missing");
    }
    match (found, store) {
        (Some(key), _) => Ok(key),
        // What is in memory is never at rest.
        (None, StoreUrl::Memory) => Ok(SealKey::new(draw())),
        (None, StoreUrl::Sqlite(path)) => make(&file_of(path)),
    }
}

/// The key, if there is one.
fn find(store: &StoreUrl, environment: Environment<'_>) -> anyhow::Result<Option<SealKey>> {
    if let Some(text) = environment(VARIABLE).filter(|text| !text.is_empty()) {
        let secret = decode(&text);
        // The text is a secret: it is not repeated.
        let secret = secret.with_context(|| {
            format!("{VARIABLE} must be 32 bytes, in hexadecimal (64 digits) or base64 (44)")
        });
        return Ok(Some(SealKey::new(secret?)));
    }
    match store {
        StoreUrl::Memory => Ok(None),
        StoreUrl::Sqlite(path) => of_file(&file_of(path)),
    }
}

/// Judges what [`seal_key`] would find, and makes nothing; answers what is lost, if it may be.
///
/// # Errors
/// What it would fail with.
pub(crate) fn check(
    store: &StoreUrl,
    environment: Environment<'_>,
    sealed: &[SealKeyId],
    may_be_lost: bool,
) -> anyhow::Result<Option<String>> {
    let found = find(store, environment)?;
    match lost(store, environment, found.as_ref(), sealed) {
        Some(lost) if !may_be_lost => bail!("{lost}. {PUT_BACK}"),
        lost => Ok(lost),
    }
}

/// What cannot be opened with the key that was found, if anything: naming the keys by their ids.
fn lost(
    store: &StoreUrl,
    environment: Environment<'_>,
    found: Option<&SealKey>,
    sealed: &[SealKeyId],
) -> Option<String> {
    let StoreUrl::Sqlite(path) = store else { return None };
    let found = found.map(SealKey::id);
    let missing: Vec<_> = sealed.iter().filter(|key| Some(**key) != found).collect();
    if missing.is_empty() {
        return None;
    }
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let is_said = environment(VARIABLE).is_some_and(|text| !text.is_empty());
    let place = if is_said { VARIABLE.to_owned() } else { file_of(path).display().to_string() };
    let there = match found {
        Some(found) => format!("{place} is the key {found}"),
        None => format!("there is no {place}"),
    };
    Some(format!(
        "the store has credentials sealed with a key that is not there ({}): {there}",
        names.join(", ")
    ))
}

/// Where the key of a database is: beside its file, behind all links, as everything of the store.
fn file_of(database: &Path) -> PathBuf {
    let behind = fs::canonicalize(database);
    behind.as_deref().unwrap_or(database).with_file_name(FILE)
}

fn of_file(path: &Path) -> anyhow::Result<Option<SealKey>> {
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
            Ok(Some(SealKey::new(secret)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("could not read {shown}")),
    }
}

/// Writes a new key so that it survives before anything is sealed with it: without
/// it what is sealed is lost.
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
    let bytes = relais_server::auth::unhex(text).map(|bytes| bytes.to_vec());
    let bytes = bytes.or_else(|| {
        let alphabets = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
        alphabets.iter().find_map(|alphabet| alphabet.decode(text).ok())
    });
    bytes?.try_into().ok()
}

/// What an operator does whose key is lost.
const PUT_BACK: &str = "Put the right key back; or start with --allow-lost-seal-key, and the tasks that \
                        it sealed fail as seal-key-missing";

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
        seal_key(&store, &nothing, &[], false).unwrap();
        let path = folder.path().join("relais.key");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        seal_key(&store, &nothing, &[], false).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let refused = seal_key(&store, &nothing, &[], false).unwrap_err();
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }

    #[test]
    fn a_key_that_is_lost_or_replaced_is_no_start_and_nothing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let store = StoreUrl::Sqlite(folder.path().join("relais.db"));
        let nothing = |_: &str| None;
        let (right, wrong) = (SealKey::new([7; 32]), SealKey::new([8; 32]));
        let sealed = [right.id()];
        for judged in [
            seal_key(&store, &nothing, &sealed, false).map(drop),
            check(&store, &nothing, &sealed, false).map(drop),
        ] {
            let refused = judged.unwrap_err().to_string();
            assert!(refused.contains(&right.id().to_string()), "{refused}");
            assert!(refused.contains("there is no"), "{refused}");
        }
        assert!(!folder.path().join("relais.key").exists(), "the right one may be put back");
        let said = |_: &str| Some("08".repeat(32));
        let refused = seal_key(&store, &said, &sealed, false).unwrap_err().to_string();
        assert!(refused.contains(&right.id().to_string()), "{refused}");
        assert!(refused.contains(&format!("is the key {}", wrong.id())), "{refused}");
        let lost = check(&store, &said, &sealed, true).unwrap();
        assert!(lost.is_some(), "it is said all the same");
        assert_eq!(seal_key(&store, &said, &sealed, true).unwrap().id(), wrong.id());
        let said = |_: &str| Some("07".repeat(32));
        assert_eq!(seal_key(&store, &said, &sealed, false).unwrap().id(), right.id());
    }

    #[test]
    fn the_variable_holds_32_bytes_and_is_never_shown() {
        let secret = [7_u8; 32];
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [hex, STANDARD.encode(secret), URL_SAFE_NO_PAD.encode(secret)] {
            assert_eq!(decode(&format!("{text}\n")), Some(secret));
        }
        let bad = |_: &str| Some("c2VjcmV0".to_owned());
        let error = seal_key(&StoreUrl::Memory, &bad, &[], false).unwrap_err();
        assert!(!format!("{error:#}").contains("c2VjcmV0"));
    }
}
