import { check, plain, space } from "./json_check";
import { putRune } from "./buffer";

// A Value is a JSON value within a document that is known to be well-formed. Value.none does not exist: everything asked of it is
// empty too, so a path may be followed without a check at each step.
@final
export class Value {
  constructor(
    public start: usize, // of its JSON, in UTF-8
    public length: u32, // 0: it does not exist
  ) {}

  static get none(): Value {
    return none;
  }

  // The first byte, which tells the kind.
  @inline
  get kind(): u32 {
    return this.length ? load<u8>(this.start) : 0;
  }

  // Whether there is such a value, other than null.
  get exists(): bool {
    return this.length != 0 && this.kind != 0x6e;
  }

  get isText(): bool {
    return this.kind == 0x22;
  }

  get isMap(): bool {
    return this.kind == 0x7b;
  }

  get isArray(): bool {
    return this.kind == 0x5b;
  }

  // The value as JSON, or "".
  get raw(): string {
    return String.UTF8.decodeUnsafe(this.start, this.length);
  }

  // A text's content, a number's or boolean's JSON, and "" for all else.
  get text(): string {
    switch (this.kind) {
      case 0: case 0x6e: case 0x7b: case 0x5b: return "";
      case 0x22: break;
      default: return this.raw;
    }
    return unquote(this.start + 1, this.length - 2);
  }

  // Whether the value is this text.
  is(s: string): bool {
    return this.isText && same(this.start + 1, this.length - 2, s);
  }

  // A whole number of up to 64 bits, written as a number or as a text of digits, and 0 for all else.
  get uint(): u64 {
    const quote: u32 = this.isText ? 1 : 0;
    return number(this.start + quote, this.length - 2 * quote);
  }

  // A whole number within 64 bits, and 0 for all else.
  get int(): i64 {
    if (this.isText) return 0;
    const minus: u32 = this.kind == 0x2d ? 1 : 0;
    const n = number(this.start + minus, this.length - minus);
    if (n > <u64>i64.MAX_VALUE + minus) return 0;
    return minus ? <i64>(0 - n) : <i64>n;
  }

  // A number, and 0 for all else.
  get float(): f64 {
    const k = this.kind;
    return k == 0x2d || (k >= 0x30 && k <= 0x39) ? parseFloat(this.raw) : 0;
  }

  // Whether the value is true.
  get bool(): bool {
    return this.kind == 0x74;
  }

  // get returns the value of a map's key. If a map has a key twice, the first counts.
  get(key: string): Value {
    const at = new Cursor(this, 0x7b);
    while (at.next()) if (same(at.keyStart, at.keyLength, key)) return at.value();
    return none;
  }

  // path follows keys of maps.
  path(keys: string[]): Value {
    let v: Value = this;
    for (let i = 0; i < keys.length; i++) v = v.get(keys[i]);
    return v;
  }

  // The values of an array.
  get items(): Value[] {
    const out: Value[] = [];
    const at = new Cursor(this, 0x5b);
    while (at.next()) out.push(at.value());
    return out;
  }

  // The keys and values of a map.
  get fields(): Field[] {
    const out: Field[] = [];
    const at = new Cursor(this, 0x7b);
    while (at.next()) out.push(new Field(unquote(at.keyStart, at.keyLength), at.value()));
    return out;
  }
}

const none = new Value(0, 0);

@final
export class Field {
  constructor(
    public key: string,
    public value: Value,
  ) {}
}

// parse checks a document of n bytes; the value does not exist if it is not JSON.
export function parse(start: usize, n: u32): Value {
  const end = start + n;
  const from = space(start, end);
  const to = check(from, end, 0);
  if (!to || space(to, end) != end) return none;
  return new Value(from, <u32>(to - from));
}

// A Cursor goes through a map or an array.
@final
export class Cursor {
  private at: usize = 0;
  private end: usize = 0; // the closing bracket
  keyStart: usize = 0; // without its quotes, as it is written
  keyLength: u32 = 0;
  valueStart: usize = 0;
  valueLength: u32 = 0;

  constructor(v: Value, open: u32) {
    if (v.kind == open) {
      this.end = v.start + v.length - 1;
      this.at = space(v.start + 1, this.end);
    }
  }

