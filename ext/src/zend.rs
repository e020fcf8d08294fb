//! The Zend API, and all `unsafe` of this crate.
//!
//! Thin wrappers: the arguments of a call, errors, INI entries, `phpinfo()`. They know nothing of rings.
//! Names and signatures are those of `Zend/zend_API.h`, `Zend/zend_ini.h` and `main/php.h`, PHP 8.2 to 8.6; another
//! one is refused (`zend_api`).
//!
//! Two ways lead out of a Zend call besides returning: an exception, which is only noted by the
//! engine and shows here as [`Thrown`]; and a bailout (out of memory, fatal error), a `longjmp` to the
//! SAPI that runs no destructor. So no caller holds a lock, a `RefCell` borrow or a heap allocation
//! of Rust's across any function of this file that may raise.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use ext_php_rs::boxed::ZBox;
use ext_php_rs::builders::ClassBuilder;
use ext_php_rs::convert::IntoZval;
use ext_php_rs::error::Result as ExtResult;
use ext_php_rs::ffi::{
    _zend_expected_type_Z_EXPECTED_ARRAY as ARRAY,
    _zend_expected_type_Z_EXPECTED_ARRAY_OR_NULL as ARRAY_OR_NULL,
    _zend_expected_type_Z_EXPECTED_ARRAY_OR_STRING as ARRAY_OR_STRING,
    _zend_expected_type_Z_EXPECTED_BOOL as BOOL, _zend_expected_type_Z_EXPECTED_LONG as LONG,
    _zend_expected_type_Z_EXPECTED_LONG_OR_NULL as LONG_OR_NULL,
    _zend_expected_type_Z_EXPECTED_STRING as STRING,
    _zend_expected_type_Z_EXPECTED_STRING_OR_NULL as STRING_OR_NULL, E_WARNING, IS_ARRAY, IS_FALSE,
    IS_LONG, IS_NULL, IS_STRING, IS_TRUE, MODULE_PERSISTENT, ZEND_MODULE_API_NO,
    ext_php_rs_compiler_globals, ext_php_rs_executor_globals, php_error_docref,
    php_info_print_table_end, php_info_print_table_row, php_info_print_table_start, zend_ini_entry,
    zend_string, zend_throw_error, zend_throw_exception_ex, zend_wrong_parameters_count_error,
};
use ext_php_rs::flags::IniEntryPermission;
use ext_php_rs::types::{ZendHashTable, ZendStr, Zval};
use ext_php_rs::zend::{
    CatchError, ClassEntry, ExecuteData, ExecutorGlobals, FunctionEntry, IniEntryDef, ModuleEntry,
    bailout, ce, try_catch,
};

use crate::line::{Line, line};
use crate::zend_api::{self, PHP_8_6};

const _: () = zend_api::check(ZEND_MODULE_API_NO);

const SUCCESS: c_int = 0;
const FAILURE: c_int = -1;
/// `ZPP_ERROR_WRONG_ARG` of `zend_API.h`.
const WRONG_ARG: c_int = 9;
/// syslog(3)'s warning, for an `error_log` that is syslog; a file has no severity.
const LOG_WARNING: c_int = 4;
/// `ZEND_INI_STAGE_SHUTDOWN | ZEND_INI_STAGE_DEACTIVATE`: an old value comes back, nobody to warn.
const RESTORING: c_int = (1 << 1) | (1 << 3);

/// `ZEND_CALL_HAS_EXTRA_NAMED_PARAMS` of `zend_compile.h`.
const CALL_HAS_EXTRA_NAMED_PARAMS: u32 = 1 << 27;

