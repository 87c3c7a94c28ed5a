//! Random scripts of appends, rotations, crashes and failures of the log, against an oracle: each line is
//! there exactly once, and only bytes that were destroyed while nobody had read them may be missing.

use std::collections::{BTreeMap, HashSet};

use super::fake_log::Fault;
use super::*;

const SCRIPTS: u64 = 60;
const OPERATIONS: u32 = 60;

/// A small generator of random numbers (xorshift), so that a seed names a script for ever.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

/// What was written, and what may be missing.
#[derive(Default)]
struct Oracle {
    next: u32,
    /// Lines by text; `true`: it may be missing.
    lines: BTreeMap<String, bool>,
    /// The lines of the live file.
    live: Vec<String>,
    partial: String,
}

impl Oracle {
    fn line(&mut self) -> String {
        self.next += 1;
        let pad = "x".repeat((self.next as usize * 7) % 40);
        format!("{:06} {pad}", self.next)
    }

    /// The line that the live file's partial line has become.
    fn ended(&mut self) {
        let line = std::mem::take(&mut self.partial);
        self.live.push(line.clone());
        self.lines.insert(line, false);
    }

    /// The live file was rotated away: its partial line stays as it is.
    fn rotated(&mut self) {
        if !self.partial.is_empty() {
            self.ended();
        }
        self.live.clear();
    }

    /// The live file's content is destroyed; whatever nobody has read may be missing.
    fn destroyed(&mut self, world: &World) {
        self.rotated_with_risk(world, 0);
    }

    fn rotated_with_risk(&mut self, world: &World, safe: usize) {
        if !self.partial.is_empty() {
            self.ended();
        }
        let read: HashSet<String> = world.lines().into_iter().map(text).collect();
        for line in self.live.drain(..).skip(safe) {
            if !read.contains(&line) {
                self.lines.insert(line, true);
            }
        }
    }

    fn check(&self, world: &World) {
        let mut seen = HashSet::new();
        let mut last: BTreeMap<u64, u32> = BTreeMap::new();
        for piece in world.pieces() {
            let line = text(String::from_utf8(piece.line).unwrap());
            if line.starts_with('#') {
                continue;
            }
            assert!(self.lines.contains_key(&line), "never written: {line:?}");
            assert!(seen.insert(line.clone()), "twice: {line:?}");
            let n: u32 = line[..6].parse().unwrap();
            let before = last.insert(piece.file_id, n);
            assert!(before < Some(n), "out of order: {line:?} behind {before:?}");
        }
        for (line, may_miss) in &self.lines {
            assert!(*may_miss || seen.contains(line), "lost: {line:?}");
        }
    }
}

fn text(line: String) -> String {
    line.strip_suffix('\n').map(str::to_owned).unwrap_or(line)
}

struct Script<'a> {
    world: &'a World,
    random: Random,
    oracle: Oracle,
    header: bool,
    shift: bool,
    rotations: u32,
    compressed: u32,
}

