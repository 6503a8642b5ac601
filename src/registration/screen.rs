//! What an instance's reports make of its screen. Pure.

use super::{Report, Viewing};
use crate::domain::ids::SessionId;

/// A session on a screen, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) session: SessionId,
    pub(super) since_ms: u64,
}

/// What the screen shows after `report`, if it showed `before`. A time is taken as it is told, but for one that lies in
/// the future; a report without one leaves the time of a session that was there before.
pub(super) fn after(before: Option<&Shown>, report: &Report, now_ms: u64) -> Option<Shown> {
    let session = match &report.viewing {
        Viewing::Unsaid => return before.cloned(),
        Viewing::NoSession => return None,
        Viewing::Session(session) => session.clone(),
    };
    let known_since = before.filter(|before| before.session == session).map(|before| before.since_ms);
    let since_ms = report.viewing_since.or(known_since).unwrap_or(now_ms).min(now_ms);
    Some(Shown { session, since_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(session: &str, since_ms: u64) -> Shown {
        Shown { session: SessionId::try_new(session).unwrap(), since_ms }
    }

    fn report(session: Option<&str>, viewing_since: Option<u64>) -> Report {
        let session = session.map(|text| Viewing::Session(SessionId::try_new(text).unwrap()));
        Report { viewing: session.unwrap_or(Viewing::NoSession), viewing_since, ..Report::default() }
    }

    #[test]
    fn a_report_says_what_is_shown_and_since_when() {
        let before = shown("ses_1", 10);
        let at = |report: &Report| after(Some(&before), report, 100);
        assert_eq!(at(&report(Some("ses_2"), Some(20))), Some(shown("ses_2", 20)));
        assert_eq!(at(&report(Some("ses_1"), Some(30))), Some(shown("ses_1", 30)));
        assert_eq!(at(&report(None, None)), None);
        assert_eq!(at(&Report::default()), Some(before.clone()), "it says nothing of its screen");
    }

    #[test]
    fn a_heartbeat_without_a_time_renews_none() {
        assert_eq!(
            after(Some(&shown("ses_1", 10)), &report(Some("ses_1"), None), 100),
            Some(shown("ses_1", 10))
        );
        assert_eq!(
            after(Some(&shown("ses_1", 10)), &report(Some("ses_2"), None), 100),
            Some(shown("ses_2", 100))
        );
    }

    #[test]
    fn nobody_has_moved_in_the_future() {
        assert_eq!(after(None, &report(Some("ses_1"), Some(u64::MAX)), 100), Some(shown("ses_1", 100)));
    }
}
