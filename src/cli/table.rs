//! Plain tables: columns padded to their widest cell, two spaces between them; and leaner ones, for screens of 80 columns.

/// Lays out rows under a heading. Cells count characters, not bytes; the last column is not padded.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    columns(&heading, rows, |_| true)
}

/// The same without columns that say nothing in any row.
pub(crate) fn lean<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    columns(&heading, rows, |column| {
        rows.is_empty() || rows.iter().any(|row| row.get(column).is_some_and(|it| it != "-"))
    })
}

/// The same, with the first column once above it where it is the same in every row.
pub(crate) fn under<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let mut firsts = rows.iter().map(|row| row.first());
    match firsts.next().flatten() {
        Some(first) if firsts.all(|other| other == Some(first)) => {
            format!("{first}:\n{}", columns(&heading, rows, |column| column > 0))
        }
        _ => table(heading, rows),
    }
}

fn columns<const N: usize>(heading: &[&str; N], rows: &[[String; N]], shown: impl Fn(usize) -> bool) -> String {
    let mut widths = heading.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let mut text = String::new();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if !shown(column) {
                continue;
            }
            let padding = width.saturating_sub(cell.chars().count());
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', padding + 2));
        }
        format!("{}\n", text.trim_end())
    };
    let mut text = line(&heading.map(str::to_uppercase));
    for row in rows {
        text.push_str(&line(row));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{lean, table, under};

    #[test]
    fn columns_fit_their_widest_cell() {
        let rows = [["é".to_owned(), "1".to_owned()], ["long".to_owned(), "22".to_owned()]];
        assert_eq!(table(["a", "b"], &rows), "A     B\né     1\nlong  22\n");
    }

    #[test]
    fn what_is_the_same_in_every_row_or_in_none_takes_no_column() {
        let row = |a: &str, b: &str, c: &str| [a.to_owned(), b.to_owned(), c.to_owned()];
        let rows = [row("v", "-", "1"), row("v", "-", "2")];
        assert_eq!(lean(["a", "b", "c"], &rows), "A  C\nv  1\nv  2\n");
        assert_eq!(under(["a", "b", "c"], &rows), "v:\nB  C\n-  1\n-  2\n");
        let several = [row("v", "-", "1"), row("w", "2", "-")];
        assert_eq!(under(["a", "b", "c"], &several), table(["a", "b", "c"], &several));
        assert_eq!(lean(["a", "b", "c"], &several), table(["a", "b", "c"], &several));
        assert_eq!((lean(["a"], &[]), under(["a"], &[])), ("A\n".to_owned(), "A\n".to_owned()));
    }
}
