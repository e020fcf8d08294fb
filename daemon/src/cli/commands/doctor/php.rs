//! PHP, as Debian lays it out: whether each loads the extension, writes a ring that is served and believed, and has
//! secrets that askrd takes; the same of each pool of PHP-FPM as its user; and whether what runs was started with that.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, User, geteuid, getgrouplist};
use shared::name::RingName;
use shared::secret::{self, Secret};
use shared::trust::Trusted;

use super::finding::Findings;
use super::installing;
use super::installing::Program;
use super::permissions::{let_in, may_read};
use super::processes;
use super::processes::Process;
use crate::cli::arguments::DoctorArgs;
use crate::config::Settings;

const PART: &str = "php";
/// Settings files and pools that are looked at; more are not believed.
const MOST: usize = 256;
/// Where PHP looks for askrd's control socket.
const CONTROL: &str = "/run/askr/control.sock";

/// What askrd has, to compare with.
struct Askrd {
    rings: Vec<RingName>,
    /// Of all applications. None: they could not be read, which is a problem of its own.
    secrets: Option<Vec<Secret>>,
    control: Option<PathBuf>,
}

/// Whether any PHP loads the extension.
pub fn examine(
    settings: &Settings,
    secrets: Option<Vec<Secret>>,
    arguments: &DoctorArgs,
    findings: &mut Findings,
) -> bool {
    let root = &arguments.root;
    let rings = settings.applications();
    let askrd = Askrd {
        rings: rings.into_iter().map(|(_, spec, _)| spec.name).collect(),
        secrets,
        control: settings.server.control_path(),
    };
    let running = processes::all();
    let mut extensions = Vec::new();
    let mut loaded = false;
    let all = installed(root);
    for php in &all {
        for (kind, sapi) in &php.sapis {
            let version = &php.version;
            let Some(ini) = Ini::of(sapi) else {
                let what = format!("PHP {version} ({kind}) does not load askr.so");
                findings.warning(PART, what, php.enable(kind));
                continue;
            };
            loaded = true;
            extensions.push(ini.extension.clone());
            let who = format!("PHP {version} ({kind})");
            same_ring(
                &who,
                ini.ring(),
                ini.file("askr.ring"),
                &askrd.rings,
                findings,
            );
            is_enabled(&who, &ini, findings);
            if *kind == "cli" {
                same_secrets(&who, &ini, None, &askrd, findings);
                continue;
            }
            let runs = running.iter().any(|process| is_master(process, sapi));
            if !runs && is_to_run(root, version) {
                let unit = format!("php{version}-fpm");
                let what = format!("{who} is to run, and does not: no page publishes by it");
                let mend = format!("systemctl start {unit}; why it ended: journalctl -u {unit}");
                findings.warning(PART, what, mend);
            }
            for (file, name, text) in pools(&sapi.join("pool.d")) {
                let pool = Pool {
                    who: format!("pool {name} of PHP {version}"),
                    version,
                    ini: ini.with(&file, &text),
                    user: user(&text),
                    running: running_pool(&running, sapi, &name),
                };
                pool.examine(&ini, &askrd, findings);
            }
        }
    }
    old_workers(&running, &extensions, findings);
    loaded || others(&all, arguments, findings)
}

/// Whether systemd was told to run PHP-FPM.
fn is_to_run(root: &Path, version: &str) -> bool {
    let wanted = "etc/systemd/system/multi-user.target.wants";
    let unit = root.join(wanted).join(format!("php{version}-fpm.service"));
    fs::symlink_metadata(unit).is_ok()
}

