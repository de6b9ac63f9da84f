//! `relais key`: makes, lists and revokes API keys. Nobody stores a key itself, only its hash.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use clap::{Args, Subcommand};
use relais_core::TenantName;
use relais_server::auth::{decode_key, encode_key, hash_key};
use relais_server::config::{ApiKey, Scopes};
use relais_store::Commit;
use serde_json::json;

use super::argument::Usage;
use super::serve::variable;
use super::table::Table;
use super::{argument, show};
use crate::config::{self, Overrides, StoreUrl};
use crate::seal_file;
use crate::start::{self, Opened};

/// Makes, lists and revokes API keys.
///
/// A key lives in the configuration file, as the lines that `add` prints, or in the store of a
/// server that is stopped (--store).
#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes a key and prints it once, with the lines for the configuration file
    Add {
        /// Its name, for people: 1 to 64 letters, digits, dots, - and _
        #[arg(long, value_name = "NAME", value_parser = config::key_name)]
        name: String,
        /// Whose it is
        #[arg(long, value_name = "TENANT", default_value = "default")]
        tenant: TenantName,
        /// What it allows: submit, read, work, admin, operator; several with commas, or repeated
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
        #[arg(value_parser = argument::scope)]
        scopes: Vec<String>,
        /// Also writes its hash into this store, such as sqlite:relais.db;
        /// its server must be stopped
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
    /// Lists the keys of the configuration file, and of a store
    List {
        /// The configuration file [default: relais.toml, if there is one]
        #[arg(long, env = "RELAIS_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        /// Also those in this store; its server may be running
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
    /// Removes a key from a store. One of the configuration file is revoked there
    Revoke {
        /// Its name
        #[arg(value_parser = config::key_name)]
        name: String,
        /// The store; its server must be stopped
        #[arg(long, value_name = "URL")]
        store: String,
    },
}

impl Key {
    pub(super) async fn run(self, as_json: bool) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Add { name, tenant, scopes, store } => {
                add(name, tenant, &scopes, file_of(store)?, as_json).await?;
            }
            Action::List { config, store } => list(config, file_of(store)?, as_json).await?,
            Action::Revoke { name, store } => revoke(&name, &file(&store)?, as_json).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn add(
    name: String,
    tenant: TenantName,
    words: &[String],
    store: Option<StoreUrl>,
    as_json: bool,
) -> anyhow::Result<()> {
    let mut scopes = Scopes::default();
    for word in words {
        config::add_scope(&mut scopes, word)
            .map_err(|error| anyhow::anyhow!("--scope: {error}"))?;
    }
    let text = format!("rk_{}", URL_SAFE_NO_PAD.encode(seal_file::draw()));
    let key = ApiKey { name, hash: hash_key(&text), tenant, scopes };
    if let Some(url) = &store {
        let opened = start::open(url).await?;
        let (name, value) = encode_key(&key);
        if opened.store.secrets(&name).await?.iter().any(|(other, _)| *other == name) {
            bail!("{url} has a key named {:?} already: revoke it first", key.name);
        }
        put(opened, name, Some(value)).await?;
    }
    let hash = hex(&key.hash);
    if as_json {
        return show::json(&json!({"key": text, "name": key.name, "hash": hash,
            "tenant": key.tenant.as_str(), "scopes": words_of(key.scopes)}));
    }
    show::line(&text)?;
    show::note("keep it now: it is not shown again");
    if store.is_none() {
        show::note(&format!("\nlines for relais.toml:\n\n{}", lines(&key)));
    }
    Ok(())
}

/// The key as the configuration file has it.
fn lines(key: &ApiKey) -> String {
    let scopes: Vec<String> = words_of(key.scopes).iter().map(|word| format!("{word:?}")).collect();
    format!(
        "[[key]]\nname = {:?}\nhash = {:?}\ntenant = {:?}\nscopes = [{}]",
        key.name,
        hex(&key.hash),
        key.tenant.as_str(),
        scopes.join(", ")
    )
}

async fn list(
    config: Option<PathBuf>,
    store: Option<StoreUrl>,
    as_json: bool,
) -> anyhow::Result<()> {
    let overrides = Overrides { config, ..Overrides::default() };
    let settings = config::load(&overrides, &variable)?;
    let mut keys: Vec<(&str, ApiKey)> =
        settings.server.keys.into_iter().map(|key| ("file", key)).collect();
    if let Some(url) = &store {
        for (name, value) in start::secrets_in(url).await? {
            if let Some(key) = decode_key(&name, &value) {
                keys.push(("store", key.with_context(|| format!("{name} in {url}"))?));
            }
        }
    }
    if as_json {
        let keys: Vec<_> = keys
            .iter()
            .map(|(place, key)| {
                json!({"name": key.name, "tenant": key.tenant.as_str(), "in": place,
                       "scopes": words_of(key.scopes), "hash": hex(&key.hash)})
            })
            .collect();
        return show::json(&keys);
    }
    let mut table = Table::new(["NAME", "TENANT", "SCOPES", "IN", "HASH"]);
    for (place, key) in &keys {
        let scopes = words_of(key.scopes).join(",");
        let (hash, tenant) = (hex(&key.hash), key.tenant.to_string());
        table.row([key.name.clone(), tenant, scopes, (*place).to_owned(), hash[..12].to_owned()]);
    }
    table.print()
}

async fn revoke(name: &str, url: &StoreUrl, as_json: bool) -> anyhow::Result<()> {
    // Opening it would make it.
    start::secrets_in(url).await?;
    let opened = start::open(url).await?;
    // The other secrets of the store are no keys, and are not shown.
    let secret = format!("key/{name}");
    if !opened.store.secrets(&secret).await?.iter().any(|(stored, _)| *stored == secret) {
        bail!("{url} has no key named {name:?}");
    }
    put(opened, secret, None).await?;
    if as_json {
        return show::json(&json!({"name": name, "revoked": true}));
    }
    show::line(&format!("{name} is revoked"))
}

fn file_of(text: Option<String>) -> Result<Option<StoreUrl>, Usage> {
    text.map(|text| file(&text)).transpose()
}

/// A store that keys can be in.
fn file(text: &str) -> Result<StoreUrl, Usage> {
    match argument::store(text)? {
        StoreUrl::Memory => {
            let why = "a store in memory is gone with its server: put the key into the \
                       configuration file";
            Err(Usage::value("--store <URL>", why))
        }
        url @ StoreUrl::Sqlite(_) => Ok(url),
    }
}

async fn put(opened: Opened, name: String, value: Option<Bytes>) -> anyhow::Result<()> {
    let answers = opened.store.commit(vec![Commit::Secret { name, value }]).await?;
    for answer in answers {
        answer?;
    }
    opened.close().await;
    Ok(())
}

fn words_of(scopes: Scopes) -> Vec<&'static str> {
    let all = [
        ("submit", scopes.submit),
        ("read", scopes.read),
        ("work", scopes.work),
        ("admin", scopes.admin),
        ("operator", scopes.operator),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(word, _)| word).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_lines_are_a_configuration_with_that_key() {
        let scopes = Scopes { submit: true, read: true, ..Scopes::default() };
        let tenant = "acme".parse().unwrap();
        let key = ApiKey { name: "ci".into(), hash: hash_key("rk_x"), tenant, scopes };
        let none = |_: &str| None;
        let settings = config::judge(None, lines(&key), &Overrides::default(), &none).unwrap();
        assert_eq!(settings.server.keys, [key]);
    }
}
