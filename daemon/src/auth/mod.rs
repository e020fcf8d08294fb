//! Authorization: who may subscribe to what. It does not depend on a transport. Leans on `config`, `outbound` and
//! `process`.
//!
//! ```text
//! authority ─► tokens ─► token (by keys ◄─ rotation, against revoked ◄─► revocations_file)
//!           ─► signatures                                    all of them use authorizer
//!           ─► http_call ─► answer, remembered
//! mercure: publishers and subscribers of a hub, by tokens of their own
//!           ─► notes: what is logged of refused credentials
//! ```

pub mod answer;
pub mod authority;
pub mod authorizer;
pub mod http_call;
pub mod keys;
pub mod mercure;
pub mod notes;
mod remembered;
pub mod revocations_file;
pub mod revoked;
pub mod rotation;
pub mod signatures;
pub mod token;
pub mod tokens;
