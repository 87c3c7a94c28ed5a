//! The exactly-once protocol as models that are searched through: every crash, pause, lost answer and
//! late arrival at every step. The variants that must fail stay here, so that the models are known to
//! see each of these faults.

mod etl;
mod explore;
mod producer;

use explore::{assert_broken, assert_exact};
use producer::{Fault, Lane};

fn probe(name: &str, lane: Lane) {
    assert_exact(name, &lane, 3_000_000);
}
#[test]
fn a() {
    probe(
        "a 3 starts 1,1 saves 1 overlap 0",
        Lane {
            starts: 3,
            overlaps: 0,
            ..Lane::default()
        },
    );
}
#[test]
fn b() {
    probe(
        "b 3 starts 1,1 saves 2 overlaps 0",
        Lane {
            saves: 2,
            overlaps: 0,
            starts: 3,
            ..Lane::default()
        },
    );
}
#[test]
fn b1() {
    probe(
        "b 3 starts 2,1 saves 1 overlaps 0",
        Lane {
            files: [2, 1],
            saves: 1,
            overlaps: 0,
            starts: 3,
            ..Lane::default()
        },
    );
}
#[test]
fn c() {
    probe(
        "c 3 starts 1,1 saves 1 overlaps 1",
        Lane {
            overlaps: 1,
            starts: 3,
            ..Lane::default()
        },
    );
}
#[test]
fn d() {
    probe(
        "d 3 starts 2,0 losses 1 overlaps 1",
        Lane {
            files: [2, 0],
            starts: 3,
            losses: 1,
            ..Lane::default()
        },
    );
}
#[test]
fn e() {
    probe(
        "e 2 starts 2,1 losses 1",
        Lane {
            losses: 1,
            files: [2, 1],
            ..Lane::default()
        },
    );
}

fn fault(name: &str, lane: Lane) {
    assert_broken(name, &lane, 3_000_000, "");
}
#[test]
fn f1() {
    fault(
        "nofence",
        Lane {
            fault: Fault::NoFence,
            ..Lane::default()
        },
    );
}
#[test]
fn f2() {
    fault(
        "lastrecord",
        Lane {
            fault: Fault::AfterLastRecord,
            ..Lane::default()
        },
    );
}
#[test]
fn f3() {
    fault(
        "nononce",
        Lane {
            fault: Fault::NoNonce,
            ..Lane::default()
        },
    );
}
#[test]
fn f4() {
    fault(
        "unchecked",
        Lane {
            fault: Fault::UncheckedFence,
            ..Lane::default()
        },
    );
}
#[test]
fn f5() {
    fault(
        "fencedsave",
        Lane {
            starts: 3,
            fault: Fault::FencedSave,
            ..Lane::default()
        },
    );
}
#[test]
fn f6() {
    fault(
        "lateplace",
        Lane {
            fault: Fault::LatePlace,
            ..Lane::default()
        },
    );
}
#[test]
fn f7() {
    fault(
        "ignorederror",
        Lane {
            losses: 1,
            fault: Fault::IgnoredError,
            ..Lane::default()
        },
    );
}
#[test]
fn f8() {
    fault(
        "hwm",
        Lane {
            losses: 1,
            fault: Fault::HighWaterMark,
            ..Lane::default()
        },
    );
}
#[test]
fn f9() {
    fault(
        "exactborder",
        Lane {
            files: [2, 0],
            fault: Fault::ExactBorder,
            ..Lane::default()
        },
    );
}

#[test]
fn x1() {
    assert_exact("etl 3,2,3,0", &etl::Partition::new(3, 2, 3, 0), 3_000_000);
}
#[test]
fn x2() {
    assert_exact("etl 4,2,3,0", &etl::Partition::new(4, 2, 3, 0), 3_000_000);
}
#[test]
fn x3() {
    assert_exact("etl 3,2,3,1", &etl::Partition::new(3, 2, 3, 1), 3_000_000);
}
#[test]
fn x4() {
    assert_exact("etl 4,2,2,2", &etl::Partition::new(4, 2, 2, 2), 3_000_000);
}
#[test]
fn x5() {
    assert_exact("etl 3,3,4,0", &etl::Partition::new(3, 3, 4, 0), 3_000_000);
}
fn bad(name: &str, f: etl::Fault) {
    assert_broken(
        name,
        &etl::Partition::new(3, 2, 2, 0).with(f),
        3_000_000,
        "",
    );
}
#[test]
fn y1() {
    bad("overwrite", etl::Fault::OverwriteByStart)
}
#[test]
fn y2() {
    bad("exists", etl::Fault::ExistsByStart)
}
#[test]
fn y3() {
    bad("replanned", etl::Fault::ReplannedEnd)
}
#[test]
fn y4() {
    bad("otherplan", etl::Fault::OtherPlan)
}
#[test]
fn y5() {
    bad("compaction", etl::Fault::Compaction)
}
