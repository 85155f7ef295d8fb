//! The two text formats that Prometheus reads.

use std::fmt::Write;

use super::table::{Kind, Metric};

/// A text format.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4.
    #[default]
    Prometheus,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl Format {
    /// The format that a client prefers, according to the `Accept` header of its request. A client without the header, or whose header contains
    /// neither
    /// format, gets the one that all clients can read.
    pub fn of(accept: Option<&str>) -> Self {
        let mut weights = [0.0_f32; 2];
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let at = match kind.as_str() {
                "application/openmetrics-text" => 1,
                "text/plain" => 0,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            weights[at] = weights[at].max(weight.unwrap_or(1.0));
        }
        if weights[1] > 0.0 && weights[1] >= weights[0] {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The `Content-Type` of a page.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Count(u64),
    Whole(i64),
    Real(f64),
}

/// A page that is being written.
pub(super) struct Page {
    text: String,
    format: Format,
}

impl Page {
    pub(super) fn new(format: Format) -> Self {
        Self {
            text: String::with_capacity(64 * 1024),
            format,
        }
    }

    /// Begins a metric. All of its series follow.
    pub(super) fn begin(&mut self, metric: &Metric) {
        let name = match self.format {
            // In this format, the name of a counter is written without its suffix.
            Format::OpenMetrics => metric.name.strip_suffix("_total").unwrap_or(metric.name),
            Format::Prometheus => metric.name,
        };
        let (help, kind) = (metric.help, metric.kind.as_str());
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, metric.unit) {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
    }

    /// One series. `values` are those of the metric's labels.
    pub(super) fn series(&mut self, metric: &Metric, values: &[&str], value: Value) {
        self.sample((metric, ""), values, None, value);
    }

    /// One histogram: counts by bound, not cumulative, the last one for values beyond all bounds.
    pub(super) fn histogram(&mut self, metric: &Metric, values: &[&str], counts: &[u64], sum: f64) {
        let Kind::Histogram(bounds) = metric.kind else {
            return;
        };
        let mut all = 0;
        for (at, count) in counts.iter().enumerate() {
            all += count;
            let bound = bounds
                .get(at)
                .map_or("+Inf".to_owned(), |b| format!("{b:?}"));
            let bound = Some(("le", bound.as_str()));
            self.sample((metric, "_bucket"), values, bound, Value::Count(all));
        }
        self.sample((metric, "_sum"), values, None, Value::Real(sum));
        self.sample((metric, "_count"), values, None, Value::Count(all));
    }

    /// The finished page.
    pub(super) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn sample(
        &mut self,
        (metric, ending): (&Metric, &str),
        values: &[&str],
        bound: Option<(&str, &str)>,
        value: Value,
    ) {
        self.text.push_str(metric.name);
        self.text.push_str(ending);
        let labels = metric.labels.iter().map(|label| label.name);
        let mut before = '{';
        for (name, value) in labels.zip(values.iter().copied()).chain(bound) {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escaped(&mut self.text, value);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        match value {
            Value::Count(n) => self.line(format_args!(" {n}")),
            Value::Whole(n) => self.line(format_args!(" {n}")),
            Value::Real(n) => self.line(format_args!(" {n:?}")),
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{text}");
    }
}

/// A label value. In both formats, the three characters that end or break it are escaped.
fn escaped(out: &mut String, value: &str) {
    // Names of objects contain none of them.
    if !value.bytes().any(|b| matches!(b, b'\\' | b'"' | b'\n')) {
        out.push_str(value);
        return;
    }
    for part in value.split_inclusive(['\\', '"', '\n']) {
        let Some(last) = part.chars().last() else {
            continue;
        };
        let (plain, escape) = match last {
            '\\' => (&part[..part.len() - 1], "\\\\"),
            '"' => (&part[..part.len() - 1], "\\\""),
            '\n' => (&part[..part.len() - 1], "\\n"),
            _ => (part, ""),
        };
        out.push_str(plain);
        out.push_str(escape);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_chooses_the_format() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let cases = [
            (None, Format::Prometheus),
            (Some(""), Format::Prometheus),
            (Some("*/*"), Format::Prometheus),
            (
                Some("text/html,application/xhtml+xml,*/*;q=0.8"),
                Format::Prometheus,
            ),
            (Some("text/plain;version=0.0.4"), Format::Prometheus),
            (Some(prometheus_3), Format::OpenMetrics),
            (
                Some("application/openmetrics-text; version=1.0.0"),
                Format::OpenMetrics,
            ),
            (
                Some("text/plain;q=0.9, Application/OpenMetrics-Text;q=0.1"),
                Format::Prometheus,
            ),
            (
                Some("application/openmetrics-text;q=0, */*"),
                Format::Prometheus,
            ),
            (
                Some("application/openmetrics-text;q=x"),
                Format::OpenMetrics,
            ),
        ];
        for (accept, format) in cases {
            assert_eq!(Format::of(accept), format, "{accept:?}");
        }
    }

    #[test]
    fn a_label_value_cannot_end_its_quotes() {
        let mut out = String::new();
        escaped(&mut out, "a\"b\\c\nd\\\"é");
        assert_eq!(out, r#"a\"b\\c\nd\\\"é"#);
    }
}
