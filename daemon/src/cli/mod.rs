//! The command line: arguments, and the commands that do their work and end. Leans on `config`, and on the
//! running daemon only through its control socket.

pub mod arguments;
pub mod commands;
