//! The reference passes the suite that defines a store.

mod stores {
    relais_store::conformance!(memory, async || {
        let store = relais_store::MemoryStore::new();
        let world = relais_store::conformance::World::from(store.clone());
        let world = world.beside(store.clone());
        world.damaged_by(move |task, kind| store.damage(task, kind))
    });
}
mod rows;
mod suite;
