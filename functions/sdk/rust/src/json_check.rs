//! Whether a document is JSON. Reading assumes it afterwards.

const MAX_DEPTH: usize = 128;

/// Returns where the document's value is, or None. The text is UTF-8 already.
pub fn document(s: &[u8]) -> Option<(usize, usize)> {
    let start = space(s, 0);
    let end = value(s, start, 0)?;
    if space(s, end) != s.len() {
        return None;
    }
    Some((start, end))
}

pub fn space(s: &[u8], mut i: usize) -> usize {
    while i < s.len() && matches!(s[i], b' ' | b'\n' | b'\r' | b'\t') {
        i += 1;
    }
    i
}

/// Goes behind the value that begins at i, in depth arrays and maps.
pub fn value(s: &[u8], i: usize, depth: usize) -> Option<usize> {
    if depth > MAX_DEPTH {
        return None;
    }
    match *s.get(i)? {
        b'"' => string(s, i),
        b'{' => container(s, i, depth, true),
        b'[' => container(s, i, depth, false),
        b't' => word(s, i, b"true"),
        b'f' => word(s, i, b"false"),
        b'n' => word(s, i, b"null"),
        _ => number(s, i),
    }
}

fn word(s: &[u8], i: usize, word: &[u8]) -> Option<usize> {
    s[i..].starts_with(word).then(|| i + word.len())
}

fn container(s: &[u8], i: usize, depth: usize, map: bool) -> Option<usize> {
    let close = if map { b'}' } else { b']' };
    let mut i = space(s, i + 1);
    if s.get(i) == Some(&close) {
        return Some(i + 1);
    }
    loop {
        if map {
            if s.get(i) != Some(&b'"') {
                return None;
            }
            i = space(s, string(s, i)?);
            if s.get(i) != Some(&b':') {
                return None;
            }
            i = space(s, i + 1);
        }
        i = space(s, value(s, i, depth + 1)?);
        match *s.get(i)? {
            b',' => i = space(s, i + 1),
            c if c == close => return Some(i + 1),
            _ => return None,
        }
    }
}

/// The first index from i on whose byte has a meaning in a JSON text: a quote, a backslash, a control character. Where there is room it
/// looks at 16 at a time.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub fn plain(s: &[u8], mut i: usize) -> usize {
    #[cfg(target_arch = "wasm32")]
    while s.len() - i >= 16 {
        use core::arch::wasm32::*;
        // SAFETY: there are 16 bytes, and loads need no alignment.
        let x = unsafe { v128_load(s.as_ptr().add(i) as *const v128) };
        let special = v128_or(u8x16_lt(x, u8x16_splat(b' ')), v128_or(u8x16_eq(x, u8x16_splat(b'"')), u8x16_eq(x, u8x16_splat(b'\\'))));
        let mask = u8x16_bitmask(special);
        if mask != 0 {
            return i + mask.trailing_zeros() as usize;
        }
        i += 16;
    }
    while i < s.len() && s[i] >= b' ' && s[i] != b'"' && s[i] != b'\\' {
        i += 1;
    }
    i
}

fn string(s: &[u8], i: usize) -> Option<usize> {
    text(s, i).map(|(end, _)| end)
}

/// Goes behind the string that begins at i, and says whether it has escapes.
#[inline]
pub fn text(s: &[u8], i: usize) -> Option<(usize, bool)> {
    let (mut i, mut escapes) = (i + 1, false);
    loop {
        i = plain(s, i);
        match *s.get(i)? {
            b'"' => return Some((i + 1, escapes)),
            b'\\' => {
                escapes = true;
                i += 1;
                match *s.get(i)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => i += 1,
                    b'u' => {
                        if !s.get(i + 1..i + 5)?.iter().all(u8::is_ascii_hexdigit) {
                            return None;
                        }
                        i += 5;
                    }
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
}

fn number(s: &[u8], mut i: usize) -> Option<usize> {
    let digits = |mut i: usize| {
        let start = i;
        while i < s.len() && s[i].is_ascii_digit() {
            i += 1;
        }
        (i > start).then_some(i)
    };
    if s.get(i) == Some(&b'-') {
        i += 1;
    }
    i = if s.get(i) == Some(&b'0') { i + 1 } else { digits(i)? };
    if s.get(i) == Some(&b'.') {
        i = digits(i + 1)?;
    }
    if matches!(s.get(i), Some(&b'e') | Some(&b'E')) {
        i += 1;
        if matches!(s.get(i), Some(&b'+') | Some(&b'-')) {
            i += 1;
        }
        i = digits(i)?;
    }
    Some(i)
}
