//! Instants as people read them.

use jiff::{Timestamp, tz::TimeZone};

/// `12:03:11` on the day of `now_ms`, else `2026-11-02 12:03`; both instants in milliseconds since 1970.
pub fn clock(ms: u64, now_ms: u64, zone: &TimeZone) -> String {
    let (Some(moment), Some(now)) = (timestamp(ms), timestamp(now_ms)) else { return "?".to_owned() };
    let (moment, now) = (moment.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let format = if moment.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    moment.strftime(format).to_string()
}

/// `3 min ago`; for what lies ahead by some other clock `just now`.
pub fn age(ms: u64, now_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(ms) / 1000;
    match seconds {
        0..5 => "just now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        86_400..172_800 => "1 day ago".to_owned(),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

fn timestamp(ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_named_only_where_it_is_another_one() {
        let noon = 1_793_620_991_000;
        assert_eq!(clock(noon, noon + 1000, &TimeZone::UTC), "12:03:11");
        assert_eq!(clock(noon, noon + 86_400_000, &TimeZone::UTC), "2026-11-02 12:03");
        assert_eq!(clock(u64::MAX, noon, &TimeZone::UTC), "?");
    }

    #[test]
    fn ages_are_told_in_the_unit_that_people_would_choose() {
        let now = 1_000_000_000_000;
        for (seconds, told) in [
            (0, "just now"),
            (59, "59 s ago"),
            (200, "3 min ago"),
            (7200, "2 h ago"),
            (90_000, "1 day ago"),
            (400_000, "4 days ago"),
        ] {
            assert_eq!(age(now - seconds * 1000, now), told);
        }
        assert_eq!(age(now + 9000, now), "just now");
    }
}
