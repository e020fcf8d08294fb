//! The log: standard error, one line an event. The journal adds the time, and is told the priority.
//!
//! A thread of its own writes the lines: no other thread waits for the log's reader, or fails because there is
//! none or its disk is full. Lines that cannot be written yet wait, up to a bound; past that they are lost and
//! counted, and a line reports how many as soon as there is room again.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::stat::fstat;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::process::terminal::safe;

/// Lines that wait, and their bytes.
const LINES: usize = 4096;
const BYTES: usize = 1 << 20;
/// After a write that failed.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the process waits at its end for the last lines.
const LAST: Duration = Duration::from_millis(500);

static LOG: Log = Log::new();

struct Log {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// A line has been taken out and is not written yet.
    writing: bool,
    /// The process ends: what cannot be written at once is given up.
    last: bool,
    lost: u64,
    /// Lost lines that the log has not reported yet.
    unreported: u64,
}

/// What a line looks like. Decided at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    /// Standard error is the journal's, which adds the time and takes a priority in front (sd-daemon(3)).
    journal: bool,
    /// One object a line.
    json: bool,
    /// The level has a colour.
    terminal: bool,
}

static FORM: OnceLock<Form> = OnceLock::new();
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Logs what `level` filters (tracing's directives); `RUST_LOG` wins over it. `json`: one object a line.
///
/// # Errors
/// If there is no thread to be had.
pub fn start(level: &str, json: bool) -> io::Result<()> {
    let writer = thread::Builder::new().name("log".into());
    writer.spawn(|| {
        loop {
            LOG.write_next(&mut io::stderr());
        }
    })?;
    let journal = is_journal();
    let terminal = !json && !journal && io::stderr().is_terminal();
    let _ = FORM.set(Form {
        journal,
        json,
        terminal,
    });
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(level));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let _ = LEVEL.set(handle);
    tracing_subscriber::registry()
        .with(filter)
        .with(Lines)
        .init();
    Ok(())
}

/// What is logged from now on, unless `RUST_LOG` says it.
pub fn set_level(level: &str) {
    if std::env::var_os("RUST_LOG").is_none()
        && let (Some(handle), Ok(filter)) = (LEVEL.get(), EnvFilter::try_new(level))
    {
        // Fails only if the subscriber is gone.
        let _ = handle.reload(filter);
    }
}

/// Waits a moment for what is not written yet.
pub fn settle() {
    LOG.settle();
}

/// The end of the process: waits a moment for what is not written yet.
pub fn finish() {
    LOG.finish();
}

/// The same with one more line, written without `tracing`: the thread may have panicked inside it.
pub fn finish_with(text: &str) {
    LOG.push(line(Level::ERROR, text), true);
    LOG.finish();
}

/// Lines that wait to be written, and lines lost.
pub fn counts() -> (usize, u64) {
    let queue = LOG.lock();
    (queue.lines.len() + usize::from(queue.writing), queue.lost)
}

/// What the journal takes in front of an error that is written without the log (sd-daemon(3)).
pub fn error_priority() -> &'static str {
    if is_journal() { "<3>" } else { "" }
}

/// Whether standard error is the one that the journal was connected to: it may have been redirected since.
fn is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let is = |(device, inode): (&str, &str)| {
        fstat(io::stderr())
            .is_ok_and(|own| device.parse() == Ok(own.st_dev) && inode.parse() == Ok(own.st_ino))
    };
    named.split_once(':').is_some_and(is)
}

fn line(level: Level, text: &str) -> Vec<u8> {
    let form = FORM.get().copied().unwrap_or(Form {
        journal: false,
        json: false,
        terminal: false,
    });
    form.line(level, text, &now()).into_bytes()
}

fn now() -> String {
    let mut time = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time
}

