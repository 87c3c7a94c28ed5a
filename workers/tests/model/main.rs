//! The exactly-once protocol as two models that are searched through: every crash, pause, lost answer and
//! late arrival, at every step. The variants that must fail stay here, so that the models are known to
//! see each of these faults. How many states there are is printed with `--nocapture`.

mod etl;
mod explore;
mod producer;

use etl::Partition;
use explore::{assert_broken, assert_exact};
use producer::Lane;

/// Above this many states, a search is not for every day.
const DAILY: usize = 500_000;
const LARGE: usize = 5_000_000;

#[test]
fn each_record_is_in_the_store_once_whatever_two_workers_with_two_plans_do() {
    assert_exact("ETL, 4 records", &Partition::new(4, 2, 3, 0), DAILY);
}

#[test]
fn each_record_is_in_the_store_once_when_a_request_comes_through_late() {
    assert_exact("ETL, a lost answer", &Partition::new(3, 2, 2, 1), DAILY);
}

#[test]
fn each_record_is_in_the_store_once_when_two_requests_come_through_late() {
    let partition = Partition::new(3, 2, 2, 2).with_one_folder();
    assert_exact("ETL, two lost answers", &partition, DAILY);
}

#[test]
fn each_record_is_in_the_store_once_after_four_takeovers() {
    let partition = Partition::new(3, 2, 4, 0).with_one_folder();
    assert_exact("ETL, 4 takeovers", &partition, DAILY);
}

#[test]
#[ignore = "a minute in a debug build"]
fn each_record_is_in_the_store_once_whatever_three_workers_do() {
    assert_exact("ETL, 3 workers", &Partition::new(3, 3, 4, 0), LARGE);
}

#[test]
#[ignore = "half a minute in a debug build"]
fn each_record_is_in_the_store_once_after_three_takeovers_and_a_lost_answer() {
    assert_exact(
        "ETL, 3 takeovers, a lost answer",
        &Partition::new(3, 2, 3, 1),
        LARGE,
    );
}

#[test]
fn without_an_intent_an_old_owner_overwrites_a_longer_file() {
    let partition = Partition::new(4, 2, 2, 0)
        .with_one_folder()
        .with(etl::Fault::OverwriteByStart);
    assert_broken("no intent, overwrite", &partition, DAILY, "lost");
}

#[test]
fn without_an_intent_one_worker_takes_a_shorter_file_for_its_own() {
    let partition = Partition::new(3, 1, 2, 0)
        .with_one_folder()
        .with(etl::Fault::ExistsByStart);
    assert_broken("no intent, exists is done", &partition, DAILY, "lost");
}

#[test]
fn a_pending_batch_must_not_be_planned_again() {
    let partition = Partition::new(3, 2, 2, 0).with(etl::Fault::ReplannedEnd);
    assert_broken("end planned again", &partition, DAILY, "twice");
}

#[test]
fn a_pending_batch_must_not_be_finished_by_another_plan() {
    let partition = Partition::new(3, 2, 2, 0).with(etl::Fault::OtherPlan);
    assert_broken("finished by another plan", &partition, DAILY, "twice");
}

#[test]
fn files_must_not_be_deleted_while_an_old_owner_may_put_them() {
    let partition = Partition::new(3, 2, 2, 0).with(etl::Fault::Compaction);
    assert_broken("compaction", &partition, DAILY, "twice");
}

#[test]
fn each_record_is_in_the_store_once_when_the_checkpoint_is_lost_and_made_again() {
    let partition = Partition::new(4, 2, 2, 0).with_losses(1);
    assert_exact("ETL, a lost checkpoint", &partition, DAILY);
}

#[test]
fn each_record_is_in_the_store_once_when_the_checkpoint_is_lost_twice() {
    let partition = Partition::new(4, 1, 3, 0).with_losses(2);
    assert_exact("ETL, two lost checkpoints", &partition, DAILY);
}

#[test]
fn each_record_is_in_the_store_once_when_a_late_swap_meets_a_checkpoint_made_again() {
    let partition = Partition::new(4, 1, 2, 1).with_losses(1);
    assert_exact("ETL, a lost checkpoint and answer", &partition, DAILY);
}

#[test]
fn a_batch_that_is_not_whole_must_not_count_as_committed() {
    let partition = Partition::new(4, 1, 2, 0)
        .with_losses(1)
        .with(etl::Fault::RebuiltBehind);
    assert_broken("made behind the newest file", &partition, DAILY, "lost");
}

#[test]
fn a_batch_that_is_not_whole_must_not_be_forgotten() {
    let partition = Partition::new(4, 1, 2, 0)
        .with_losses(1)
        .with(etl::Fault::RebuiltBefore);
    assert_broken("made before a part of a batch", &partition, DAILY, "twice");
}

