//! One application: its parts, its limits, queries to its engines, and publishing on its behalf.
//! Leans on `hub` and `auth`.

pub mod application;
pub mod publishing;
pub mod queries;
