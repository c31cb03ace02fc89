use crate::host::{self, call, Error};
use crate::json;
use crate::json_read::Value;
use crate::json_write::{Json, ToJson, Writer};
use std::cell::{Cell, RefCell};

type Answer<T> = core::result::Result<T, Error>;

thread_local! {
    static CONFIG: Cell<Option<Value>> = Cell::new(None);
    static REPORT: RefCell<Option<Writer>> = RefCell::new(None);
}

/// The function's configuration, with the defaults of the manifest's schema.
pub fn config() -> Value {
    CONFIG.with(|kept| {
        let v = kept.get().unwrap_or_else(|| call("config", &json!({})).unwrap_or_default()); // local: it does not fail
        kept.set(Some(v));
        v
    })
}

/// The id of this invocation, which is the same for every attempt at the same event, and the name the function is deployed under.
pub fn invocation() -> (&'static str, &'static str) {
    let v = call("invocation", &json!({})).unwrap_or_default(); // local: it does not fail
    (v.get("id").str(), v.get("function").str())
}

/// Says how far the handler has come. It is reported if the function is stopped before it returns.
pub fn progress(text: &str) {
    let _ = call("outcome", &json!({"outcome": "succeeded", "text": text})); // local: it does not fail
}

/// Adds a value to the data that is shown with the invocation, under a key of the function's own.
pub fn report(key: &str, value: impl ToJson) {
    REPORT.with(|r| r.borrow_mut().get_or_insert_with(Writer::object).field(key, &value));
}

/// What was reported. It also forgets what is kept of an event, for a host that keeps an instance.
pub(crate) fn take_report() -> Option<Json> {
    CONFIG.with(|c| c.set(None));
    REPORT.with(|r| r.borrow_mut().take()).map(Writer::end)
}

/// Writes a line to the invocation's log.
pub fn log(text: impl AsRef<str>) {
    host::log(1, text.as_ref())
}

/// [`log`] at level warn.
pub fn warn(text: impl AsRef<str>) {
    host::log(2, text.as_ref())
}

/// The handle of a secret, to be used in the URL or a header of an HTTP request, where the runtime fills in the value; the function never
/// sees it. key names one of a Secret's several; it may be empty.
pub fn secret(name: &str, key: &str) -> Answer<&'static str> {
    let mut w = Writer::object();
    w.field("name", name);
    w.text("key", key);
    Ok(call("secret", &w.end())?.get("handle").str())
}

/// An HTTP request. Its URL, or a handle of a secret in it, must be granted to the function.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// Default GET.
    pub method: &'a str,
    pub url: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a str,
}

/// An HTTP response, of whatever status.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// A map of content-type, retry-after and location only.
    pub headers: Value,
    pub body: &'static str,
    /// The body was too long.
    pub truncated: bool,
    /// Nothing was sent.
    pub dry_run: bool,
}

impl Response {
    /// Whether the status is 200 to 299.
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Sends an HTTP request.
pub fn http(r: &Request) -> Answer<Response> {
    let mut w = Writer::object();
    w.field("method", if r.method.is_empty() { "GET" } else { r.method });
    w.field("url", r.url);
    if !r.headers.is_empty() {
        let mut headers = Writer::object();
        for (key, value) in r.headers {
            headers.field(key, *value);
        }
        w.field("headers", &headers.end());
    }
    w.text("body", r.body);
    let v = call("http", &w.end())?;
    Ok(Response {
        status: v.get("status").int() as u16,
        headers: v.get("headers"),
        body: v.get("body").str(),
        truncated: v.get("truncated").bool(),
        dry_run: v.get("dryRun").bool(),
    })
}

/// Sends JSON by POST.
pub fn post_json(url: &str, body: &Json) -> Answer<Response> {
    http(&Request { method: "POST", url, headers: &[("content-type", "application/json")], body: body.as_str() })
}

/// The value kept under one of the function's keys, and its revision: 0 if there is none.
pub fn kv_get(key: &str) -> Answer<(&'static str, u64)> {
    let v = call("kv.get", &json!({"key": key}))?;
    Ok((v.get("value").str(), v.get("revision").uint()))
}

/// Sets a key for ttl_seconds or, if that is 0, for ever, and returns the new revision. With a revision, the key's must be that one (0:
/// there is no such key); otherwise the error's code is conflict.
pub fn kv_put(key: &str, value: &str, revision: Option<u64>, ttl_seconds: u64) -> Answer<u64> {
    let mut w = Writer::object();
    w.field("key", key);
    w.field("value", value);
    if let Some(revision) = revision {
        w.field("revision", &revision);
    }
    if ttl_seconds > 0 {
        w.field("ttlSeconds", &ttl_seconds);
    }
    Ok(call("kv.put", &w.end())?.get("revision").uint())
}

/// Removes a key; one that does not exist is no error.
pub fn kv_delete(key: &str) -> Answer<()> {
    call("kv.delete", &json!({"key": key})).map(|_| ())
}

/// Keeps text as evidence: it is listed with the action under its name. Returns the text's digest.
pub fn artifact(name: &str, text: &str) -> Answer<&'static str> {
    Ok(call("artifact.put", &json!({"name": name, "text": text}))?.get("digest").str())
}