#[test]
fn a_checkpoint_must_not_be_made_again_while_a_put_is_under_way() {
    let partition = Partition::new(3, 1, 2, 1)
        .with_losses(1)
        .with(etl::Fault::RebuiltEarly);
    assert_broken("made while a put is under way", &partition, DAILY, "twice");
}

#[test]
fn a_checkpoint_must_not_be_made_again_while_a_worker_lives() {
    let partition = Partition::new(3, 2, 2, 0)
        .with_losses(1)
        .with(etl::Fault::RebuiltBeside);
    assert_broken("made beside a worker", &partition, DAILY, "twice");
}

#[test]
fn each_line_is_taken_once_when_records_are_lost_or_land_late() {
    let lane = Lane {
        files: [2, 1],
        losses: 1,
        ..Lane::default()
    };
    assert_exact("producer, 3 lines", &lane, DAILY);
}

#[test]
fn each_line_is_taken_once_after_three_starts() {
    let lane = Lane {
        files: [2, 0],
        starts: 3,
        overlaps: 0,
        ..Lane::default()
    };
    assert_exact("producer, 3 starts", &lane, DAILY);
}

#[test]
fn each_line_is_taken_once_after_three_starts_of_which_two_run_at_once() {
    let lane = Lane {
        starts: 3,
        saves: 0,
        ..Lane::default()
    };
    assert_exact("producer, 3 starts, 2 at once", &lane, DAILY);
}

#[test]
fn each_line_is_taken_once_while_three_producers_run_at_once() {
    let lane = Lane {
        files: [1, 0],
        starts: 3,
        overlaps: 2,
        ..Lane::default()
    };
    assert_exact("producer, 3 at once", &lane, DAILY);
}

#[test]
#[ignore = "half a minute in a debug build"]
fn each_line_is_taken_once_after_three_starts_that_overlap() {
    let lane = Lane {
        starts: 3,
        ..Lane::default()
    };
    assert_exact("producer, 3 starts that overlap", &lane, LARGE);
}

#[test]
#[ignore = "two minutes in a debug build"]
fn each_line_is_taken_once_whichever_of_two_saved_places_is_loaded() {
    let lane = Lane {
        starts: 3,
        overlaps: 0,
        saves: 2,
        ..Lane::default()
    };
    assert_exact("producer, 2 saved places", &lane, LARGE);
}

fn assert_lane_broken(name: &str, fault: producer::Fault, expected: &str) {
    let lane = Lane {
        fault,
        losses: 1,
        ..Lane::default()
    };
    assert_broken(name, &lane, DAILY, expected);
}

#[test]
fn numbers_that_depend_on_the_order_of_files_need_a_fence() {
    assert_lane_broken("no fence", producer::Fault::NoFence, "twice");
}

#[test]
fn a_producer_must_not_go_on_after_the_last_record_it_finds() {
    let lane = Lane {
        files: [2, 0],
        losses: 1,
        fault: producer::Fault::AfterLastRecord,
        ..Lane::default()
    };
    assert_broken("after the last record", &lane, DAILY, "lost");
}

#[test]
fn a_producer_must_know_its_own_fence() {
    assert_lane_broken("no nonce", producer::Fault::NoNonce, "twice");
}

#[test]
fn a_fence_must_outrank_all_before_it() {
    assert_lane_broken("unchecked fence", producer::Fault::UncheckedFence, "twice");
}

#[test]
fn a_producer_without_the_lock_must_not_save_its_place() {
    let lane = Lane {
        files: [1, 0],
        starts: 3,
        fault: producer::Fault::FencedSave,
        ..Lane::default()
    };
    assert_broken("saved without the lock", &lane, DAILY, "lost");
}

#[test]
fn the_place_to_scan_from_must_be_read_before_the_acknowledgements() {
    assert_lane_broken("place read late", producer::Fault::LatePlace, "twice");
}

#[test]
fn a_producer_must_not_go_on_after_a_delivery_error() {
    assert_lane_broken(
        "delivery error ignored",
        producer::Fault::IgnoredError,
        "lost",
    );
}

#[test]
fn a_receiver_must_not_keep_only_the_highest_line() {
    assert_lane_broken("high-water mark", producer::Fault::HighWaterMark, "lost");
}

#[test]
fn a_receiver_must_take_the_new_lines_of_a_record_with_old_ones() {
    let lane = Lane {
        files: [2, 0],
        fault: producer::Fault::ExactBorder,
        ..Lane::default()
    };
    assert_broken("exact border", &lane, DAILY, "lost");
}
