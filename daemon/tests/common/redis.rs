//! A Redis server of its own, which ends with the test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::{Connection, FromRedisValue};
use tempfile::TempDir;

pub struct Redis {
    pub directory: TempDir,
    process: Child,
    arguments: Vec<String>,
    /// As whom the test itself asks.
    password: Option<String>,
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Redis {
    /// On a Unix socket alone, with nothing saved.
    pub fn start() -> Self {
        Self::with(&["--port 0"])
    }

    /// With lines of its settings, as arguments.
    pub fn with(lines: &[&str]) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let at = directory.path().display().to_string();
        let usual = format!(
            "--unixsocket {at}/redis.sock --dir {at} --save \"\" --appendonly no --daemonize no"
        );
        let mut arguments: Vec<String> = usual
            .split(' ')
            .map(|part| part.replace("\"\"", ""))
            .collect();
        for line in lines {
            arguments.extend(line.replace("DIR", &at).split(' ').map(str::to_owned));
        }
        let password = arguments.iter().position(|part| part == "--requirepass");
        Self {
            process: spawn(&arguments),
            password: password.map(|at| arguments[at + 1].clone()),
            directory,
            arguments,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// `cluster.url` of its socket.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn connection(&self) -> Connection {
        let socket = self.socket();
        let mut url = format!("unix://{}", socket.display());
        if let Some(password) = &self.password {
            url += &format!("?pass={password}");
        }
        redis::Client::open(url).unwrap().get_connection().unwrap()
    }

    /// What it answers to a command.
    pub fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let mut parts = command.split(' ');
        let mut command = redis::cmd(parts.next().unwrap());
        for part in parts {
            command.arg(part);
        }
        command.query(&mut self.connection()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    /// Ends it at once; what it had is gone.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.arguments);
    }
}

/// Starts one, and waits until it accepts connections.
pub fn spawn(arguments: &[String]) -> Child {
    // Another one can be chosen: its command and first arguments.
    let server = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
    let mut words = server.split_whitespace();
    let mut command = Command::new(words.next().expect("REDIS_SERVER names a command"));
    command.args(words).args(arguments).stdin(Stdio::null());
    let mut process = command
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is a redis-server");
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    loop {
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("it ended: {said:#?}"))
            .unwrap();
        let ready = line.contains("eady to accept connections") || line.contains("Sentinel ID is");
        said.push(line);
        if ready {
            break;
        }
    }
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    process
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Long enough for what Redis' own clock decides.
pub const MOMENT: Duration = Duration::from_millis(10);
