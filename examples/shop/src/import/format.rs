//! The files that the import knows, and what makes a line of each a good one.

use std::collections::HashSet;

use csv::ByteRecord;
use serde::{Deserialize, Serialize};

use super::csv::Record;
use crate::limits::IMPORT_FIELD_LEN_MAX;
use crate::price;

/// A kind of file, known by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Articles: the SKU is not empty and unique in the file, price and quantity are numbers.
    Products,
    /// Suppliers: the id is not empty and unique in the file, the country has two letters.
    Suppliers,
    /// The OUI registry of the IEEE (MA-L), as in Debian's `ieee-data`. The real file has some
    /// assignments twice: that is not an error.
    Oui,
}

impl Format {
    /// The format that has this header.
    pub(super) fn of_header(header: &ByteRecord) -> Option<Self> {
        ALL.into_iter().find(|format| {
            header.len() == format.columns().len()
                && header
                    .iter()
                    .zip(format.columns())
                    .all(|(found, known)| found == known.as_bytes())
        })
    }

    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Products => &["sku", "name", "price", "quantity"],
            Self::Suppliers => &["id", "name", "country"],
            Self::Oui => &["Registry", "Assignment", "Organization Name", "Organization Address"],
        }
    }
}

/// The known headers, for a message.
pub(super) fn headers() -> String {
    ALL.map(|format| format!("`{}`", format.columns().join(","))).join(", ")
}

/// A header that is not known, for a message.
pub(super) fn shorten(header: &ByteRecord) -> String {
    let joined = header.iter().collect::<Vec<_>>().join(&b","[..]);
    let text: String = String::from_utf8_lossy(&joined).chars().take(80).collect();
    format!("{text:?}")
}

/// Checks line after line of one file.
pub(super) struct Checker {
    format: Format,
    keys: HashSet<Box<str>>,
}

impl Checker {
    pub(super) fn new(format: Format) -> Self {
        Self { format, keys: HashSet::new() }
    }

    /// Says why a line is bad. A bad line does not claim its key: a later good one may have it.
    pub(super) fn check(&mut self, record: &Record<'_>) -> Result<(), String> {
        if record.is_unclosed {
            return Err("a quote is never closed".into());
        }
        let fields = fields(self.format.columns(), record.fields)?;
        match (self.format, fields.as_slice()) {
            (Format::Products, [sku, _, price, quantity]) => {
                filled("sku", sku)?;
                if price::parse(price).is_none() {
                    return Err(format!("price {} is not a decimal such as 12.50", show(price)));
                }
                let digits = quantity.bytes().all(|b| b.is_ascii_digit());
                if !digits || quantity.parse::<u32>().is_err() {
                    return Err(format!("quantity {} is not an integer", show(quantity)));
                }
                self.claim("sku", sku)
            }
            (Format::Suppliers, [id, name, country]) => {
                filled("id", id)?;
                filled("name", name)?;
                if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
                    return Err(format!("country {} is not two capitals", show(country)));
                }
                self.claim("id", id)
            }
            (Format::Oui, [_, assignment, organization, _]) => {
                if assignment.len() != 6 || !assignment.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(format!("Assignment {} is not 6 hex digits", show(assignment)));
                }
                filled("Organization Name", organization)
            }
            _ => unreachable!("a line has as many fields as its header"),
        }
    }

    fn claim(&mut self, column: &str, key: &str) -> Result<(), String> {
        if self.keys.insert(key.into()) {
            Ok(())
        } else {
            Err(format!("{column} {} is there already", show(key)))
        }
    }
}

/// The fields as text, as many as there are columns.
fn fields<'a>(columns: &[&str], record: &'a ByteRecord) -> Result<Vec<&'a str>, String> {
    if record.len() != columns.len() {
        return Err(format!("{} fields instead of {}", record.len(), columns.len()));
    }
    let text = |(column, bytes): (&&str, &'a [u8])| {
        if bytes.len() > IMPORT_FIELD_LEN_MAX {
            return Err(format!("{column} has more than {IMPORT_FIELD_LEN_MAX} bytes"));
        }
        if bytes.contains(&0) {
            return Err(format!("{column} has a NUL byte"));
        }
        str::from_utf8(bytes).map_err(|_| format!("{column} is not UTF-8"))
    };
    columns.iter().zip(record).map(text).collect()
}

fn filled(column: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err(format!("{column} is empty")) } else { Ok(()) }
}

/// A field for a message: short and on one line.
fn show(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    format!("{short:?}")
}

const ALL: [Format; 3] = [Format::Products, Format::Suppliers, Format::Oui];
