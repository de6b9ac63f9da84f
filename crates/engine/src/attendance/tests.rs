use super::*;

const NODE: u64 = 1;
const ATTEND: Command = Command::Attend { node: NODE, has_broken: None };
const LET_GO: Command = Command::LetGo { node: NODE, has_broken: Some(false) };
const LEAVE: Command = Command::Leave { node: NODE };

fn id() -> TaskId {
    TaskId::from_u128(7)
}

/// Of its task it read nothing that the store was not told.
fn came(attendances: &Attendances) {
    attendances.lock().sit_down(id(), Kind::Holds, |_| {});
}

fn asked(attendances: &Attendances) {
    attendances.lock().sit_down(id(), Kind::Asks, |_| {});
}

fn part(attendances: &Attendances, kind: Kind, parting: Parting) {
    attendances.part(&[id()], kind, parting);
}

/// What the store is told, which takes it.
fn told(attendances: &Attendances) -> Vec<Command> {
    let owed = attendances.lock().owed(NODE);
    for (id, commands) in &owed {
        attendances.lock().stored(*id, commands.last().unwrap());
    }
    owed.into_iter().flat_map(|(_, commands)| commands).collect()
}

#[test]
fn only_the_first_and_the_last_are_told() {
    let attendances = Attendances::default();
    came(&attendances);
    came(&attendances);
    assert_eq!(told(&attendances), [ATTEND]);
    came(&attendances);
    assert_eq!(told(&attendances), []);
    for _ in 0..2 {
        part(&attendances, Kind::Holds, Parting::Broke);
        assert_eq!(told(&attendances), []);
    }
    part(&attendances, Kind::Holds, Parting::LetGo);
    assert_eq!(told(&attendances), [LET_GO], "how the last one went counts");
    assert!(attendances.lock().tasks.is_empty());
}

#[test]
fn one_that_came_and_went_before_the_store_was_told_was_there() {
    let attendances = Attendances::default();
    came(&attendances);
    part(&attendances, Kind::Holds, Parting::Broke);
    assert_eq!(told(&attendances), [ATTEND, LEAVE]);
    came(&attendances);
    part(&attendances, Kind::Holds, Parting::LetGo);
    came(&attendances);
    assert_eq!(told(&attendances), [ATTEND]);
    part(&attendances, Kind::Holds, Parting::Broke);
    came(&attendances);
    assert_eq!(told(&attendances), [], "somebody is there, as the store has it");
}

#[test]
fn whoever_comes_while_the_store_is_told_that_all_went_is_told_of() {
    let attendances = Attendances::default();
    came(&attendances);
    told(&attendances);
    part(&attendances, Kind::Holds, Parting::Broke);
    let owed = attendances.lock().owed(NODE);
    came(&attendances);
    attendances.lock().stored(id(), &LEAVE);
    assert_eq!(owed, [(id(), vec![LEAVE])]);
    assert_eq!(told(&attendances), [ATTEND]);
}

/// It was taken for one that the store knew, and the countdown ran on to its end.
#[test]
fn whoever_read_the_task_before_that_was_stored_is_told_of_too() {
    let attendances = Attendances::default();
    came(&attendances);
    told(&attendances);
    part(&attendances, Kind::Holds, Parting::Broke);
    assert_eq!(attendances.lock().owed(NODE), [(id(), vec![LEAVE])]);
    let knows_it = |seat: &mut Seat| seat.is_stored &= true;
    attendances.lock().sit_down(id(), Kind::Holds, knows_it);
    attendances.lock().stored(id(), &LEAVE);
    assert_eq!(told(&attendances), [ATTEND]);
    part(&attendances, Kind::Holds, Parting::Broke);
    assert_eq!(told(&attendances), [LEAVE]);
}

