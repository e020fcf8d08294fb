//! `mercure_publish(string|array $topics, string $data = '', bool $private = false, ?string $id = null,
//! ?string $type = null, ?int $retry = null): string`
//!
//! The function by which frameworks find a hub in their process. Its name, arguments and errors are FrankenPHP's, so that
//! they need not know whose it is: what is wrong with an argument, or a ring that cannot be used, is a
//! `RuntimeException`, which they catch; only wrong types are `TypeError`s.
//!
//! As in `broadcast`, whatever may run PHP code comes before the publish.

use ext_php_rs::args::Arg;
use ext_php_rs::builders::FunctionBuilder;
use ext_php_rs::ffi::IS_STRING;
use ext_php_rs::flags::DataType;
use ext_php_rs::types::{ZendHashTable, Zval};
use ext_php_rs::zend::{ExecuteData, FunctionEntry};
use shared::cursor::Cursor;
use shared::event::EventRef;
use shared::mercure::update::{self, OWN_ID, Refusal};
use shared::publisher::PublishError;
use shared::rules::{MAX_TOPICS, MAX_TOPICS_LEN};

use crate::failure;
use crate::line::{Line, line};
use crate::outage::OnFailure;
use crate::state::state;
use crate::zend::{self, ArrayOrString, Params, Thrown};

pub const NAME: &str = "mercure_publish";

/// The function as PHP is told of it.
pub fn builder() -> FunctionBuilder<'static> {
    FunctionBuilder::new(NAME, handler)
        .arg(Arg::new("topics", DataType::Array))
        .not_required()
        .arg(Arg::new("data", DataType::String).default("''"))
        .arg(Arg::new("private", DataType::Bool).default("false"))
        .arg(Arg::new("id", DataType::String).allow_null())
        .arg(Arg::new("type", DataType::String).allow_null())
        .arg(Arg::new("retry", DataType::Long).allow_null())
        .returns(DataType::String, false, false)
}

/// At module startup: declares the function, unless it is not wanted, or somebody else has done so.
///
/// # Panics
/// If a name above were not a C string.
pub fn register() {
    if !state().mercure.get() || zend::has_function(NAME) {
        return;
    }
    let (function, arguments) = builder().build().expect("the names above are C strings");
    // PHP keeps both for as long as the process lives.
    let arguments = Box::leak(arguments);
    // `Arg` knows no union types; the engine's mask does.
    arguments[1].type_.type_mask |= 1 << IS_STRING;
    zend::register_functions(Box::leak(Box::new([function, FunctionEntry::end()])));
}

extern "C" fn handler(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| publish(frame, result).unwrap_or_default());
}

/// An update's fields, of the right types.
struct Fields<'a> {
    data: &'a [u8],
    private: bool,
    id: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    retry: Option<i64>,
}

fn publish(frame: &mut ExecuteData, result: &mut Zval) -> Result<(), Thrown> {
    let mut params = Params::new(frame, 1, 6)?;
    let topics = params.array_or_string()?;
    let fields = Fields {
        data: params.string_or_default(b"")?,
        private: params.bool_or_default(false)?,
        id: params.string_or_null()?,
        kind: params.string_or_null()?,
        retry: params.long_or_null()?,
    };
    match topics {
        ArrayOrString::String(topic) => with_topics(&[topic], &fields, result),
        ArrayOrString::Array(list) => with_list(list, &fields, result),
    }
}

/// Kept out of line: a call with one topic should not pay for the stack of many.
#[inline(never)]
fn with_list(list: &ZendHashTable, fields: &Fields<'_>, result: &mut Zval) -> Result<(), Thrown> {
    if list.is_empty() || list.len() > MAX_TOPICS {
        let given = list.len();
        return Err(refused(&line!(
            "$topics must have 1 to {MAX_TOPICS} elements, {given} given"
        )));
    }
    let mut topics: [&[u8]; MAX_TOPICS] = [&[]; MAX_TOPICS];
    let (mut count, mut len) = (0, 0);
    for value in list.values().map(Zval::dereference) {
        let Some(topic) = value.zend_str() else {
            let found = line!("{}", zend::type_name(value).to_string_lossy());
            let found = found.as_str();
            return Err(zend::type_error(
                1,
                &line!("must be of type array<string>|string, {found} in the array given"),
            ));
        };
        let topic = topic.as_bytes();
        // A topic given twice gets the event once.
        if !topics[..count].contains(&topic) {
            topics[count] = topic;
            count += 1;
            len += topic.len();
        }
    }
    if len > MAX_TOPICS_LEN {
        return Err(refused(&line!(
            "$topics must be at most {MAX_TOPICS_LEN} bytes long in all"
        )));
    }
    with_topics(&topics[..count], fields, result)
}

