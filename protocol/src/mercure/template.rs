//! URI templates (RFC 6570) as matchers, in version 0.x: whether a topic could be an expansion of a template.
//!
//! A variable's value is any text that its expression could expand to: unreserved characters, escapes and the commas of
//! a list; for `+` and `#` reserved characters too. What a prefix (`:3`) allows is counted.

use regex_syntax::escape;

use super::MAX_PATTERN;
use super::expression::Expression;

/// The text is not a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTemplate {
    /// It is text in which a brace is a brace.
    Syntax,
    /// It would take too much memory.
    TooLarge,
}

/// Values without and with reserved characters. A comma is in both, as a list is one value.
const UNRESERVED: &str = r"(?:[A-Za-z0-9\-._~,]|%[0-9A-Fa-f]{2})";
const RESERVED: &str = r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})";
/// The same with the equals sign between the names and values of an exploded list.
const EXPLODED: &str = r"(?:[A-Za-z0-9\-._~,=]|%[0-9A-Fa-f]{2})";

/// How expressions with one operator expand (RFC 6570, appendix A).
struct Operator {
    first: &'static str,
    between: &'static str,
    named: bool,
    reserved: bool,
}

/// The anchored expression for what a template expands to.
///
/// # Errors
/// If it is no template, or one that is too large.
pub fn compiled(template: &str) -> Result<Expression, NoTemplate> {
    let mut expression = "^".to_owned();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        expression.push_str(&escape(&rest[..at]));
        let inside = rest[at..].strip_prefix('{').ok_or(NoTemplate::Syntax)?;
        let (inside, after) = inside.split_once('}').ok_or(NoTemplate::Syntax)?;
        variables(&mut expression, inside).ok_or(NoTemplate::Syntax)?;
        rest = after;
    }
    expression.push_str(&escape(rest));
    expression.push('$');
    Expression::compile(&expression, MAX_PATTERN).ok_or(NoTemplate::TooLarge)
}

/// The literal text that a template begins with.
pub fn literal_prefix(template: &str) -> &str {
    template.split('{').next().unwrap_or_default()
}

/// Appends what `{inside}` may expand to. None: it is no expression.
fn variables(out: &mut String, inside: &str) -> Option<()> {
    let (operator, list) = operator(inside);
    let mut values = Vec::new();
    let mut exploded = false;
    for variable in list.split(',') {
        let (name, value, is_exploded) = value(variable, &operator)?;
        exploded |= is_exploded;
        values.push(match operator.named {
            true => format!("(?:{}(?:={value})?)", escape(name)),
            false => value,
        });
    }
    // Variables that are not defined leave no trace, so each may be missing, with what separates it.
    let between = escape(operator.between);
    let any = match &*values {
        [value] => value.clone(),
        several => format!("(?:{})", several.join("|")),
    };
    let most = values.len() - 1;
    let more = match (exploded, most) {
        (false, 0) => String::new(),
        (false, most) => format!("(?:{between}{any}){{0,{most}}}"),
        (true, _) => format!("(?:{between}{any})*"),
    };
    let first = escape(operator.first);
    out.push_str(&format!("(?:{first}{any}{more})?"));
    Some(())
}

fn operator(inside: &str) -> (Operator, &str) {
    let (first, between, named, reserved) = match inside.as_bytes().first() {
        Some(b'+') => ("", ",", false, true),
        Some(b'#') => ("#", ",", false, true),
        Some(b'.') => (".", ".", false, false),
        Some(b'/') => ("/", "/", false, false),
        Some(b';') => (";", ";", true, false),
        Some(b'?') => ("?", "&", true, false),
        Some(b'&') => ("&", "&", true, false),
        _ => ("", ",", false, false),
    };
    let plain = (first, between, named, reserved) == ("", ",", false, false);
    let operator = Operator {
        first,
        between,
        named,
        reserved,
    };
    (operator, if plain { inside } else { &inside[1..] })
}

/// The name of a variable, what its value may be, and whether it is exploded.
fn value<'a>(variable: &'a str, operator: &Operator) -> Option<(&'a str, String, bool)> {
    let one = match operator.reserved {
        true => RESERVED,
        false => UNRESERVED,
    };
    if let Some(name) = variable.strip_suffix('*') {
        let one = if operator.reserved {
            RESERVED
        } else {
            EXPLODED
        };
        return is_name(name).then(|| (name, format!("{one}*"), true));
    }
    if let Some((name, length)) = variable.split_once(':') {
        let digits = !length.starts_with('0') && length.bytes().all(|b| b.is_ascii_digit());
        let length = length.parse::<u16>().ok().filter(|n| digits && *n < 10_000);
        return length
            .filter(|_| is_name(name))
            .map(|most| (name, format!("{one}{{0,{most}}}"), false));
    }
    is_name(variable).then(|| (variable, format!("{one}*"), false))
}

/// Letters, digits, `_` and escapes, with dots between.
fn is_name(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut bytes = part.bytes();
        let mut empty = true;
        while let Some(byte) = bytes.next() {
            empty = false;
            let is_escape = byte == b'%'
                && bytes.next().is_some_and(|b| b.is_ascii_hexdigit())
                && bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
            if !(byte.is_ascii_alphanumeric() || byte == b'_' || is_escape) {
                return false;
            }
        }
        !empty
    })
}
