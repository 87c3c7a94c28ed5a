//! A full disk under each folder of a run: a clear error, and with room again every line exactly once.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::World;

/// A small file system in memory, in place of one folder of the data folder.
struct Small {
    at: PathBuf,
}

impl Small {
    fn mount(world: &World, folder: &str, size: &str) -> Self {
        let at = world.path("small");
        fs::create_dir(&at).unwrap();
        mount(
            &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"],
            &at,
        );
        let target = at.join("folder");
        fs::create_dir(&target).unwrap();
        fs::create_dir_all(world.data("")).unwrap();
        std::os::unix::fs::symlink(&target, world.data(folder)).unwrap();
        Self { at }
    }

    fn make_room(&self) {
        mount(&["-o", "remount,size=512m"], &self.at);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.at).status());
    }
}

fn mount(arguments: &[&str], at: &Path) {
    let mounted = Command::new("mount").args(arguments).arg(at).status();
    assert!(mounted.unwrap().success(), "mounting needs root");
}

#[test]
#[ignore = "needs root and a tmpfs"]
fn a_full_disk_stops_the_run_and_with_room_it_goes_on() {
    let source = "{generator: {maxEvents: 60000, eventsPerSecond: 0}}";
    for (folder, size, says) in [
        ("log", "1m", "records could not be written"),
        ("checkpoints", "4k", "checkpoint"),
        ("parquet", "200k", "failed to write p/dt="),
        ("source", "1m", "the disk is full at"),
    ] {
        let world = World::new(source, "");
        let small = Small::mount(&world, folder, size);
        world
            .run()
            .ends_with(1)
            .says(&[says, "No space left on device"]);
        small.make_room();
        world.run().ends_with(0);
        let report = world.verify();
        assert_eq!(report["lines"], 60_000, "{folder}: {report:#}");
        assert_eq!(
            report["generators"][0]["badChecksums"], 0,
            "{folder}: {report:#}"
        );
    }
}