unsafe extern "C" {
    fn zend_unexpected_extra_named_error();
    fn zend_wrong_parameters_none_error();
    fn zend_wrong_parameter_error(
        code: c_int,
        n: u32,
        name: *mut c_char,
        expected: u32,
        arg: *mut Zval,
    );
    fn zend_parse_arg_long_slow(arg: *mut Zval, dest: *mut i64, n: u32) -> bool;
    fn zval_try_get_string_func(value: *mut Zval) -> *mut zend_string;
    fn php_json_encode_ex(
        buffer: *mut SmartStr,
        value: *mut Zval,
        options: c_int,
        depth: i64,
    ) -> c_int;
    fn php_json_decode_ex(
        value: *mut Zval,
        text: *const c_char,
        len: usize,
        options: i64,
        depth: i64,
    ) -> c_int;
    fn zend_register_functions(
        scope: *mut ClassEntry,
        functions: *const FunctionEntry,
        table: *mut ZendHashTable,
        module_type: c_int,
    ) -> c_int;
    fn zend_hash_str_find(table: *const ZendHashTable, key: *const c_char, len: usize)
    -> *mut Zval;
    fn cfg_get_entry(name: *const c_char, len: usize) -> *mut Zval;
    static spl_ce_RuntimeException: *mut ClassEntry;
    fn zend_zval_type_name(value: *const Zval) -> *const c_char;
    fn zend_argument_value_error(n: u32, format: *const c_char, ...);
    fn zend_argument_type_error(n: u32, format: *const c_char, ...);
    fn php_log_err_with_severity(message: *const c_char, syslog_type: c_int);
    fn display_ini_entries(module: *mut ModuleEntry);
    fn zend_unregister_ini_entries(module_number: c_int);
}

/// `zend_parse_arg_str_slow()`, which PHP 8.6 gave another signature. The one that this PHP has is called.
#[expect(
    clashing_extern_declarations,
    reason = "two releases of PHP, of which one is there"
)]
mod parse_arg_str_slow {
    use super::{Zval, zend_string};

    unsafe extern "C" {
        #[link_name = "zend_parse_arg_str_slow"]
        pub fn up_to_8_5(arg: *mut Zval, dest: *mut *mut zend_string, n: u32) -> bool;
        #[link_name = "zend_parse_arg_str_slow"]
        pub fn since_8_6(arg: *mut Zval, n: u32) -> *mut zend_string;
    }
}

/// `zend_parse_arg_bool_slow()`, likewise.
#[expect(
    clashing_extern_declarations,
    reason = "two releases of PHP, of which one is there"
)]
mod parse_arg_bool_slow {
    use super::{Zval, c_int};

    unsafe extern "C" {
        #[link_name = "zend_parse_arg_bool_slow"]
        pub fn up_to_8_5(arg: *mut Zval, dest: *mut bool, n: u32) -> bool;
        /// `zpp_parse_bool_status`: 0 is false, 1 is true, anything else is an error.
        #[link_name = "zend_parse_arg_bool_slow"]
        pub fn since_8_6(arg: *mut Zval, n: u32) -> c_int;
    }
}

/// An exception is pending in PHP; the handler must return at once.
#[derive(Debug)]
pub struct Thrown;

/// Runs the body of a handler. A panic becomes a PHP `Error`, never the end of the process.
pub fn guard(body: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        // SAFETY: called by PHP during a request, as every handler is; the format takes no argument.
        unsafe {
            zend_throw_error(
                ptr::from_ref(ce::error()).cast_mut(),
                c"askr: internal error, please report it with PHP's error log".as_ptr(),
            );
        }
    }
}

/// Runs a hook (startup, shutdown, phpinfo), where no exception can be thrown.
///
/// # Errors
/// If the hook panicked or failed; the panic's message is on standard error already.
pub fn guard_hook(body: impl FnOnce() -> ExtResult<()>) -> c_int {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => SUCCESS,
        Ok(Err(error)) => {
            eprintln!("askr: {error}");
            FAILURE
        }
        Err(_) => FAILURE,
    }
}

/// A parameter of type `array|string`.
pub enum ArrayOrString<'f> {
    Array(&'f ZendHashTable),
    String(&'f [u8]),
}

/// The arguments of one call, read in order, coerced and refused exactly as the `Z_PARAM_*` macros do
/// for core functions: strict_types, weak mode, Stringable, the deprecation of null, stock messages.
///
/// What it hands out is borrowed from the call's frame, which owns the (coerced) values until the
/// handler returns; coercing a later argument may run PHP code, but that cannot reach the frame.
pub struct Params<'f> {
    first: *mut Zval,
    given: u32,
    read: u32,
    frame: PhantomData<&'f mut ExecuteData>,
}