/// Programs of the command line that go on with what they were started with, as workers of queues do.
fn old_workers(running: &[Process], extensions: &[String], findings: &mut Findings) {
    let is_old = |process: &&Process| {
        let former = |extension: &String| match extension.starts_with('/') {
            true => process.runs_former(extension),
            false => process.runs_former("askr.so"),
        };
        !process.title.starts_with("php-fpm: ")
            && extensions.iter().any(former)
            && process.is_here()
    };
    let name = |process: &Process| {
        let title: String = process.title.chars().take(60).collect();
        format!("{title} ({})", process.id)
    };
    let all: Vec<String> = running.iter().filter(is_old).map(name).collect();
    if let [first, more @ ..] = &all[..] {
        let more = match more.len() {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let what = format!("{first}{more} still runs the askr.so of before the upgrade");
        let mend = "restart it; workers of Laravel's queues: php artisan queue:restart";
        findings.warning(PART, what, mend);
    }
}

/// Where none that Debian laid out has the extension: whether the one that is to publish has.
fn others(debians: &[Php], arguments: &DoctorArgs, findings: &mut Findings) -> bool {
    let name = &arguments.php;
    let program = Program::of(name);
    if program.is_some() && installing::loads(name) {
        return true;
    }
    match (program, debians) {
        (Some(program), []) => {
            let version = &program.version;
            let what =
                format!("PHP {version} ({name}) does not load askr.so, so nothing is published");
            findings.problem(PART, what, program.install());
        }
        (None, []) => {
            let what =
                format!("there is no PHP here ({name} cannot be run), so it was not looked at");
            findings.note(
                PART,
                what,
                "where PHP is: php -r 'var_dump(askr_status());'",
            );
        }
        (_, [php, ..]) => {
            let at = arguments.root.join("etc/php");
            let what = format!(
                "no PHP below {} loads askr.so, so nothing is published",
                at.display()
            );
            findings.problem(PART, what, php.enable("ALL"));
        }
    }
    false
}

/// A PHP as Debian lays it out.
pub struct Php {
    pub version: String,
    /// Of those that Askr knows of, by name: where its settings are.
    sapis: Vec<(&'static str, PathBuf)>,
    /// Whether phpenmod finds the extension.
    has_ini: bool,
}

impl Php {
    /// How the extension comes into a SAPI of it, or into `ALL`.
    pub fn enable(&self, sapi: &str) -> String {
        let version = &self.version;
        let turn_on = match sapi {
            "ALL" => format!("phpenmod -v {version} askr"),
            sapi => format!("phpenmod -v {version} -s {sapi} askr"),
        };
        match (self.has_ini, sapi) {
            (false, _) => installing::package(version),
            (true, "cli") => turn_on,
            (true, _) => format!("{turn_on} && systemctl restart php{version}-fpm"),
        }
    }

    pub fn has_cli(&self) -> bool {
        self.sapis.iter().any(|(kind, _)| *kind == "cli")
    }
}

/// Those whose programs are there: what was removed leaves its settings.
pub fn installed(root: &Path) -> Vec<Php> {
    let all = directories(&root.join("etc/php")).into_iter();
    let php = |directory: PathBuf| {
        let version = file_name(&directory);
        let programs = [
            ("fpm", format!("usr/sbin/php-fpm{version}")),
            ("cli", format!("usr/bin/php{version}")),
        ];
        let there = programs.into_iter().filter_map(|(kind, program)| {
            let settings = directory.join(kind);
            (settings.is_dir() && root.join(program).exists()).then_some((kind, settings))
        });
        Php {
            sapis: there.collect(),
            has_ini: directory.join("mods-available/askr.ini").exists(),
            version,
        }
    };
    all.map(php).filter(|php| !php.sapis.is_empty()).collect()
}

/// What the settings of one PHP, or one pool, say of Askr: each with its file.
#[derive(Clone)]
struct Ini {
    /// That loads it.
    loads: PathBuf,
    /// A path, or a name.
    extension: String,
    values: BTreeMap<String, (String, PathBuf)>,
}

impl Ini {
    /// None: the extension is not loaded.
    fn of(sapi: &Path) -> Option<Self> {
        let mut loads = None;
        let mut all = BTreeMap::new();
        let more = files(&sapi.join("conf.d"), "ini");
        for file in std::iter::once(sapi.join("php.ini")).chain(more) {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let is_ours = |value: &&str| *value == "askr" || value.ends_with("askr.so");
            if let Some(extension) = values(&text, "extension").find(is_ours) {
                loads = Some((file.clone(), extension.to_owned()));
            }
            for (key, value) in pairs(&text).filter(|(key, _)| key.starts_with("askr.")) {
                all.insert(key.to_owned(), (value.to_owned(), file.clone()));
            }
        }
        let (loads, extension) = loads?;
        Some(Self {
            loads,
            extension,
            values: all,
        })
    }

    /// With what a pool sets for itself.
    fn with(&self, file: &Path, pool: &str) -> Self {
        let mut own = self.clone();
        for (key, value) in pairs(pool) {
            let kinds = [
                "php_value[",
                "php_flag[",
                "php_admin_value[",
                "php_admin_flag[",
            ];
            let key = kinds.iter().find_map(|kind| key.strip_prefix(kind));
            if let Some(key) = key.and_then(|key| key.strip_suffix(']'))
                && key.starts_with("askr.")
            {
                own.values
                    .insert(key.to_owned(), (value.to_owned(), file.to_owned()));
            }
        }
        own
    }

    fn value(&self, key: &str) -> Option<&str> {
        let found = self.values.get(key).map(|(value, _)| value.as_str());
        found.filter(|value| !value.is_empty())
    }

    fn ring(&self) -> &str {
        self.value("askr.ring").unwrap_or(RingName::DEFAULT)
    }

    /// Where a setting is, or would be.
    fn file(&self, key: &str) -> &Path {
        self.values.get(key).map_or(&self.loads, |(_, file)| file)
    }

    /// Whether it is set otherwise than there.
    fn differs(&self, other: &Self, key: &str) -> bool {
        self.value(key) != other.value(key)
    }
}

struct Pool<'a> {
    who: String,
    version: &'a str,
    ini: Ini,
    /// As whom it runs, with its groups. None: it does not say, or there is no such user.
    user: Option<(User, Vec<Gid>)>,
    /// One of its processes, if it runs.
    running: Option<&'a Process>,
}

impl Pool<'_> {
    /// `all`: what all pools have, which was looked at.
    fn examine(&self, all: &Ini, askrd: &Askrd, findings: &mut Findings) {
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
        same_secrets(who, ini, self.user.as_ref(), askrd, findings);
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
        let restart = format!("systemctl restart php{}-fpm", self.version);
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
            findings.problem(PART, what, restart.clone());
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
            let mend = format!("{open} && systemctl restart php{}-fpm", self.version);
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
            let mend = format!("systemctl restart php{}-fpm", self.version);
            findings.warning(PART, what, mend);
        }
    }
}

