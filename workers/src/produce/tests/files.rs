//! What becomes of the bytes of a file.

use super::*;

#[test]
fn a_growing_file_is_followed_across_restarts() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", numbered(0..10));
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    assert_eq!(world.lines().concat(), numbered(0..10));
    world.append("app.log", numbered(10..20));
    running.settle();
    drop(running);
    world.append("app.log", numbered(20..30));
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    assert_eq!(world.lines().concat(), numbered(0..30));
    running.finish();
    assert_eq!(world.lines().concat(), numbered(0..30));
}
