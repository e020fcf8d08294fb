//! The names that events may have where an application is strict: `askr.events` in php.ini and
//! `askr_register_event()`. A name that is not among them is most likely misspelt, so the nearest one is told.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::rules::{self, MAX_EVENT, Violation};

/// Names of one list, and their bytes: an application has some hundred.
pub const MAX_NAMES: usize = 1000;
pub const MAX_NAMES_LEN: usize = 64 * 1024;

/// Changed letters in a name that is still taken for the one meant, whatever its length.
const MAX_DISTANCE: usize = 5;

/// Why a name is not taken. `Display` is the phrase after the argument's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdded {
    #[error("{0}")]
    Name(Violation),
    #[error("must be at most {MAX_NAMES} names of {MAX_NAMES_LEN} bytes in all")]
    Full,
}

#[derive(Clone, Debug, Default)]
pub struct EventNames {
    names: BTreeSet<Box<[u8]>>,
    len: usize,
}

impl EventNames {
    pub const fn new() -> Self {
        Self {
            names: BTreeSet::new(),
            len: 0,
        }
    }

    /// Names between commas and white space.
    ///
    /// # Errors
    /// What the list must be, and which name is not.
    pub fn parse(list: &[u8]) -> Result<Self, String> {
        let mut names = Self::new();
        let separator = |byte: &u8| *byte == b',' || byte.is_ascii_whitespace();
        for name in list.split(separator).filter(|name| !name.is_empty()) {
            names.add(name).map_err(|why| match why {
                NotAdded::Name(why) => format!(
                    "must be names of events, separated by commas or spaces: {:?} {why}",
                    String::from_utf8_lossy(name)
                ),
                NotAdded::Full => why.to_string(),
            })?;
        }
        Ok(names)
    }

    /// A name that is there already is no mistake.
    ///
    /// # Errors
    /// If no event can have the name, or there are too many.
    pub fn add(&mut self, name: &[u8]) -> Result<(), NotAdded> {
        rules::event(name).map_err(NotAdded::Name)?;
        if self.contains(name) {
            return Ok(());
        }
        if self.names.len() == MAX_NAMES || self.len + name.len() > MAX_NAMES_LEN {
            return Err(NotAdded::Full);
        }
        self.len += name.len();
        self.names.insert(name.into());
        Ok(())
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        self.names.contains(name)
    }

    /// In the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// The first name, or the first one after another.
    pub fn after(&self, name: Option<&[u8]>) -> Option<&[u8]> {
        let start = name.map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = self.names.range::<[u8], _>((start, Bound::Unbounded));
        range.next().map(AsRef::as_ref)
    }
}

