// Whether a document is JSON. Reading assumes it afterwards.

const maxDepth = 128;

export function space(p: usize, end: usize): usize {
  while (p < end) {
    const c = load<u8>(p);
    if (c != 0x20 && c != 0x0a && c != 0x0d && c != 0x09) break;
    p++;
  }
  return p;
}

// check returns the address after the well-formed value at p, or 0.
export function check(p: usize, end: usize, depth: i32): usize {
  if (p >= end || depth > maxDepth) return 0;
  switch (load<u8>(p)) {
    case 0x22: return checkString(p, end);
    case 0x7b: return checkMap(p, end, depth);
    case 0x5b: return checkArray(p, end, depth);
    case 0x74: return end - p >= 4 && load<u32>(p) == 0x65757274 ? p + 4 : 0; // true
    case 0x66: return end - p >= 5 && load<u32>(p, 1) == 0x65736c61 ? p + 5 : 0; // false
    case 0x6e: return end - p >= 4 && load<u32>(p) == 0x6c6c756e ? p + 4 : 0; // null
  }
  return checkNumber(p, end);
}

function checkMap(p: usize, end: usize, depth: i32): usize {
  p = space(p + 1, end);
  if (p < end && load<u8>(p) == 0x7d) return p + 1;
  while (p < end && load<u8>(p) == 0x22) {
    p = checkString(p, end);
    if (!p) return 0;
    p = space(p, end);
    if (p >= end || load<u8>(p) != 0x3a) return 0;
    p = check(space(p + 1, end), end, depth + 1);
    if (!p) return 0;
    p = space(p, end);
    if (p >= end) return 0;
    const c = load<u8>(p);
    if (c == 0x7d) return p + 1;
    if (c != 0x2c) return 0;
    p = space(p + 1, end);
  }
  return 0;
}

function checkArray(p: usize, end: usize, depth: i32): usize {
  p = space(p + 1, end);
  if (p < end && load<u8>(p) == 0x5d) return p + 1;
  while (true) {
    p = check(p, end, depth + 1);
    if (!p) return 0;
    p = space(p, end);
    if (p >= end) return 0;
    const c = load<u8>(p);
    if (c == 0x5d) return p + 1;
    if (c != 0x2c) return 0;
    p = space(p + 1, end);
  }
}

const ones: u64 = 0x0101010101010101;
const highs: u64 = 0x8080808080808080;

// plain returns the address of the first byte from p on that has a meaning in a JSON text: a quote, a backslash, a control character, or
// one that is not ASCII. Where there is room it looks at eight at a time.
export function plain(p: usize, end: usize): usize {
  for (; p + 8 <= end; p += 8) {
    const x = load<u64>(p);
    const quote = x ^ (ones * 0x22), backslash = x ^ (ones * 0x5c);
    const found = (((x - ones * 0x20) & ~x) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | x) & highs;
    if (found) return p + (<usize>ctz(found) >> 3);
  }
  for (; p < end; p++) {
    const c: u32 = load<u8>(p);
    if (c < 0x20 || c == 0x22 || c == 0x5c || c >= 0x80) break;
  }
  return p;
}

function checkString(p: usize, end: usize): usize {
  p++;
  while (true) {
    p = plain(p, end);
    if (p >= end) return 0;
    const c: u32 = load<u8>(p);
    if (c == 0x22) return p + 1;
    if (c < 0x20) return 0;
    p = c == 0x5c ? checkEscape(p + 1, end) : checkRune(p, end);
    if (!p) return 0;
  }
}

// checkRune returns the address after the character that begins at p and is not ASCII, or 0.
function checkRune(p: usize, end: usize): usize {
  const c: u32 = load<u8>(p);
  const more: usize = c >= 0xc2 && c <= 0xdf ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 0;
  if (!more || end - p <= more) return 0;
  let low: u32 = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
  let high: u32 = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
  for (let i: usize = 1; i <= more; i++) {
    const next: u32 = load<u8>(p + i);
    if (next < low || next > high) return 0;
    low = 0x80;
    high = 0xbf;
  }
  return p + more + 1;
}

// checkEscape returns the address after the escape whose letter is at p, or 0.
function checkEscape(p: usize, end: usize): usize {
  if (p >= end) return 0;
  switch (load<u8>(p)) {
    case 0x22: case 0x5c: case 0x2f: case 0x62: case 0x66: case 0x6e: case 0x72: case 0x74: return p + 1;
    case 0x75: break;
    default: return 0;
  }
  if (end - p < 5) return 0;
  for (let i: usize = 1; i <= 4; i++) {
    const h: u32 = load<u8>(p + i);
    const l = h | 0x20;
    if ((h < 0x30 || h > 0x39) && (l < 0x61 || l > 0x66)) return 0;
  }
  return p + 5;
}

function checkNumber(p: usize, end: usize): usize {
  if (load<u8>(p) == 0x2d) p++;
  if (p < end && load<u8>(p) == 0x30) {
    p++;
  } else {
    p = digits(p, end);
    if (!p) return 0;
  }
  if (p < end && load<u8>(p) == 0x2e) {
    p = digits(p + 1, end);
    if (!p) return 0;
  }
  if (p < end && (load<u8>(p) | 0x20) == 0x65) {
    p++;
    if (p < end && (load<u8>(p) == 0x2b || load<u8>(p) == 0x2d)) p++;
    return digits(p, end);
  }
  return p;
}

// digits returns the address after the digits at p, of which there must be one, or 0.
function digits(p: usize, end: usize): usize {
  const start = p;
  while (p < end && load<u8>(p) >= 0x30 && load<u8>(p) <= 0x39) p++;
  return p == start ? 0 : p;
}