impl Form {
    fn line(self, level: Level, text: &str, time: &str) -> String {
        let (priority, colour) = match level {
            Level::ERROR => ("<3>", 31),
            Level::WARN => ("<4>", 33),
            Level::INFO => ("<6>", 32),
            _ => ("<7>", 34),
        };
        let priority = if self.journal { priority } else { "" };
        if self.json {
            let level = level.as_str().to_ascii_lowercase();
            let object = serde_json::json!({ "time": time, "level": level, "message": text });
            return format!("{priority}{}\n", safe(&object.to_string()));
        }
        // The journal, too, is read on terminals.
        let text = &*safe(text);
        // Each line of the journal is an entry of its own.
        let text = match self.journal {
            true => &text.replace('\n', &format!("\n{priority}")),
            false => text,
        };
        match (self.journal, self.terminal) {
            (true, _) => format!("{priority}{level:>5} {text}\n"),
            (false, true) => {
                format!("\x1b[2m{time}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m {text}\n")
            }
            (false, false) => format!("{time} {level:>5} {text}\n"),
        }
    }
}

fn lost_line(count: u64) -> Vec<u8> {
    line(
        Level::WARN,
        &format!("{count} log lines were lost: they could not be written"),
    )
}

/// Makes a line of each event.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        LOG.push(line(*event.metadata().level(), &text.0), false);
    }
}

/// An event's message, and what else it has.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{space}{value:?}"),
            // Where a library logs by the crate `log`.
            name if name.starts_with("log.") => Ok(()),
            name => write!(self.0, "{space}{name}={value:?}"),
        };
    }
}

