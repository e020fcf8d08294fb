//! Text that a monitoring system reads: the Prometheus text format 0.0.4, or OpenMetrics 1.0, as it asks for.
//! A family has its head once, and then its samples.

use std::fmt::{Display, Write};

/// In which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    Prometheus,
    OpenMetrics,
}

/// What a sample's number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Units that a family's name may end with.
const UNITS: [&str; 4] = ["bytes", "seconds", "positions", "events"];

#[derive(Debug)]
pub struct Exposition {
    syntax: Syntax,
    out: String,
}

impl Syntax {
    /// By the header `Accept` of a request: what a Prometheus server asks for first, if it is one of the two.
    pub fn of_accept(accept: Option<&str>) -> Self {
        let wants = |part: &str| {
            let mut parameters = part.split(';').map(str::trim);
            let is = parameters.next() == Some("application/openmetrics-text");
            is && !parameters.any(|p| p.eq_ignore_ascii_case("q=0"))
        };
        match accept.is_some_and(|accept| accept.split(',').map(str::trim).any(wants)) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Exposition {
    pub fn new(syntax: Syntax) -> Self {
        Self {
            syntax,
            out: String::with_capacity(32 << 10),
        }
    }

    /// The head of a family, before its samples. A counter's name ends with `_total`.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        debug_assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        if self.syntax == Syntax::Prometheus {
            let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            return;
        }
        // OpenMetrics names a counter's family without the ending of its samples.
        let name = name.strip_suffix("_total").unwrap_or(name);
        let _ = writeln!(self.out, "# TYPE {name} {kind}");
        if let Some(unit) = UNITS
            .iter()
            .find(|unit| name.ends_with(&format!("_{unit}")))
        {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {name} {}", help.replace('"', "\\\""));
    }

    /// A sample. The values of labels may be anything.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.out, " {value}");
    }

    /// A sample whose labels, if it has any, are part of its name.
    pub fn row(&mut self, name: &str, value: u64) {
        let _ = writeln!(self.out, "{name} {value}");
    }

    /// The samples of a histogram: `(upper bound in seconds, observations up to it)`, and those of all bounds.
    pub fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        buckets: impl Iterator<Item = (f64, u64)>,
        sum: f64,
        count: u64,
    ) {
        for (bound, below) in buckets {
            // A bound that is a whole number has to look like a number with a fraction in OpenMetrics.
            let bound = match self.syntax {
                Syntax::OpenMetrics => format!("{bound:?}"),
                Syntax::Prometheus => bound.to_string(),
            };
            let _ = write!(self.out, "{name}_bucket");
            self.labels(labels, Some(&bound));
            let _ = writeln!(self.out, " {below}");
        }
        let _ = write!(self.out, "{name}_bucket");
        self.labels(labels, Some("+Inf"));
        let _ = writeln!(self.out, " {count}");
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count);
    }

    pub fn finish(mut self) -> String {
        if self.syntax == Syntax::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn labels(&mut self, labels: &[(&str, &str)], le: Option<&str>) {
        let le = le.map(|le| ("le", le));
        let mut all = labels.iter().copied().chain(le).peekable();
        if all.peek().is_none() {
            return;
        }
        self.out.push('{');
        for (n, (name, value)) in all.enumerate() {
            if n > 0 {
                self.out.push(',');
            }
            let _ = write!(self.out, "{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        self.out.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(syntax: Syntax) -> String {
        let mut out = Exposition::new(syntax);
        out.family("x_bytes_total", Kind::Counter, "A \"b\".");
        out.sample("x_bytes_total", &[("app", "a\"\\\nb"), ("n", "1")], 7);
        out.family("y_seconds", Kind::Histogram, "Time.");
        let buckets = [(0.5, 1), (5.0, 3)];
        out.histogram("y_seconds", &[("app", "a")], buckets.into_iter(), 7.5, 4);
        out.finish()
    }

    #[test]
    fn both_forms_have_the_same_samples_and_heads_of_their_own() {
        assert_eq!(
            of(Syntax::Prometheus),
            "# HELP x_bytes_total A \"b\".\n# TYPE x_bytes_total counter\n\
             x_bytes_total{app=\"a\\\"\\\\\\nb\",n=\"1\"} 7\n\
             # HELP y_seconds Time.\n# TYPE y_seconds histogram\n\
             y_seconds_bucket{app=\"a\",le=\"0.5\"} 1\ny_seconds_bucket{app=\"a\",le=\"5\"} 3\n\
             y_seconds_bucket{app=\"a\",le=\"+Inf\"} 4\n\
             y_seconds_sum{app=\"a\"} 7.5\ny_seconds_count{app=\"a\"} 4\n"
        );
        assert_eq!(
            of(Syntax::OpenMetrics),
            "# TYPE x_bytes counter\n# UNIT x_bytes bytes\n# HELP x_bytes A \\\"b\\\".\n\
             x_bytes_total{app=\"a\\\"\\\\\\nb\",n=\"1\"} 7\n\
             # TYPE y_seconds histogram\n# UNIT y_seconds seconds\n# HELP y_seconds Time.\n\
             y_seconds_bucket{app=\"a\",le=\"0.5\"} 1\ny_seconds_bucket{app=\"a\",le=\"5.0\"} 3\n\
             y_seconds_bucket{app=\"a\",le=\"+Inf\"} 4\n\
             y_seconds_sum{app=\"a\"} 7.5\ny_seconds_count{app=\"a\"} 4\n# EOF\n"
        );
    }

    #[test]
    fn the_form_is_the_one_that_is_asked_for() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Syntax::of_accept(Some(prometheus)), Syntax::OpenMetrics);
        for other in [
            None,
            Some("*/*"),
            Some("text/plain"),
            Some("application/openmetrics-text;q=0"),
        ] {
            assert_eq!(Syntax::of_accept(other), Syntax::Prometheus, "{other:?}");
        }
    }
}
