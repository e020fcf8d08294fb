//! What can be seen of nginx without asking it: whether its settings speak of askrd, and who its workers are.

use std::fs;
use std::path::Path;

use super::processes;
use super::processes::Process;

/// Files that are looked at; more are not believed.
const MOST: usize = 512;
/// What the package puts there, which nobody has included by that, and sites that are off.
const NOT_A_SITE: [&str; 5] = [
    "conf.d/askr.conf",
    "snippets/askr.conf",
    "snippets/askr-pusher.conf",
    "snippets/askr-mercure.conf",
    "sites-available",
];

/// Whether a site passes anything on to askrd. None: no nginx runs with these settings, and what is only installed serves
/// nobody.
pub fn speaks_of_askr(root: &Path) -> Option<bool> {
    let settings = root.join("etc/nginx");
    if !runs(&settings, root) {
        return None;
    }
    let mut left = vec![settings.clone()];
    let mut looked_at = 0;
    while let Some(directory) = left.pop() {
        for path in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = path.path();
            let name = path.strip_prefix(&settings).unwrap_or(&path);
            if NOT_A_SITE.iter().any(|not| name == Path::new(not)) {
                continue;
            }
            looked_at += 1;
            if looked_at > MOST {
                return None;
            }
            // A link of sites-enabled leads to a file.
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => left.push(path),
                Ok(_) if names_askr(&path) => return Some(true),
                _ => {}
            }
        }
    }
    Some(false)
}

fn runs(settings: &Path, root: &Path) -> bool {
    let is_ours = |one: &Process| {
        one.title.starts_with("nginx: master process")
            && processes::is_told(&one.title, &["-c"], settings, root)
            && one.is_here()
    };
    processes::all().iter().any(is_ours)
}

fn names_askr(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    lines.any(|line| line.contains("askr"))
}

/// A worker of nginx that may not connect to this socket: as whom it runs.
pub fn shut_out(socket: &Path) -> Option<String> {
    let all = processes::all();
    let mut workers = all
        .iter()
        .filter(|process| process.title == "nginx: worker process");
    let shut_out = workers.find(|worker| !worker.may_reach(socket) && worker.is_here())?;
    Some(shut_out.user())
}
