//! Tables for people: no lines around them and no colours, so that they read the same on a screen, in a pipe and in a
//! file. On a screen they are as wide as it is; what does not fit is cut and ends in `…`, names and ids never.

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, presets};

/// How a column takes a narrow screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// Never cut: people copy it.
    Whole,
    /// Cut where the screen ends.
    Cut,
}

/// A table with a `header`, as text without an end of line. `width` is that of the screen; without one nothing is cut.
pub(super) fn table<const N: usize>(
    header: [(&str, Width); N],
    rows: impl IntoIterator<Item = [String; N]>,
    width: Option<u16>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).force_no_tty().set_truncation_indicator("…");
    let mut titles = Row::from(header.map(|(title, _)| title));
    titles.max_height(1);
    table.set_header(titles);
    for row in rows {
        let mut row = Row::from(row.map(|text| plain(&text)));
        row.max_height(1);
        table.add_row(row);
    }
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    for (column, (_, width)) in table.column_iter_mut().zip(header) {
        // No text holds this: so it is cut where the column ends, not at a word before.
        column.set_padding((0, 2)).set_delimiter('\0');
        if width == Width::Whole {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// How wide the screen is that standard output goes to; `None` if that is a pipe or a file.
pub(super) fn screen_width() -> Option<u16> {
    Table::new().width()
}

/// Text from elsewhere, fit for one line: a title may hold anything, and a terminal obeys control characters.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [(&str, Width); 2] = [("ID", Width::Whole), ("TITLE", Width::Cut)];

    fn rows() -> [[String; 2]; 2] {
        [
            ["ses_1".to_owned(), "Fix the parser of the shop".to_owned()],
            ["ses_22".to_owned(), "\u{1b}[31mred\r\nalert".to_owned()],
        ]
    }

    #[test]
    fn without_a_screen_nothing_is_cut() {
        assert_eq!(
            table(HEADER, rows(), None),
            "ID      TITLE\nses_1   Fix the parser of the shop\nses_22   [31mred  alert"
        );
    }

    #[test]
    fn on_a_narrow_screen_titles_are_cut_and_ids_are_not() {
        assert_eq!(
            table(HEADER, rows(), Some(22)),
            "ID      TITLE\nses_1   Fix the par…\nses_22   [31mred  a…"
        );
    }
}
