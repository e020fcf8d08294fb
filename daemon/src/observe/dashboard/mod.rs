//! The dashboard: a page on a listener of its own, for whoever has the operator's secret, or may connect to its socket.
//!
//! | | |
//! |---|---|
//! | `GET /` | the page; without a session the login (401) |
//! | `POST /login`, `/logout` | `secret=…` of a form → a cookie, or it is gone |
//! | `GET /live` | Server-Sent Events: `past`, once, and `now` every second |
//! | `GET /members?app=A&channel=C` | the members of a presence channel, [`MEMBERS`](asked::MEMBERS) at most |
//! | `GET /events?app=A&channel=C` | the newest events of a channel, [`EVENTS`](asked::EVENTS) at most |
//! | `GET /trace?app=A&channel=C&after=N` | what happened on the channel since record `N` |
//! | `POST /end` | `{"app","socket"}` or `{"app","user"}` → `{"ended":1}` |
//! | `POST /drain` | `{"over":30}`, seconds, or `{"stop":true}`: viewers are let go, or no longer |
//!
//! Names and payloads are JSON from here on, and text in the page: nothing of them is ever markup.

pub mod asked;
pub mod door;
pub mod login;
pub mod operator_secrets;
pub mod page;
pub mod posted;
pub mod samples;
pub mod snapshot;
pub mod watching;
