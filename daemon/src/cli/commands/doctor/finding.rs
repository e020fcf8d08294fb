//! What was found, and how it is shown.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// It works, and could be better: no reason for an exit code.
    Note,
    /// It works, and will not always.
    Warning,
    /// Events do not arrive, or not for somebody.
    Problem,
}

#[derive(Debug, Serialize)]
struct Finding {
    severity: Severity,
    /// The part that was looked at.
    part: &'static str,
    what: String,
    /// The command, or what else to do.
    mend: String,
}

#[derive(Debug, Default, Serialize)]
pub struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    pub fn note(&mut self, part: &'static str, what: String, mend: impl Into<String>) {
        self.add(Severity::Note, part, what, mend.into());
    }

    pub fn problem(&mut self, part: &'static str, what: String, mend: impl Into<String>) {
        self.add(Severity::Problem, part, what, mend.into());
    }

    pub fn warning(&mut self, part: &'static str, what: String, mend: impl Into<String>) {
        self.add(Severity::Warning, part, what, mend.into());
    }

    fn add(&mut self, severity: Severity, part: &'static str, what: String, mend: String) {
        self.findings.push(Finding {
            severity,
            part,
            what,
            mend,
        });
    }

    pub fn has_problem(&self) -> bool {
        let is = |finding: &Finding| finding.severity == Severity::Problem;
        self.findings.iter().any(is)
    }

    pub fn exit_code(&self) -> u8 {
        let severities = self.findings.iter().map(|finding| finding.severity);
        match severities.max() {
            Some(Severity::Problem) => 2,
            Some(Severity::Warning) => 1,
            Some(Severity::Note) | None => 0,
        }
    }

    pub fn text(&self) -> String {
        let line = |finding: &Finding| {
            let severity = match finding.severity {
                Severity::Note => "note",
                Severity::Warning => "warning",
                Severity::Problem => "problem",
            };
            format!(
                "{severity}: {}: {}\n    {}\n",
                finding.part, finding.what, finding.mend
            )
        };
        self.findings.iter().map(line).collect()
    }

    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}
