//! From claims to an owner.
//!
//! The rule: the strongest evidence wins, and among equals the newest. Two exceptions: among busy servers the one
//! that was busy *first* keeps the session until it is idle, and output that is newer than a screen's move wins over
//! that screen if the server that wrote it has no means of reporting its own screen.
//!
//! What is deliberately absent: servers that are gone (their claims count for nothing), idles and errors (they claim
//! nothing), and any memory of earlier answers: the same claims always give the same owner.

use super::{
    claim::{Claim, Claims},
    evidence::Evidence,
    ids::ServerKey,
};

/// What the rule must know of a server.
pub trait Witness {
    /// Whether the server still runs, as far as anyone knows.
    fn lives(&self, server: ServerKey) -> bool;
    /// Whether the server tells us what its screen shows.
    fn reports_screen(&self, server: ServerKey) -> bool;
}

/// Who owns a session, and by what evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The server that every request for the session goes to.
    pub server: ServerKey,
    /// The evidence that decided.
    pub evidence: Evidence,
}

impl Owner {
    /// What a sub-agent's session inherits from a parent owned like this: the same server, by evidence no stronger
    /// than its parent's.
    pub fn inherited(self) -> Self {
        Self { server: self.server, evidence: self.evidence.min(Evidence::Inherited) }
    }
}

/// The owner that `claims` of live servers give, with `parent` the owner of the session that started this one.
/// `None` when nobody claims it: then a tie-break among the servers of its store must choose.
pub fn resolve(claims: &Claims, parent: Option<Owner>, witness: &impl Witness) -> Option<Owner> {
    let own = deciding(claims, witness).map(|claim| Owner { server: claim.server, evidence: claim.evidence });
    let inherited = parent.filter(|owner| witness.lives(owner.server)).map(Owner::inherited);
    match (own, inherited) {
        (Some(own), Some(inherited)) if inherited.evidence > own.evidence => Some(inherited),
        (own, inherited) => own.or(inherited),
    }
}

/// The claim that decides among those of live servers.
fn deciding(claims: &Claims, witness: &impl Witness) -> Option<Claim> {
    let live = || claims.iter().copied().filter(|claim| witness.lives(claim.server));
    let by =
        |evidence| live().filter(move |claim| claim.evidence == evidence).max_by_key(|&claim| recency(claim));
    let strongest = live().map(|claim| claim.evidence).max()?;
    let decided = by(strongest)?;
    let outdone = strongest == Evidence::Viewing
        && live().any(|claim| {
            claim.evidence == Evidence::Emitted
                && claim.at_ms > decided.at_ms
                && !witness.reports_screen(claim.server)
        });
    if outdone { by(Evidence::Emitted) } else { Some(decided) }
}

