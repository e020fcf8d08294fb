//! One application: its parts, its limits, what is asked of it, and publishing on its behalf.
//! Leans on `hub` and `auth`.

pub mod application;
pub mod publishing;
pub mod queries;