impl Log {
    const fn new() -> Self {
        Self {
            queue: Mutex::new(Queue {
                lines: VecDeque::new(),
                bytes: 0,
                writing: false,
                last: false,
                lost: 0,
                unreported: 0,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `last`: it is let in past the bound.
    fn push(&self, line: Vec<u8>, last: bool) {
        let mut queue = self.lock();
        let room = queue.lines.len() < LINES && queue.bytes + line.len() <= BYTES;
        if !room && !last {
            queue.lost += 1;
            queue.unreported += 1;
            return;
        }
        if queue.unreported > 0 {
            let unreported = std::mem::take(&mut queue.unreported);
            queue.put(lost_line(unreported));
        }
        queue.put(line);
        drop(queue);
        self.changed.notify_all();
    }

    /// Waits for a line and writes it, however often that has to be tried.
    fn write_next(&self, out: &mut impl Write) {
        let line = self.take();
        let mut rest = &line[..];
        while !rest.is_empty() {
            match out.write(rest) {
                Ok(written) if written > 0 => rest = &rest[written..],
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                _ if !self.may_try_again() => break,
                _ => {}
            }
        }
        let mut queue = self.lock();
        queue.writing = false;
        queue.lost += u64::from(!rest.is_empty());
        drop(queue);
        self.changed.notify_all();
    }

    fn take(&self) -> Vec<u8> {
        let nothing = |queue: &mut Queue| queue.lines.is_empty() && queue.unreported == 0;
        let queue = self.changed.wait_while(self.lock(), nothing);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        queue.writing = true;
        match queue.lines.pop_front() {
            Some(line) => {
                queue.bytes -= line.len();
                line
            }
            None => lost_line(std::mem::take(&mut queue.unreported)),
        }
    }

    /// After a pause. False at the end of the process.
    fn may_try_again(&self) -> bool {
        let more = |queue: &mut Queue| !queue.last;
        let wait = self.changed.wait_timeout_while(self.lock(), PAUSE, more);
        let (queue, _) = wait.unwrap_or_else(PoisonError::into_inner);
        !queue.last
    }

    fn finish(&self) {
        self.lock().last = true;
        self.changed.notify_all();
        self.settle();
    }

    fn settle(&self) {
        let queue = self.lock();
        let more = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        drop(self.changed.wait_timeout_while(queue, LAST, more));
    }
}

impl Queue {
    fn put(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes, three at a time; past that it fails.
    struct Out {
        text: String,
        room: usize,
    }

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room).min(3);
            if taken == 0 {
                // The next try finds room.
                self.room = usize::MAX;
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.text += std::str::from_utf8(&bytes[..taken]).unwrap();
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn out(room: usize) -> Out {
        Out {
            text: String::new(),
            room,
        }
    }

    /// Lines that wait, and lines lost.
    fn state(log: &Log) -> (usize, u64) {
        let queue = log.lock();
        (queue.lines.len(), queue.lost)
    }

    #[test]
    fn a_line_is_written_whole_however_often_it_is_tried() {
        let log = Log::new();
        log.push(b"one\n".to_vec(), false);
        log.push(b"two\n".to_vec(), false);
        let mut out = out(2);
        log.write_next(&mut out);
        log.write_next(&mut out);
        assert_eq!(out.text, "one\ntwo\n");
        assert_eq!(log.lock().lost, 0);
    }

    #[test]
    fn lost_lines_are_counted_and_reported_where_they_are_missing() {
        let log = Log::new();
        let push = |count: usize, text: &str| {
            (0..count).for_each(|_| log.push(text.as_bytes().to_vec(), false));
        };
        push(LINES + 2, "early\n");
        assert_eq!(state(&log), (LINES, 2));
        let mut out = out(usize::MAX);
        for _ in 0..10 {
            log.write_next(&mut out);
        }
        push(1, "late\n");
        for _ in 0..LINES - 10 + 2 {
            log.write_next(&mut out);
        }
        let lines: Vec<&str> = out.text.lines().collect();
        assert_eq!(lines.len(), LINES + 2);
        assert!(lines[..LINES].iter().all(|line| *line == "early"));
        assert!(lines[LINES].contains(" WARN 2 log lines were lost"));
        assert_eq!(lines[LINES + 1], "late");

        push(1, &"x".repeat(BYTES + 1));
        log.write_next(&mut out);
        assert!(
            out.text
                .lines()
                .last()
                .unwrap()
                .contains(" WARN 1 log lines")
        );
        assert_eq!(state(&log), (0, 3));
        assert_eq!(log.lock().bytes, 0);
    }

    #[test]
    fn the_journal_gets_a_priority_for_each_line_and_no_time() {
        let journal = Form {
            journal: true,
            json: false,
            terminal: false,
        };
        let line = |form: Form, level, text| form.line(level, text, "TIME");
        assert_eq!(line(journal, Level::ERROR, "a\nb"), "<3>ERROR a\n<3>b\n");
        assert_eq!(line(journal, Level::WARN, "a"), "<4> WARN a\n");
        assert_eq!(line(journal, Level::INFO, "a"), "<6> INFO a\n");
        assert_eq!(line(journal, Level::DEBUG, "a"), "<7>DEBUG a\n");
        let plain = Form {
            journal: false,
            ..journal
        };
        assert_eq!(line(plain, Level::INFO, "a"), "TIME  INFO a\n");
        let json = Form {
            json: true,
            ..plain
        };
        let text = r#"{"level":"warn","message":"a\n\"b\"","time":"TIME"}"#;
        assert_eq!(line(json, Level::WARN, "a\n\"b\""), format!("{text}\n"));
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped_in_each_form() {
        let (text, safe) = ("a\x1b[2J\u{202e}b", r"a\u001b[2J\u202eb");
        for (journal, terminal) in [(false, false), (true, false), (false, true)] {
            let form = Form {
                journal,
                json: false,
                terminal,
            };
            let line = form.line(Level::INFO, text, "TIME");
            assert!(line.ends_with(&format!(" {safe}\n")), "{line:?}");
        }
        let json = Form {
            journal: false,
            json: true,
            terminal: false,
        };
        let line = json.line(Level::INFO, text, "TIME");
        assert!(line.contains(&format!("\"{safe}\"")), "{line:?}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["message"], text);
    }

    #[test]
    fn at_the_end_what_cannot_be_written_is_given_up() {
        struct Never;
        impl Write for Never {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = Log::new();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (0..2).for_each(|_| log.write_next(&mut Never)));
            log.push(b"one\n".to_vec(), false);
            log.push(b"last\n".to_vec(), true);
            log.finish();
            writer.join().unwrap();
        });
        assert_eq!(state(&log), (0, 2));
    }
}
