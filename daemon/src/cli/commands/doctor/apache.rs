//! PHP as a module of Apache, as Debian lays it out: whether it is on, as whom Apache runs, what a site sets for itself, and
//! what runs.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, User};

use super::ini::{Ini, files};
use super::permissions::account;
use super::processes::{self, Process};
use super::publisher::Publisher;

/// What systemd runs it as.
pub const UNIT: &str = "apache2";
const SETTINGS: &str = "etc/apache2";
pub const PROGRAM: &str = "/usr/sbin/apache2";
/// The directives by which a site sets what php.ini has.
const DIRECTIVES: [&str; 4] = ["php_value", "php_flag", "php_admin_value", "php_admin_flag"];

/// Whether Apache is told to load this PHP.
pub fn has_on(root: &Path, version: &str) -> bool {
    let on = root.join(SETTINGS).join("mods-enabled");
    fs::symlink_metadata(on.join(format!("php{version}.load"))).is_ok()
}

/// Whether systemd was told to run it.
pub fn is_to_run(root: &Path) -> bool {
    let unit = "etc/systemd/system/multi-user.target.wants/apache2.service";
    fs::symlink_metadata(root.join(unit)).is_ok()
}

/// Whether it runs with the settings below `root`.
pub fn runs(root: &Path, running: &[Process]) -> bool {
    worker(root, running).is_some()
}

/// Apache itself.
pub fn server<'a>(root: &Path, version: &str, ini: &Ini, running: &'a [Process]) -> Publisher<'a> {
    Publisher {
        who: format!("Apache with PHP {version}"),
        restart: format!("systemctl restart {UNIT}"),
        ini: ini.clone(),
        user: user(&root.join(SETTINGS)),
        running: worker(root, running),
    }
}

/// The same with what each site sets in place of its settings.
pub fn sites<'a>(root: &Path, server: &Publisher<'a>) -> Vec<Publisher<'a>> {
    let site = |(file, pairs): (PathBuf, Vec<(String, String)>)| {
        let pairs = pairs.iter().map(|(key, value)| (&**key, &**value));
        Publisher {
            who: format!("{}: a site", server.who),
            ini: server.ini.with(&file, pairs),
            ..server.clone()
        }
    };
    settings_of_sites(&root.join(SETTINGS))
        .into_iter()
        .map(site)
        .collect()
}

/// A process that serves; the first one has what root may do.
fn worker<'a>(root: &Path, running: &'a [Process]) -> Option<&'a Process> {
    let settings = root.join(SETTINGS);
    let is_ours = |one: &&Process| {
        one.title.starts_with(PROGRAM)
            && processes::is_told(&one.title, &["-d", "-f"], &settings, root)
            && one.is_here()
    };
    let all: Vec<&Process> = running.iter().filter(is_ours).collect();
    let is_child = |one: &&&Process| all.iter().any(|other| other.id == one.parent);
    all.iter().find(is_child).or(all.first()).copied()
}

/// As whom it runs: `User` of apache2.conf, which Debian has take it from envvars.
fn user(settings: &Path) -> Option<(User, Vec<Gid>)> {
    let read = |name| fs::read_to_string(settings.join(name)).unwrap_or_default();
    let (conf, variables) = (read("apache2.conf"), read("envvars"));
    let value = |directive: &str| {
        let all = directives(&conf).filter(|(name, _)| name.eq_ignore_ascii_case(directive));
        let (_, value) = all.last()?;
        match value
            .strip_prefix("${")
            .and_then(|name| name.strip_suffix('}'))
        {
            Some(name) => exported(&variables, name),
            None => Some(value),
        }
    };
    account(value("User")?, value("Group"))
}

/// `export NAME=value`, the last one.
fn exported<'a>(variables: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| {
        let line = line.trim().strip_prefix("export ")?;
        let (own, value) = line.trim().split_once('=')?;
        (own == name).then_some(value.trim_matches(['"', '\'']))
    };
    variables.lines().rev().find_map(value)
}

/// Each site, or file of settings, that sets something of Askr's: where, and what.
fn settings_of_sites(settings: &Path) -> Vec<(PathBuf, Vec<(String, String)>)> {
    let own = std::iter::once(settings.join("apache2.conf"));
    let more = ["conf-enabled", "sites-enabled"];
    let more = more
        .iter()
        .flat_map(|name| files(&settings.join(name), "conf"));
    let mut all = Vec::new();
    for file in own.chain(more) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        for site in text.split("<VirtualHost") {
            let pairs = directives(site)
                .filter(|(name, _)| DIRECTIVES.iter().any(|one| name.eq_ignore_ascii_case(one)));
            let pairs = pairs.filter_map(|(_, setting)| {
                let (key, value) = setting.split_once(char::is_whitespace)?;
                let value = value.trim().trim_matches(['"', '\'']);
                let is_ours = key.starts_with("askr.");
                is_ours.then(|| (key.to_owned(), value.to_owned()))
            });
            let pairs: Vec<_> = pairs.collect();
            if !pairs.is_empty() {
                all.push((file.clone(), pairs));
            }
        }
    }
    all
}

/// Names and what is behind them.
fn directives(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        Some((name, value.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_apache_reads_them() {
        let text = "# User nobody\n  user ${APACHE_RUN_USER}\nUser shop\n";
        assert_eq!(
            directives(text).collect::<Vec<_>>(),
            [("user", "${APACHE_RUN_USER}"), ("User", "shop")]
        );
        let variables =
            "unset HOME\nexport APACHE_RUN_USER=\"www-data\" \n#export APACHE_RUN_USER=x\n";
        assert_eq!(exported(variables, "APACHE_RUN_USER"), Some("www-data"));
        assert_eq!(exported(variables, "APACHE_RUN_GROUP"), None);
    }
}
