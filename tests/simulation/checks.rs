//! What must hold of answers.

use std::collections::BTreeMap;

use pointsman::{domain::evidence::Evidence, registry::Registry};

use super::{
    pointsman::{Answer, Pointsman, file, server},
    random::Random,
    run::{Failure, Tally},
    truth::{Verdict, verdict},
    world::{Pid, World},
};

/// An answer is by a server that lives, and the same when asked again.
pub(crate) fn is_stable(
    world: &mut World,
    pointsman: &Pointsman,
    answer: Answer,
    asked: usize,
) -> Result<(), Failure> {
    if !pointsman.holds_for_alive(answer) {
        return Err(Failure::new(asked, format!("{answer:?} names a server that is gone")));
    }
    match pointsman.answer(world, asked) {
        Some(again) if again.process == answer.process => Ok(()),
        again => Err(Failure::new(asked, format!("{answer:?} at first, {again:?} when asked again"))),
    }
}

/// An answer after everything on connected streams has arrived is what the oracle says.
pub(crate) fn is_right(
    world: &World,
    pointsman: &Pointsman,
    answer: Answer,
    choices: &mut BTreeMap<usize, Pid>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let wrong = |why: String| Err(Failure::new(answer.session, format!("{answer:?}, but {why}")));
    if !world.processes[answer.process].lives {
        return wrong(String::from("that process is dead"));
    }
    let owns = answer.evidence.owns();
    let something_lost = std::iter::once(answer.session)
        .chain(world.parents(answer.session))
        .any(|session| world.sessions[session].lost || !world.sessions[session].told);
    match verdict(world, answer.session) {
        Verdict::NotJudged => tally.not_judged += 1,
        Verdict::Has(right) if !pointsman.keys.contains_key(&right) => tally.not_judged += 1,
        Verdict::Lost if !something_lost => {
            return wrong(String::from("nothing was lost that could excuse it"));
        }
        Verdict::Lost => tally.lost += 1,
        Verdict::Nobody if owns => return wrong(String::from("nobody alive ever had it")),
        Verdict::Nobody => {
            tally.chosen += 1;
            let before = choices.insert(answer.session, answer.process);
            if let Some(before) =
                before.filter(|before| *before != answer.process && world.processes[*before].lives)
            {
                return wrong(format!("process {before} was chosen before"));
            }
            return Ok(());
        }
        Verdict::OneOf(several) if !several.contains(&answer.process) => {
            return wrong(format!("one of {several:?} runs it"));
        }
        Verdict::Has(right) if right != answer.process => {
            return wrong(format!("the oracle says process {right}"));
        }
        Verdict::Has(_) | Verdict::OneOf(_) if !owns => {
            return wrong(String::from("the evidence for it was forgotten"));
        }
        Verdict::Has(_) | Verdict::OneOf(_) => {
            tally.judged += 1;
            match answer.evidence {
                Evidence::Routed => tally.routed += 1,
                Evidence::Succeeded => tally.succeeded += 1,
                Evidence::Inherited => tally.inherited += 1,
                _ => {}
            }
        }
    }
    // Once somebody had it, a later choice is a new one.
    choices.remove(&answer.session);
    Ok(())
}

/// Choices do not depend on the order in which the servers are met.
pub(crate) fn choices_do_not_depend_on_order(world: &World, random: &mut Random) -> Result<(), Failure> {
    let mut met = world.living();
    let mut choices = || {
        random.shuffle(&mut met);
        let registry = Registry::new(None);
        for pid in &met {
            let store = registry.stores.key(file(world.processes[*pid].seat.store));
            registry.arrive(|key| server(world, *pid, key, store));
        }
        let choose = |session: usize| {
            let store = registry.stores.key(file(world.sessions[session].store));
            registry.sessions.row(store, &world.row(session), 0);
            let owner = registry.choose(store, &world.sessions[session].id)?;
            registry.servers.id(owner.server)
        };
        let sessions = (0..world.sessions.len()).filter(|session| world.sessions[*session].parent.is_none());
        sessions.map(|session| (session, choose(session))).collect::<Vec<_>>()
    };
    let (one, other) = (choices(), choices());
    match one.iter().zip(&other).find(|(one, other)| one != other) {
        Some((one, other)) => {
            Err(Failure::new(one.0, format!("{:?} is chosen, in another order {:?}", one.1, other.1)))
        }
        None => Ok(()),
    }
}