/// What decides among claims by the same evidence: the newest, for busy the oldest; at the same instant the server
/// that has been known longer.
fn recency(claim: Claim) -> (u64, u32) {
    let recency = if claim.evidence == Evidence::Busy { u64::MAX - claim.at_ms } else { claim.at_ms };
    (recency, u32::MAX - claim.server.0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Default)]
    struct Town {
        dead: HashSet<ServerKey>,
        seeing: HashSet<ServerKey>,
    }

    impl Witness for Town {
        fn lives(&self, server: ServerKey) -> bool {
            !self.dead.contains(&server)
        }
        fn reports_screen(&self, server: ServerKey) -> bool {
            self.seeing.contains(&server)
        }
    }

    const A: ServerKey = ServerKey(1);
    const B: ServerKey = ServerKey(2);

    fn claim(server: ServerKey, evidence: Evidence, at_ms: u64) -> Claim {
        Claim { server, evidence, at_ms }
    }

    fn owner(claims: &[Claim]) -> Option<Owner> {
        resolve(&claims.iter().copied().collect(), None, &Town::default())
    }

    #[test]
    fn the_newest_output_decides_among_equals() {
        let claims = [claim(A, Evidence::Emitted, 10), claim(B, Evidence::Emitted, 20)];
        assert_eq!(owner(&claims), Some(Owner { server: B, evidence: Evidence::Emitted }));
    }

    #[test]
    fn the_first_busy_server_keeps_the_session_however_often_the_second_repeats_itself() {
        let claims =
            [claim(A, Evidence::Busy, 10), claim(B, Evidence::Busy, 20), claim(B, Evidence::Busy, 30)];
        assert_eq!(owner(&claims), Some(Owner { server: A, evidence: Evidence::Busy }));
    }

    #[test]
    fn a_routed_turn_does_not_displace_older_output() {
        let claims = [claim(A, Evidence::Emitted, 10), claim(B, Evidence::Routed, 99)];
        assert_eq!(owner(&claims).map(|owner| owner.server), Some(A));
    }

    #[test]
    fn output_newer_than_the_screens_move_wins_only_from_a_server_that_cannot_report_its_screen() {
        let claims: Claims =
            [claim(A, Evidence::Viewing, 10), claim(B, Evidence::Emitted, 20)].into_iter().collect();
        let blind = Town { seeing: [A].into(), ..Town::default() };
        assert_eq!(resolve(&claims, None, &blind).map(|owner| owner.server), Some(B));
        let seeing = Town { seeing: [A, B].into(), ..Town::default() };
        assert_eq!(resolve(&claims, None, &seeing).map(|owner| owner.server), Some(A));
    }

    #[test]
    fn a_sub_agents_session_follows_its_parent_but_no_further_than_the_parents_evidence_reaches() {
        let town = Town::default();
        let parent = |evidence| Some(Owner { server: B, evidence });
        let routed: Claims = [claim(A, Evidence::Routed, 1)].into_iter().collect();
        let by = |evidence| resolve(&routed, parent(evidence), &town);
        assert_eq!(by(Evidence::Busy), Some(Owner { server: B, evidence: Evidence::Inherited }));
        assert_eq!(by(Evidence::Chosen), Some(Owner { server: A, evidence: Evidence::Routed }));
        let none = resolve(&Claims::default(), parent(Evidence::Chosen), &town);
        assert_eq!(none, Some(Owner { server: B, evidence: Evidence::Chosen }));
    }

    fn any_claim() -> impl Strategy<Value = Claim> {
        (0u32..5, prop::sample::select(Evidence::ALL.to_vec()), 0u64..20)
            .prop_map(|(server, evidence, at_ms)| claim(ServerKey(server), evidence, at_ms))
    }

    fn any_town() -> impl Strategy<Value = Town> {
        let servers = || prop::collection::hash_set((0u32..5).prop_map(ServerKey), 0..5);
        (servers(), servers()).prop_map(|(dead, seeing)| Town { dead, seeing })
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(
            (claims, shuffled) in prop::collection::vec(any_claim(), 0..12)
                .prop_flat_map(|claims| (Just(claims.clone()), Just(claims).prop_shuffle())),
            town in any_town(),
        ) {
            let one = resolve(&claims.into_iter().collect(), None, &town);
            let other = resolve(&shuffled.into_iter().collect(), None, &town);
            prop_assert_eq!(one, other);
        }

        #[test]
        fn weaker_evidence_never_displaces_stronger(
            claims in prop::collection::vec(any_claim(), 1..12), late in any_claim(), town in any_town(),
        ) {
            let before: Claims = claims.into_iter().collect();
            let Some(owner) = resolve(&before, None, &town) else { return Ok(()) };
            let mut after = before.clone();
            after.assert(late);
            let Some(next) = resolve(&after, None, &town) else { return Err(TestCaseError::fail("owner lost")) };
            let outdid_a_screen = owner.evidence == Evidence::Viewing
                && late.evidence == Evidence::Emitted
                && !town.reports_screen(late.server);
            if late.evidence < owner.evidence && !outdid_a_screen {
                prop_assert_eq!(next, owner);
            }
        }

        #[test]
        fn a_dead_server_owns_nothing(claims in prop::collection::vec(any_claim(), 0..12), town in any_town()) {
            if let Some(owner) = resolve(&claims.into_iter().collect(), None, &town) {
                prop_assert!(town.lives(owner.server));
            }
        }

        #[test]
        fn a_claim_said_twice_is_a_claim_said_once(claims in prop::collection::vec(any_claim(), 0..12), town in any_town()) {
            let once: Claims = claims.iter().copied().collect();
            let twice: Claims = claims.iter().chain(&claims).copied().collect();
            prop_assert_eq!(resolve(&once, None, &town), resolve(&twice, None, &town));
        }
    }
}
