//! The number of events that a stream missed, as far as it is known. Pure.

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Missed events: an exact number, an upper bound, or an unknown number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Events known to have been on the stream's channels.
    exact: u64,
    /// Further events that may have been on them: positions whose channels are no longer known.
    unsure: u64,
    /// No bound at all: the cursor was of another ring, or invalid.
    unbounded: bool,
}

impl Gap {
    /// A bound that no ring can have is none: it says that nobody knows.
    pub const ENDLESS: u64 = 1 << 62;
    /// Nothing was missed.
    pub const NONE: Self = Self {
        exact: 0,
        unsure: 0,
        unbounded: false,
    };
    /// Any number of events may have been missed.
    pub const UNKNOWN: Self = Self {
        exact: 0,
        unsure: 0,
        unbounded: true,
    };

    /// Exactly `lost` events were missed.
    pub fn exact(lost: u64) -> Self {
        Self {
            exact: lost,
            ..Self::NONE
        }
    }

    /// From 0 to `bound` events were missed.
    pub fn at_most(bound: u64) -> Self {
        Self {
            unsure: bound,
            ..Self::NONE
        }
    }

    /// Whether nothing was missed, so that there is nothing to report.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Adds a gap of other positions.
    pub fn add(&mut self, other: Self) {
        self.exact = self.exact.saturating_add(other.exact);
        self.unsure = self.unsure.saturating_add(other.unsure);
        self.unbounded |= other.unbounded;
    }

    /// The same gap where it is not known which of several channels the events were on.
    pub fn as_bound(self) -> Self {
        Self {
            exact: 0,
            unsure: self.exact.saturating_add(self.unsure),
            ..self
        }
    }

    /// The number of events missed, if it is known exactly.
    pub fn lost(&self) -> Option<u64> {
        (self.bound().is_some() && self.unsure == 0).then_some(self.exact)
    }

    /// The largest number of events that can have been missed, if there is a bound.
    pub fn bound(&self) -> Option<u64> {
        let bound = self.exact.saturating_add(self.unsure);
        (!self.unbounded && bound < Self::ENDLESS).then_some(bound)
    }

    /// The data of an `askr:gap` event: `{"lost":…,"at_most":…}`, `null` where the number is not known.
    pub fn to_json(self) -> String {
        serde_json::to_string(&self).expect("numbers serialize")
    }
}

impl Serialize for Gap {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut object = to.serialize_struct("Gap", 2)?;
        object.serialize_field("lost", &self.lost())?;
        object.serialize_field("at_most", &self.bound())?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsure_part_makes_the_whole_unsure_and_keeps_the_bound() {
        let mut gap = Gap::exact(2);
        assert_eq!(gap.to_json(), r#"{"lost":2,"at_most":2}"#);
        gap.add(Gap::at_most(5));
        assert_eq!(gap.to_json(), r#"{"lost":null,"at_most":7}"#);
        gap.add(Gap::UNKNOWN);
        assert_eq!(gap.to_json(), r#"{"lost":null,"at_most":null}"#);
        assert!(Gap::at_most(0).is_none() && Gap::NONE.is_none() && !gap.is_none());
    }
}
