//! `askrd doctor` and `askrd health`: each fault, made on purpose, gets its sentence and its exit code; where nothing is
//! wrong, nothing is said.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common;
use crate::common::{Daemon, askrd, write_settings};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A machine with one PHP, whose pool runs as root and writes the ring of this daemon.
struct Site {
    daemon: Daemon,
    root: tempfile::TempDir,
    running: Vec<Child>,
}

impl Drop for Site {
    fn drop(&mut self) {
        for one in &mut self.running {
            let _ = one.kill();
            let _ = one.wait();
        }
    }
}

const PHP: &str = "etc/php/8.2";

/// What phpenmod turns on, where the extension is installed.
fn ini_of(version: &str) -> String {
    format!("etc/php/{version}/mods-available/askr.ini")
}

impl Site {
    fn new() -> Self {
        // Not long between two pings: a quiet stream is watched for one.
        let daemon = Daemon::start(&common::ws::app("server.ping = 0.2\n"));
        let root = tempfile::tempdir().unwrap();
        let site = Self {
            daemon,
            root,
            running: Vec::new(),
        };
        // As systemd makes it.
        mode(site.daemon.directory.path(), 0o750);
        let at = site.daemon.directory.path().display();
        let ini = format!(
            "extension=askr.so\naskr.ring = \"{at}/ring\"\naskr.control = {at}/control.sock\n"
        );
        for sapi in ["fpm", "cli"] {
            site.write(&format!("{PHP}/{sapi}/conf.d/20-askr.ini"), &ini);
        }
        site.pool("user = root\ngroup = root\n");
        for file in ["usr/bin/php8.2", "usr/sbin/php-fpm8.2", &ini_of("8.2")] {
            site.write(file, "");
        }
        site.clock("yes");
        site
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), text).unwrap();
    }

    fn pool(&self, text: &str) {
        self.write(
            &format!("{PHP}/fpm/pool.d/www.conf"),
            &format!("[www]\n{text}"),
        );
    }

    /// Stands for a program that runs: its command line is all that is looked at.
    fn runs(&mut self, title: &str) {
        let mut command = Command::new("cat");
        let command = command.arg0(title).stdin(Stdio::piped());
        self.running.push(command.spawn().unwrap());
    }

    fn nginx_runs(&mut self) {
        let settings = self.at("etc/nginx/nginx.conf");
        let settings = settings.display();
        self.runs(&format!(
            "nginx: master process /usr/sbin/nginx -c {settings}"
        ));
    }

    /// Whether something sets the clock, as systemd says it.
    fn clock(&self, is_set: &str) {
        self.write("bin/timedatectl", &format!("#!/bin/sh\necho {is_set}\n"));
        mode(&self.at("bin/timedatectl"), 0o755);
    }

    /// Exit code and what it prints.
    fn once(&self, more: &[&str]) -> (i32, String) {
        let mut command = askrd();
        command
            .args(["doctor", "--config"])
            .arg(self.daemon.config());
        command.arg("--root").arg(self.root.path());
        command.env("PATH", self.at("bin"));
        let output = command.args(more).output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    /// The same twice, as text and as JSON, which say the same.
    fn doctor(&self, more: &[&str]) -> (i32, String) {
        let (code, text) = self.once(more);
        let (again, json) = self.once(&[more, &["--json"]].concat());
        assert_eq!(code, again, "{text} {json}");
        let json: Value = serde_json::from_str(&json).unwrap();
        let findings = json["findings"].as_array().unwrap();
        assert_eq!(
            findings.len(),
            text.lines().filter(|line| !line.starts_with(' ')).count()
        );
        for finding in findings {
            assert!(text.contains(finding["mend"].as_str().unwrap()), "{text}");
        }
        (code, text)
    }
}