/// Each pool of these files: where it is, its name, and its lines.
fn pools(directory: &Path) -> Vec<(PathBuf, String, String)> {
    let mut all: Vec<(PathBuf, String, String)> = Vec::new();
    for file in files(directory, "conf") {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let mut is_begun = false;
        for line in text.lines() {
            let section = line.trim().strip_prefix('[');
            if let Some((name, _)) = section.and_then(|line| line.split_once(']')) {
                all.push((file.clone(), name.to_owned(), String::new()));
                is_begun = true;
            } else if let Some((_, _, text)) = all.last_mut().filter(|_| is_begun) {
                *text += line;
                text.push('\n');
            }
        }
    }
    all.retain(|(_, name, _)| name != "global");
    all
}

/// As whom a pool runs.
fn user(pool: &str) -> Option<(User, Vec<Gid>)> {
    let user = User::from_name(values(pool, "user").last()?).ok()??;
    let group = values(pool, "group").last();
    let group = group.and_then(|name| Group::from_name(name).ok().flatten());
    let gid = group.map_or(user.gid, |group| group.gid);
    let name = CString::new(user.name.as_bytes()).unwrap_or_default();
    let mut groups = getgrouplist(&name, gid).unwrap_or_default();
    groups.push(gid);
    Some((user, groups))
}

/// Whether it is the master of a PHP-FPM that was started with the settings below `sapi`.
fn is_master(process: &Process, sapi: &Path) -> bool {
    let of = process.title.strip_prefix("php-fpm: master process (");
    of.is_some_and(|of| Path::new(of.trim_end_matches(')')).starts_with(sapi))
}

/// A process of this pool, whose master was started with the settings below `sapi`.
fn running_pool<'a>(all: &'a [Process], sapi: &Path, name: &str) -> Option<&'a Process> {
    let title = format!("php-fpm: pool {name}");
    let masters = all.iter().filter(|one| is_master(one, sapi));
    let masters: Vec<u32> = masters.map(|one| one.id).collect();
    let mut pools = all.iter().filter(|one| masters.contains(&one.parent));
    pools.find(|one| one.title == title)
}

fn owner_name(file: &fs::Metadata) -> String {
    let user = User::from_uid(file.uid().into()).ok().flatten();
    user.map_or(file.uid().to_string(), |user| user.name)
}

fn is_enabled(who: &str, ini: &Ini, findings: &mut Findings) {
    let off = |value: &str| ["0", "off", "no", "false"].contains(&&*value.to_ascii_lowercase());
    if ini.value("askr.enabled").is_some_and(off) {
        let what = format!("{who} publishes nothing: askr.enabled is off");
        let mend = format!("askr.enabled = 1 in {}", ini.file("askr.enabled").display());
        findings.warning(PART, what, mend);
    }
}

/// What PHP signs tokens with. `user`: who reads it there.
fn same_secrets(
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

fn same_ring(who: &str, ring: &str, file: &Path, rings: &[RingName], findings: &mut Findings) {
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

/// What a settings file gives this key, in order.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    pairs(text).filter_map(move |(name, value)| (name == key).then_some(value))
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.split(';').next().unwrap_or("").trim();
        Some((name.trim(), value.trim_matches(['"', '\''])))
    })
}

fn directories(path: &Path) -> Vec<PathBuf> {
    entries(path)
        .into_iter()
        .filter(|path| path.is_dir())
        .collect()
}

/// Those with this ending, in the order in which PHP reads them.
fn files(path: &Path, ending: &str) -> Vec<PathBuf> {
    let is = |path: &PathBuf| path.extension().is_some_and(|own| own == ending);
    entries(path).into_iter().filter(is).collect()
}

fn entries(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    let mut all: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .take(MOST)
        .collect();
    all.sort();
    all
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_php_reads_them() {
        let text =
            "; extension=askr.so\n extension = askr.so ; here\naskr.ring = \"/a\"\naskr.ring=/b\n";
        assert_eq!(values(text, "extension").collect::<Vec<_>>(), ["askr.so"]);
        assert_eq!(values(text, "askr.ring").collect::<Vec<_>>(), ["/a", "/b"]);
        let pool = "[www]\nuser = www-data\nphp_admin_value[askr.ring] = /shop\n";
        assert_eq!(values(pool, "user").collect::<Vec<_>>(), ["www-data"]);
        assert_eq!(
            values(pool, "php_admin_value[askr.ring]").last(),
            Some("/shop")
        );
    }
}
