//! The reference passes the suite that defines a store.

mod stores {
    relais_store::conformance!(memory, async || relais_store::MemoryStore::new());
}
mod suite;