impl<'f> Params<'f> {
    /// # Errors
    /// If fewer than `min` or more than `max` arguments were given.
    pub fn new(frame: &'f mut ExecuteData, min: u32, max: u32) -> Result<Self, Thrown> {
        // SAFETY: `This.u2` of the frame of a call holds the number of its arguments.
        let given = unsafe { frame.This.u2.num_args };
        if given < min || given > max {
            // SAFETY: called inside a function call of PHP's.
            unsafe {
                if max == 0 {
                    zend_wrong_parameters_none_error();
                } else {
                    zend_wrong_parameters_count_error(min, max);
                }
            }
            return Err(Thrown);
        }
        // ZEND_CALL_FRAME_SLOT: the arguments follow the frame's header, in whole zvals.
        let header = size_of::<ExecuteData>().div_ceil(size_of::<Zval>());
        let first = ptr::from_mut(frame).cast::<Zval>().wrapping_add(header);
        Ok(Self {
            first,
            given,
            read: 0,
            frame: PhantomData,
        })
    }

    /// Any number of arguments.
    ///
    /// # Errors
    /// If one was given by a name.
    pub fn variadic(frame: &'f mut ExecuteData) -> Result<Self, Thrown> {
        // SAFETY: `This.u1` of the frame of a call holds the call's information.
        let info = unsafe { frame.This.u1.type_info };
        if info & CALL_HAS_EXTRA_NAMED_PARAMS != 0 {
            // SAFETY: called inside a function call of PHP's.
            unsafe { zend_unexpected_extra_named_error() };
            return Err(Thrown);
        }
        Self::new(frame, 0, u32::MAX)
    }

    /// How many arguments there are.
    pub fn given(&self) -> u32 {
        self.given
    }

    /// Begins with the first argument again, when all are of their types.
    pub fn again(&mut self) {
        self.read = 0;
    }

    pub fn array_or_string(&mut self) -> Result<ArrayOrString<'f>, Thrown> {
        let (n, arg) = self.next().ok_or(Thrown)?;
        if has_type(arg, IS_ARRAY) {
            // SAFETY: a live argument that holds an array, which its frame keeps as it keeps strings.
            return Ok(ArrayOrString::Array(unsafe { &*(*arg).value.arr }));
        }
        Ok(ArrayOrString::String(string(n, arg, ARRAY_OR_STRING)?))
    }

    pub fn array(&mut self) -> Result<&'f ZendHashTable, Thrown> {
        let (n, arg) = self.next().ok_or(Thrown)?;
        if !has_type(arg, IS_ARRAY) {
            return Err(wrong_type(n, arg, ARRAY));
        }
        // SAFETY: a live argument that holds an array, which its frame keeps as it keeps strings.
        Ok(unsafe { &*(*arg).value.arr })
    }

    /// The argument itself, for PHP to look at.
    pub fn array_or_null(&mut self) -> Result<Option<&'f Zval>, Thrown> {
        match self.next_unless_null() {
            // SAFETY: a live argument of the current call, which its frame keeps until it returns.
            Some((_, arg)) if has_type(arg, IS_ARRAY) => Ok(Some(unsafe { &*arg })),
            Some((n, arg)) => Err(wrong_type(n, arg, ARRAY_OR_NULL)),
            None => Ok(None),
        }
    }

    pub fn long(&mut self) -> Result<i64, Thrown> {
        let (n, arg) = self.next().ok_or(Thrown)?;
        long(n, arg, LONG)
    }

    pub fn string(&mut self) -> Result<&'f [u8], Thrown> {
        let (n, arg) = self.next().ok_or(Thrown)?;
        string(n, arg, STRING)
    }

    pub fn string_or_null(&mut self) -> Result<Option<&'f [u8]>, Thrown> {
        match self.next_unless_null() {
            Some((n, arg)) => string(n, arg, STRING_OR_NULL).map(Some),
            None => Ok(None),
        }
    }

    /// An integer that may be left out.
    pub fn long_or_default(&mut self, default: i64) -> Result<i64, Thrown> {
        match self.next() {
            // Skipped by name, the engine has filled in the default that is declared.
            Some((n, arg)) => long(n, arg, LONG),
            None => Ok(default),
        }
    }

    pub fn long_or_null(&mut self) -> Result<Option<i64>, Thrown> {
        let Some((n, arg)) = self.next_unless_null() else {
            return Ok(None);
        };
        long(n, arg, LONG_OR_NULL).map(Some)
    }

    /// A string that may be left out.
    pub fn string_or_default(&mut self, default: &'static [u8]) -> Result<&'f [u8], Thrown> {
        match self.next() {
            Some((n, arg)) => string(n, arg, STRING),
            None => Ok(default),
        }
    }

    /// A boolean that may be left out.
    pub fn bool_or_default(&mut self, default: bool) -> Result<bool, Thrown> {
        match self.next() {
            Some((n, arg)) => boolean(n, arg),
            None => Ok(default),
        }
    }

    /// The next argument and its number, counted from 1; `None` when it was left out.
    #[inline]
    fn next(&mut self) -> Option<(u32, *mut Zval)> {
        let index = self.read;
        self.read += 1;
        (index < self.given).then(|| (index + 1, self.first.wrapping_add(index as usize)))
    }

    /// The engine has filled arguments skipped by name with their default, null.
    fn next_unless_null(&mut self) -> Option<(u32, *mut Zval)> {
        self.next().filter(|&(_, arg)| !has_type(arg, IS_NULL))
    }
}

