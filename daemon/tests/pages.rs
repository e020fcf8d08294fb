//! The man pages and completions that are installed say what the program and `packaging/askr.toml` say. They are kept
//! in the repository, so that installing needs no further build; `make pages` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use askrd::cli::arguments::Cli;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

/// Path below `packaging/`, and content.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    manual("askrd", Cli::command(), &mut pages);
    let settings = fs::read_to_string(packaging().join("askr.toml")).expect("packaging/askr.toml");
    pages.push(("man/askr.toml.5".into(), settings_manual(&settings)));
    for (shell, file) in [
        (Shell::Bash, "askrd.bash"),
        (Shell::Zsh, "_askrd"),
        (Shell::Fish, "askrd.fish"),
    ] {
        let mut text = Vec::new();
        generate(shell, &mut Cli::command(), "askrd", &mut text);
        let text = String::from_utf8(text).expect("UTF-8");
        pages.push((format!("completions/{file}"), text));
    }
    pages
}

/// A page for the command, and one for each of its own: askrd(1), askrd-check(1).
fn manual(name: &str, command: Command, pages: &mut Vec<(String, String)>) {
    // A page need not be written anew because of another version.
    let command = command
        .version("")
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .display_name(name.to_owned())
        .bin_name(name.replacen('-', " ", 1));
    for sub in command.get_subcommands() {
        manual(&format!("{name}-{}", sub.get_name()), sub.clone(), pages);
    }
    let mut text = Vec::new();
    Man::new(command)
        .title(name)
        .source("Askr")
        .render(&mut text)
        .expect("written to memory");
    let text = String::from_utf8(text).expect("UTF-8");
    // Its last section is the version, which is not told.
    let text = text.split(".SH VERSION").next().unwrap_or_default();
    let more = ".SH FILES\n/etc/askr/askr.toml\n.SH \"SEE ALSO\"\n";
    let see = if name == "askrd" {
        "askr.toml(5)"
    } else {
        "askrd(1), askr.toml(5)"
    };
    pages.push((
        format!("man/{name}.1"),
        format!("{}\n{more}{see}\n", text.trim_end()),
    ));
}

/// The comments of the settings file as a manual: its sections, each key with its default, and what is said above it.
fn settings_manual(settings: &str) -> String {
    let mut page = String::from(
        ".TH askr.toml 5 \"\" Askr\n.SH NAME\naskr.toml \\- settings of askrd\n.SH DESCRIPTION\n",
    );
    let mut said = String::new();
    let mut keys: Vec<String> = Vec::new();
    for line in settings.lines().chain([""]) {
        let comment = line
            .strip_prefix("# ")
            .or_else(|| line.eq("#").then_some(""));
        let key = line
            .strip_prefix('#')
            .unwrap_or(line)
            .split_once(" = ")
            .filter(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        if comment.is_some() || key.is_none() {
            group(&mut page, &mut said, &mut keys);
        }
        match (comment, key) {
            (Some(""), _) => paragraph(&mut page, &mut said),
            (Some(text), _) => said.extend([&*roff(text), "\n"]),
            (_, Some((key, default))) => keys.push(roff(&format!("{key} = {default}"))),
            _ => {
                paragraph(&mut page, &mut said);
                if let Some(section) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                    page += &format!(".SH \"[{section}]\"\n");
                }
            }
        }
    }
    page + ".SH FILES\n/etc/askr/askr.toml\n.SH \"SEE ALSO\"\naskrd(1)\n"
}

/// Keys that stand below one comment.
fn group(page: &mut String, said: &mut String, keys: &mut Vec<String>) {
    for (n, key) in keys.drain(..).enumerate() {
        *page += &format!("{}\n\\fB{key}\\fR\n", if n == 0 { ".TP" } else { ".TQ" });
        // The last key's tag is followed by the text.
    }
    if page.ends_with("\\fR\n") {
        *page += said;
        said.clear();
    }
}

fn paragraph(page: &mut String, said: &mut String) {
    if !said.is_empty() {
        *page += &format!(".PP\n{said}");
        said.clear();
    }
}

/// Text that no formatter takes for a command.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

#[test]
fn manuals_and_completions_say_what_the_program_says() {
    let write = std::env::var_os("ASKR_WRITE_PAGES").is_some();
    let pages = pages();
    for (name, text) in &pages {
        let path = packaging().join(name);
        if write {
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(&path, text).expect("written");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == *text,
            "packaging/{name} is out of date: run `make pages`"
        );
    }
    // None is left of a command that is gone.
    for folder in ["man", "completions"] {
        for file in fs::read_dir(packaging().join(folder)).expect("a directory") {
            let name = format!("{folder}/{}", file.expect("an entry").file_name().display());
            assert!(
                pages.iter().any(|(page, _)| *page == name),
                "packaging/{name} belongs to no command"
            );
        }
    }
}

#[test]
fn every_setting_of_the_file_is_in_the_manual() {
    let settings = fs::read_to_string(packaging().join("askr.toml")).expect("packaging/askr.toml");
    let page = settings_manual(&settings);
    let keys = |text: &str, prefix: &str| {
        text.lines()
            .filter_map(|line| line.strip_prefix(prefix)?.split_once(" = "))
            .map(|(key, _)| key.to_owned())
            .filter(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            .collect::<Vec<_>>()
    };
    let named = keys(&page, "\\fB");
    assert!(named.len() > 80, "{} settings", named.len());
    let mut expected = keys(&settings, "#");
    expected.push("listen".into());
    for key in expected {
        assert!(named.contains(&key), "{key}");
    }
}