/// The one of `names` that `name` is most likely meant to be, if there is one that is nearly the same. Capitals are no
/// difference, except between two that are equally near.
pub fn nearest<'a>(name: &[u8], names: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let limit = name.len().div_ceil(3).min(MAX_DISTANCE);
    let small = name.to_ascii_lowercase();
    let near = names.filter_map(|other| {
        let distance = distance(&small, &other.to_ascii_lowercase(), limit)?;
        let differing = name.iter().zip(other).filter(|(a, b)| a != b).count();
        Some(((distance, differing), other))
    });
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// Bytes to insert, remove, replace, or swap with their neighbour, if there are at most `limit`. Of names only, so
/// two of the longest take some 40,000 steps, and hardly any pair gets past the first rows.
fn distance(a: &[u8], b: &[u8], limit: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > limit || a.len() > MAX_EVENT || b.len() > MAX_EVENT {
        return None;
    }
    // Rows of the table: of the first i - 2, i - 1 and i bytes of `a`, against all beginnings of `b`.
    let mut before = [0; MAX_EVENT + 1];
    let mut above: [usize; MAX_EVENT + 1] = std::array::from_fn(|j| j);
    let mut row = [0; MAX_EVENT + 1];
    for i in 1..=a.len() {
        row[0] = i;
        for j in 1..=b.len() {
            let same = a[i - 1] == b[j - 1];
            let mut least = (above[j] + 1)
                .min(row[j - 1] + 1)
                .min(above[j - 1] + usize::from(!same));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row[j] = least;
        }
        // No later row has less than the least of two rows that follow one another.
        let least = |row: &[usize]| row[..=b.len()].iter().min().copied().unwrap_or_default();
        if least(&row) > limit && least(&above) > limit {
            return None;
        }
        (before, above, row) = (above, row, before);
    }
    Some(above[b.len()]).filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(list: &str) -> EventNames {
        EventNames::parse(list.as_bytes()).unwrap()
    }

    fn meant<'a>(name: &str, among: &'a EventNames) -> Option<&'a str> {
        nearest(name.as_bytes(), among.iter()).map(|name| std::str::from_utf8(name).unwrap())
    }

    #[test]
    fn a_list_is_split_at_commas_and_white_space() {
        let list = names(" order.shipped,order.paid\n\tApp\\Events\\Été  ,, order.paid ");
        let all: Vec<_> = list.iter().collect();
        assert_eq!(
            all,
            [
                "App\\Events\\Été".as_bytes(),
                b"order.paid",
                b"order.shipped"
            ]
        );
        assert!(list.contains(b"order.paid") && !list.contains(b"order.pai"));
        assert_eq!(names("").iter().count(), 0);
    }

    #[test]
    fn a_name_that_no_event_can_have_is_told() {
        let why = EventNames::parse(b"order, pusher:x").unwrap_err();
        assert!(
            why.contains(r#""pusher:x" must not start with "pusher:""#),
            "{why}"
        );
        assert!(EventNames::parse(b"\xff").is_err());
    }

    #[test]
    fn names_and_their_bytes_are_bounded() {
        let mut all = EventNames::new();
        for n in 0..MAX_NAMES {
            all.add(n.to_string().as_bytes()).unwrap();
        }
        assert_eq!(all.add(b"one more"), Err(NotAdded::Full));
        assert_eq!(all.add(b"7"), Ok(()));
        let mut long = EventNames::new();
        let added = (0..MAX_NAMES)
            .take_while(|n| long.add(format!("{n:0>200}").as_bytes()).is_ok())
            .count();
        assert_eq!(added, MAX_NAMES_LEN / 200);
    }

    #[test]
    fn the_nearest_name_is_told_if_it_is_near() {
        let all = names("order.shipped order.paid user.joined e");
        assert_eq!(meant("order.shiped", &all), Some("order.shipped"));
        assert_eq!(meant("odrer.paid", &all), Some("order.paid"));
        assert_eq!(meant("Order.Paid", &all), Some("order.paid"));
        assert_eq!(meant("ORDER.PAYD", &all), Some("order.paid"));
        // Of names that differ in case alone, the one that differs least.
        let all = names("Order.paid order.paid order.pays");
        assert_eq!(meant("order.paiD", &all), Some("order.paid"));
        assert_eq!(meant("ORder.paid", &all), Some("Order.paid"));
        let all = names("order.shipped order.paid user.joined e");
        assert_eq!(meant("user.left.the.room", &all), None);
        assert_eq!(meant("f", &all), Some("e"));
        assert_eq!(meant("order.paid", &EventNames::new()), None);
    }

    proptest! {
        /// Up to five changes of a name that is long enough are undone.
        #[test]
        fn a_few_changes_are_seen_through(name in "[a-z]{15,200}", at in prop::collection::vec(any::<prop::sample::Index>(), 1..=5)) {
            let mut changed = name.clone().into_bytes();
            for index in at {
                let index = index.index(changed.len());
                changed[index] = b'_';
            }
            let mut all = names("another");
            all.add(name.as_bytes()).unwrap();
            prop_assert_eq!(nearest(&changed, all.iter()), Some(name.as_bytes()));
        }

        /// Lists of anybody's: names of the right form among others, which are told.
        #[test]
        fn any_list_is_taken_or_refused(list in prop_oneof![prop::collection::vec(any::<u8>(), 0..600), "[a-zé, :\n]{0,600}".prop_map(String::into_bytes)]) {
            if let Ok(names) = EventNames::parse(&list) {
                prop_assert!(names.iter().all(|name| rules::event(name) == Ok(())));
            }
            let all = EventNames::parse(b"order.shipped order.paid").unwrap();
            nearest(&list, all.iter());
        }

        #[test]
        fn distance_is_symmetric(a in "[ab]{0,12}", b in "[ab]{0,12}") {
            prop_assert_eq!(distance(a.as_bytes(), b.as_bytes(), 5), distance(b.as_bytes(), a.as_bytes(), 5));
        }

        #[test]
        fn the_names_follow_one_another(list in prop::collection::btree_set("[a-c]{1,3}", 0..10)) {
            let mut all = EventNames::new();
            for name in &list {
                all.add(name.as_bytes()).unwrap();
            }
            let mut found = Vec::new();
            while let Some(name) = all.after(found.last().copied()) {
                found.push(name);
            }
            prop_assert!(found.iter().copied().eq(list.iter().map(String::as_bytes)));
        }
    }
}
