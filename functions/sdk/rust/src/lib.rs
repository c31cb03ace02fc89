//! The SDK for functions in Rust, without dependencies.
//!
//! A function is a crate of type `cdylib` that names its handler with [`handle!`]; `tiercel fn build` compiles it for
//! `wasm32-unknown-unknown` and adds `manifest.json`. For each [`Event`] that its triggers select, the runtime starts it afresh and calls
//! the handler once; nothing in memory lasts from one event to the next, so what is read lives as long as the program: there are
//! no lifetimes to carry. What the operations do, which errors they have and which limits hold is said in `functions/abi`.
//!
//! ```ignore
//! tiercel::handle!(mark);
//!
//! fn mark(ev: &tiercel::Event) -> tiercel::Result {
//!     ev.target.pod()?.label("example.com/seen", &tiercel::label_value(ev.rule))?;
//!     Ok(())
//! }
//! ```
//!
//! All text of an event may be an attacker's: it belongs into data ([`json!`]), never into commands, URLs or selectors.

mod event;
mod host;
mod json_check;
mod json_read;
mod json_write;
mod kubernetes;
mod operations;

pub use event::{Event, Target};
pub use host::{call, Code, Error};
pub use json_read::{parse, Fields, Items, Value};
pub use json_write::{finish as written, Json, ToJson};
pub use kubernetes::{kubernetes, label_value, Executed, List, Pod, Resource};
pub use operations::*;

/// How a handler ends: `Ok(())` is succeeded, an [`Ended`] says otherwise. `?` makes one of an operation's [`Error`] and of texts.
pub type Result = core::result::Result<(), Ended>;

/// How an invocation ended other than succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There is nothing to do for this event; the text says why.
    Skipped(String),
    /// It was done, but does not have the effect it is for.
    Ineffective(String),
    /// It could not be done; `code` is that of the operation's error that made it fail, `retry` whether a fresh attempt can help.
    Failed { text: String, code: Option<Code>, retry: bool },
}

/// Ends the invocation as skipped.
pub fn skip<T>(why: impl Into<String>) -> core::result::Result<T, Ended> {
    Err(Ended::Skipped(why.into()))
}

/// Ends the invocation as ineffective.
pub fn ineffective<T>(why: impl Into<String>) -> core::result::Result<T, Ended> {
    Err(Ended::Ineffective(why.into()))
}

/// Ends the invocation as failed.
pub fn fail<T>(text: impl Into<String>) -> core::result::Result<T, Ended> {
    Err(Ended::Failed { text: text.into(), code: None, retry: false })
}

impl From<Error> for Ended {
    fn from(e: Error) -> Ended {
        Ended::Failed { text: e.text, code: Some(e.code), retry: e.retry }
    }
}

impl From<String> for Ended {
    fn from(text: String) -> Ended {
        Ended::Failed { text, code: None, retry: false }
    }
}

impl From<&str> for Ended {
    fn from(text: &str) -> Ended {
        text.to_string().into()
    }
}

/// Names the function's handler, a `fn(&Event) -> Result`. Used once, at the top of the crate.
#[macro_export]
macro_rules! handle {
    ($handler:path) => {
        #[no_mangle]
        pub extern "C" fn tiercel_handle(len: u32) -> i32 {
            $crate::run(len, $handler)
        }
        #[no_mangle]
        pub extern "C" fn tiercel_warm() {
            $crate::warm()
        }
    };
}

/// What [`handle!`] exports calls.
#[doc(hidden)]
pub fn run(len: u32, handler: fn(&Event) -> Result) -> i32 {
    host::prepare();
    let ended = match event::parse_event(host::input(len)) {
        Some(ev) => handler(&ev),
        None => Err("the event is not JSON".into()),
    };
    let data = operations::take_report();
    let (outcome, status) = match &ended {
        Ok(()) => ("succeeded", 0),
        Err(Ended::Skipped(_)) => ("skipped", 0),
        Err(Ended::Ineffective(_)) => ("ineffective", 0),
        Err(Ended::Failed { .. }) => ("failed", 1),
    };
    let mut w = json_write::Writer::object();
    w.field("outcome", outcome);
    match &ended {
        Ok(()) => {}
        Err(Ended::Skipped(text)) | Err(Ended::Ineffective(text)) => w.field("text", text),
        Err(Ended::Failed { text, code, retry }) => {
            w.field("text", text);
            if let Some(code) = code {
                w.field("code", code.as_str());
            }
            if *retry {
                w.field("retry", &true);
            }
        }
    }
    if let Some(data) = data {
        w.field("data", &data);
    }
    host::output(w.end().as_str());
    status
}

#[doc(hidden)]
pub fn warm() {
    host::prepare();
    // The first allocations take memory from the host; those of an event find it there.
    drop(Vec::<u8>::with_capacity(64 << 10));
}
