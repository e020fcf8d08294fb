//! The names that an application's events may have, where it is strict: of the HTTP API and of client events. PHP
//! has its own list (`askr.events`), since it asks nobody.

use shared::event_names::{self, nearest};

use crate::process::refusals::{self, Note, Reason, shown};

/// Any name, or those of a list.
#[derive(Default)]
pub struct EventNames(Option<event_names::EventNames>);

impl EventNames {
    pub fn new(names: Option<event_names::EventNames>) -> Self {
        Self(names)
    }

    /// # Errors
    /// The phrase after what has the name: that there is no such event, and which one is nearest. It is logged, too.
    pub fn check(&self, name: &str) -> Result<(), String> {
        let Some(names) = &self.0 else {
            return Ok(());
        };
        if names.contains(name.as_bytes()) {
            return Ok(());
        }
        let mut why = format!("{} is not in app.events", shown(name));
        if let Some(near) = nearest(name.as_bytes(), names.iter()) {
            why += &format!("; did you mean {}?", shown(&String::from_utf8_lossy(near)));
        }
        refusals::report(Note::new(Reason::Event, name, format!("event {why}")));
        Err(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_one() {
        let any = EventNames::default();
        assert_eq!(any.check("whatever"), Ok(()));
        let mut list = event_names::EventNames::new();
        for name in ["OrderShipped", "client-typing"] {
            list.add(name.as_bytes()).unwrap();
        }
        let strict = EventNames::new(Some(list));
        assert_eq!(strict.check("OrderShipped"), Ok(()));
        let why = "\"OrderShiped\" is not in app.events; did you mean \"OrderShipped\"?";
        assert_eq!(strict.check("OrderShiped"), Err(why.to_owned()));
        assert_eq!(
            strict.check("\n"),
            Err("\"\\n\" is not in app.events".to_owned())
        );
    }
}
