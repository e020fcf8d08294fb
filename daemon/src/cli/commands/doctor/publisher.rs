//! Who publishes as one user: whether it may write the ring, believes it and may ask askrd, and whether what runs was started
//! with the code and the groups of now.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, User, geteuid};
use shared::name::RingName;
use shared::trust::Trusted;

use super::agreement::{Askrd, is_enabled, same_ring, same_secrets};
use super::finding::Findings;
use super::ini::Ini;
use super::permissions::let_in;
use super::processes::Process;

const PART: &str = "php";
/// Where PHP looks for askrd's control socket.
const CONTROL: &str = "/run/askr/control.sock";

/// A pool of PHP-FPM, Apache, or a site of it.
#[derive(Clone)]
pub struct Publisher<'a> {
    pub who: String,
    /// The command by which it takes over what was mended.
    pub restart: String,
    pub ini: Ini,
    /// As whom it runs, with its groups. None: it does not say, or there is no such user.
    pub user: Option<(User, Vec<Gid>)>,
    /// One of its processes, if it runs.
    pub running: Option<&'a Process>,
}

impl Publisher<'_> {
    /// What it sets in place of `all`, which was looked at.
    pub fn examine_settings(&self, all: &Ini, askrd: &Askrd, findings: &mut Findings) {
        let (who, ini) = (&self.who, &self.ini);
        if ini.differs(all, "askr.ring") {
            same_ring(
                who,
                ini.ring(),
                ini.file("askr.ring"),
                &askrd.rings,
                findings,
            );
        }
        if ini.differs(all, "askr.enabled") {
            is_enabled(who, ini, findings);
        }
        if ini.differs(all, "askr.secret_file") {
            same_secrets(who, ini, self.user.as_ref(), askrd, findings);
        }
    }

    /// The same, and what its user may do. `all`: of its SAPI.
    pub fn examine(&self, all: &Ini, askrd: &Askrd, findings: &mut Findings) {
        let (who, ini) = (&self.who, &self.ini);
        self.examine_settings(all, askrd, findings);
        if !ini.differs(all, "askr.secret_file") {
            same_secrets(who, ini, self.user.as_ref(), askrd, findings);
        }
        self.runs_what_is_there(findings);
        let Some((user, groups)) = &self.user else {
            return;
        };
        let Ok(ring) = ini.ring().parse::<RingName>() else {
            return;
        };
        let Ok(meta) = fs::metadata(ring.path()) else {
            return;
        };
        let at = ring.path().display();
        let restart = &self.restart;
        let name = &user.name;
        if let Some(open) = let_in(user, groups, ring.path()) {
            let what = format!("{who} runs as {name}, who may not write the ring {at}");
            findings.problem(PART, what, format!("{open} && {restart}"));
        } else if self
            .running
            .is_some_and(|process| !process.may_reach(ring.path()))
        {
            let what = format!(
                "{who} was started before {name} was put into the group that may write the ring {at}"
            );
            findings.problem(PART, what, restart);
        } else {
            self.may_ask(user, groups, askrd, findings);
        }
        if !self.believes(ring.path(), &meta) {
            let owner = owner_name(&meta);
            let what = format!("{who} does not believe the ring {at}, because {owner} owns it");
            let mend = format!(
                "askr.ring_owner = {owner} in {}, then: {restart}",
                ini.file("askr.ring_owner").display()
            );
            findings.problem(PART, what, mend);
        }
    }

    /// As the extension decides it, for this pool's user in place of who runs the command.
    fn believes(&self, path: &Path, ring: &fs::Metadata) -> bool {
        let trusted = Trusted {
            owner: self.ini.value("askr.ring_owner"),
            group: self.ini.value("askr.ring_group"),
        };
        let user = self.user.as_ref().map(|(user, _)| user.uid.as_raw());
        let by_us = ring.uid() == geteuid().as_raw() && !geteuid().is_root();
        user == Some(ring.uid())
            || trusted.owner(ring.uid()) && !by_us
            || trusted.by_group(path, ring)
    }

    /// The control socket, for the functions that ask askrd.
    fn may_ask(&self, user: &User, groups: &[Gid], askrd: &Askrd, findings: &mut Findings) {
        let who = &self.who;
        let Some(served) = &askrd.control else {
            return;
        };
        let asks = self.ini.value("askr.control").unwrap_or(CONTROL);
        let same = |a: &Path, b: &Path| {
            let file = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
            a == b || file(a).is_some() && file(a) == file(b)
        };
        if !served.exists() {
            return;
        }
        if !same(Path::new(asks), served) {
            let what = format!(
                "{who} asks askrd at {asks}, and askrd answers at {}: askr_channels() and the like fail",
                served.display()
            );
            let mend = format!(
                "askr.control = {} in {}, then restart PHP-FPM",
                served.display(),
                self.ini.file("askr.control").display()
            );
            findings.warning(PART, what, mend);
        } else if let Some(open) = let_in(user, groups, served) {
            let what = format!(
                "{who} runs as {}, who may not connect to {}: askr_channels() and the like fail",
                user.name,
                served.display()
            );
            let mend = format!("{open} && {}", self.restart);
            findings.warning(PART, what, mend);
        }
    }

    /// After an upgrade PHP-FPM goes on with what it was started with.
    fn runs_what_is_there(&self, findings: &mut Findings) {
        if self
            .running
            .is_some_and(|process| process.runs_former("askr.so"))
        {
            let what = format!("{} still runs the askr.so of before the upgrade", self.who);
            findings.warning(PART, what, &self.restart);
        }
    }
}

fn owner_name(file: &fs::Metadata) -> String {
    let user = User::from_uid(file.uid().into()).ok().flatten();
    user.map_or(file.uid().to_string(), |user| user.name)
}