/// `arg` is always one that `Params::next` gave. Arguments by value are never references.
#[inline]
fn has_type(arg: *const Zval, wanted: u32) -> bool {
    // SAFETY: a live argument; the type is readable in every zval.
    u32::from(unsafe { (*arg).u1.v.type_ }) == wanted
}

#[inline]
fn long(n: u32, arg: *mut Zval, expected: u32) -> Result<i64, Thrown> {
    if has_type(arg, IS_LONG) {
        // SAFETY: a live argument that holds an integer.
        return Ok(unsafe { (*arg).value.lval });
    }
    let mut long = 0;
    // SAFETY: a live argument of the current call, and its number.
    if unsafe { zend_parse_arg_long_slow(arg, &raw mut long, n) } {
        Ok(long)
    } else {
        Err(wrong_type(n, arg, expected))
    }
}

#[inline]
fn boolean(n: u32, arg: *mut Zval) -> Result<bool, Thrown> {
    if has_type(arg, IS_TRUE) {
        return Ok(true);
    }
    if has_type(arg, IS_FALSE) {
        return Ok(false);
    }
    let mut value = false;
    // SAFETY: a live argument of the current call, and its number, in the form that this PHP takes.
    let parsed = unsafe {
        if ZEND_MODULE_API_NO >= PHP_8_6 {
            let status = parse_arg_bool_slow::since_8_6(arg, n);
            value = status == 1;
            matches!(status, 0 | 1)
        } else {
            parse_arg_bool_slow::up_to_8_5(arg, &raw mut value, n)
        }
    };
    match parsed {
        true if !ExecutorGlobals::has_exception() => Ok(value),
        true => Err(Thrown),
        false => Err(wrong_type(n, arg, BOOL)),
    }
}

#[inline]
fn string<'f>(n: u32, arg: *mut Zval, expected: u32) -> Result<&'f [u8], Thrown> {
    if !has_type(arg, IS_STRING) {
        coerce_to_string(n, arg, expected)?;
    }
    // SAFETY: a live argument of the current call that holds a string now. It keeps its bytes until
    // the handler returns, which is what 'f stands for in `Params`.
    Ok(unsafe { &*(*arg).value.str_.cast::<ZendStr>() }.as_bytes())
}

