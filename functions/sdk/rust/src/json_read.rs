use crate::json_check::{document, plain, space, text, value};
use std::borrow::Cow;

/// A JSON value within a document that is known to be well-formed. The default one does not exist: everything asked of it is empty too,
/// so a path may be followed without a check at each step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Value {
    raw: &'static str,
}

/// Checks a document; None if it is not JSON.
pub fn parse(text: &'static str) -> Option<Value> {
    let (start, end) = document(text.as_bytes())?;
    Some(Value { raw: &text[start..end] })
}

impl Value {
    fn kind(self) -> u8 {
        self.raw.as_bytes().first().copied().unwrap_or(0)
    }

    /// Whether there is such a value, other than null.
    pub fn exists(self) -> bool {
        !matches!(self.kind(), 0 | b'n')
    }

    pub fn is_text(self) -> bool {
        self.kind() == b'"'
    }

    pub fn is_map(self) -> bool {
        self.kind() == b'{'
    }

    pub fn is_array(self) -> bool {
        self.kind() == b'['
    }

    /// The value as JSON, or "".
    pub fn raw(self) -> &'static str {
        self.raw
    }

    /// A text's content, a number's or boolean's JSON, and "" for all else.
    pub fn text(self) -> Cow<'static, str> {
        match self.kind() {
            b'"' => unquote(self.raw),
            0 | b'n' | b'{' | b'[' => Cow::Borrowed(""),
            _ => Cow::Borrowed(self.raw),
        }
    }

    /// [`Value::text`] as a text that lives as long as the program.
    pub fn str(self) -> &'static str {
        match self.text() {
            Cow::Borrowed(s) => s,
            Cow::Owned(s) => Box::leak(s.into_boxed_str()),
        }
    }

    /// Whether the value is this text.
    pub fn is(self, text: &str) -> bool {
        self.is_text() && same(self.raw, text)
    }

    /// A whole number within 64 bits, and 0 for all else.
    pub fn int(self) -> i64 {
        if self.is_text() {
            return 0;
        }
        self.raw.parse().unwrap_or(0)
    }

    /// A whole number of up to 64 bits, written as a number or as a text of digits, and 0 for all else.
    pub fn uint(self) -> u64 {
        let digits = self.raw.trim_matches('"');
        if digits.starts_with('+') {
            return 0;
        }
        digits.parse().unwrap_or(0)
    }

    /// A number, and 0 for all else.
    pub fn float(self) -> f64 {
        if self.is_text() {
            return 0.0;
        }
        self.raw.parse().unwrap_or(0.0)
    }

    /// Whether the value is true.
    pub fn bool(self) -> bool {
        self.raw == "true"
    }

    /// The value of a map's key. If a map has a key twice, the first counts.
    pub fn get(self, key: &str) -> Value {
        let mut fields = self.fields();
        while let Some((name, value)) = fields.next_raw() {
            if same(name, key) {
                return value;
            }
        }
        Value::default()
    }

    /// Follows the keys of maps.
    pub fn path(self, keys: &[&str]) -> Value {
        keys.iter().fold(self, |v, key| v.get(key))
    }

    /// The keys and values of a map.
    pub fn fields(self) -> Fields {
        Fields(Cursor::new(self.raw, b'{'))
    }

    /// The values of an array.
    pub fn items(self) -> Items {
        Items(Cursor::new(self.raw, b'['))
    }
}

/// Whether a string as it is written, with its quotes, is this text.
fn same(quoted: &'static str, text: &str) -> bool {
    let inner = &quoted.as_bytes()[1..quoted.len() - 1];
    if inner.len() <= text.len() {
        return inner == text.as_bytes() && plain(inner, 0) == inner.len(); // an escape is longer than what it stands for
    }
    plain(inner, 0) < inner.len() && unquote(quoted) == text
}

/// Where an iterator is in a map or array.
struct Cursor {
    s: &'static str,
    at: usize, // of what comes next, or of the closing bracket
}

impl Cursor {
    fn new(raw: &'static str, open: u8) -> Cursor {
        if raw.as_bytes().first() != Some(&open) {
            return Cursor { s: "]", at: 0 };
        }
        Cursor { s: raw, at: space(raw.as_bytes(), 1) }
    }

    fn done(&self) -> bool {
        matches!(self.s.as_bytes()[self.at], b'}' | b']')
    }

    fn take(&mut self) -> &'static str {
        let (s, start) = (self.s.as_bytes(), self.at);
        let end = skip(s, start);
        self.at = space(s, end);
        if matches!(s.get(self.at), Some(b',' | b':')) {
            self.at = space(s, self.at + 1);
        }
        &self.s[start..end]
    }
}

/// The keys and values of a map.
pub struct Fields(Cursor);

impl Fields {
    fn next_raw(&mut self) -> Option<(&'static str, Value)> {
        if self.0.done() {
            return None;
        }
        Some((self.0.take(), Value { raw: self.0.take() }))
    }
}

/// Goes through a document that nobody has looked at yet, and checks it meanwhile. Where it is not JSON, what is asked of it is None.
pub(crate) struct Reader {
    s: &'static str,
    start: usize, // of the document's value
    at: usize,
    depth: usize,
}