/// Stands for PHP where only its answer counts: publishes by the daemon's own command, or does not.
fn php(site: &Site, line: &str) -> String {
    let path = site.at("php");
    fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn publishing(site: &Site) -> String {
    let ring = site.daemon.ring();
    let askrd = env!("CARGO_BIN_EXE_askrd");
    php(
        site,
        &format!(
            "case $2 in *extension_loaded*) printf yes; exit;; esac\n\
             [ \"$1\" = -n ] && printf '8.2\\n/etc/php/8.2/cli/conf.d\\n/usr/bin\\n' && exit\n\
             {askrd} publish \"$4\" \"$5\" --ring {} >/dev/null && printf published",
            ring.display()
        ),
    )
}

#[test]
fn nothing_is_said_where_nothing_is_wrong() {
    let site = Site::new();
    let php = publishing(&site);
    assert_eq!(site.doctor(&["--php", &php]), (0, String::new()));
    let url = format!("http://{}/askr/events", site.daemon.address);
    assert_eq!(
        site.doctor(&["--php", &php, "--url", &url]),
        (0, String::new())
    );
}

/// Its name, what makes it, the exit code, a part of its sentence, and of the command that mends it.
type Fault = (&'static str, fn(&mut Site), i32, &'static str, &'static str);

/// The fault is found, and nothing else: so many lines.
fn assert_found(mut site: Site, (fault, make, code, sentence, mend): Fault, lines: usize) {
    make(&mut site);
    let (found, text) = site.doctor(&["--no-event"]);
    assert_eq!(found, code, "{fault}: {text}");
    assert!(
        text.contains(sentence) && text.contains(mend),
        "{fault}: {text}"
    );
    let count = text.lines().count();
    assert_eq!(count, lines, "{fault}: and nothing else: {text}");
}

#[test]
fn each_fault_has_its_sentence_and_its_exit_code() {
    let faults: [Fault; 27] = [
        (
            "a setting that is none",
            |site| append(site, "server.pong = 1"),
            2,
            "problem: settings: ",
            "askrd check",
        ),
        (
            "a secret that is missing",
            |site| append(site, "auth.secret_file = '/nowhere'"),
            2,
            "auth.secret_file: /nowhere",
            "askrd check",
        ),
        (
            "askrd has ended",
            |site| {
                site.daemon.signal(Signal::SIGTERM);
                site.daemon.wait();
            },
            2,
            "askrd: it does not run",
            "systemctl start askrd",
        ),
        (
            "no control socket",
            |site| append(site, "server.control = 'none'"),
            1,
            "server.control names no socket",
            "systemctl status askrd",
        ),
        (
            "another ring in the settings",
            |site| other_ring(site),
            2,
            "is not there, though askrd runs",
            "systemctl restart askrd",
        ),
        (
            "the ring is closed to groups",
            |site| mode(&site.daemon.ring(), 0o600),
            2,
            "no group may write",
            "ring.mode",
        ),
        (
            "PHP-FPM without the extension",
            |site| remove(site, "fpm"),
            1,
            "PHP 8.2 (fpm) does not load askr.so",
            "phpenmod -v 8.2 -s fpm askr && systemctl restart php8.2-fpm",
        ),
        (
            "the CLI without the extension",
            |site| remove(site, "cli"),
            1,
            "PHP 8.2 (cli) does not load askr.so",
            "phpenmod -v 8.2 -s cli askr",
        ),
        (
            "no PHP with the extension",
            |site| {
                remove(site, "cli");
                remove(site, "fpm");
            },
            2,
            "loads askr.so, so nothing is published",
            "phpenmod -v 8.2 askr",
        ),
        (
            "another ring in php.ini",
            |site| {
                site.write(
                    &format!("{PHP}/cli/conf.d/99-own.ini"),
                    "askr.ring = /shop\n",
                )
            },
            2,
            "PHP 8.2 (cli) writes the ring \"/shop\"",
            "/ring\" in ",
        ),
        (
            "another ring in a pool",
            |site| site.pool("user = root\nphp_admin_value[askr.ring] = /shop\n"),
            2,
            "writes the ring \"/shop\"",
            "www.conf",
        ),
        (
            "a pool's user who is not in the group",
            |site| site.pool("user = nobody\ngroup = nogroup\n"),
            2,
            "runs as nobody, who may not write the ring",
            "usermod -aG ",
        ),
        (
            "too few descriptors",
            |site| limit(&site.daemon, 300),
            1,
            "it may open 300 files",
            "LimitNOFILE=",
        ),
        (
            "an application that publishes nothing",
            |site| more_ini(site, "cli", "askr.enabled = Off"),
            1,
            "PHP 8.2 (cli) publishes nothing",
            "askr.enabled = 1",
        ),
        (
            "a pool that publishes nothing",
            |site| site.pool("user = root\nphp_admin_flag[askr.enabled] = off\n"),
            1,
            "pool www of PHP 8.2 publishes nothing",
            "www.conf",
        ),
        (
            "the second pool of a file",
            |site| site.pool("user = root\n[other]\nuser = nobody\ngroup = nogroup\n"),
            2,
            "pool other of PHP 8.2 runs as nobody, who may not write the ring",
            "usermod -aG ",
        ),
        (
            "an owner whom a pool does not believe",
            |site| owned_by_nobody(site),
            2,
            "does not believe the ring",
            "askr.ring_owner = nobody",
        ),
        (
            "another control socket",
            |site| site.pool("user = root\nphp_admin_value[askr.control] = /nowhere\n"),
            1,
            "asks askrd at /nowhere",
            "askr.control = ",
        ),
        (
            "a secret of PHP that others may read",
            |site| signs(site, common::grants::SECRET, 0o644),
            2,
            "cannot sign tokens",
            "chmod 0640",
        ),
        (
            "a secret of PHP that a pool may not read",
            |site| {
                site.pool("user = nobody\ngroup = root\n");
                closed_to_owner(site);
            },
            2,
            "who may not read the secrets",
            "chmod 0640",
        ),
        (
            "a secret of PHP that askrd does not have",
            |site| signs(site, "fedcba9876543210fedcba9876543210", 0o600),
            2,
            "signs tokens with a secret that askrd does not have",
            "systemctl reload askrd",
        ),
        (
            "a socket that nobody may open",
            |site| mode(&listen(site), 0o600),
            2,
            "no group may connect to ",
            "chmod 0660 ",
        ),
        (
            "a socket that is gone",
            |site| fs::remove_file(listen(site)).unwrap(),
            2,
            "is not there, where it is to listen",
            "systemctl restart askrd",
        ),
        (
            "PHP-FPM is to run, and does not",
            |site| {
                let wanted = "etc/systemd/system/multi-user.target.wants";
                site.write(&format!("{wanted}/php8.2-fpm.service"), "");
            },
            1,
            "PHP 8.2 (fpm) is to run, and does not",
            "systemctl start php8.2-fpm",
        ),
        (
            "a pool's user who may not go where the ring is",
            |site| {
                site.pool("user = nobody\ngroup = root\n");
                mode(site.daemon.directory.path(), 0o700);
            },
            2,
            "runs as nobody, who may not write the ring",
            "chmod g+x ",
        ),
        (
            "nginx without a line for askrd",
            |site| {
                nginx_without_askr(site);
                site.nginx_runs();
            },
            1,
            "no site of nginx passes anything on to askrd",
            "include snippets/askr.conf;",
        ),
        (
            "settings that wait for a restart",
            |site| {
                append(site, "ring.slots = 1024");
                assert_eq!(site.daemon.ask("POST", "/reload", "").status, 200);
            },
            1,
            "1 settings have changed and wait for a restart",
            "systemctl restart askrd",
        ),
    ];
    for fault in faults {
        let lines = match fault.0 {
            "no PHP with the extension" => 6,
            // Of the CLI and of the pool.
            "a secret of PHP that others may read" | "a secret of PHP that askrd does not have" => {
                4
            }
            _ => 2,
        };
        assert_found(Site::new(), fault, lines);
    }
}

fn nginx_without_askr(site: &Site) {
    site.write("etc/nginx/nginx.conf", "include conf.d/*.conf; # askr\n");
    site.write("etc/nginx/conf.d/askr.conf", "upstream askr {}\n");
    site.write(
        "etc/nginx/sites-available/old",
        "include snippets/askr.conf;\n",
    );
    site.write(
        "etc/nginx/sites-enabled/shop",
        "#include snippets/askr.conf;\n",
    );
}

#[test]
fn an_nginx_that_does_not_run_or_is_another_one_is_no_fault() {
    let mut site = Site::new();
    nginx_without_askr(&site);
    assert_eq!(site.doctor(&["--no-event"]), (0, String::new()));
    site.runs("nginx: master process /usr/sbin/nginx -c /srv/other/nginx.conf");
    assert_eq!(site.doctor(&["--no-event"]), (0, String::new()));
}

const APACHE: &str = "etc/apache2";

/// Apache with PHP as a module, as Debian lays it out.
fn with_apache() -> Site {
    let site = Site::new();
    let ini = fs::read_to_string(site.at(&format!("{PHP}/fpm/conf.d/20-askr.ini"))).unwrap();
    site.write(&format!("{PHP}/apache2/conf.d/20-askr.ini"), &ini);
    site.write("usr/lib/apache2/modules/libphp8.2.so", "");
    site.write(&format!("{APACHE}/mods-enabled/php8.2.load"), "");
    site.write(
        &format!("{APACHE}/apache2.conf"),
        "# User nobody\nUser ${APACHE_RUN_USER}\nGroup ${APACHE_RUN_GROUP}\n",
    );
    apache_of(&site, "root");
    site
}

/// As whom it runs.
fn apache_of(site: &Site, user: &str) {
    let group = if user == "root" { "root" } else { "nogroup" };
    let lines = format!("export APACHE_RUN_USER={user}\nexport APACHE_RUN_GROUP={group}\n");
    site.write(&format!("{APACHE}/envvars"), &lines);
}

fn apache_is_to_run(site: &Site) {
    let wanted = "etc/systemd/system/multi-user.target.wants";
    site.write(&format!("{wanted}/apache2.service"), "");
}

#[test]
fn apache_with_php_as_a_module_is_looked_at() {
    let faults: [Fault; 8] = [
        (
            "without the extension",
            |site| remove(site, "apache2"),
            1,
            "PHP 8.2 (apache2) does not load askr.so",
            "phpenmod -v 8.2 -s apache2 askr && systemctl restart apache2",
        ),
        (
            "another ring",
            |site| more_ini(site, "apache2", "askr.ring = /shop"),
            2,
            "PHP 8.2 (apache2) writes the ring \"/shop\"",
            "apache2/conf.d/30-more.ini",
        ),
        (
            "another ring of a site",
            |site| {
                let lines = "<VirtualHost *:80>\n  php_admin_value askr.enabled 1\n</VirtualHost>\n\
                             <VirtualHost *:81>\n  PHP_Admin_Value askr.ring \"/shop\"\n</VirtualHost>\n";
                site.write(&format!("{APACHE}/sites-enabled/shop.conf"), lines);
            },
            2,
            "Apache with PHP 8.2: a site writes the ring \"/shop\"",
            "sites-enabled/shop.conf",
        ),
        (
            "a site that publishes nothing",
            |site| {
                let line = "php_admin_flag askr.enabled off\n";
                site.write(&format!("{APACHE}/conf-enabled/shop.conf"), line);
            },
            1,
            "Apache with PHP 8.2: a site publishes nothing",
            "conf-enabled/shop.conf",
        ),
        (
            "a user who is not in the group",
            |site| apache_of(site, "nobody"),
            2,
            "Apache with PHP 8.2 runs as nobody, who may not write the ring",
            "usermod -aG root nobody && systemctl restart apache2",
        ),
        (
            "secrets that its user may not read",
            |site| {
                apache_of(site, "nobody");
                signs(site, common::grants::SECRET, 0o600);
                let secrets = site.at("secrets").display().to_string();
                more_ini(site, "apache2", &format!("askr.secret_file = {secrets}"));
                let at = site.daemon.directory.path().to_owned();
                mode(&at, 0o755);
                for open in ["ring", "control.sock"] {
                    mode(&at.join(open), 0o666);
                }
            },
            2,
            "Apache with PHP 8.2 runs as nobody, who may not read the secrets",
            "chmod 0640",
        ),
        (
            "it is to run, and does not",
            |site| apache_is_to_run(site),
            1,
            "PHP 8.2 (apache2) is to run, and does not",
            "systemctl start apache2",
        ),
        (
            "nothing loads the extension",
            |site| {
                for sapi in ["cli", "fpm", "apache2"] {
                    remove(site, sapi);
                }
            },
            2,
            "loads askr.so, so nothing is published",
            "phpenmod -v 8.2 askr && systemctl restart php8.2-fpm apache2",
        ),
    ];
    for fault in faults {
        let lines = if fault.0.starts_with("nothing") { 8 } else { 2 };
        assert_found(with_apache(), fault, lines);
    }
}

#[test]
fn nothing_is_said_of_an_apache_that_runs_as_it_should_or_has_no_php() {
    let mut site = with_apache();
    assert_eq!(site.doctor(&["--no-event"]), (0, String::new()));
    apache_is_to_run(&site);
    let settings = site.at(APACHE).display().to_string();
    site.runs(&format!("/usr/sbin/apache2 -d {settings} -k start"));
    assert_eq!(site.doctor(&["--no-event"]), (0, String::new()));
    // A module that is installed, and off.
    remove(&mut site, "apache2");
    fs::remove_file(site.at(&format!("{APACHE}/mods-enabled/php8.2.load"))).unwrap();
    assert_eq!(site.doctor(&["--no-event"]), (0, String::new()));
}

fn append(site: &mut Site, line: &str) {
    let key = line.split(' ').next().unwrap();
    let text = fs::read_to_string(site.daemon.config()).unwrap();
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with(key)).collect();
    write_settings(
        &site.daemon.config(),
        &format!("{}\n{line}\n", kept.join("\n")),
    );
}

fn more_ini(site: &mut Site, sapi: &str, line: &str) {
    site.write(
        &format!("{PHP}/{sapi}/conf.d/30-more.ini"),
        &format!("{line}\n"),
    );
}

/// The Unix socket that it listens on.
fn listen(site: &Site) -> PathBuf {
    site.daemon.directory.path().join("askrd.sock")
}

fn owned_by_nobody(site: &mut Site) {
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    nix::unistd::chown(&site.daemon.ring(), Some(nobody.uid), None).unwrap();
}

/// With tokens that each PHP signs by this secret.
fn signs(site: &mut Site, secret: &str, bits: u32) {
    write_settings(&site.at("secrets"), &format!("{secret}\n"));
    mode(&site.at("secrets"), bits);
    let line = format!("askr.secret_file = {}", site.at("secrets").display());
    for sapi in ["cli", "fpm"] {
        more_ini(site, sapi, &line);
    }
}

/// To a pool whose group may write the ring, and not read the file.
fn closed_to_owner(site: &mut Site) {
    signs(site, common::grants::SECRET, 0o600);
}

/// Everywhere but in the daemon that runs.
fn other_ring(site: &mut Site) {
    let other = site.daemon.directory.path().join("other");
    let line = format!("ring.name = '{}'", other.display());
    append(site, &line);
    for sapi in ["fpm", "cli"] {
        let ini = format!("extension=askr\naskr.ring = {}\n", other.display());
        site.write(&format!("{PHP}/{sapi}/conf.d/20-askr.ini"), &ini);
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn remove(site: &mut Site, sapi: &str) {
    fs::remove_file(site.at(&format!("{PHP}/{sapi}/conf.d/20-askr.ini"))).unwrap();
}

fn limit(daemon: &Daemon, files: u64) {
    let mut command = Command::new("prlimit");
    let process = format!("--pid={}", daemon.pid());
    assert!(
        command
            .args([process, format!("--nofile={files}")])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn the_event_at_the_end_finds_what_files_do_not_show() {
    let site = Site::new();
    for (line, code, sentence) in [
        (
            "printf 'askr.so is not loaded'",
            2,
            "cannot publish: askr.so is not loaded",
        ),
        (
            "printf published",
            2,
            "PHP has published an event, and it did not come within 10 seconds",
        ),
    ] {
        let php = php(&site, line);
        let (found, text) = site.doctor(&["--php", &php]);
        assert_eq!(found, code, "{text}");
        assert!(text.contains(sentence), "{text}");
    }
    // Another version works, and is said.
    let other = publishing(&site).replace("/php", "/other");
    let script = fs::read_to_string(site.at("php")).unwrap();
    fs::write(
        &other,
        script.replace("printf published", "printf 'published 0.0.1'"),
    )
    .unwrap();
    mode(Path::new(&other), 0o755);
    let (found, text) = site.doctor(&["--php", &other]);
    assert_eq!(found, 0, "{text}");
    assert!(text.starts_with("note: event: askr.so of "), "{text}");
    // As PHP says it of an extension that was built for another one.
    let line = "echo 'Warning: PHP Startup: askr: Unable to initialize module' >&2; printf 'Module compiled with module API=20240924\\n'";
    let php = php(&site, line);
    let (found, text) = site.doctor(&["--php", &php]);
    assert!(
        found == 2 && text.contains("cannot load askr.so: "),
        "{text}"
    );
    assert!(text.contains("module API=20240924"), "{text}");
    let (found, text) = site.doctor(&["--php", "/nowhere/php"]);
    assert_eq!(found, 1, "{text}");
    assert!(text.contains("cannot be run"), "{text}");
}

/// Stands for a PHP of this version, whose settings are there, and which refuses to load the extension.
fn refusing(site: &Site, version: &str, settings: &str, programs: &str) -> String {
    let line = format!(
        "if [ \"$1\" = -n ]; then printf '%s\\n' {version} {settings} {programs}; \
         else echo 'Warning: PHP Startup: Unable to load dynamic library askr.so' >&2; fi"
    );
    php(site, &line)
}

#[test]
fn what_is_to_be_installed_is_for_the_php_that_was_found() {
    // Debian's, which lacks the extension: another version than where this was written.
    let mut site = Site::new();
    remove(&mut site, "cli");
    remove(&mut site, "fpm");
    fs::remove_dir_all(site.at("etc/php/8.2")).unwrap();
    for version in ["8.4", "8.5"] {
        site.write(&format!("etc/php/{version}/cli/php.ini"), "");
        site.write(&format!("usr/bin/php{version}"), "");
    }
    site.write(&ini_of("8.5"), "extension=askr.so\n");
    let (found, text) = site.doctor(&["--no-event"]);
    assert_eq!(found, 2, "{text}");
    assert!(
        text.contains(
            "PHP 8.4 (cli) does not load askr.so\n    apt install ./php8.4-askr_*.deb (make deb PHP=php8.4)"
        ),
        "{text}"
    );
    // Installed, and off.
    assert!(
        text.contains("PHP 8.5 (cli) does not load askr.so\n    phpenmod -v 8.5 -s cli askr\n"),
        "{text}"
    );
    assert!(!text.contains("8.2"), "{text}");

    // The one that publishes refuses it.
    let site = Site::new();
    for (settings, programs, mend) in [
        (
            "/etc/php/8.4/cli/conf.d",
            "/usr/bin",
            "apt install --reinstall ./php8.4-askr_*.deb (make deb PHP=php8.4)",
        ),
        (
            "/usr/local/etc/php/conf.d",
            "/usr/local/bin",
            "pie install askr/extension --with-php-config=/usr/local/bin/php-config",
        ),
    ] {
        let php = refusing(&site, "8.4", settings, programs);
        let (found, text) = site.doctor(&["--php", &php]);
        assert_eq!(found, 2, "{text}");
        assert!(
            text.contains("cannot load askr.so: ") && text.contains(mend),
            "{text}"
        );
        let others = ["8.2", "php8.4-askr", "pie install"];
        let named = others.iter().filter(|other| text.contains(**other));
        assert_eq!(named.count(), 1, "{text}");
    }

    // One that cannot be run: another is named that is there.
    let (_, text) = site.doctor(&["--php", "/nowhere/php"]);
    assert!(text.contains("askrd doctor --php php8.2"), "{text}");
    let ini = fs::read_to_string(site.at(&format!("{PHP}/cli/conf.d/20-askr.ini"))).unwrap();
    site.write("etc/php/8.4/cli/php.ini", &ini);
    site.write("usr/bin/php8.4", "");
    let (_, text) = site.doctor(&["--php", "/nowhere/php"]);
    assert!(text.contains("askrd doctor --php php8.4"), "{text}");
}

#[test]
fn a_php_that_is_not_debians_is_asked_itself() {
    let site = Site::new();
    fs::remove_dir_all(site.at("etc/php")).unwrap();
    let loads = publishing(&site);
    assert_eq!(site.doctor(&["--php", &loads]), (0, String::new()));
    let line = "if [ \"$1\" = -n ]; then printf '%s\\n' 8.4 /usr/local/etc/php/conf.d /usr/local/bin; \
                else printf 'askr.so is not loaded'; fi";
    let (found, text) = site.doctor(&["--php", &php(&site, line)]);
    assert_eq!(found, 2, "{text}");
    assert!(
        text.contains("PHP 8.4 (")
            && text.contains(") does not load askr.so, so nothing is published\n")
            && text.contains("pie install askr/extension"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 2, "{text}");
    // askrd in a container of its own.
    let (found, text) = site.doctor(&["--php", "/nowhere/php"]);
    assert_eq!(found, 0, "{text}");
    assert!(
        text.starts_with("note: php: there is no PHP here"),
        "{text}"
    );
}

#[test]
fn a_ring_for_which_there_is_no_room_is_why_askrd_does_not_run() {
    let mut site = Site::new();
    site.daemon.signal(Signal::SIGTERM);
    site.daemon.wait();
    fs::remove_file(site.daemon.ring()).unwrap();
    // As large as a ring can be.
    append(&mut site, "ring.arena = '64GiB'");
    let (found, text) = site.doctor(&[]);
    assert_eq!(found, 2, "{text}");
    assert!(text.contains("askrd: it does not run"), "{text}");
    assert!(
        text.contains("MiB, so askrd cannot start\n    remove what fills it"),
        "{text}"
    );
}

#[test]
fn settings_that_a_removed_php_has_left_are_not_looked_at() {
    let site = Site::new();
    let php = publishing(&site);
    for sapi in ["cli", "fpm"] {
        site.write(&format!("etc/php/8.1/{sapi}/php.ini"), "");
    }
    site.write("etc/php/8.1/fpm/pool.d/www.conf", "[www]\nuser = nobody\n");
    assert_eq!(site.doctor(&["--php", &php]), (0, String::new()));
    site.write("usr/bin/php8.1", "");
    let (found, text) = site.doctor(&["--php", &php]);
    assert_eq!(found, 1, "{text}");
    assert!(text.contains("PHP 8.1 (cli) does not load"), "{text}");
}

/// Answers every request with this, and keeps the connection.
fn proxy(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/askr/events", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut held: Vec<TcpStream> = Vec::new();
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut head = [0; 4096];
            let _ = socket.read(&mut head);
            let _ = socket.write_all(answer.as_bytes());
            held.push(socket);
        }
    });
    url
}

#[test]
fn what_a_proxy_does_wrong_is_told_apart() {
    let site = Site::new();
    for (answer, code, sentence, mend) in [
        (
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
            2,
            "answers with status 502",
            "systemctl status askrd",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            2,
            "answers with status 404",
            "include snippets/askr.conf",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>",
            2,
            "somebody else answers there",
            "include snippets/askr.conf",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n",
            2,
            "compresses events (gzip)",
            "gzip off",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 14\r\n\r\nretry: 1000\n\n",
            2,
            "in the place of askrd",
            "group askr",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
            2,
            "holds events back",
            "proxy_buffering off",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: askr:connected\ndata: {\"health\":\"OK\"}\n",
            1,
            "does not become a WebSocket",
            "proxy_set_header Upgrade",
        ),
    ] {
        let url = proxy(answer);
        let (found, text) = site.once(&["--url", &url, "--no-event"]);
        assert_eq!(found, code, "{text}");
        assert!(text.contains(sentence) && text.contains(mend), "{text}");
    }
    let (found, text) = site.doctor(&["--url", "ftp://x/"]);
    assert!(found == 2 && text.contains("must be http://"), "{text}");
    let (found, text) = site.doctor(&["--url", "http://127.0.0.1:1/askr/events"]);
    assert!(found == 2 && text.contains("cannot be asked"), "{text}");
}

#[test]
fn a_clock_that_is_wrong_is_told() {
    let site = Site::new();
    let url = proxy(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nDate: Mon, 01 Jan 2001 00:00:00 GMT\r\n\r\n\
         event: askr:connected\ndata: {\"health\":\"OK\"}\n",
    );
    let (found, text) = site.once(&["--url", &url, "--no-event"]);
    assert_eq!(found, 2, "{text}");
    assert!(
        text.contains("problem: clock: it differs from that of 127.0.0.1:"),
        "{text}"
    );
    site.clock("no");
    let (found, text) = site.doctor(&["--no-event"]);
    assert_eq!(found, 1, "{text}");
    assert!(
        text.starts_with("warning: clock: nothing keeps it right"),
        "{text}"
    );
}

#[test]
fn the_server_that_hosts_share_is_looked_at() {
    let redis = common::redis::Redis::start();
    let mut site = Site::new();
    append(&mut site, &format!("cluster.url = '{}'", redis.url()));
    assert_eq!(site.doctor(&["--no-event"]), (0, String::new()));
    for change in ["maxmemory 100mb", "maxmemory-policy allkeys-lru"] {
        redis.ask::<String>(&format!("CONFIG SET {change}"));
    }
    let (found, text) = site.doctor(&["--no-event"]);
    assert_eq!(found, 1, "{text}");
    assert!(text.contains("maxmemory-policy allkeys-lru"), "{text}");
    assert!(
        text.contains("redis-cli config set maxmemory-policy noeviction"),
        "{text}"
    );
    drop(redis);
    let (found, text) = site.doctor(&["--no-event"]);
    assert_eq!(found, 2, "{text}");
    assert!(
        text.contains("problem: redis: hosts do not get one another's events"),
        "{text}"
    );
}

#[test]
fn health_is_an_exit_code() {
    let mut daemon = Daemon::start("");
    let health = |daemon: &Daemon| {
        let mut command = askrd();
        let output = command
            .args(["health", "--config"])
            .arg(daemon.config())
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(health(&daemon), (0, String::new()));
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let (code, why) = health(&daemon);
    assert!(code == 1 && why.contains("is askrd running"), "{why}");
}
