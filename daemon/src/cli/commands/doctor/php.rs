//! PHP, as Debian lays it out: whether each loads the extension, writes a ring that is served and believed, and has
//! secrets that askrd takes; the same of each pool of PHP-FPM, and of Apache, as its user; and whether what runs was started
//! with that.

use std::path::{Path, PathBuf};

use shared::secret::Secret;

use super::agreement::{Askrd, is_enabled, same_ring, same_secrets};
use super::finding::Findings;
use super::ini::{Ini, entries};
use super::installing::Program;
use super::processes::Process;
use super::{apache, fpm, installing, processes};
use crate::cli::arguments::DoctorArgs;
use crate::config::Settings;

const PART: &str = "php";

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
    let look = Look {
        root,
        askrd,
        running: processes::all(),
    };
    let mut extensions = Vec::new();
    let all = installed(root);
    for php in &all {
        for (sapi, settings) in &php.sapis {
            let version = &php.version;
            let Some(ini) = Ini::of(settings) else {
                let what = format!("PHP {version} ({}) does not load askr.so", sapi.name());
                findings.warning(PART, what, php.enable(*sapi));
                continue;
            };
            extensions.push(ini.extension.clone());
            look.examine(version, *sapi, settings, &ini, findings);
        }
    }
    old_workers(&look.running, &extensions, findings);
    !extensions.is_empty() || others(&all, arguments, findings)
}

/// What each PHP is held against.
struct Look<'a> {
    root: &'a Path,
    askrd: Askrd,
    running: Vec<Process>,
}

impl Look<'_> {
    /// One that loads the extension.
    fn examine(
        &self,
        version: &str,
        sapi: Sapi,
        settings: &Path,
        ini: &Ini,
        findings: &mut Findings,
    ) {
        let (root, askrd, running) = (self.root, &self.askrd, &self.running);
        let who = format!("PHP {version} ({})", sapi.name());
        let file = ini.file("askr.ring");
        same_ring(&who, ini.ring(), file, &askrd.rings, findings);
        is_enabled(&who, ini, findings);
        match sapi {
            Sapi::Cli => same_secrets(&who, ini, None, askrd, findings),
            Sapi::Fpm => {
                if fpm::is_to_run(root, version) && !fpm::runs(running, settings) {
                    does_not_run(&who, &fpm::unit(version), findings);
                }
                for pool in fpm::pools(settings, version, ini, running) {
                    pool.examine(ini, askrd, findings);
                }
            }
            Sapi::Apache => {
                if apache::is_to_run(root) && !apache::runs(root, running) {
                    does_not_run(&who, apache::UNIT, findings);
                }
                let server = apache::server(root, version, ini, running);
                server.examine(ini, askrd, findings);
                for site in apache::sites(root, &server) {
                    site.examine_settings(ini, askrd, findings);
                }
            }
        }
    }
}

fn does_not_run(who: &str, unit: &str, findings: &mut Findings) {
    let what = format!("{who} is to run, and does not: no page publishes by it");
    let mend = format!("systemctl start {unit}; why it ended: journalctl -u {unit}");
    findings.warning(PART, what, mend);
}

/// Programs of the command line that go on with what they were started with, as workers of queues do.
fn old_workers(running: &[Process], extensions: &[String], findings: &mut Findings) {
    let is_old = |process: &&Process| {
        let former = |extension: &String| match extension.starts_with('/') {
            true => process.runs_former(extension),
            false => process.runs_former("askr.so"),
        };
        !process.title.starts_with("php-fpm: ")
            && !process.title.starts_with(apache::PROGRAM)
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
            findings.problem(PART, what, php.enable_all());
        }
    }
    false
}

/// What PHP is run by, of all that Askr knows of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sapi {
    Fpm,
    Apache,
    Cli,
}

impl Sapi {
    const ALL: [Self; 3] = [Self::Fpm, Self::Apache, Self::Cli];

    /// As phpenmod calls it, and the directory of its settings.
    fn name(self) -> &'static str {
        match self {
            Self::Fpm => "fpm",
            Self::Apache => "apache2",
            Self::Cli => "cli",
        }
    }

    /// Whether its program is there; a module of Apache that is off is nobody's.
    fn is_there(self, root: &Path, version: &str) -> bool {
        let has = |program: String| root.join(program).exists();
        match self {
            Self::Fpm => has(format!("usr/sbin/php-fpm{version}")),
            Self::Apache => {
                has(format!("usr/lib/apache2/modules/libphp{version}.so"))
                    && apache::has_on(root, version)
            }
            Self::Cli => has(format!("usr/bin/php{version}")),
        }
    }

    /// What systemd runs it as.
    fn unit(self, version: &str) -> Option<String> {
        match self {
            Self::Fpm => Some(fpm::unit(version)),
            Self::Apache => Some(apache::UNIT.to_owned()),
            Self::Cli => None,
        }
    }
}

/// A PHP as Debian lays it out.
pub struct Php {
    pub version: String,
    /// Each with the directory of its settings.
    sapis: Vec<(Sapi, PathBuf)>,
    /// Whether phpenmod finds the extension.
    has_ini: bool,
}

impl Php {
    /// How the extension comes into its command line.
    pub fn enable_cli(&self) -> String {
        self.enable(Sapi::Cli)
    }

    fn enable(&self, sapi: Sapi) -> String {
        let turn_on = format!("phpenmod -v {} -s {} askr", self.version, sapi.name());
        self.turn_on(turn_on, &[sapi])
    }

    /// How it comes into all of it.
    fn enable_all(&self) -> String {
        let all: Vec<Sapi> = self.sapis.iter().map(|(sapi, _)| *sapi).collect();
        self.turn_on(format!("phpenmod -v {} askr", self.version), &all)
    }

    fn turn_on(&self, turn_on: String, sapis: &[Sapi]) -> String {
        if !self.has_ini {
            return installing::package(&self.version);
        }
        let units = sapis.iter().filter_map(|sapi| sapi.unit(&self.version));
        let units: Vec<String> = units.collect();
        match units.is_empty() {
            true => turn_on,
            false => format!("{turn_on} && systemctl restart {}", units.join(" ")),
        }
    }

    pub fn has_cli(&self) -> bool {
        self.sapis.iter().any(|(sapi, _)| *sapi == Sapi::Cli)
    }
}

/// Those whose programs are there: what was removed leaves its settings.
pub fn installed(root: &Path) -> Vec<Php> {
    let all = directories(&root.join("etc/php")).into_iter();
    let php = |directory: PathBuf| {
        let version = file_name(&directory);
        let there = Sapi::ALL.into_iter().filter_map(|sapi| {
            let settings = directory.join(sapi.name());
            (settings.is_dir() && sapi.is_there(root, &version)).then_some((sapi, settings))
        });
        Php {
            sapis: there.collect(),
            has_ini: directory.join("mods-available/askr.ini").exists(),
            version,
        }
    };
    all.map(php).filter(|php| !php.sapis.is_empty()).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn directories(path: &Path) -> Vec<PathBuf> {
    entries(path)
        .into_iter()
        .filter(|path| path.is_dir())
        .collect()
}
