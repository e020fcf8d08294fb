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

/// Variables that other servers of this kind read, and the setting of the same sense. `ASKR_SECTION_KEY` wins over them.
const BROUGHT_ALONG: [(&str, &str, &str); 5] = [
    ("BROADCAST_MAX_SUBSCRIBERS", "server", "max_connections"),
    ("BROADCAST_MAX_CHANNELS", "server", "max_channels"),
    ("BROADCAST_HEARTBEAT_INTERVAL", "server", "ping"),
    ("BROADCAST_CLIENT_TIMEOUT", "server", "write_timeout"),
    ("BROADCAST_ALLOW_CLIENT_EVENTS", "app", "client_events"),
];
/// What such a variable means by 0, no limit, where the setting has another value for it: its greatest one.
const UNLIMITED: [(&str, &str); 2] = [
    ("BROADCAST_MAX_CHANNELS", "2147483648"),
    ("BROADCAST_CLIENT_TIMEOUT", "86400"),
];

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
        in_file: Vec::new(),
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
    /// The keys that the file sets, `server.ping`, `app[1].id`.
    in_file: Vec<String>,
}

impl Sources {
    /// Where the value of `section.key` came from: a flag, a variable, the file. None: it is the default.
    pub fn place(&self, section: &str, key: &str) -> Option<String> {
        let key = format!("{section}.{key}");
        let mut overrides = self.overrides.iter().rev();
        if let Some((_, place)) = overrides.find(|(name, _)| *name == key) {
            return Some(place.clone());
        }
        let file = self.file.as_ref().filter(|_| self.in_file.contains(&key));
        file.map(|file| file.display().to_string())
    }

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
    let (mut table, apps) = parse(text, &known, &mut sources)?;
    if let Some(why) = &sources.exposed
        && let Some((section, key)) = has_secret(&table, &apps)
    {
        let why = format!("the file it is in {why}");
        return Err(sources.problem(&section, key, &why));
    }

    for (variable, section, key) in BROUGHT_ALONG {
        if let Some(text) = environment(variable) {
            let place = (format!("{section}.{key}"), variable.to_owned());
            sources.overrides.push(place);
            let unlimited = UNLIMITED.iter().find(|(name, _)| *name == variable);
            let unlimited = unlimited.filter(|_| text.trim() == "0");
            let text = unlimited.map_or(text.trim(), |(_, greatest)| greatest);
            let value = from_text(text, &known[section][key])
                .map_err(|reason| sources.problem(section, key, &reason))?;
            set(&mut table, section, key, value);
        }
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
fn parse(text: &str, known: &Table, sources: &mut Sources) -> Result<(Table, Vec<App>), Problem> {
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
        sources.in_file.extend(named(section, keys));
    }
    Ok((table, apps))
}

/// Takes `[[app]]` out of the table: the only section that may be repeated.
fn several(table: &mut Table, known: &Table, sources: &mut Sources) -> Result<Vec<App>, Problem> {
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
        sources.in_file.extend(named(&section, keys));
        let app = keys.clone().try_into();
        apps.push(app.map_err(|why: toml::de::Error| Problem(why.message().replace('\n', ", ")))?);
    }
    table.remove("app");
    Ok(apps)
}

/// The first section and key of a file that is a secret.
fn has_secret(table: &Table, apps: &[App]) -> Option<(String, &'static str)> {
    for (section, key) in [("app", "secret"), ("cluster", "password")] {
        let secret = table.get(section).and_then(|keys| keys.get(key));
        if secret.is_some_and(|secret| secret.as_str() != Some("")) {
            return Some((section.into(), key));
        }
    }
    let first = apps.iter().position(|app| !app.secret.is_empty())?;
    Some((format!("app[{}]", first + 1), "secret"))
}

fn named(section: &str, keys: &Table) -> Vec<String> {
    keys.keys().map(|key| format!("{section}.{key}")).collect()
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
            in_file: Vec::new(),
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
    fn what_people_bring_along_means_the_settings_of_the_same_sense() {
        let none = Flags::default();
        let with = |variables: &[(&str, &str)]| {
            let settings = try_merge("server.ping = 3", &none, variables).unwrap();
            let server = settings.server;
            let limits = (server.max_connections, server.max_channels);
            (
                limits,
                server.ping,
                server.write_timeout,
                settings.app.client_events,
            )
        };
        assert_eq!(with(&[]), ((0, 1_000_000), 3.0, 60.0, true));
        let brought = [
            ("BROADCAST_MAX_SUBSCRIBERS", "500"),
            ("BROADCAST_MAX_CHANNELS", "70"),
            ("BROADCAST_HEARTBEAT_INTERVAL", "20"),
            ("BROADCAST_CLIENT_TIMEOUT", "40"),
            ("BROADCAST_ALLOW_CLIENT_EVENTS", "false"),
        ];
        assert_eq!(with(&brought), ((500, 70), 20.0, 40.0, false));
        let unlimited = brought.map(|(name, _)| (name, "0"));
        let [subscribers, channels, _, timeout, _] = unlimited;
        let zero = with(&[subscribers, channels, timeout]);
        assert_eq!(zero, ((0, 1 << 31), 3.0, 86_400.0, true), "0 is no limit");
        let own = ("ASKR_SERVER_PING", "7");
        assert_eq!(with(&[brought[2], own]).1, 7.0, "Askr's own name wins");
        let wrong = |name, value| try_merge("", &none, &[(name, value)]).unwrap_err();
        let why = wrong("BROADCAST_HEARTBEAT_INTERVAL", "x");
        assert_eq!(
            why,
            "BROADCAST_HEARTBEAT_INTERVAL: server.ping: must be a number"
        );
        let why = wrong("BROADCAST_HEARTBEAT_INTERVAL", "0");
        assert!(why.starts_with("BROADCAST_HEARTBEAT_INTERVAL: server.ping: must be between"));
    }

    #[test]
    fn each_value_has_the_place_that_it_came_from() {
        let flags = Flags {
            ring: Some("/f".into()),
            ..Flags::default()
        };
        let sources = Sources {
            file: Some("/a.toml".into()),
            exposed: None,
            overrides: Vec::new(),
            in_file: Vec::new(),
        };
        let variable = |name: &str| (name == "ASKR_SERVER_RETRY").then(|| "5".to_owned());
        let text = "server.ping = 1\nserver.retry = 1\n[[app]]\nid = 'a'\n";
        let (_, sources) = merge(sources, text, &flags, variable).unwrap();
        let place = |section, key| sources.place(section, key);
        assert_eq!(place("server", "ping").as_deref(), Some("/a.toml"));
        assert_eq!(
            place("server", "retry").as_deref(),
            Some("ASKR_SERVER_RETRY")
        );
        assert_eq!(place("ring", "name").as_deref(), Some("--ring"));
        assert_eq!(place("app[1]", "id").as_deref(), Some("/a.toml"));
        assert_eq!(place("app[1]", "key"), None);
        assert_eq!(place("server", "drain"), None);
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
