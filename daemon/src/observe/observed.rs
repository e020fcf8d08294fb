//! Where everything that an operator sees is read.

use std::sync::Arc;

use crate::app::application::App;
use crate::cluster::seen::Seen;
use crate::config::Settings;
use crate::process::current::Current;
use crate::process::state::Process;

#[derive(Clone)]
pub struct Observed {
    pub process: Arc<Process>,
    pub apps: Vec<Arc<App>>,
    /// What is seen of the other hosts; nothing, if there is one.
    pub nodes: Vec<Arc<Seen>>,
    /// The settings in force.
    pub in_force: Arc<Current<Settings>>,
}
