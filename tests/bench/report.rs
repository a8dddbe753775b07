//! What was measured: a table for people, JSON for programs, Markdown for documents.

use std::{fmt::Write, fs, path::Path};

use serde_json::{Map, Value, json};

pub struct Report {
    machine: Value,
    rows: Vec<Row>,
    details: Map<String, Value>,
}

struct Row {
    case: String,
    target: String,
    measured: String,
    /// `None` where there is no target.
    ok: Option<bool>,
}

impl Row {
    fn verdict(&self) -> &'static str {
        match self.ok {
            Some(true) => "ok",
            Some(false) => "NOT",
            None => "-",
        }
    }
}

impl Report {
    pub fn new(machine: Value) -> Self {
        Self { machine, rows: Vec::new(), details: Map::new() }
    }

    /// A line of the table.
    pub fn row(&mut self, case: &str, target: &str, measured: String, ok: Option<bool>) {
        let row = Row { case: case.to_owned(), target: target.to_owned(), measured, ok };
        println!("  {:>3}  {}: {}", row.verdict(), row.case, row.measured);
        self.rows.push(row);
    }

    /// Everything that stands behind a case's lines.
    pub fn detail(&mut self, case: &str, value: Value) {
        self.details.insert(case.to_owned(), value);
    }

    pub fn failed(&mut self, case: &str, error: &anyhow::Error) {
        self.row(case, "", format!("could not be measured: {error:#}"), Some(false));
    }

    pub fn print(&self) {
        println!();
        let width = |text: fn(&Row) -> &str| self.rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
        let (case, target) = (width(|row| &row.case), width(|row| &row.target));
        for row in &self.rows {
            println!("{:>3}  {:<case$}  {:<target$}  {}", row.verdict(), row.case, row.target, row.measured);
        }
    }

    /// Writes `bench.json` and `bench.md`.
    pub fn write(&self, to: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(to)?;
        let rows = self.rows.iter().map(|row| json!({ "case": row.case, "target": row.target, "measured": row.measured, "ok": row.ok }));
        let all = json!({ "machine": self.machine, "rows": rows.collect::<Vec<_>>(), "details": self.details });
        fs::write(to.join("bench.json"), serde_json::to_string_pretty(&all)?)?;
        fs::write(to.join("bench.md"), self.markdown()?)?;
        Ok(())
    }

    fn markdown(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let of = |key: &str| self.machine[key].as_str().map_or_else(|| self.machine[key].to_string(), str::to_owned);
        writeln!(
            text,
            "Measured {} at {}: {} cores ({}), {}, Linux {}; {}.\n",
            of("date"),
            of("commit"),
            of("cores"),
            of("cpu"),
            of("memory"),
            of("kernel"),
            of("cluster")
        )?;
        writeln!(text, "| case | target | measured | |\n|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(text, "| {} | {} | {} | {} |", row.case, row.target, row.measured, row.verdict())?;
        }
        Ok(text)
    }
}
