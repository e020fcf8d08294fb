//! The life of a segment: creation, rotation, a full tmpfs, a crowd, namespaces, other users.
//! Needs root for namespaces and users. The exit code is 1 when a scenario does not go as promised.

use std::process::ExitCode;

use askr_proof::life::SCENARIOS;

fn main() -> ExitCode {
    let mut bad = false;
    for (name, run) in SCENARIOS {
        match run() {
            Ok(seen) => println!("life: {name}: {seen}"),
            Err(error) => {
                println!("life: {name}: WRONG: {error}");
                bad = true;
            }
        }
    }
    ExitCode::from(u8::from(bad))
}
