//! The suite that defines what a store is.

use relais_core::{BodyKind, TaskId};
use relais_store::conformance::World;

relais_store::conformance!(sqlite, async || super::world());

fn world() -> World {
    let (store, folder) = crate::new_store();
    let path = crate::file_in(&folder);
    let damage = move |task: TaskId, kind: BodyKind| {
        let conn = rusqlite::Connection::open(&path).expect("it opens");
        let at = (task.as_u128().to_be_bytes(), kind as i64);
        let damaged = "update body set crc = crc + 1
            where key = ?2 + 8 * (select n from task where id = ?1)";
        assert_eq!(conn.execute(damaged, at).expect("it works"), 1);
    };
    World::from((store.clone(), folder)).beside(store).damaged_by(damage)
}
