//! One real event: PHP publishes it, and it comes where a browser would get it.

use std::io;
use std::process::{Command, Output};

use super::finding::Findings;
use super::http::{Answer, Url, get_unix};
use super::installing::Program;
use super::php;
use crate::cli::arguments::DoctorArgs;
use crate::config::{Address, Settings};

const PART: &str = "event";
/// Where viewers ask, and the channel that nobody else has.
const PATH: &str = "/askr/events";

/// The version of this askrd, which askr.so has too.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// What PHP says that has no extension of this name.
const NOT_LOADED: &str = "askr.so is not loaded";

/// What PHP does: it publishes, and says why it could not.
const SCRIPT: &str = "function_exists('askr_broadcast') or die('askr.so is not loaded');\
    echo askr_broadcast($argv[1], $argv[2]) ? 'published '.phpversion('askr') : (askr_status()['reason'] ?? 'no reason');";

pub fn examine(settings: &Settings, arguments: &DoctorArgs, findings: &mut Findings) {
    let mark = format!(
        "askr-doctor-{}-{}",
        std::process::id(),
        shared::segment::now_ns()
    );
    let mut viewer = match open(settings, arguments, &mark) {
        Ok(viewer) => viewer,
        Err(why) => {
            let what = format!("nobody can listen: {why}");
            findings.problem(
                PART,
                what,
                "systemctl status askrd; server.listen in askr.toml",
            );
            return;
        }
    };
    if !viewer.waits_for("event: askr:connected") {
        let what = format!(
            "a viewer is answered with status {}, and gets no stream",
            viewer.status()
        );
        findings.problem(PART, what, "journalctl -u askrd -p warning");
        return;
    }
    let program = &arguments.php;
    let published = Command::new(program)
        .args(["-r", SCRIPT, "--", &mark, &mark])
        .output();
    let said = match published {
        Ok(output) => match refused(&output) {
            Some(why) => {
                let what = format!("{program} cannot load askr.so: {why}");
                findings.problem(PART, what, install(program));
                return;
            }
            None => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        },
        Err(why) => {
            let what = format!("{program} cannot be run, so no event was tried: {why}");
            let all = php::installed(&arguments.root);
            let other = all.iter().rfind(|php| php.has_cli());
            let mend = match other {
                Some(php) => format!("askrd doctor --php php{}", php.version),
                None => "askrd doctor --php, and the PHP that publishes".to_owned(),
            };
            findings.warning(PART, what, mend);
            return;
        }
    };
    let (done, version) = said.split_once(' ').unwrap_or((&said, OWN));
    if said == NOT_LOADED {
        let what = format!("{program} cannot publish: {NOT_LOADED}");
        findings.problem(PART, what, load(program, arguments));
    } else if done != "published" {
        let what = format!("{program} cannot publish: {said}");
        let mend = format!("{program} -r 'var_dump(askr_status());'");
        findings.problem(PART, what, mend);
    } else if !viewer.waits_for(&format!("data: {mark}")) {
        let what = "PHP has published an event, and it did not come within 10 seconds".to_owned();
        findings.problem(
            PART,
            what,
            "askrd tail; does it show it? askr.ring in php.ini is the ring that askrd serves?",
        );
    } else if version != OWN {
        let what = format!("askr.so of {program} is version {version}, and this askrd {OWN}");
        let fpm = Program::of(program).map_or("restart PHP-FPM".to_owned(), |php| php.fpm());
        let mend = format!("upgrade the older one, then: systemctl restart askrd, {fpm}");
        findings.note(PART, what, mend);
    }
}

/// How it comes by an extension that it can load.
fn install(program: &str) -> String {
    let php = Program::of(program);
    php.map_or("docs/INSTALL.md".to_owned(), |php| php.install())
}

/// Where it may be installed, and off.
fn load(program: &str, arguments: &DoctorArgs) -> String {
    let debians = Program::of(program).filter(Program::is_debians);
    let all = php::installed(&arguments.root).into_iter();
    let mut same = all.filter(|php| {
        debians
            .as_ref()
            .is_some_and(|own| own.version == php.version)
    });
    same.next()
        .map_or_else(|| install(program), |php| php.enable_cli())
}

/// What PHP says of an extension that it does not take: built for another one, or missing.
fn refused(output: &Output) -> Option<String> {
    let said = [&output.stderr[..], &output.stdout[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let refuses = |line: &&str| {
        line.contains("askr")
            && [
                "Unable to initialize module",
                "Unable to load dynamic library",
            ]
            .iter()
            .any(|why| line.contains(why))
    };
    let at = said.lines().position(|line| refuses(&line))?;
    // Of another API PHP says what each was built for in the lines behind it.
    let lines = said.lines().skip(at).take(3).map(str::trim);
    Some(lines.collect::<Vec<_>>().join(" ").trim().to_owned())
}

/// By the address of the proxy, or the first of askrd's own that answers.
fn open(settings: &Settings, arguments: &DoctorArgs, channel: &str) -> io::Result<Answer> {
    let query = format!("?channel={channel}");
    let by_url = |url: &str| Url::parse(url).map_err(io::Error::other)?.get(&query, "");
    if let Some(url) = &arguments.url {
        return by_url(url);
    }
    let mut answer = Err(io::Error::other("server.listen names no address"));
    for address in settings
        .server
        .listen
        .iter()
        .filter_map(|text| text.parse().ok())
    {
        answer = match address {
            Address::Unix(path) => get_unix(&path, PATH, &query),
            Address::Tcp(address) => by_url(&format!("http://{address}{PATH}")),
        };
        if answer.is_ok() {
            break;
        }
    }
    answer
}
