//! The settings of PHP, as far as they are Askr's: those of a SAPI, and what a pool has in their place.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use shared::name::RingName;

/// Settings files and pools that are looked at; more are not believed.
const MOST: usize = 256;

/// What the settings of one PHP, or one pool, say of Askr: each with its file.
#[derive(Clone)]
pub struct Ini {
    /// That loads it.
    loads: PathBuf,
    /// A path, or a name.
    pub extension: String,
    values: BTreeMap<String, (String, PathBuf)>,
}

impl Ini {
    /// None: the extension is not loaded.
    pub fn of(sapi: &Path) -> Option<Self> {
        let mut loads = None;
        let mut all = BTreeMap::new();
        let more = files(&sapi.join("conf.d"), "ini");
        for file in std::iter::once(sapi.join("php.ini")).chain(more) {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let is_ours = |value: &&str| *value == "askr" || value.ends_with("askr.so");
            if let Some(extension) = values(&text, "extension").find(is_ours) {
                loads = Some((file.clone(), extension.to_owned()));
            }
            for (key, value) in pairs(&text).filter(|(key, _)| key.starts_with("askr.")) {
                all.insert(key.to_owned(), (value.to_owned(), file.clone()));
            }
        }
        let (loads, extension) = loads?;
        Some(Self {
            loads,
            extension,
            values: all,
        })
    }

    /// With what a pool or a site sets for itself, in this file.
    pub fn with<'a>(&self, file: &Path, own: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all = self.clone();
        for (key, value) in own.filter(|(key, _)| key.starts_with("askr.")) {
            let value = (value.to_owned(), file.to_owned());
            all.values.insert(key.to_owned(), value);
        }
        all
    }

    pub fn value(&self, key: &str) -> Option<&str> {
        let found = self.values.get(key).map(|(value, _)| value.as_str());
        found.filter(|value| !value.is_empty())
    }

    pub fn ring(&self) -> &str {
        self.value("askr.ring").unwrap_or(RingName::DEFAULT)
    }

    /// Where a setting is, or would be.
    pub fn file(&self, key: &str) -> &Path {
        self.values.get(key).map_or(&self.loads, |(_, file)| file)
    }

    /// Whether it is set otherwise than there.
    pub fn differs(&self, other: &Self, key: &str) -> bool {
        self.value(key) != other.value(key)
    }
}

/// What a settings file gives this key, in order.
pub fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    pairs(text).filter_map(move |(name, value)| (name == key).then_some(value))
}

pub fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.split(';').next().unwrap_or("").trim();
        Some((name.trim(), value.trim_matches(['"', '\''])))
    })
}

/// Those with this ending, in the order in which PHP reads them.
pub fn files(path: &Path, ending: &str) -> Vec<PathBuf> {
    let is = |path: &PathBuf| path.extension().is_some_and(|own| own == ending);
    entries(path).into_iter().filter(is).collect()
}

pub fn entries(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    let mut all: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .take(MOST)
        .collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_php_reads_them() {
        let text =
            "; extension=askr.so\n extension = askr.so ; here\naskr.ring = \"/a\"\naskr.ring=/b\n";
        assert_eq!(values(text, "extension").collect::<Vec<_>>(), ["askr.so"]);
        assert_eq!(values(text, "askr.ring").collect::<Vec<_>>(), ["/a", "/b"]);
        let pool = "[www]\nuser = www-data\nphp_admin_value[askr.ring] = /shop\n";
        assert_eq!(values(pool, "user").collect::<Vec<_>>(), ["www-data"]);
        assert_eq!(
            values(pool, "php_admin_value[askr.ring]").last(),
            Some("/shop")
        );
    }
}