/// Replaces the argument in its frame by a string, or throws. May run PHP code.
#[cold]
fn coerce_to_string(n: u32, arg: *mut Zval, expected: u32) -> Result<(), Thrown> {
    // SAFETY: a live argument of the current call, and its number.
    let coerced = unsafe { parse_string(arg, n) };
    // PHP puts what it made where the argument was; it is looked at there, where it is owned.
    if coerced && has_type(arg, IS_STRING) {
        Ok(())
    } else {
        Err(wrong_type(n, arg, expected))
    }
}

/// Makes a string of a value in its place; false if it does not become one.
///
/// # Safety
/// A live value that nobody else looks at, and the number of the argument that it is of.
unsafe fn parse_string(value: *mut Zval, n: u32) -> bool {
    let mut dest = ptr::null_mut();
    // SAFETY: as the caller says, in the form that this PHP takes.
    unsafe {
        if ZEND_MODULE_API_NO >= PHP_8_6 {
            !parse_arg_str_slow::since_8_6(value, n).is_null()
        } else {
            parse_arg_str_slow::up_to_8_5(value, &raw mut dest, n)
        }
    }
}

#[cold]
fn wrong_type(n: u32, arg: *mut Zval, expected: u32) -> Thrown {
    // SAFETY: a live argument of the current call; the name is only read for other error codes. If
    // the coercion threw already, PHP leaves that exception in place.
    unsafe { zend_wrong_parameter_error(WRONG_ARG, n, ptr::null_mut(), expected, arg) };
    Thrown
}

/// A value of an array, as a parameter of type `string` takes an argument; none if it does not. May run PHP code.
///
/// # Errors
/// If that threw.
pub fn as_string(mut value: Zval) -> Result<Option<Zval>, Thrown> {
    if value.is_string() {
        return Ok(Some(value));
    }
    // SAFETY: a live value of our own, which came in argument 1 of this call.
    let coerced = unsafe { parse_string(&raw mut value, 1) };
    taken(coerced && value.is_string(), value)
}

/// The same for a parameter of type `int`.
///
/// # Errors
/// If that threw, as a handler of the deprecation of lost decimals may.
pub fn as_long(value: Zval) -> Result<Option<Zval>, Thrown> {
    if value.is_long() {
        return Ok(Some(value));
    }
    let mut value = value;
    let mut dest = 0;
    // SAFETY: as in `as_string`; PHP writes the number to `dest`.
    let coerced = unsafe { zend_parse_arg_long_slow(&raw mut value, &raw mut dest, 1) };
    let mut long = Zval::new();
    long.set_long(dest);
    taken(coerced, long)
}

fn taken(coerced: bool, value: Zval) -> Result<Option<Zval>, Thrown> {
    if ExecutorGlobals::has_exception() {
        return Err(Thrown);
    }
    Ok(coerced.then_some(value))
}

/// A value as a string, the way `implode()` takes an array's elements. May run `__toString()`.
///
/// # Errors
/// If that threw.
pub fn to_string(value: &Zval) -> Result<Zval, Thrown> {
    // SAFETY: PHP makes a new string (or takes another reference) and leaves `value` as it is,
    // whatever the signature says. A non-null result carries a reference, which `ZBox` owns from here.
    let string = unsafe {
        let string = zval_try_get_string_func(ptr::from_ref(value).cast_mut());
        if string.is_null() {
            return Err(Thrown);
        }
        ZBox::from_raw(string.cast::<ZendStr>())
    };
    let mut zval = Zval::new();
    zval.set_zend_string(string);
    Ok(zval)
}

/// `smart_str` of `Zend/zend_smart_str_public.h`.
#[repr(C)]
struct SmartStr {
    string: *mut zend_string,
    room: usize,
}

/// `JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE` of `ext/json/php_json.h`.
const JSON_OPTIONS: c_int = (1 << 6) | (1 << 8);

/// Levels of arrays in a value that is given, and with the one that is put around it. askrd reads 127.
const JSON_LEVELS: i64 = 119;
const JSON_ENCODE_DEPTH: i64 = JSON_LEVELS + 1;

