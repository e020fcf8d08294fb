//! Which Zend APIs `zend.rs` was written for. Its signatures are declared by hand, and a function that has another one
//! in a later PHP is called wrongly without a word. So a PHP that is not listed here is refused when it is
//! built for: read its `UPGRADING.INTERNALS`, compare `zend.rs` with its headers, run the tests, add it.

/// `ZEND_MODULE_API_NO` of PHP 8.6.
pub const PHP_8_6: u32 = 20_260_924;
/// `ZEND_MODULE_API_NO` of PHP 8.2 to 8.6.
const KNOWN: [u32; 5] = [20_220_829, 20_230_831, 20_240_924, 20_250_925, PHP_8_6];

/// # Panics
/// If this API is not known. In a constant that ends the build.
pub const fn check(api: u32) {
    let mut n = 0;
    while n < KNOWN.len() {
        if KNOWN[n] == api {
            return;
        }
        n += 1;
    }
    let why = refusal(api);
    match std::str::from_utf8(&why) {
        Ok(why) => panic!("{}", why),
        Err(_) => panic!("the Zend API of this PHP is not known"),
    }
}

const REFUSAL: &[u8] = b"askr.so is not written for Zend API ######## (ZEND_MODULE_API_NO): known are 20220829 (PHP 8.2), \
    20230831 (8.3), 20240924 (8.4), 20250925 (8.5) and 20260924 (8.6); see ext/src/zend_api.rs";

/// The sentence with the number's eight digits in it.
const fn refusal(api: u32) -> [u8; REFUSAL.len()] {
    let mut why = [0; REFUSAL.len()];
    let (mut at, mut digit) = (0, 10_000_000);
    while at < REFUSAL.len() {
        why[at] = REFUSAL[at];
        if REFUSAL[at] == b'#' {
            why[at] = b'0' + (api / digit % 10) as u8;
            digit /= 10;
        }
        at += 1;
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_that_is_known_is_in_the_sentence() {
        let why = String::from_utf8(refusal(KNOWN[0]).to_vec()).unwrap();
        for api in KNOWN {
            check(api);
            assert!(why.contains(&api.to_string()), "{api}");
        }
    }

    #[test]
    fn pie_is_told_of_the_same_ones() {
        let composer = include_str!("../../composer.json");
        assert!(composer.contains(r#""php": ">=8.2 <8.7""#), "{composer}");
        assert_eq!((KNOWN[0], KNOWN[KNOWN.len() - 1]), (20_220_829, PHP_8_6));
    }

    #[test]
    #[should_panic(
        expected = "not written for Zend API 20271001 (ZEND_MODULE_API_NO): known are 20220829"
    )]
    fn a_later_api_is_refused_by_its_number() {
        check(20_271_001);
    }

    #[test]
    #[should_panic(expected = "not written for Zend API 20260101 ")]
    fn an_api_between_two_is_refused() {
        check(20_260_101);
    }
}
