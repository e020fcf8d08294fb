//! Merges settings from all sources. An error names its place (the file, the variable or the flag), then the key,
//! then the reason.

use std::fmt;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::app::App;
use super::flags::Flags;
use super::settings::Settings;

/// Used when no file is named and it exists.
const DEFAULT_FILE: &str = "/etc/askr/askr.toml";

/// An error in the settings: one line.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The settings in force for this command line and environment.
pub fn load(
    flags: &Flags,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(Settings, Sources), Problem> {
    let named = flags.config.clone();
    let file = named.or_else(|| {
        Path::new(DEFAULT_FILE)
            .is_file()
            .then(|| DEFAULT_FILE.into())
    });
    let (text, exposed) = match &file {
        Some(path) => read(path)?,
        None => Default::default(),
    };
    let sources = Sources {
        file,
        exposed,
        overrides: Vec::new(),
    };
    merge(sources, &text, flags, environment)
}

/// The file's text, and why it must not have a secret in it. It may be a pipe.
fn read(path: &Path) -> Result<(String, Option<String>), Problem> {
    let read = || {
        let mut file = File::open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok((text, shared::secret::check_mode(&file.metadata()?).err()))
    };
    read().map_err(|why: io::Error| Problem(format!("{}: cannot be read: {why}", path.display())))
}

/// Where each value came from, for errors.
pub struct Sources {
    file: Option<PathBuf>,
    /// Why the file must not have a secret in it.
    exposed: Option<String>,
    overrides: Vec<(String, String)>,
}

impl Sources {
    /// An error of `section.key`, with the place that the value came from.
    pub fn problem(&self, section: &str, key: &str, reason: &str) -> Problem {
        let key = format!("{section}.{key}");
        let place = match self.overrides.iter().rev().find(|(name, _)| *name == key) {
            Some((_, place)) => place.clone(),
            None => self
                .file
                .as_ref()
                .map_or("defaults".into(), |f| f.display().to_string()),
        };
        Problem(format!("{place}: {key}: {reason}"))
    }
}

fn merge(
    mut sources: Sources,
    text: &str,
    flags: &Flags,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(Settings, Sources), Problem> {
    // The defaults, serialized, define the sections and keys and their types.
    let known = Table::try_from(Settings::default()).expect("the defaults are plain values");
    let (mut table, apps) = parse(text, &known, &sources)?;
    if let Some(why) = &sources.exposed
        && let Some(section) = has_secret(&table, &apps)
    {
        let why = format!("the file it is in {why}");
        return Err(sources.problem(&section, "secret", &why));
    }

    for (section, keys) in &known {
        for (key, model) in keys.as_table().expect("sections hold keys") {
            let variable = format!("ASKR_{section}_{key}").to_uppercase();
            if let Some(text) = environment(&variable) {
                sources
                    .overrides
                    .push((format!("{section}.{key}"), variable));
                let value = from_text(&text, model)
                    .map_err(|reason| sources.problem(section, key, &reason))?;
                set(&mut table, section, key, value);
            }
        }
    }
    if !flags.listen.is_empty() {
        sources
            .overrides
            .push(("server.listen".into(), "--listen".into()));
        let all = flags.listen.iter().cloned().map(Value::String).collect();
        set(&mut table, "server", "listen", Value::Array(all));
    }
    if let Some(ring) = &flags.ring {
        sources
            .overrides
            .push(("ring.name".into(), "--ring".into()));
        set(&mut table, "ring", "name", Value::String(ring.clone()));
    }
    let mut settings = typed(table, &known, &sources)?;
    settings.apps = apps;
    match settings.check() {
        Ok(()) => Ok((settings, sources)),
        Err((section, key, reason)) => Err(sources.problem(&section, key, &reason)),
    }
}

/// The file's text as a table whose sections and keys are all known; and what it has as `[[app]]`.
fn parse(text: &str, known: &Table, sources: &Sources) -> Result<(Table, Vec<App>), Problem> {
    let file = sources
        .file
        .as_ref()
        .map(|f| f.display().to_string())
        .unwrap_or_default();
    let mut table: Table = text.parse().map_err(|why: toml::de::Error| {
        let at = why.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        Problem(format!(
            "{file}: line {line}: {}",
            why.message().replace('\n', ", ")
        ))
    })?;
    let apps = several(&mut table, known, sources)?;
    for (section, keys) in &table {
        let Some(model) = known.get(section).and_then(Value::as_table) else {
            let all = known
                .keys()
                .map(|k| format!("[{k}]"))
                .collect::<Vec<_>>()
                .join(", ");
            return Err(Problem(format!(
                "{file}: {section}: unknown section; there are {all}"
            )));
        };
        let Some(keys) = keys.as_table() else {
            return Err(Problem(format!(
                "{file}: {section}: must be a section, [{section}]"
            )));
        };
        all_known(section, keys, model, sources)?;
    }
    Ok((table, apps))
}

/// Takes `[[app]]` out of the table: the only section that may be repeated.
fn several(table: &mut Table, known: &Table, sources: &Sources) -> Result<Vec<App>, Problem> {
    let Some(Value::Array(items)) = table.get("app") else {
        return Ok(Vec::new());
    };
    let model = known["app"].as_table().expect("a section");
    let mut apps = Vec::new();
    for (n, item) in items.iter().enumerate() {
        let section = format!("app[{}]", n + 1);
        let Some(keys) = item.as_table() else {
            return Err(sources.problem(&section, "id", "must be a section, [[app]]"));
        };
        all_known(&section, keys, model, sources)?;
        if !keys.contains_key("id") {
            return Err(sources.problem(&section, "id", "must be set"));
        }
        for (key, value) in keys {
            let alone = Table::from_iter([(key.clone(), value.clone())]);
            alone.try_into::<App>().map_err(|why| {
                sources.problem(&section, key, &reason(why.message(), &model[key]))
            })?;
        }
        let app = keys.clone().try_into();
        apps.push(app.map_err(|why: toml::de::Error| Problem(why.message().replace('\n', ", ")))?);
    }
    table.remove("app");
    Ok(apps)
}

/// The first section of a file that has a secret in it.
fn has_secret(table: &Table, apps: &[App]) -> Option<String> {
    let one = table.get("app").and_then(|app| app.get("secret"));
    if one.is_some_and(|secret| secret.as_str() != Some("")) {
        return Some("app".into());
    }
    let first = apps.iter().position(|app| !app.secret.is_empty())?;
    Some(format!("app[{}]", first + 1))
}

fn all_known(section: &str, keys: &Table, model: &Table, sources: &Sources) -> Result<(), Problem> {
    match keys.keys().find(|key| !model.contains_key(*key)) {
        None => Ok(()),
        Some(key) => {
            let all = model.keys().map(String::as_str).collect::<Vec<_>>();
            let why = format!("unknown key; there are {}", all.join(", "));
            Err(sources.problem(section, key, &why))
        }
    }
}

/// Each value is turned into its type alone, so that a reason can name its key.
fn typed(table: Table, known: &Table, sources: &Sources) -> Result<Settings, Problem> {
    for (section, keys) in &table {
        for (key, value) in keys.as_table().into_iter().flatten() {
            let mut alone = Table::new();
            set(&mut alone, section, key, value.clone());
            if let Err(why) = Settings::deserialize_table(alone) {
                return Err(sources.problem(
                    section,
                    key,
                    &reason(why.message(), &known[section][key]),
                ));
            }
        }
    }
    Settings::deserialize_table(table).map_err(|why| Problem(why.message().replace('\n', ", ")))
}

/// The decoder's message, or what is allowed where the message only names the type that was found.
fn reason(message: &str, model: &Value) -> String {
    let allowed = match model {
        Value::Boolean(_) => "true or false",
        Value::Integer(_) => "an integer that is not negative",
        Value::Float(_) => "a number",
        Value::Array(_) => "a list of texts in quotes",
        _ => "text in quotes",
    };
    match message.starts_with("invalid") {
        true => format!("must be {allowed}"),
        false => message.replace('\n', ", "),
    }
}

impl Settings {
    fn deserialize_table(table: Table) -> Result<Self, toml::de::Error> {
        table.try_into()
    }
}

/// A variable's text as a value of the same type as `model`. Lists are separated by commas.
fn from_text(text: &str, model: &Value) -> Result<Value, String> {
    Ok(match model {
        Value::Boolean(_) => match text {
            "true" | "1" => Value::Boolean(true),
            "false" | "0" => Value::Boolean(false),
            _ => return Err("must be true or false".into()),
        },
        // A size may have a unit: other text is left to the type's own parser.
        Value::Integer(_) => match text.parse() {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::String(text.to_owned()),
        },
        Value::Float(_) => Value::Float(text.parse().map_err(|_| "must be a number".to_owned())?),
        Value::Array(_) => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        _ => Value::String(text.to_owned()),
    })
}

fn set(table: &mut Table, section: &str, key: &str, value: Value) {
    let keys = table
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()));
    if let Some(keys) = keys.as_table_mut() {
        keys.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Size;

    fn try_merge(
        text: &str,
        flags: &Flags,
        environment: &[(&str, &str)],
    ) -> Result<Settings, String> {
        let lookup = |name: &str| {
            environment
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_string())
        };
        let sources = Sources {
            file: Some("/etc/askr/askr.toml".into()),
            exposed: None,
            overrides: Vec::new(),
        };
        let merged = merge(sources, text, flags, lookup);
        merged
            .map(|(settings, _)| settings)
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(
            try_merge("", &Flags::default(), &[]),
            Ok(Settings::default())
        );
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let text = "[server]\nlisten = ['1.1.1.1:1']\nping = 1\nretry = 1\n[ring]\narena = '1MiB'";
        let flags = Flags {
            listen: vec!["3.3.3.3:3".into()],
            ..Flags::default()
        };
        let environment = [
            ("ASKR_SERVER_LISTEN", "2.2.2.2:2, unix:/x"),
            ("ASKR_SERVER_RETRY", "2"),
        ];
        let settings = try_merge(text, &flags, &environment).unwrap();
        assert_eq!(settings.server.listen, ["3.3.3.3:3"]);
        assert_eq!((settings.server.retry, settings.server.ping), (2, 1.0));
        assert_eq!(settings.ring.arena, Size(1 << 20));
        let settings = try_merge(text, &Flags::default(), &environment).unwrap();
        assert_eq!(settings.server.listen, ["2.2.2.2:2", "unix:/x"]);
    }

    #[test]
    fn every_problem_names_its_place_its_key_and_a_reason() {
        let none = Flags::default();
        let file = |text: &str| try_merge(text, &none, &[]).unwrap_err();
        let begins = |problem: String, with: &str| assert!(problem.starts_with(with), "{problem}");
        begins(
            file("[server]\nport = 1"),
            "/etc/askr/askr.toml: server.port: unknown key; there are ",
        );
        begins(
            file("[sever]"),
            "/etc/askr/askr.toml: sever: unknown section; there are ",
        );
        begins(
            file("server = 1"),
            "/etc/askr/askr.toml: server: must be a section",
        );
        begins(file("\n[server\n"), "/etc/askr/askr.toml: line 2: ");
        begins(
            file("[server]\nworkers = 'x'"),
            "/etc/askr/askr.toml: server.workers: must be an integer",
        );
        begins(
            file("[server]\nworkers = -1"),
            "/etc/askr/askr.toml: server.workers: ",
        );
        begins(
            file("[server]\nworkers = 65"),
            "/etc/askr/askr.toml: server.workers: must be between",
        );
        begins(
            file("[server]\nrequests_total = '1MiB'"),
            "/etc/askr/askr.toml: server.requests_total: must be 0, or at least 3",
        );
        begins(
            file("[server]\nlisten = ['x']"),
            "/etc/askr/askr.toml: server.listen: \"x\" must be ",
        );
        begins(
            file("[server]\nlisten = []"),
            "/etc/askr/askr.toml: server.listen: must name ",
        );
        begins(
            file("[server]\nallowed_origins = ['https://*']"),
            "/etc/askr/askr.toml: server.allowed_origins: \"https://*\" must be",
        );
        begins(
            file("[ring]\nname = 'x'"),
            "/etc/askr/askr.toml: ring.name: must be ",
        );
        begins(
            file("[ring]\narena = '1TB'"),
            "/etc/askr/askr.toml: ring.arena: must be bytes",
        );
        begins(
            file("[ring]\nslots = 3"),
            "/etc/askr/askr.toml: ring.slots: must be ",
        );
        begins(
            file("[ring]\nmode = '999'"),
            "/etc/askr/askr.toml: ring.mode: must be octal",
        );
        let variable = |name, value| try_merge("", &none, &[(name, value)]).unwrap_err();
        begins(
            variable("ASKR_SERVER_PING", "x"),
            "ASKR_SERVER_PING: server.ping: must be a number",
        );
        begins(
            variable("ASKR_SERVER_WORKERS", "x"),
            "ASKR_SERVER_WORKERS: server.workers: ",
        );
        begins(
            variable("ASKR_BROADCAST_ENABLED", "x"),
            "ASKR_BROADCAST_ENABLED: broadcast.enabled: ",
        );
        let flags = Flags {
            ring: Some("x".into()),
            ..Flags::default()
        };
        begins(
            try_merge("", &flags, &[]).unwrap_err(),
            "--ring: ring.name: must be ",
        );
    }

    #[test]
    fn several_applications_have_each_their_own() {
        let none = Flags::default();
        let two = "[[app]]\nid = 'a'\nring = '/a'\n[[app]]\nid = 'b'\n";
        let settings = try_merge(two, &none, &[]).unwrap();
        let apps = settings.applications();
        assert_eq!(apps.len(), 2);
        assert_eq!(
            (apps[0].0.ring.as_str(), apps[1].0.ring.as_str()),
            ("/a", "/askr")
        );
        assert_eq!((apps[0].0.key(), &*apps[1].2.audience), ("a", "b"));
        let one = try_merge("[app]\nkey = 'k'", &none, &[("ASKR_APP_ID", "x")]).unwrap();
        let (app, ..) = &one.applications()[0];
        assert_eq!((app.id.as_str(), app.key()), ("x", "k"));
        let audience = |text: &str| {
            let settings = try_merge(text, &none, &[]).unwrap();
            settings.applications()[0].2.audience.clone()
        };
        assert_eq!(audience(""), "askr");
        assert_eq!(audience("app.id = 'shop'"), "shop");
        for id in ["askr", "shop"] {
            for wanted in ["askr", "tokens"] {
                let text = format!("app.id = '{id}'\nauth.audience = '{wanted}'");
                assert_eq!(audience(&text), wanted, "{text}");
            }
        }
        for (text, begins) in [
            (
                "[auth]\naudience = 'x'\n[[app]]\nid = 'a'",
                "/etc/askr/askr.toml: auth.audience: must be left out beside [[app]], \
                 where a token's aud is its application's id",
            ),
            (
                "[[app]]\nring = '/a'",
                "/etc/askr/askr.toml: app[1].id: must be set",
            ),
            (
                "[[app]]\nid = 'a'\nrings = 1",
                "/etc/askr/askr.toml: app[1].rings: unknown key; there are ",
            ),
            (
                "[[app]]\nid = 1",
                "/etc/askr/askr.toml: app[1].id: must be text in quotes",
            ),
            (
                "[[app]]\nid = 'a b'",
                "/etc/askr/askr.toml: app[1].id: must be 1 to 64 letters",
            ),
            (
                "[[app]]\nid = 'a'\n[[app]]\nid = 'b'",
                "/etc/askr/askr.toml: app[2].ring: is that of \"a\"",
            ),
            (
                "[[app]]\nid = 'a'\n[[app]]\nid = 'a'\nring = '/b'",
                "/etc/askr/askr.toml: app[2].id: is that of",
            ),
            (
                "[app]\nauthorizers = ['x']",
                "/etc/askr/askr.toml: app.authorizers: \"x\" must be",
            ),
        ] {
            let problem = try_merge(text, &none, &[]).unwrap_err();
            assert!(problem.starts_with(begins), "{problem}");
        }
    }

    #[test]
    fn every_key_can_be_set_from_the_environment() {
        let known = Table::try_from(Settings::default()).unwrap();
        for (section, keys) in &known {
            for (key, value) in keys.as_table().unwrap() {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Array(items) => items
                        .iter()
                        .filter_map(Value::as_str)
                        .collect::<Vec<_>>()
                        .join(","),
                    other => other.to_string(),
                };
                let name = format!("ASKR_{section}_{key}").to_uppercase();
                let set = try_merge("", &Flags::default(), &[(&name, &text)]);
                assert_eq!(set, Ok(Settings::default()), "{name}={text}");
            }
        }
    }
}
