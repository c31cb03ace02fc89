use crate::json_read::{parse, Value};
use crate::json_write::Json;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

mod imports {
    #[link(wasm_import_module = "tiercel_v1")]
    extern "C" {
        pub fn input(to: *mut u8, room: u32) -> u32;
        pub fn output(from: *const u8, len: u32);
        pub fn call(op: *const u8, op_len: u32, request: *const u8, request_len: u32, response: *mut u8, room: u32) -> u64;
        pub fn response(to: *mut u8, room: u32) -> u32;
        pub fn log(level: i32, text: *const u8, len: u32);
    }
}

/// The room a response is given at first: most fit, and one call does it all.
const FIRST_ROOM: usize = 4 << 10;

/// What kind of error an operation answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Invalid,
    Unsupported,
    Denied,
    Forbidden,
    NotFound,
    Exists,
    Conflict,
    TooLarge,
    Timeout,
    Unavailable,
    Internal,
}

const CODES: [(Code, &str); 11] = [
    (Code::Invalid, "invalid"),
    (Code::Unsupported, "unsupported"),
    (Code::Denied, "denied"),
    (Code::Forbidden, "forbidden"),
    (Code::NotFound, "not_found"),
    (Code::Exists, "exists"),
    (Code::Conflict, "conflict"),
    (Code::TooLarge, "too_large"),
    (Code::Timeout, "timeout"),
    (Code::Unavailable, "unavailable"),
    (Code::Internal, "internal"),
];

impl Code {
    /// The code as the contract writes it.
    pub fn as_str(self) -> &'static str {
        CODES[self as usize].1
    }
}

/// An operation's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub code: Code,
    pub text: String,
    /// Whether trying again can help.
    pub retry: bool,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { self.code.as_str() } else { &self.text })
    }
}

impl std::error::Error for Error {}

fn internal(text: &str) -> Error {
    Error { code: Code::Internal, text: text.to_string(), retry: false }
}

/// Memory that the host fills, and that lives from then on. It is not zeroed: the host writes all that is read.
fn filled(room: usize, fill: impl FnOnce(*mut u8) -> usize) -> Option<&'static str> {
    let mut buf = Vec::<u8>::with_capacity(room);
    let n = fill(buf.as_mut_ptr());
    if n > room {
        return None;
    }
    // SAFETY: the host has written n bytes, which is no more than there is room for.
    unsafe { buf.set_len(n) };
    core::str::from_utf8(Vec::leak(buf)).ok()
}

/// The event's text; "" if it is not UTF-8.
pub fn input(len: u32) -> &'static str {
    // SAFETY: len bytes are written, which is the room there is.
    filled(len as usize, |p| unsafe { imports::input(p, len) } as usize).unwrap_or("")
}

pub fn output(text: &str) {
    // SAFETY: the text is read during the call only.
    unsafe { imports::output(text.as_ptr(), text.len() as u32) }
}

pub fn log(level: i32, text: &str) {
    // SAFETY: the text is read during the call only.
    unsafe { imports::log(level, text.as_ptr(), text.len() as u32) }
}

/// Performs an operation by its name, as `functions/abi` lists them: for those that this crate has no function for.
pub fn call(op: &str, request: &Json) -> core::result::Result<Value, Error> {
    let (op, request) = (op.as_bytes(), request.as_str().as_bytes());
    let (mut failed, mut len) = (false, 0);
    let first = filled(FIRST_ROOM, |p| {
        // SAFETY: all is read and written during the call only, within the lengths given.
        let status = unsafe { imports::call(op.as_ptr(), op.len() as u32, request.as_ptr(), request.len() as u32, p, FIRST_ROOM as u32) };
        failed = status >> 32 != 0;
        len = status as u32 as usize;
        len
    });
    let text = if len > FIRST_ROOM {
        // SAFETY: len bytes are written, which is the room there is.
        filled(len, |p| unsafe { imports::response(p, len as u32) } as usize)
    } else {
        first
    };
    let value = text.and_then(parse).ok_or_else(|| internal("the response is not JSON"))?;
    if !failed {
        return Ok(value);
    }
    let code = value.get("code");
    let code = CODES.iter().find(|c| code.is(c.1)).map_or(Code::Internal, |c| c.0);
    Err(Error { code, text: value.get("text").text().into(), retry: value.get("retry").bool() })
}

/// Has a panic's message reported: with panic = "abort" it is all that is left of it.
pub fn prepare() {
    static PREPARED: AtomicBool = AtomicBool::new(false);
    if PREPARED.swap(true, Ordering::Relaxed) {
        return;
    }
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        log(3, &text);
        let _ = call("outcome", &crate::json!({"outcome": "failed", "text": text}));
    }));
}
