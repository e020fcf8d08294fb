//! How a PHP comes by askr.so: Debian's by the package that has its version in its name, any other by PIE.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a PHP says of itself, asked without its settings: an extension that it refuses is no hindrance then.
const SCRIPT: &str = "echo PHP_MAJOR_VERSION, '.', PHP_MINOR_VERSION, \"\\n\", PHP_CONFIG_FILE_SCAN_DIR, \"\\n\", PHP_BINDIR;";

/// Whether it has the extension, with its settings.
const LOADED: &str = "echo extension_loaded('askr') ? 'yes' : 'no';";

/// For PHPs as Debian lays them out.
pub fn package(version: &str) -> String {
    format!(
        "apt install ./php{version}-askr_*.deb (make deb PHP=php{version}), or \
         make build install PHP=php{version} && phpenmod -v {version} askr"
    )
}

/// A PHP that can be run.
pub struct Program {
    pub version: String,
    /// Where its settings are.
    settings: PathBuf,
    /// Where it and its php-config are.
    programs: PathBuf,
}

impl Program {
    /// None: it cannot be run, or does not say what it is.
    pub fn of(program: &str) -> Option<Self> {
        let output = Command::new(program).args(["-n", "-r", SCRIPT]).output();
        let said = String::from_utf8(output.ok()?.stdout).ok()?;
        let mut lines = said.lines();
        let mut next = || lines.next();
        let (version, settings, programs) = (next()?, next()?, next()?);
        let is_version = |c: char| c.is_ascii_digit() || c == '.';
        (!version.is_empty() && version.chars().all(is_version)).then(|| Self {
            version: version.to_owned(),
            settings: settings.into(),
            programs: programs.into(),
        })
    }

    pub fn is_debians(&self) -> bool {
        let debians = Path::new("/etc/php").join(&self.version);
        self.settings.starts_with(debians)
    }

    pub fn install(&self) -> String {
        if self.is_debians() {
            // One that is there, and of no use, may be of the same version.
            return package(&self.version).replace("apt install", "apt install --reinstall");
        }
        format!(
            "pie install askr/extension --with-php-config={}, or by hand as docs/INSTALL.md has it (an image: \
             packaging/docker/php.Dockerfile)",
            self.programs.join("php-config").display()
        )
    }

    /// What is to be restarted with it.
    pub fn fpm(&self) -> String {
        match self.is_debians() {
            true => format!("systemctl restart php{}-fpm", self.version),
            false => "restart its PHP-FPM".to_owned(),
        }
    }
}

pub fn loads(program: &str) -> bool {
    let output = Command::new(program).args(["-r", LOADED]).output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"yes")
}
