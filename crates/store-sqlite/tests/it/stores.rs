//! The suite that defines what a store is.

relais_store::conformance!(sqlite, async || crate::new_store());
