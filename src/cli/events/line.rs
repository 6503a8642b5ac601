//! A line of the tail: when, where, in which session, what.

use anstyle::{AnsiColor, Style};

use super::{gist::Tone, names::TITLE};

/// What stands in a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) time: &'a str,
    pub(super) server: &'a str,
    pub(super) session: &'a str,
    pub(super) kind: &'a str,
    pub(super) gist: &'a str,
    pub(super) tone: Tone,
}

impl Line<'_> {
    /// As text, with colours or without.
    pub(super) fn text(&self, colours: bool) -> String {
        let Self { time, server, session, kind, gist, tone } = *self;
        let styles = if colours {
            [Style::new().dimmed(), AnsiColor::Cyan.on_default(), Style::new().bold(), of(tone)]
        } else {
            [Style::new(); 4]
        };
        let columns = [(time, 8), (server, 6), (session, TITLE)];
        let columns = columns.into_iter().zip(styles);
        let before: Vec<String> =
            columns.map(|((column, width), style)| format!("{style}{column:width$}{style:#}  ")).collect();
        let style = styles[3];
        let gap =
            if gist.is_empty() { String::new() } else { " ".repeat(22_usize.saturating_sub(kind.len()) + 2) };
        let loud = matches!(tone, Tone::Asks | Tone::Trouble);
        let of_gist = if loud { style } else { Style::new() };
        format!("{}{style}{kind}{style:#}{gap}{of_gist}{gist}{of_gist:#}", before.concat())
    }
}

fn of(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new().dimmed(),
        Tone::Asks => AnsiColor::Yellow.on_default().bold(),
        Tone::Trouble => AnsiColor::Red.on_default().bold(),
        Tone::Own => AnsiColor::Magenta.on_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(tone: Tone) -> Line<'static> {
        let (time, server) = ("12:03:11", ":4302");
        Line { time, server, session: "Fix it", kind: "session.idle", gist: "so", tone }
    }

    #[test]
    fn columns_stand_below_one_another() {
        let expected = "12:03:11  :4302   Fix it                    session.idle            so";
        assert_eq!(line(Tone::Plain).text(false), expected);
        let bare = Line { gist: "", ..line(Tone::Plain) };
        assert!(bare.text(false).ends_with("session.idle"));
    }

    #[test]
    fn colours_change_nothing_but_the_colour() {
        for tone in [Tone::Plain, Tone::Asks, Tone::Trouble, Tone::Own] {
            let coloured = line(tone).text(true);
            assert!(coloured.contains('\u{1b}'));
            assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), line(tone).text(false));
        }
    }
}
