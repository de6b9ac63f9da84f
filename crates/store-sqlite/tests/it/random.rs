//! Random lives: the same as the reference's, and with every count right on disk.

use relais_store::MemoryStore;
use relais_store::conformance::World;
use relais_store::conformance::random::compare;

use crate::{assert_sound, file_in, new_folder, world_in};

#[tokio::test]
async fn counts_on_disk_equal_a_recount_after_random_lives() {
    for seed in 100..108 {
        let folder = new_folder();
        let (world, store) = world_in(&folder);
        compare(&world, &World::from(MemoryStore::new()), seed).await;
        assert_sound(&file_in(&folder));
        store.close().await;
        assert_sound(&file_in(&folder));
    }
}