impl Script<'_> {
    fn append(&mut self) {
        self.append_to("app.log");
    }

    fn append_to(&mut self, name: &str) {
        for _ in 0..self.random.below(4) {
            let line = if self.oracle.partial.is_empty() {
                self.oracle.line()
            } else {
                String::from("rest")
            };
            self.oracle.partial.push_str(&line);
            self.oracle.ended();
            self.world.append(name, format!("{line}\n"));
        }
    }

    /// The very first start is killed when it has looked. What was there before need not be read.
    fn begin_at_the_end(&mut self, control: &Control) {
        for _ in 0..self.random.below(4) {
            let line = self.oracle.line();
            self.world.append("app.log", format!("{line}\n"));
            self.oracle.lines.insert(line, true);
        }
        let mut running = Some(Running::start(self.world, control).unwrap());
        running.as_mut().unwrap().coordinator.step().unwrap();
        step(&mut self.random, &mut running);
    }

    fn append_partial(&mut self) {
        if self.oracle.partial.is_empty() {
            let line = self.oracle.line();
            self.world.append("app.log", &line);
            self.oracle.partial = line;
        }
    }

    fn new_file(&mut self) {
        if self.header {
            self.world.append("app.log", "# header\n");
        }
    }

    fn rotated_name(&mut self) -> String {
        self.rotations += 1;
        if !self.shift {
            return format!("app.log.{:012}", self.rotations);
        }
        for n in (1..self.rotations).rev() {
            self.world
                .rename(&format!("app.log.{n}"), &format!("app.log.{}", n + 1));
        }
        "app.log.1".to_owned()
    }

    fn rename(&mut self) {
        let to = self.rotated_name();
        self.world.rename("app.log", &to);
        self.oracle.rotated();
        self.new_file();
        self.world.append("app.log", "");
    }

    /// Moves the file out of its folder and back. Its writer goes on meanwhile, in whole lines: what has no
    /// name and is quiet has ended its last one.
    fn move_away_and_back(&mut self, running: &mut Option<Running<'_>>) {
        if !self.oracle.partial.is_empty() {
            return;
        }
        self.world.rename("app.log", "away/app.log");
        step(&mut self.random, running);
        self.append_to("away/app.log");
        step(&mut self.random, running);
        self.world.rename("away/app.log", "app.log");
        if let Some(running) = running {
            running.coordinator.step().unwrap();
        }
    }

    fn copytruncate(&mut self, running: &mut Option<Running<'_>>) {
        let to = self.rotated_name();
        let live = self.world.path("app.log");
        fs::copy(&live, self.world.path(&to)).unwrap();
        let copied = self.oracle.live.len();
        let partial = self.oracle.partial.clone();
        if copied >= 3 && self.random.below(3) == 0 {
            // Lines that are written between the copy and the truncation. With fewer in the copy, nothing
            // but its first line would tell after a crash that it is one.
            step(&mut self.random, running);
            self.append();
            step(&mut self.random, running);
        }
        if self.oracle.live.len() == copied {
            self.oracle.rotated();
        } else {
            if !partial.is_empty() {
                self.oracle.lines.insert(partial, true);
            }
            self.oracle.rotated_with_risk(self.world, copied);
        }
        File::create(&live).unwrap();
        self.new_file();
    }

    /// Rotates the file away and compresses it at once. A producer that is down and has not read a second
    /// line of it cannot know the copy for what it is.
    fn compress(&mut self) {
        self.compressed += 1;
        let to = format!("app.log.9{:011}.gz", self.compressed);
        compressed::gzip(self.world, "app.log", &to);
        self.rewrite(true);
    }

    fn rewrite(&mut self, delete: bool) {
        self.oracle.destroyed(self.world);
        let live = self.world.path("app.log");
        if delete {
            fs::remove_file(&live).unwrap();
        }
        File::create(&live).unwrap();
        self.new_file();
        (0..self.random.below(4)).for_each(|_| self.append());
    }
}

/// A few steps of whoever comes next.
fn step(random: &mut Random, running: &mut Option<Running<'_>>) {
    let Some(running) = running else { return };
    for _ in 0..random.below(12) {
        match random.below(3) {
            0 => drop(running.coordinator.step().unwrap()),
            _ => running
                .step_lane(random.below(running.lanes.len() as u64) as usize)
                .unwrap(),
        }
    }
}

fn run_script(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let pattern = ["app.log", "app.log*"][random.below(2) as usize];
    let mut world = World::new(1 + random.below(3) as u32, &[pattern]);
    if random.below(4) > 0 {
        world.options.save_every = Duration::from_hours(1);
    }
    if random.below(3) == 0 {
        world.options.framing = Framing::Line;
    }
    let late = random.below(4) == 0;
    if late {
        world.options.start_at = StartAt::End;
    }
    let world = world;
    let mut script = Script {
        world: &world,
        header: random.below(3) == 0,
        shift: random.below(2) == 0,
        oracle: Oracle::default(),
        rotations: 0,
        compressed: 0,
        random,
    };
    fs::create_dir(world.path("away")).unwrap();
    script.new_file();
    world.append("app.log", "");
    let controls: Vec<Control> = (0..=OPERATIONS).map(|_| Control::new()).collect();
    if late {
        script.begin_at_the_end(&controls[0]);
    }
    let mut running = None;
    for control in &controls[1..] {
        let operation = script.random.below(16);
        match operation {
            0..6 => script.append(),
            6 => script.append_partial(),
            7 => script.rename(),
            8 => script.copytruncate(&mut running),
            9 => script.rewrite(false),
            10 => script.rewrite(true),
            14 => script.compress(),
            15 => script.move_away_and_back(&mut running),
            11 | 12 => {
                drop(running.take());
                if script.random.below(3) > 0 {
                    running = Running::start(&world, control).ok();
                }
            }
            13 => {
                let partition = script.random.below(u64::from(world.log.partitions())) as u32;
                let after = script.random.below(4) as u32;
                let written = script.random.below(2) == 0;
                world.log.fail(partition, Fault { after, written });
            }
            _ => {}
        }
        step(&mut script.random, &mut running);
    }
    drop(running);
    world.log.heal();
    world.finish();
    world.finish();
    script.oracle.rotated();
    script.oracle.check(&world);
}

#[test]
fn each_line_is_there_once_whatever_rotates_crashes_or_fails() {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("LOGPIPE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LOGPIPE_SCRIPTS").unwrap_or(SCRIPTS),
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| run_script(seed));
        assert!(result.is_ok(), "run again with LOGPIPE_SEED={seed}");
    }
}