/// A value as JSON, as `json_encode()` makes it. May run `jsonSerialize()`.
///
/// # Errors
/// If that threw, or a ValueError for argument `n` if it has no form in JSON.
pub fn json(value: &Zval, n: u32) -> Result<Zval, Thrown> {
    let mut text = SmartStr {
        string: ptr::null_mut(),
        room: 0,
    };
    // SAFETY: PHP appends to the empty buffer and leaves `value` as it is, whatever the signature says.
    let status = unsafe {
        php_json_encode_ex(
            &raw mut text,
            ptr::from_ref(value).cast_mut(),
            JSON_OPTIONS,
            JSON_ENCODE_DEPTH,
        )
    };
    let mut json = Zval::new();
    if !text.string.is_null() {
        // SAFETY: a string with one reference, which `ZBox` owns from here.
        json.set_zend_string(unsafe { ZBox::from_raw(text.string.cast::<ZendStr>()) });
    }
    if status == SUCCESS && json.is_string() && !ExecutorGlobals::has_exception() {
        return Ok(json);
    }
    if ExecutorGlobals::has_exception() {
        return Err(Thrown);
    }
    Err(value_error(
        n,
        &line!("must have a form in JSON, of at most {JSON_LEVELS} levels"),
    ))
}

/// `JSON_OBJECT_AS_ARRAY` of `ext/json/php_json.h`.
const JSON_AS_ARRAYS: i64 = 1;
/// Levels of arrays in what is decoded: a member's info of 1,024 bytes can have as many, a few are around.
const JSON_DEPTH: i64 = 1100;

/// A text of JSON as `json_decode($text, true)` makes it; none if it is not JSON. Runs no PHP code.
///
/// Takes the text, because it may be long: when PHP runs out of memory it is freed before PHP goes on.
///
/// # Errors
/// If PHP ran out of memory and has caught that itself, as later releases of 8.2 do.
pub fn from_json(mut text: Vec<u8>) -> Result<Option<Zval>, Thrown> {
    let len = text.len();
    // PHP's scanner looks at the byte after the text.
    text.push(0);
    let mut value = Zval::new();
    let decoded = try_catch(AssertUnwindSafe(|| {
        // SAFETY: a text and its length, with a NUL after it; PHP keeps no reference to it.
        unsafe {
            php_json_decode_ex(
                &raw mut value,
                text.as_ptr().cast(),
                len,
                JSON_AS_ARRAYS,
                JSON_DEPTH,
            )
        }
    }));
    drop(text);
    match decoded {
        // SAFETY: on its way to where it was going, past callers that hold nothing (see above).
        Err(CatchError::Bailout) => unsafe { bailout() },
        _ if ExecutorGlobals::has_exception() => Err(Thrown),
        Ok(SUCCESS) => Ok(Some(value)),
        _ => Ok(None),
    }
}

/// Runs `work` on memory that PHP does not know: when PHP runs out of its own in there, this is freed before PHP goes on.
/// `work` itself has nothing on the heap but what is PHP's.
pub fn with_memory<R>(memory: Vec<u8>, work: impl FnOnce(&[u8]) -> R) -> R {
    let done = try_catch(AssertUnwindSafe(|| work(&memory)));
    drop(memory);
    match done {
        Ok(value) => value,
        // SAFETY: on its way to where it was going, past callers that hold nothing (see above).
        Err(CatchError::Bailout) => unsafe { bailout() },
        // As if it had not been caught here.
        Err(why) => panic!("{why:?}"),
    }
}

/// Makes a value a string of PHP's.
pub fn set_string(value: &mut Zval, text: &[u8]) {
    value.set_zend_string(ZendStr::new(text, false));
}

/// Sets a key of an array; does nothing to another value.
pub fn set(array: &mut Zval, key: &str, value: impl IntoZval) {
    if let Some(array) = array.array_mut() {
        // Fails only for values that cannot become zvals; those of this crate all can.
        let _ = ZendHashTable::insert(array, key, value);
    }
}

/// Whether a value is an object with `__toString()`.
pub fn is_stringable(value: &Zval) -> bool {
    value
        .object()
        .is_some_and(|object| object.instance_of(ce::stringable()))
}

