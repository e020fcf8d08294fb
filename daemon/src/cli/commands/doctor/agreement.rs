//! Whether the settings of PHP say what askrd has: its ring, and secrets that it takes.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, User};
use shared::name::RingName;
use shared::secret::{self, Secret};

use super::finding::Findings;
use super::ini::Ini;
use super::permissions::may_read;

const PART: &str = "php";

/// What askrd has, to compare with.
pub struct Askrd {
    pub rings: Vec<RingName>,
    /// Of all applications. None: they could not be read, which is a problem of its own.
    pub secrets: Option<Vec<Secret>>,
    pub control: Option<PathBuf>,
}

pub fn is_enabled(who: &str, ini: &Ini, findings: &mut Findings) {
    let off = |value: &str| ["0", "off", "no", "false"].contains(&&*value.to_ascii_lowercase());
    if ini.value("askr.enabled").is_some_and(off) {
        let what = format!("{who} publishes nothing: askr.enabled is off");
        let mend = format!("askr.enabled = 1 in {}", ini.file("askr.enabled").display());
        findings.warning(PART, what, mend);
    }
}

/// What PHP signs tokens with. `user`: who reads it there.
pub fn same_secrets(
    who: &str,
    ini: &Ini,
    user: Option<&(User, Vec<Gid>)>,
    askrd: &Askrd,
    findings: &mut Findings,
) {
    let Some(path) = ini.value("askr.secret_file") else {
        return;
    };
    if let Some((user, groups)) = user
        && let Ok(meta) = fs::metadata(path)
        && !may_read(user.uid.as_raw(), groups, &meta)
    {
        let what = format!(
            "{who} runs as {}, who may not read the secrets in {path}",
            user.name
        );
        let mend = format!("chgrp askr {path} && chmod 0640 {path}");
        findings.problem(PART, what, mend);
        return;
    }
    let secrets = match secret::read(Path::new(path)) {
        Ok(secrets) => secrets,
        Err(why) => {
            let what = format!("{who} cannot sign tokens: {path} {why}");
            let mend =
                format!("chmod 0640 {path}, a secret of 32 characters or more in its first line");
            return findings.problem(PART, what, mend);
        }
    };
    let (Some(known), Some(signs)) = (&askrd.secrets, secrets.first()) else {
        return;
    };
    if !known.contains(&signs.secret) {
        let what = format!("{who} signs tokens with a secret that askrd does not have ({path})");
        let mend = "the same file as auth.secret_file in askr.toml, then: systemctl reload askrd";
        findings.problem(PART, what, mend);
    }
}

pub fn same_ring(who: &str, ring: &str, file: &Path, rings: &[RingName], findings: &mut Findings) {
    let parsed = ring.parse::<RingName>();
    let served = |name: &RingName| rings.iter().any(|ring| ring.path() == name.path());
    if parsed.as_ref().is_ok_and(served) {
        return;
    }
    let all: Vec<String> = rings
        .iter()
        .map(|ring| ring.path().display().to_string())
        .collect();
    let what = format!(
        "{who} writes the ring {ring:?}, and askrd serves {}",
        all.join(", ")
    );
    let names: Vec<String> = rings.iter().map(|name| format!("\"{name}\"")).collect();
    let mend = format!(
        "askr.ring = {} in {}, and restart PHP; or ring.name = {ring:?} in askr.toml, and restart askrd",
        names.join(" or "),
        file.display()
    );
    findings.problem(PART, what, mend);
}