  next(): bool {
    let p = this.at;
    const end = this.end;
    if (p == end) return false;
    if (load<u8>(end) == 0x7d) {
      const after = skipString(p, end);
      this.keyStart = p + 1;
      this.keyLength = <u32>(after - p - 2);
      p = space(space(after, end) + 1, end); // past the colon
    }
    const after = skip(p, end);
    this.valueStart = p;
    this.valueLength = <u32>(after - p);
    p = space(after, end);
    this.at = p == end ? p : space(p + 1, end);
    return true;
  }

  value(): Value {
    return new Value(this.valueStart, this.valueLength);
  }
}

function skipString(p: usize, end: usize): usize {
  p++;
  while (true) {
    p = plain(p, end);
    const c = load<u8>(p++);
    if (c == 0x22) return p;
    if (c == 0x5c) p++;
  }
}

function skip(p: usize, end: usize): usize {
  const first = load<u8>(p);
  if (first == 0x22) return skipString(p, end);
  if (first != 0x7b && first != 0x5b) {
    while (p < end) {
      const c = load<u8>(p);
      if (c <= 0x20 || c == 0x2c || c == 0x7d || c == 0x5d) break;
      p++;
    }
    return p;
  }
  let depth = 0;
  while (true) {
    const c = load<u8>(p);
    if (c == 0x22) {
      p = skipString(p, end);
      continue;
    }
    if (c == 0x7b || c == 0x5b) depth++;
    if ((c == 0x7d || c == 0x5d) && --depth == 0) return p + 1;
    p++;
  }
}

// same compares a string's inside, as it is written, with a text.
export function same(start: usize, n: u32, s: string): bool {
  const length = <u32>s.length;
  const text = changetype<usize>(s);
  for (let i: u32 = 0; i < n; i++) {
    const c: u32 = load<u8>(start + i);
    if (c == 0x5c || c >= 0x80) return unquote(start, n) == s;
    if (i >= length || c != load<u16>(text + (<usize>i << 1))) return false;
  }
  return n == length;
}

function number(p: usize, n: u32): u64 {
  let out: u64 = 0;
  for (const end = p + n; p < end; p++) {
    const digit = <u64>load<u8>(p) - 0x30;
    if (digit > 9 || out > (u64.MAX_VALUE - digit) / 10) return 0;
    out = out * 10 + digit;
  }
  return out;
}

// unquote returns the text of a checked string's inside.
function unquote(start: usize, n: u32): string {
  let p = start;
  const end = start + n;
  while (p < end && load<u8>(p) != 0x5c) p++;
  if (p == end) return String.UTF8.decodeUnsafe(start, n);
  const out = heap.alloc(n);
  memory.copy(out, start, p - start);
  let w = out + (p - start);
  while (p < end) {
    const c = load<u8>(p++);
    if (c != 0x5c) {
      store<u8>(w++, c);
      continue;
    }
    const letter = load<u8>(p++);
    switch (letter) {
      case 0x62: store<u8>(w++, 8); break;
      case 0x66: store<u8>(w++, 12); break;
      case 0x6e: store<u8>(w++, 10); break;
      case 0x72: store<u8>(w++, 13); break;
      case 0x74: store<u8>(w++, 9); break;
      case 0x75: {
        let r = hex4(p);
        p += 4;
        if (r >= 0xd800 && r < 0xe000) {
          const low = r < 0xdc00 && end - p >= 6 && load<u16>(p) == 0x755c ? hex4(p + 2) : 0;
          if (low >= 0xdc00 && low < 0xe000) {
            r = 0x10000 + ((r - 0xd800) << 10) + (low - 0xdc00);
            p += 6;
          } else {
            r = 0xfffd;
          }
        }
        w = putRune(w, r);
        break;
      }
      default: store<u8>(w++, letter);
    }
  }
  return String.UTF8.decodeUnsafe(out, w - out);
}

function hex4(p: usize): u32 {
  let out: u32 = 0;
  for (let i = 0; i < 4; i++) {
    const c: u32 = load<u8>(p++);
    out = (out << 4) | (c <= 0x39 ? c - 0x30 : (c | 0x20) - 0x57);
  }
  return out;
}
