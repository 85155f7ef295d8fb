//! The table for readers and the numbers for programs.

use std::{fs, path::Path};

use serde::Serialize;
use serde_json::{Value, json};

use crate::Result;

/// One in a hundred may need a second try: a lost request must not miss the target value. A target value of 0 stays 0.
const TOLERANCE: f64 = 1.01;

/// The target value of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    /// No target value: the number is only shown.
    None,
    /// A count: if it misses the value, the run fails.
    Count(f64),
    /// A maximum time or size. A miss is only shown, because machines differ.
    AtMost(f64),
    /// A minimum.
    AtLeast(f64),
}

/// A number and its unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantity {
    value: f64,
    unit: &'static str,
}

/// A constructor for each unit.
macro_rules! units {
    ($($name:ident: $unit:literal),* $(,)?) => {
        impl Quantity {
            $(pub(crate) const fn $name(value: f64) -> Self {
                Self { value, unit: $unit }
            })*
        }
    };
}

units! {
    count: "",
    seconds: "s",
    milliseconds: "ms",
    mebibytes: "MiB",
    bytes: "B",
    times: "x",
    per_second: "/s",
}

/// One line.
#[derive(Debug, Serialize)]
struct Row {
    scenario: &'static str,
    operator: String,
    measure: String,
    value: f64,
    unit: &'static str,
    bar: Option<String>,
    met: Option<bool>,
    /// A miss fails the run.
    strict: bool,
}

/// All lines.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// Adds a line and prints it, so that a long run can be followed.
    pub(crate) fn add(
        &mut self,
        (scenario, operator): (&'static str, &str),
        measure: impl Into<String>,
        Quantity { value, unit }: Quantity,
        bar: Bar,
    ) {
        let (text, met) = match bar {
            Bar::None => (None, None),
            Bar::Count(most) | Bar::AtMost(most) => (
                Some(format!("<= {} {unit}", number(most))),
                Some(value <= most * TOLERANCE),
            ),
            Bar::AtLeast(least) => (
                Some(format!(">= {} {unit}", number(least))),
                Some(value >= least),
            ),
        };
        let row = Row {
            scenario,
            operator: operator.to_owned(),
            measure: measure.into(),
            value,
            unit,
            bar: text,
            met,
            strict: matches!(bar, Bar::Count(_)),
        };
        println!("{}", line(&row));
        self.rows.push(row);
    }

    /// Adds a remark.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        println!("    {text}");
        self.notes.push(text);
    }

    /// Prints all lines with a target value again, together.
    pub(crate) fn summary(&self) {
        println!("\nWhat has a bar:");
        for row in self.rows.iter().filter(|r| r.bar.is_some()) {
            println!("{}", line(row));
        }
    }

    /// Writes all of it as JSON.
    pub(crate) fn write(&self, path: &Path, machine: &Value) -> Result<()> {
        let whole = json!({ "machine": machine, "rows": self.rows, "notes": self.notes });
        Ok(fs::write(path, format!("{whole:#}\n"))?)
    }

    /// Number of counts that are above their target value.
    pub(crate) fn missed(&self) -> usize {
        self.rows
            .iter()
            .filter(|r| r.strict && r.met == Some(false))
            .count()
    }
}

fn line(row: &Row) -> String {
    let outcome = match (row.met, row.strict) {
        (None, _) => "",
        (Some(true), _) => "met",
        (Some(false), true) => "MISSED",
        (Some(false), false) => "above",
    };
    let value = format!("{} {}", number(row.value), row.unit);
    let bar = row.bar.as_deref().unwrap_or_default();
    format!(
        "{:<12} {:<10} {:<50} {value:>18}  {bar:<18} {outcome}",
        row.scenario, row.operator, row.measure
    )
}

/// Three significant digits, without zeros at the end.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// The machine on which the numbers were measured.
pub(crate) fn machine(fsync: bool) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let of = |text: &str, key: &str| {
        let line = text.lines().find(|l| l.starts_with(key));
        let value = line.and_then(|l| l.split_once(':')).map(|(_, v)| v.trim());
        value.unwrap_or_default().to_owned()
    };
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": of(&read("/proc/cpuinfo"), "model name"),
        "memory": of(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load": read("/proc/loadavg").trim(),
        "etcdWaitsForTheDisk": fsync,
    })
}

/// A count as a divisor.
pub(crate) fn real(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// A percentile of sorted values.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((sorted.len() * percent / 100).min(last))
        .copied()
        .unwrap_or(f64::NAN)
}
