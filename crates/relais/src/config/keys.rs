//! `[[key]]`: API keys, of which the file knows hashes only.

use relais_core::TenantName;
use relais_server::auth::{hash_key, unhex};
use relais_server::config::{ApiKey, Scopes};
use toml::Spanned;

use super::Environment;
use super::file::Key;
use super::problem::Report;

/// The keys of the file.
pub(super) fn resolve(
    tables: &[Spanned<Key>],
    environment: Environment<'_>,
    report: &mut Report<'_>,
) -> Vec<ApiKey> {
    let mut keys: Vec<ApiKey> = Vec::new();
    for table in tables {
        let Some(key) = key(table, environment, report) else { continue };
        if keys.iter().any(|other| other.name == key.name) {
            report.at(table.span(), "[[key]] name", format!("{:?} is there twice", key.name));
        } else if let Some(other) = keys.iter().find(|other| other.hash == key.hash) {
            report.at(table.span(), "[[key]] hash", format!("is that of {:?}, too", other.name));
        }
        keys.push(key);
    }
    keys
}

fn key(
    table: &Spanned<Key>,
    environment: Environment<'_>,
    report: &mut Report<'_>,
) -> Option<ApiKey> {
    let key = table.get_ref();
    let name = match &key.name {
        Some(name) => report.take(name.span(), "[[key]] name", key_name(name.get_ref())),
        None => {
            report.missing(table.span(), "[[key]] name", "is missing");
            None
        }
    };
    let hash = match (&key.hash, &key.secret_env) {
        (Some(hash), None) => report.take(hash.span(), "[[key]] hash", parse_hash(hash.get_ref())),
        (None, Some(variable)) => {
            let secret = secret(variable.get_ref(), environment);
            report.take(variable.span(), "[[key]] secret_env", secret)
        }
        _ => {
            let what = "give hash, or secret_env (the variable that holds the key)";
            report.missing(table.span(), "[[key]]", what);
            None
        }
    };
    let tenant = match &key.tenant {
        Some(tenant) => report.parse::<TenantName>(Some(tenant), "[[key]] tenant"),
        None => "default".parse().ok(),
    };
    let mut scopes = Scopes::default();
    match &key.scopes {
        None => {
            let what = "is missing: submit, read, work, admin, operator";
            report.missing(table.span(), "[[key]] scopes", what);
        }
        Some(words) => {
            for word in words {
                if let Err(error) = add_scope(&mut scopes, word.get_ref()) {
                    report.at(word.span(), "[[key]] scopes", error);
                }
            }
        }
    }
    Some(ApiKey { name: name?, hash: hash?, tenant: tenant?, scopes })
}

/// Adds what a word of `scopes` allows.
///
/// # Errors
/// When there is no such scope.
pub(crate) fn add_scope(scopes: &mut Scopes, word: &str) -> Result<(), String> {
    match word {
        "submit" => scopes.submit = true,
        "read" => scopes.read = true,
        "work" => scopes.work = true,
        "admin" => scopes.admin = true,
        "operator" => scopes.operator = true,
        _ => return Err(format!("{word:?} is no scope: submit, read, work, admin, operator")),
    }
    Ok(())
}

/// The name of a key: what people see of it.
///
/// # Errors
/// When it is empty, too long, or has characters that a line of a table cannot show.
pub(crate) fn key_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} must have 1 to 64 letters, digits, '-', '_' or '.'"))
}

fn parse_hash(text: &str) -> Result<[u8; 32], &'static str> {
    const WHAT: &str = "must be the SHA-256 of a key: 64 hexadecimal digits (relais key add)";
    if text.starts_with("rk_") {
        return Err("is the key itself: put its hash here, and take the key for stolen");
    }
    unhex(text.strip_prefix("sha256:").unwrap_or(text)).ok_or(WHAT)
}

fn secret(variable: &str, environment: Environment<'_>) -> Result<[u8; 32], String> {
    let key = environment(variable).ok_or_else(|| format!("the variable {variable} is not set"))?;
    let key = key.trim();
    // 22 characters of base64 are 128 bits.
    if !key.starts_with("rk_") || key.len() < 3 + 22 {
        return Err(format!(
            "the variable {variable} holds no API key: rk_ and at least 22 characters (relais key add)"
        ));
    }
    Ok(hash_key(key))
}
