//! PHP-FPM: its pools as their files have them, as whom each runs, and what of it runs.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, User};

use super::ini::{Ini, files, pairs, values};
use super::permissions::account;
use super::processes::Process;
use super::publisher::Publisher;

/// What systemd runs it as.
pub fn unit(version: &str) -> String {
    format!("php{version}-fpm")
}

/// Whether systemd was told to run PHP-FPM.
pub fn is_to_run(root: &Path, version: &str) -> bool {
    let wanted = "etc/systemd/system/multi-user.target.wants";
    let unit = root.join(wanted).join(unit(version) + ".service");
    fs::symlink_metadata(unit).is_ok()
}

/// Whether one runs that was started with the settings below `sapi`.
pub fn runs(all: &[Process], sapi: &Path) -> bool {
    all.iter().any(|process| is_master(process, sapi))
}

/// Its pools, with what each sets in place of `ini`.
pub fn pools<'a>(
    sapi: &Path,
    version: &str,
    ini: &Ini,
    running: &'a [Process],
) -> Vec<Publisher<'a>> {
    let all = sections(&sapi.join("pool.d")).into_iter();
    let pool = |(file, name, text): (PathBuf, String, String)| Publisher {
        who: format!("pool {name} of PHP {version}"),
        restart: format!("systemctl restart {}", unit(version)),
        ini: ini.with(&file, own(&text)),
        user: user(&text),
        running: running_pool(running, sapi, &name),
    };
    all.map(pool).collect()
}

/// Each pool of these files: where it is, its name, and its lines.
fn sections(directory: &Path) -> Vec<(PathBuf, String, String)> {
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

/// What a pool sets of what php.ini has.
fn own(pool: &str) -> impl Iterator<Item = (&str, &str)> {
    let kinds = [
        "php_value[",
        "php_flag[",
        "php_admin_value[",
        "php_admin_flag[",
    ];
    pairs(pool).filter_map(move |(key, value)| {
        let key = kinds.iter().find_map(|kind| key.strip_prefix(kind));
        Some((key?.strip_suffix(']')?, value))
    })
}

/// As whom a pool runs.
fn user(pool: &str) -> Option<(User, Vec<Gid>)> {
    account(values(pool, "user").last()?, values(pool, "group").last())
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
