//! What runs, as /proc shows it: a process keeps the groups and the code that it was started with.

use std::fs;
use std::path::Path;

use nix::unistd::{Gid, Uid, User};

use super::permissions::may_reach;

pub struct Process {
    pub id: u32,
    pub parent: u32,
    /// How it calls itself: `php-fpm: pool www`.
    pub title: String,
    uid: u32,
    groups: Vec<Gid>,
}

impl Process {
    fn of(id: u32) -> Option<Self> {
        let title = fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let title = String::from_utf8_lossy(&title);
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let numbers = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let words = line.unwrap_or("").split_whitespace();
            words.filter_map(|word| word.parse().ok()).collect()
        };
        // Real, effective, saved, and of the file system, which is what counts.
        let (uids, gids) = (numbers("Uid:"), numbers("Gid:"));
        let own = gids.get(3).copied();
        Some(Self {
            id,
            parent: *numbers("PPid:").first()?,
            title: title.replace('\0', " ").trim().to_owned(),
            uid: *uids.get(3)?,
            groups: own
                .into_iter()
                .chain(numbers("Groups:"))
                .map(Gid::from_raw)
                .collect(),
        })
    }

    /// Whether it may go where this is, and write it.
    pub fn may_reach(&self, path: &Path) -> bool {
        may_reach(self.uid, &self.groups, path)
    }

    /// As whom it runs.
    pub fn user(&self) -> String {
        let user = User::from_uid(Uid::from_raw(self.uid)).ok().flatten();
        user.map_or(self.uid.to_string(), |user| user.name)
    }

    /// Whether it is of this machine, and not in a container. Mounts do not tell: a service has its own by `PrivateTmp=yes`,
    /// as Debian's Apache does.
    pub fn is_here(&self) -> bool {
        let processes = |id: &str| fs::read_link(format!("/proc/{id}/ns/pid")).ok();
        processes(&self.id.to_string()).is_some_and(|its| Some(its) == processes("self"))
    }

    /// Whether it runs code of a file with this name, or path, that has been replaced or removed since.
    pub fn runs_former(&self, name: &str) -> bool {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.id)).unwrap_or_default();
        maps.lines().any(|line| {
            let file = line.find('/').map(|at| &line[at..]);
            let former = file.and_then(|file| file.strip_suffix(" (deleted)"));
            let is = |file: &Path| match name.starts_with('/') {
                true => file == Path::new(name),
                false => file.file_name().is_some_and(|own| own == name),
            };
            former.is_some_and(|file| is(Path::new(file)))
        })
    }

    /// Whether it has a descriptor that leads there. None: this user may not look.
    pub fn has_open(&self, what: &str) -> Option<bool> {
        let all = fs::read_dir(format!("/proc/{}/fd", self.id)).ok()?;
        let mut leads = all.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        Some(leads.any(|to| to.to_string_lossy() == what))
    }
}

pub fn process(id: u32) -> Option<Process> {
    Process::of(id)
}

pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(Process::of).collect()
}

/// Whether a program whose settings are in `settings` of `/`, unless it is told of others by one of these options, has those
/// of `settings`, which is below `root`.
pub fn is_told(title: &str, options: &[&str], settings: &Path, root: &Path) -> bool {
    let mut words = title.split_whitespace();
    let told = std::iter::from_fn(|| {
        words.find(|word| options.contains(word))?;
        words.next()
    });
    match told.last() {
        Some(file) => Path::new(file).starts_with(settings),
        None => root == Path::new("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_the_settings_that_its_command_line_names() {
        let is = |title, root: &str| {
            let root = Path::new(root);
            is_told(title, &["-c"], &root.join("etc/nginx"), root)
        };
        assert!(is("nginx: master process nginx -g daemon on;", "/"));
        assert!(!is("nginx: master process nginx -g daemon on;", "/tmp/x"));
        assert!(is(
            "nginx: master process nginx -c /etc/nginx/nginx.conf",
            "/"
        ));
        assert!(is(
            "nginx: master process nginx -c /tmp/x/etc/nginx/own.conf -q",
            "/tmp/x"
        ));
        assert!(!is("nginx: master process nginx -c /srv/nginx.conf", "/"));
        assert!(!is("nginx: master process nginx -c", "/tmp/x"));
    }
}
