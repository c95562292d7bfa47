use super::*;

fn take(a: &Assignments, offset: i64) -> Ticket {
    a.take("images", 0, offset).unwrap().ticket
}

fn to_store(a: &Assignments) -> Vec<(Partition, i64)> {
    a.to_store(None).into_iter().map(|commit| (commit.partition, commit.offset)).collect()
}

fn p(partition: i32) -> Partition {
    ("images".into(), partition)
}

#[test]
fn only_offsets_that_rose_are_stored_again() {
    let a = Assignments::default();
    a.assign([p(0), p(1)].into_iter());
    take(&a, 5).resolve();
    assert_eq!(to_store(&a), [(p(0), 6)]);
    a.stored(&p(0), 6);
    assert!(to_store(&a).is_empty());
    take(&a, 6).resolve();
    assert_eq!(a.to_store(Some(&[p(0)]))[0].offset, 7);
    assert!(a.to_store(Some(&[p(1)])).is_empty());
}

#[test]
fn after_offsets_fall_nothing_is_stored_before_the_earlier_items_are_resolved() {
    let a = Assignments::default();
    a.assign([p(0)].into_iter());
    let old = take(&a, 90);
    take(&a, 3).resolve();
    assert!(old.is_current(), "its verdict still counts");
    assert!(to_store(&a).is_empty());
    assert_eq!((a.unresolved(None), a.held()), (1, 0));
    assert!(!a.stored(&p(0), 90));
    old.resolve();
    assert_eq!(to_store(&a), [(p(0), 4)]);
    assert!(a.stored(&p(0), 4), "it is lower than an earlier one");
}

#[test]
fn after_offsets_fall_the_first_offset_is_not_committed_again() {
    let a = Assignments::default();
    a.assign([p(0)].into_iter());
    take(&a, 90).resolve();
    a.begin(&p(0), 90, Note::default()).unwrap();
    let new = take(&a, 3);
    assert!(a.leave(&[p(0)]).is_empty(), "the messages from 3 to 90 would be skipped");
    new.resolve();
    assert_eq!(a.leave(&[p(0)])[0].offset, 4);
}

#[test]
fn offsets_that_are_left_out_are_noticed() {
    let a = Assignments::default();
    a.assign([p(0)].into_iter());
    let before = [5, 6, 9, 10, 3, 4].map(|offset| {
        let Taken { ticket, before } = a.take("images", 0, offset).unwrap();
        ticket.resolve();
        before
    });
    let (unknown, nothing) = (Before::Unknown, Before::Nothing);
    assert_eq!(before, [unknown, nothing, Before::Gap(7), nothing, nothing, nothing]);
}

#[test]
fn offsets_without_messages_are_passed_when_all_is_resolved_and_statistics_agree() {
    let a = Assignments::default();
    a.assign([p(0)].into_iter());
    let last = take(&a, 5);
    let twice = |fetch| (0..2).for_each(|_| a.fetched(&p(0), Some(fetch)));
    twice(8);
    assert!(to_store(&a).is_empty(), "an item is unresolved");
    last.resolve();
    a.fetched(&p(0), Some(9));
    a.fetched(&p(0), None);
    a.fetched(&p(0), Some(9));
    assert_eq!(to_store(&a), [(p(0), 6)], "statistics have not agreed");
    a.fetched(&p(0), Some(9));
    assert_eq!(to_store(&a), [(p(0), 9)]);
    let next = a.take("images", 0, 9).unwrap();
    assert_eq!(next.before, Before::Nothing, "the markers are not a gap");
    twice(8);
    next.ticket.resolve();
    twice(8);
    assert_eq!(to_store(&a), [(p(0), 10)], "an offset below the last message");
}

#[test]
fn a_late_verdict_has_no_effect_on_the_next_epoch() {
    let a = Assignments::default();
    a.assign([p(0)].into_iter());
    let late = take(&a, 5);
    a.close(&[p(0)]);
    assert!(a.take("images", 0, 6).is_none(), "not assigned");
    a.assign([p(0)].into_iter());
    let again = take(&a, 5);
    assert!(!late.is_current() && again.is_current());
    late.resolve();
    assert!(to_store(&a).is_empty());
    assert_eq!((a.unresolved(None), a.lost()), (1, 0));
    again.resolve();
    assert_eq!(to_store(&a), [(p(0), 6)]);
}

#[test]
fn items_of_partitions_that_were_given_up_are_waited_for() {
    let reader = Reader::new(Duration::ZERO);
    let a = Assignments::new(reader.clone());
    a.assign([p(0)].into_iter());
    let late = take(&a, 5);
    assert!(a.judges_others(0) && !a.judges_others(1));
    a.close(&[p(0)]);
    // The consumer is replaced.
    let b = Assignments::new(reader);
    assert!(b.judges_others(0));
    drop(late);
    assert!(!b.judges_others(0));
}

#[test]
fn a_cautious_partition_is_committed_batch_by_batch() {
    let a = Assignments::default();
    a.assign([p(0)].into_iter());
    let ticket = take(&a, 5);
    let note = Note { ends: 2, read: 9, began: 5, open: true, ..Note::default() };
    let (begun, quarantine) = a.begin(&p(0), 5, note).unwrap();
    assert_eq!((begun.offset, begun.note.ends, quarantine), (5, 3, false));
    assert!(a.cautious());
    let (most, commit) = a.begin_batch(&p(0), 5);
    assert_eq!((most, commit.unwrap().note.open), (32, true));
    let failed = &a.failed(&[p(0), p(1)])[0];
    assert_eq!((failed.offset, failed.note.open, failed.note.at), (5, true, 0));
    assert!(to_store(&a).is_empty());
    ticket.resolve();
    assert!(!a.to_store(None)[0].note.open, "no item is judged");
    let ended = a.end_batch(&p(0)).unwrap();
    assert_eq!((ended.offset, ended.note.open), (6, false));
    assert!(ended.note.at > 0 && a.failed(&[p(0)]).is_empty(), "no item is judged");
    assert_eq!(a.leave(&[p(0), p(1)]).len(), 1);
}