/// How PHP's messages name the type of a value: `null`, `array`, `stdClass`.
pub fn type_name(value: &Zval) -> &CStr {
    // SAFETY: PHP returns a static name or that of the value's class, which outlives the value.
    unsafe { CStr::from_ptr(zend_zval_type_name(value)) }
}

/// Throws a `ValueError`: "askr_broadcast(): Argument #1 ($channel) {message}".
#[cold]
pub fn value_error(argument: u32, message: &Line) -> Thrown {
    // SAFETY: called inside a function call of PHP's that has this argument; `%s` gets a C string.
    unsafe { zend_argument_value_error(argument, c"%s".as_ptr(), message.as_c_str().as_ptr()) };
    Thrown
}

/// Throws a `TypeError`: "askr_broadcast(): Argument #1 ($channel) {message}".
#[cold]
pub fn type_error(argument: u32, message: &Line) -> Thrown {
    // SAFETY: as in `value_error`.
    unsafe { zend_argument_type_error(argument, c"%s".as_ptr(), message.as_c_str().as_ptr()) };
    Thrown
}

/// Throws an `Askr\Exception`.
#[cold]
pub fn exception(message: &Line) -> Thrown {
    let class = EXCEPTION.load(Ordering::Relaxed);
    // SAFETY: the class was registered at startup, which comes before any call; a class of an
    // extension lives as long as the module. `%s` gets a C string.
    unsafe { zend_throw_exception_ex(class, 0, c"%s".as_ptr(), message.as_c_str().as_ptr()) };
    Thrown
}

/// Throws a `RuntimeException`.
#[cold]
pub fn runtime_exception(message: &Line) -> Thrown {
    // SAFETY: a class of PHP's own, which is there from startup on. `%s` gets a C string.
    unsafe {
        zend_throw_exception_ex(
            spl_ce_RuntimeException,
            0,
            c"%s".as_ptr(),
            message.as_c_str().as_ptr(),
        )
    };
    Thrown
}

/// Raises an `E_WARNING`, which a user's handler may turn into an exception.
#[cold]
pub fn warning(message: &Line) {
    // SAFETY: `%s` gets a C string; no documentation reference. Outside a call PHP names the phase.
    unsafe {
        php_error_docref(
            ptr::null(),
            E_WARNING as c_int,
            c"%s".as_ptr(),
            message.as_c_str().as_ptr(),
        );
    }
}

/// Writes a line to PHP's error log, wherever that is, without raising an error.
#[cold]
pub fn log(message: &Line) {
    // SAFETY: a C string, copied by PHP.
    unsafe { php_log_err_with_severity(message.as_c_str().as_ptr(), LOG_WARNING) };
}

/// Whether PHP has a function of this name, in lower case. Only at module startup, when all modules have been loaded.
pub fn has_function(name: &str) -> bool {
    // SAFETY: PHP's table of functions, which is there before any module starts.
    unsafe {
        let table = (*ext_php_rs_compiler_globals()).function_table;
        !zend_hash_str_find(table.cast(), name.as_ptr().cast(), name.len()).is_null()
    }
}

/// Declares functions of this module; the last entry is empty. Only at module startup.
pub fn register_functions(functions: &'static [FunctionEntry]) {
    // SAFETY: a table that ends and lives as long as the process, of functions that PHP does not have yet. A null table
    // is PHP's own.
    unsafe {
        zend_register_functions(
            ptr::null_mut(),
            functions.as_ptr(),
            ptr::null_mut(),
            MODULE_PERSISTENT as c_int,
        );
    }
}

/// Where PHP keeps the value of a setting, and whether it was changed while PHP ran; none if there is no such setting.
fn setting(name: &str) -> Option<(usize, bool)> {
    // SAFETY: PHP's table of settings, whose values are entries; one is only looked at.
    unsafe {
        let table = (*ext_php_rs_executor_globals()).ini_directives;
        let found = zend_hash_str_find(table.cast(), name.as_ptr().cast(), name.len()).as_ref()?;
        let entry = found.value.ptr.cast::<zend_ini_entry>().as_ref()?;
        // A number before PHP 8.6, then a bool: in both the default is no.
        Some((entry.value as usize, entry.modified != Default::default()))
    }
}

