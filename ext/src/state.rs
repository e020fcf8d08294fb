//! What a thread keeps between calls: the settings as last read, its publisher, the present outage.
//!
//! Module globals, as every PHP extension has them: one set per process without thread safety, one per
//! thread with it (PHP copies the settings into each), dropped when the module or the thread ends.
//! No borrow of a cell here may be held across a call of `zend`, which may run PHP code or never return.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use ext_php_rs::zend::{ModuleGlobal, ModuleGlobals};
use shared::cursor::CursorText;
use shared::event_names::EventNames;
use shared::mercure::hub_url::HubUrl;
use shared::publisher::{AttachOptions, Publisher};

use crate::outage::{OnFailure, Outage};
use crate::signer::Signer;

pub static STATE: ModuleGlobals<State> = ModuleGlobals::new();

pub struct State {
    /// `askr.enabled`
    pub enabled: Cell<bool>,
    /// `askr.on_failure`
    pub on_failure: Cell<OnFailure>,
    /// Where PHP keeps the value of `askr.on_failure` that it has if nobody sets it.
    pub on_failure_default: Cell<usize>,
    /// `askr.mercure`
    pub mercure: Cell<bool>,
    /// `askr.mercure_path`
    pub mercure_hub: RefCell<HubUrl>,
    /// `askr.ring` and `askr.ring_owner`
    pub ring: RefCell<AttachOptions>,
    pub publisher: RefCell<Publisher>,
    /// The text of the last `askr_cursor()`.
    pub cursor_text: Cell<CursorText>,
    pub outage: Cell<Outage>,
    /// `askr.strict`
    pub strict: Cell<bool>,
    /// `askr.events`
    pub events: RefCell<EventNames>,
    /// The names that this request registered.
    pub registered: RefCell<EventNames>,
    /// `askr.secret_file`
    pub secret_file: RefCell<Option<PathBuf>>,
    /// The secret of that file, once it was needed.
    pub signer: RefCell<Option<Signer>>,
    /// `askr.control`
    pub control: RefCell<Option<PathBuf>>,
}

impl Default for State {
    fn default() -> Self {
        let ring = AttachOptions::default();
        let mut publisher = Publisher::new();
        publisher.configure(ring.clone());
        Self {
            enabled: Cell::new(true),
            on_failure: Cell::new(OnFailure::Log),
            on_failure_default: Cell::new(0),
            mercure: Cell::new(true),
            mercure_hub: RefCell::new(HubUrl::standard()),
            ring: RefCell::new(ring),
            publisher: RefCell::new(publisher),
            cursor_text: Cell::new(CursorText::new()),
            outage: Cell::new(Outage::NONE),
            strict: Cell::new(false),
            events: RefCell::new(EventNames::new()),
            registered: RefCell::new(EventNames::new()),
            secret_file: RefCell::new(None),
            signer: RefCell::new(None),
            control: RefCell::new(None),
        }
    }
}

impl ModuleGlobal for State {
    /// Lets go of the ring here, where a panic can be caught.
    fn gshutdown(&mut self) {
        let publisher = self.publisher.get_mut();
        let _ = catch_unwind(AssertUnwindSafe(|| *publisher = Publisher::new()));
    }
}

/// This thread's state.
pub fn state() -> &'static State {
    STATE.get()
}
