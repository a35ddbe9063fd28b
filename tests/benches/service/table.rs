//! Tables as Markdown, so that what a run prints can stand in `docs/performance.md` as it is.
#![forbid(unsafe_code)]

/// A table under way.
#[derive(Debug)]
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    /// A table with these columns.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|&cell| cell.to_owned()).collect()])
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }

    /// Prints it, columns of one width and a line before and after.
    pub(crate) fn print(&self, title: &str) {
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.0[0].len()).map(width).collect();
        println!("## {title}\n");
        for (at, row) in self.0.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} |"));
            println!("|{}", cells.collect::<String>());
            if at == 0 {
                println!(
                    "|{}",
                    widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect::<String>()
                );
            }
        }
        println!();
    }
}

/// A figure with as many digits as are worth reading: three or more.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

/// A share in percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