impl Reader {
    pub(crate) fn new(s: &'static str) -> Reader {
        let start = space(s.as_bytes(), 0);
        Reader { s, start, at: start, depth: 0 }
    }

    /// The whole document, which has been gone through.
    pub(crate) fn end(&self) -> Option<Value> {
        (space(self.s.as_bytes(), self.at) == self.s.len()).then(|| Value { raw: &self.s[self.start..self.at] })
    }

    /// The value that comes next.
    pub(crate) fn value(&mut self) -> Option<Value> {
        let start = self.at;
        self.at = value(self.s.as_bytes(), start, self.depth)?;
        Some(Value { raw: &self.s[start..self.at] })
    }

    /// [`Value::str`] of the value that comes next.
    pub(crate) fn str(&mut self) -> Option<&'static str> {
        let start = self.at;
        if self.s.as_bytes().get(start) != Some(&b'"') {
            return self.value().map(Value::str);
        }
        let (end, escapes) = text(self.s.as_bytes(), start)?;
        self.at = end;
        if escapes {
            return Some(Value { raw: &self.s[start..end] }.str());
        }
        Some(&self.s[start + 1..end - 1])
    }

    /// Goes through the value that comes next if it is a map, with f for each key, which takes that key's value; past it if it is none.
    #[inline]
    pub(crate) fn map(&mut self, mut f: impl FnMut(&mut Reader, &str) -> Option<()>) -> Option<()> {
        let s = self.s.as_bytes();
        if s.get(self.at) != Some(&b'{') {
            return self.value().map(drop);
        }
        self.at = space(s, self.at + 1);
        if s.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Some(());
        }
        self.depth += 1;
        loop {
            if s.get(self.at) != Some(&b'"') {
                return None;
            }
            let key = self.str()?;
            self.at = space(s, self.at);
            if s.get(self.at) != Some(&b':') {
                return None;
            }
            self.at = space(s, self.at + 1);
            f(self, key)?;
            self.at = space(s, self.at);
            match *s.get(self.at)? {
                b',' => self.at = space(s, self.at + 1),
                b'}' => break,
                _ => return None,
            }
        }
        self.at += 1;
        self.depth -= 1;
        Some(())
    }
}

impl Iterator for Fields {
    type Item = (Cow<'static, str>, Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_raw().map(|(key, value)| (unquote(key), value))
    }
}

/// The values of an array.
pub struct Items(Cursor);

impl Iterator for Items {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        if self.0.done() {
            return None;
        }
        Some(Value { raw: self.0.take() })
    }
}

/// The index after the value that begins at i of a checked document.
fn skip(s: &[u8], i: usize) -> usize {
    match s[i] {
        b'"' => skip_string(s, i),
        b'{' | b'[' => skip_container(s, i),
        _ => i + s[i..].iter().take_while(|c| !matches!(c, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'}' | b']')).count(),
    }
}

fn skip_string(s: &[u8], i: usize) -> usize {
    let mut i = i + 1;
    loop {
        i = plain(s, i);
        match s[i] {
            b'"' => return i + 1,
            _ => i += 2, // an escape
        }
    }
}

fn skip_container(s: &[u8], mut i: usize) -> usize {
    let mut depth = 0;
    loop {
        match s[i] {
            b'"' => {
                i = skip_string(s, i);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            _ => {}
        }
        i += 1;
    }
}

/// The content of a checked string with its quotes.
fn unquote(quoted: &'static str) -> Cow<'static, str> {
    let s = &quoted[1..quoted.len() - 1];
    let mut escape = plain(s.as_bytes(), 0); // of what it stops at, only backslashes are in a string
    if escape == s.len() {
        return Cow::Borrowed(s);
    }
    let (mut out, mut rest) = (String::with_capacity(s.len()), s);
    loop {
        out.push_str(&rest[..escape]);
        rest = &rest[escape + 1..];
        let c = rest.as_bytes()[0];
        rest = &rest[1..];
        match c {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let (c, used) = unicode(rest);
                out.push(c);
                rest = &rest[used..];
            }
            c => out.push(c as char),
        }
        match rest.find('\\') {
            None => {
                out.push_str(rest);
                return Cow::Owned(out);
            }
            Some(i) => escape = i,
        }
    }
}

/// The character of the four hexadecimal digits that s begins with, and how many bytes it took: twelve, with another escape, for a pair.
fn unicode(s: &str) -> (char, usize) {
    let hex = |s: &str| u32::from_str_radix(&s[..4], 16).unwrap_or(0);
    let first = hex(s);
    if let Some(c) = char::from_u32(first) {
        return (c, 4);
    }
    let second = match s.get(4..).and_then(|s| s.strip_prefix("\\u")) {
        Some(s) if first < 0xdc00 => hex(s),
        _ => 0,
    };
    if (0xdc00..0xe000).contains(&second) {
        if let Some(c) = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)) {
            return (c, 10);
        }
    }
    (char::REPLACEMENT_CHARACTER, 4)
}
