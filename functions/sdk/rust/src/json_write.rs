use crate::json_check::plain;
use crate::json_read::Value;

/// JSON that has been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What can be written as JSON.
pub trait ToJson {
    /// Appends the value to out, as JSON.
    fn to_json(&self, out: &mut String);
}

impl ToJson for str {
    fn to_json(&self, out: &mut String) {
        out.reserve(self.len() + 2);
        out.push('"');
        let mut from = 0;
        loop {
            let i = plain(self.as_bytes(), from);
            out.push_str(&self[from..i]);
            if i == self.len() {
                break;
            }
            let c = self.as_bytes()[i];
            from = i + 1;
            match c {
                b'"' => out.push_str("\\\""),
                b'\\' => out.push_str("\\\\"),
                b'\n' => out.push_str("\\n"),
                b'\t' => out.push_str("\\t"),
                _ => {
                    out.push_str("\\u00");
                    for digit in [c >> 4, c & 15] {
                        out.push(b"0123456789abcdef"[digit as usize] as char);
                    }
                }
            }
        }
        out.push('"');
    }
}

impl ToJson for String {
    fn to_json(&self, out: &mut String) {
        self.as_str().to_json(out)
    }
}

impl ToJson for std::borrow::Cow<'_, str> {
    fn to_json(&self, out: &mut String) {
        (**self).to_json(out)
    }
}

impl ToJson for Json {
    fn to_json(&self, out: &mut String) {
        out.push_str(&self.0)
    }
}

impl ToJson for Value {
    fn to_json(&self, out: &mut String) {
        out.push_str(if self.raw().is_empty() { "null" } else { self.raw() })
    }
}

impl ToJson for bool {
    fn to_json(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" })
    }
}

macro_rules! numbers {
    ($($t:ty),*) => { $(impl ToJson for $t {
        fn to_json(&self, out: &mut String) {
            out.push_str(&self.to_string())
        }
    })* };
}
numbers!(i32, i64, u16, u32, u64, usize);

impl ToJson for f64 {
    /// What is no number in JSON is written as null.
    fn to_json(&self, out: &mut String) {
        if self.is_finite() {
            out.push_str(&self.to_string())
        } else {
            out.push_str("null")
        }
    }
}

impl<T: ToJson + ?Sized> ToJson for &T {
    fn to_json(&self, out: &mut String) {
        (**self).to_json(out)
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self, out: &mut String) {
        match self {
            Some(v) => v.to_json(out),
            None => out.push_str("null"),
        }
    }
}

impl<T: ToJson> ToJson for [T] {
    fn to_json(&self, out: &mut String) {
        out.push('[');
        for (i, v) in self.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            v.to_json(out);
        }
        out.push(']');
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self, out: &mut String) {
        self.as_slice().to_json(out)
    }
}

/// Writes an object a field at a time.
pub struct Writer(String);

impl Writer {
    pub fn object() -> Writer {
        let mut s = String::with_capacity(256);
        s.push('{');
        Writer(s)
    }

    pub fn field(&mut self, key: &str, value: &(impl ToJson + ?Sized)) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        key.to_json(&mut self.0);
        self.0.push(':');
        value.to_json(&mut self.0);
    }

    /// A field that is left out if it is empty.
    pub fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.field(key, value);
        }
    }

    pub fn end(mut self) -> Json {
        self.0.push('}');
        Json(self.0)
    }
}

/// For [`json!`] only.
#[doc(hidden)]
pub fn finish(text: String) -> Json {
    Json(text)
}

/// Makes JSON: `json!({"metadata": {"labels": {key: value}}, "list": [1, (a + b)]})`. Keys and values that are neither literals nor names
/// stand in parentheses; what a value may be says [`ToJson`].
#[macro_export]
macro_rules! json {
    (@write $out:ident { $($key:tt : $value:tt),* $(,)? }) => {{
        $out.push('{');
        let mut _first = true;
        $(
            if !_first { $out.push(','); }
            _first = false;
            $crate::json!(@write $out $key);
            $out.push(':');
            $crate::json!(@write $out $value);
        )*
        $out.push('}');
    }};
    (@write $out:ident [ $($value:tt),* $(,)? ]) => {{
        $out.push('[');
        let mut _first = true;
        $(
            if !_first { $out.push(','); }
            _first = false;
            $crate::json!(@write $out $value);
        )*
        $out.push(']');
    }};
    (@write $out:ident $value:expr) => { $crate::ToJson::to_json(&$value, &mut $out) };
    ($($json:tt)+) => {{
        let mut out = ::std::string::String::with_capacity(128);
        $crate::json!(@write out $($json)+);
        $crate::written(out)
    }};
}