/// Where somebody always came or went, nobody was ever told.
#[test]
fn what_was_queued_before_is_told_while_others_come() {
    let attendances = Attendances::default();
    let of = |id: u128| {
        attendances.lock().sit_down(TaskId::from_u128(id), Kind::Holds, |_| {});
    };
    for id in 1..=3 {
        of(id);
    }
    assert_eq!(attendances.lock().unqueued(), 0);
    let owed = attendances.lock().owed(NODE);
    of(4);
    assert_eq!((owed.len(), attendances.lock().unqueued()), (3, 3));
    attendances.lock().owe_again(owed[0].0, &[ATTEND]);
    assert_eq!(attendances.lock().unqueued(), 0, "it is owed again");
    assert_eq!(attendances.lock().owed(NODE)[0].0, owed[0].0);
    assert_eq!(attendances.lock().unqueued(), 4);
}

#[test]
fn what_the_store_could_not_be_told_is_owed() {
    let attendances = Attendances::default();
    came(&attendances);
    told(&attendances);
    part(&attendances, Kind::Holds, Parting::Broke);
    let owed = attendances.lock().owed(NODE);
    asked(&attendances);
    attendances.lock().owe_again(id(), &owed[0].1);
    assert_eq!(told(&attendances), [LEAVE, ATTEND]);
    part(&attendances, Kind::Asks, Parting::LetGo);
    let owed = attendances.lock().owed(NODE);
    attendances.lock().owe_again(id(), &owed[0].1);
    came(&attendances);
    assert_eq!(told(&attendances), [], "somebody is there, as the store has it");
}

/// All had left then, and it did not come back to stay.
#[test]
fn a_poll_that_comes_before_the_store_was_told_undoes_no_leaving() {
    for is_answered in [false, true] {
        let attendances = Attendances::default();
        came(&attendances);
        told(&attendances);
        part(&attendances, Kind::Holds, Parting::Broke);
        asked(&attendances);
        if is_answered {
            part(&attendances, Kind::Asks, Parting::LetGo);
            assert_eq!(told(&attendances), [LEAVE]);
        } else {
            assert_eq!(told(&attendances), [LEAVE, ATTEND]);
            part(&attendances, Kind::Asks, Parting::LetGo);
            let answer = Command::LetGo { node: NODE, has_broken: None };
            assert_eq!(told(&attendances), [answer]);
        }
    }
}

/// One stream that was opened again canceled the task, however all others went.
#[test]
fn whoever_comes_back_while_a_poll_waits_says_itself_how_it_goes() {
    let goes = |has_broken| Command::Attend { node: NODE, has_broken: Some(has_broken) };
    let attendances = Attendances::default();
    came(&attendances);
    asked(&attendances);
    assert_eq!(told(&attendances), [ATTEND]);
    part(&attendances, Kind::Holds, Parting::Broke);
    assert_eq!(told(&attendances), [goes(true)]);
    came(&attendances);
    came(&attendances);
    part(&attendances, Kind::Holds, Parting::Broke);
    assert_eq!(told(&attendances), [], "one that holds it is left");
    part(&attendances, Kind::Holds, Parting::LetGo);
    assert_eq!(told(&attendances), [goes(false)]);
    part(&attendances, Kind::Asks, Parting::LetGo);
    assert_eq!(told(&attendances), [Command::LetGo { node: NODE, has_broken: None }]);
    assert!(attendances.lock().tasks.is_empty());
}

#[test]
fn a_poll_that_breaks_off_was_there_and_one_that_gets_its_answer_holds() {
    let attendances = Attendances::default();
    asked(&attendances);
    attendances.hold(&[id()]);
    asked(&attendances);
    told(&attendances);
    part(&attendances, Kind::Asks, Parting::Broke);
    assert_eq!(told(&attendances), [], "one that holds it is left");
    part(&attendances, Kind::Holds, Parting::LetGo);
    assert_eq!(told(&attendances), [LET_GO]);
    asked(&attendances);
    part(&attendances, Kind::Asks, Parting::Broke);
    assert_eq!(told(&attendances), [ATTEND, LEAVE]);
}
