//! `askr.so`: the PHP face of Askr. `askr_broadcast()` and `askr_broadcast_all()` write events
//! into the ring that askrd serves; `askr_register_event()` and `askr_events()` are the names they may have;
//! `askr_cursor()` says where the ring is, `askr_status()` describes it, `askr_token()` signs who may listen;
//! `askr_channels()`, `askr_members()`, `askr_disconnect_user()`, `askr_disconnect_socket()` and
//! `askr_disconnect()` ask askrd itself; `mercure_publish()` is how frameworks publish to a Mercure hub in their process. `askr.stub.php` beside this directory is the PHP signature.
//!
//! `broadcast`, `broadcast_all`, `cursor`, `status`, `token` and `audience` are the functions, `message` is what a
//! caller gives as an event, `strict` which names it may have, `failure` decides how an unusable ring is reported
//! (`outage`: what is remembered of it), `signer` holds the secret of `token`, `shared::control` speaks with askrd,
//! `ini` holds the settings, `info` fills `phpinfo()`, `state` is what a thread keeps between calls. `zend` wraps
//! the Zend API and has all the unsafe code, `zend_api` says for which PHP.

#![deny(unsafe_code)]

use ext_php_rs::args::Arg;
use ext_php_rs::builders::{FunctionBuilder, ModuleBuilder, ModuleStartup};
use ext_php_rs::ffi::IS_STRING;
use ext_php_rs::flags::DataType;
use ext_php_rs::zend::{ModuleAllocations, ModuleEntry, StaticModuleEntry};

mod audience;
mod broadcast;
mod broadcast_all;
mod cursor;
mod failure;
mod history;
mod info;
mod ini;
mod line;
mod mercure;
mod message;
mod outage;
mod signer;
mod state;
mod status;
mod strict;
mod token;
mod zend;
mod zend_api;

const NAME: &str = "askr";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What PHP asks a shared object for when it loads it.
#[expect(
    unsafe_code,
    reason = "PHP looks the module up by this name; no other module exports it"
)]
#[unsafe(no_mangle)]
pub extern "C" fn get_module() -> *mut ModuleEntry {
    static MODULE: StaticModuleEntry = StaticModuleEntry::new();
    MODULE.get_or_init(module)
}

/// # Panics
/// If a name below were not a C string; PHP has no way to be told that a module is not well-formed.
fn module() -> (ModuleEntry, ModuleAllocations) {
    let (entry, _, mut owned): (ModuleEntry, ModuleStartup, ModuleAllocations) =
        ModuleBuilder::new(NAME, VERSION)
            .globals(&state::STATE)
            .startup_function(startup)
            .shutdown_function(shutdown)
            .request_shutdown_function(request_shutdown)
            .info_function(info::print)
            .function(
                FunctionBuilder::new("askr_broadcast", broadcast::handler)
                    .arg(Arg::new("channel", DataType::Array))
                    .arg(Arg::new("payload", DataType::String))
                    .not_required()
                    .arg(Arg::new("event", DataType::String).allow_null())
                    .arg(Arg::new("id", DataType::String).allow_null())
                    .arg(Arg::new("retry", DataType::Long).allow_null())
                    .arg(Arg::new("except", DataType::String).allow_null())
                    .arg(Arg::new("key", DataType::String).allow_null())
                    .returns(DataType::Bool, false, false),
            )
            .function(
                FunctionBuilder::new("askr_broadcast_all", broadcast_all::handler)
                    .arg(Arg::new("events", DataType::Array))
                    .returns(DataType::Long, false, false),
            )
            .function(
                FunctionBuilder::new("askr_register_event", strict::register)
                    .not_required()
                    .arg(Arg::new("names", DataType::String).is_variadic())
                    .returns(DataType::Void, false, false),
            )
            .function(FunctionBuilder::new("askr_events", strict::events).returns(
                DataType::Array,
                false,
                false,
            ))
            .function(
                FunctionBuilder::new("askr_cursor", cursor::handler).returns(
                    DataType::String,
                    false,
                    true,
                ),
            )
            .function(
                FunctionBuilder::new("askr_status", status::handler).returns(
                    DataType::Array,
                    false,
                    false,
                ),
            )
            .function(
                FunctionBuilder::new("askr_token", token::handler)
                    .arg(Arg::new("channels", DataType::Array))
                    .arg(Arg::new("ttl", DataType::Long))
                    .not_required()
                    .arg(Arg::new("user", DataType::String).allow_null())
                    .arg(Arg::new("info", DataType::Array).allow_null())
                    .arg(Arg::new("patterns", DataType::Array).allow_null())
                    .returns(DataType::String, false, false),
            )
            .function(
                FunctionBuilder::new("askr_channels", audience::channels)
                    .not_required()
                    .arg(Arg::new("prefix", DataType::String).allow_null())
                    .returns(DataType::Array, false, false),
            )
            .function(
                FunctionBuilder::new("askr_members", audience::members)
                    .arg(Arg::new("channel", DataType::String))
                    .returns(DataType::Array, false, false),
            )
            .function(
                FunctionBuilder::new("askr_disconnect", audience::disconnect)
                    .arg(Arg::new("socketOrUser", DataType::String))
                    .returns(DataType::Long, false, false),
            )
            .function(
                FunctionBuilder::new("askr_disconnect_user", audience::disconnect_user)
                    .arg(Arg::new("user", DataType::String))
                    .returns(DataType::Long, false, false),
            )
            .function(
                FunctionBuilder::new("askr_disconnect_socket", audience::disconnect_socket)
                    .arg(Arg::new("socketId", DataType::String))
                    .returns(DataType::Long, false, false),
            )
            .function(
                FunctionBuilder::new("askr_history", history::history)
                    .arg(Arg::new("channel", DataType::String))
                    .not_required()
                    .arg(Arg::new("limit", DataType::Long).default("100"))
                    .arg(Arg::new("since", DataType::String).allow_null())
                    .arg(Arg::new("before", DataType::String).allow_null())
                    .returns(DataType::Array, false, false),
            )
            .function(
                FunctionBuilder::new("askr_forget", history::forget)
                    .arg(Arg::new("channel", DataType::String))
                    .returns(DataType::Long, false, false),
            )
            .try_into()
            .expect("the names above are C strings");
    // `Arg` knows no union types; the engine's mask does. Entry 0 of a table is the return type.
    owned.arg_info[0][1].type_.type_mask |= 1 << IS_STRING;
    (entry, owned)
}

/// MINIT. Never touches the ring: in PHP-FPM this runs in the master, before the workers are forked.
extern "C" fn startup(_: i32, module_number: i32) -> i32 {
    zend::guard_hook(|| {
        ini::register(module_number);
        mercure::register();
        zend::register_exception()
    })
}

/// RSHUTDOWN.
extern "C" fn request_shutdown(_: i32, _: i32) -> i32 {
    zend::guard_hook(|| {
        strict::forget_registered();
        state::state().publisher.borrow_mut().report();
        Ok(())
    })
}

/// MSHUTDOWN.
extern "C" fn shutdown(_: i32, module_number: i32) -> i32 {
    zend::guard_hook(|| {
        zend::unregister_ini(module_number);
        Ok(())
    })
}
