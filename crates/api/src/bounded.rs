//! Lists and objects that stop being read at the first entry too many.
//!
//! An entry in memory may take fifty times the bytes it has on the wire: what is counted
//! only after it was read has cost its price already. The exact limits are the server's;
//! these are what reading costs.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::raw::RawJson;

/// Most entries that are read of any list, and of any object whose members have free names.
pub const ENTRIES_MAX: usize = 1_000;

/// Longest JSON that is read into a tree of values, bytes; carried values are not read at all.
const TREE_BYTES_MAX: usize = 64 << 10;

/// How the error of a list that is too long begins: only the path tells which list it is.
pub(crate) const TOO_MANY: &str = "too many items";

/// A list of at most [`ENTRIES_MAX`] items.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Few<T>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor::of("a sequence")).map(Self)
    }
}

/// For members: `#[serde(deserialize_with = "bounded::list")]`.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Few::deserialize(deserializer).map(|few| few.0)
}

/// For fields of a head, of which many expect an object: says what they are instead.
pub(crate) fn fields<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, String)>, D::Error> {
    let expected = "an array of pairs of name and value, such as [[\"x-a\", \"b\"]]";
    deserializer.deserialize_seq(ListVisitor::of(expected))
}

struct ListVisitor<T> {
    /// What is said where something else comes.
    expected: &'static str,
    items: PhantomData<T>,
}

impl<T> ListVisitor<T> {
    const fn of(expected: &'static str) -> Self {
        Self { expected, items: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.expected)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while items.len() < ENTRIES_MAX {
            match seq.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(items),
            }
        }
        match seq.next_element::<RawJson>()? {
            None => Ok(items),
            Some(_) => Err(A::Error::custom(format_args!("{TOO_MANY}: at most {ENTRIES_MAX}"))),
        }
    }
}

/// For objects whose members have free names: `#[serde(deserialize_with = "bounded::members")]`.
/// None may be there twice: serde would keep the last in silence.
pub(crate) fn members<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    deserializer.deserialize_map(MembersVisitor(PhantomData))
}

struct MembersVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MembersVisitor<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            if members.len() == ENTRIES_MAX {
                return Err(A::Error::custom(format_args!("has over {ENTRIES_MAX} members")));
            }
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is named twice"));
            }
        }
        Ok(members)
    }
}

/// For members that become a tree of values: `#[serde(deserialize_with = "bounded::tree")]`.
pub(crate) fn tree<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let raw = RawJson::deserialize(deserializer)?;
    if raw.as_bytes().len() > TREE_BYTES_MAX {
        return Err(D::Error::custom(format_args!("must have at most {TREE_BYTES_MAX} bytes")));
    }
    raw.read().map(Some).map_err(D::Error::custom)
}
