//! The command line: arguments, and the commands other than `serve`. Leans on `config`, and on the running daemon
//! only through its control socket.

pub mod arguments;
pub mod commands;