fn with_topics(topics: &[&[u8]], fields: &Fields<'_>, result: &mut Zval) -> Result<(), Thrown> {
    let event = match checked(topics, fields) {
        Ok(event) => event,
        Err(Wrong { argument, why }) => {
            let message = line!("{argument} {why}");
            // The heap is clean from here on.
            drop(why);
            return Err(refused(&message));
        }
    };
    let state = state();
    if !state.enabled.get() {
        zend::set_string(result, b"");
        return Ok(());
    }
    // A statement of its own: the borrow ends before anything of PHP's is called.
    let published = state.publisher.borrow_mut().publish(&event);
    match published {
        Ok(at) => {
            failure::over();
            match event.id {
                Some(id) => zend::set_string(result, id),
                None => set_own_id(result, at),
            }
            Ok(())
        }
        Err(error) => not_published(error, result),
    }
}

/// The id that the hub gives an event which its publisher gave none.
fn set_own_id(result: &mut Zval, at: Cursor) {
    let known = &state().cursor_text;
    let mut text = known.get();
    let mut id = [0; 1 + Cursor::MAX_LEN];
    let cursor = text.of(at);
    id[0] = OWN_ID as u8;
    id[1..=cursor.len()].copy_from_slice(cursor);
    let len = 1 + cursor.len();
    known.set(text);
    zend::set_string(result, &id[..len]);
}

/// An argument, and what it must be.
struct Wrong {
    argument: &'static str,
    why: Refusal,
}

/// The event, if all fields are as they have to be.
fn checked<'a>(topics: &'a [&'a [u8]], fields: &Fields<'a>) -> Result<EventRef<'a>, Wrong> {
    let hub = state().mercure_hub.borrow();
    let wrong = |argument| move |why| Wrong { argument, why };
    let text = |argument, bytes: &'a [u8]| {
        let text = std::str::from_utf8(bytes);
        text.map_err(|_| wrong(argument)("must be valid UTF-8".into()))
    };
    for topic in topics {
        let topic = text("$topics", topic)?;
        update::topic(topic, &hub).map_err(wrong("$topics"))?;
    }
    text("$data", fields.data)?;
    if let Some(id) = fields.id {
        update::id(text("$id", id)?).map_err(wrong("$id"))?;
    }
    if let Some(kind) = fields.kind {
        update::event(text("$type", kind)?).map_err(wrong("$type"))?;
    }
    let milliseconds = |retry: i64| {
        let why = || format!("must be between 0 and {} (milliseconds)", u32::MAX);
        u32::try_from(retry).map_err(|_| wrong("$retry")(why().into()))
    };
    let retry = fields.retry.map(milliseconds).transpose()?;
    Ok(EventRef {
        topics,
        private: fields.private,
        event: fields.kind,
        id: fields.id,
        retry,
        data: fields.data,
        ..EventRef::default()
    })
}

#[cold]
fn refused(why: &Line) -> Thrown {
    let why = why.as_str();
    zend::runtime_exception(&line!("{NAME}(): {why}"))
}

/// Frameworks expect an exception. Only who has said so in as many words gets by without one.
#[cold]
fn not_published(error: PublishError, result: &mut Zval) -> Result<(), Thrown> {
    let policy = state().on_failure.get();
    let is_quiet = match policy {
        OnFailure::Silent => true,
        OnFailure::Log => zend::is_set("askr.on_failure", state().on_failure_default.get()),
        OnFailure::Warning | OnFailure::Exception => false,
    };
    if !is_quiet {
        let message = line!("{}", error.message);
        drop(error);
        return Err(refused(&message));
    }
    failure::report_update(error)?;
    zend::set_string(result, b"");
    Ok(())
}