/// Where PHP keeps the default value of a setting; 0 if php.ini or the command line says another. Only at module startup.
pub fn default_unless_configured(name: &str) -> usize {
    // SAFETY: looks the name up in what PHP has read; a name and its length.
    let configured = unsafe { cfg_get_entry(name.as_ptr().cast(), name.len()) };
    match setting(name) {
        Some((value, _)) if configured.is_null() => value,
        _ => 0,
    }
}

/// Whether somebody has set a setting whose default value PHP keeps at `default`, if only to what it was. A pool of
/// PHP-FPM puts its value at another place; a script or a directory marks the setting as changed.
pub fn is_set(name: &str, default: usize) -> bool {
    setting(name).is_some_and(|(value, changed)| changed || value != default)
}

/// `Askr\Exception`, of this start of the module. One for all threads, like every internal class.
static EXCEPTION: AtomicPtr<ClassEntry> = AtomicPtr::new(ptr::null_mut());

/// Declares `Askr\Exception extends Exception`. Only at module startup.
pub fn register_exception() -> ExtResult<()> {
    ClassBuilder::new("Askr\\Exception")
        .extends((ce::exception, "\\Exception"))
        // Without methods of its own, so there is no table of arguments to keep.
        .registration(|class, _| EXCEPTION.store(class, Ordering::Relaxed))
        .register()
}

/// Takes a new value of an INI setting, or says what it "must be" instead.
pub type Modify = fn(value: &[u8]) -> Result<(), String>;

/// Describes a setting. A refused value leaves the default (at startup) or the value before it in
/// place, and raises an `E_WARNING`.
pub const fn ini_entry(
    name: &'static CStr,
    default: &'static CStr,
    changeable: IniEntryPermission,
    modify: Modify,
) -> IniEntryDef {
    let mut entry = IniEntryDef::new(name, default, changeable);
    entry.on_modify = Some(on_modify);
    entry.mh_arg1 = modify as *mut c_void;
    entry
}

unsafe extern "C" fn on_modify(
    entry: *mut zend_ini_entry,
    value: *mut zend_string,
    modify: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    stage: c_int,
) -> c_int {
    // SAFETY: `ini_entry` is the only place that sets `mh_arg1`, to a `Modify`.
    let modify = unsafe { std::mem::transmute::<*mut c_void, Modify>(modify) };
    // SAFETY: PHP passes a string that lives through this call, or null for an empty value.
    let value =
        unsafe { value.cast::<ZendStr>().as_ref() }.map_or(&[][..], |value| value.as_bytes());
    let why = match catch_unwind(|| modify(value)) {
        Ok(Ok(())) => return SUCCESS,
        Ok(Err(why)) => why,
        Err(_) => return FAILURE,
    };
    // SAFETY: PHP passes the entry that is being set, which bears a name.
    let name = unsafe { &*(*entry).name.cast::<ZendStr>() }
        .as_str()
        .unwrap_or("askr");
    let message = line!("{name} {why}");
    drop(why);
    if stage & RESTORING == 0 {
        warning(&message);
    }
    FAILURE
}

/// Takes the settings back, whose handlers are code of this module. Only at module shutdown.
pub fn unregister_ini(module_number: c_int) {
    // SAFETY: PHP's own number for this module, during its shutdown.
    unsafe { zend_unregister_ini_entries(module_number) };
}

/// Prints a table of `phpinfo()`.
pub fn info_table(rows: &[(&CStr, &Line)]) {
    // SAFETY: called by PHP while it prints its information; each row has the two C strings it says.
    unsafe {
        php_info_print_table_start();
        for (name, value) in rows {
            php_info_print_table_row(2, name.as_ptr(), value.as_c_str().as_ptr());
        }
        php_info_print_table_end();
    }
}

/// Prints the module's settings for `phpinfo()`.
pub fn info_ini(module: *mut ModuleEntry) {
    // SAFETY: `module` is what PHP handed to the module's information function.
    unsafe { display_ini_entries(module) };
}
