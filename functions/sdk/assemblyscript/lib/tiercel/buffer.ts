// A Buf is UTF-8 text that is being written, in memory of its own.
@final
export class Buf {
  start: usize;
  length: u32 = 0;
  private room: u32;

  constructor(room: u32 = 128) {
    this.room = room;
    this.start = heap.alloc(room);
  }

  private grow(more: u32): usize {
    const need = this.length + more;
    if (need > this.room) {
      this.room = need * 2;
      const start = heap.alloc(this.room);
      memory.copy(start, this.start, this.length);
      this.start = start;
    }
    return this.start + this.length;
  }

  bytes(from: usize, n: u32): void {
    memory.copy(this.grow(n), from, n);
    this.length += n;
  }

  byte(c: u32): void {
    store<u8>(this.grow(1), c);
    this.length++;
  }

  // text writes a text as it is.
  text(s: string): void {
    this.length += this.encode(s, this.grow(3 * s.length), false);
  }

  // quoted writes a text as JSON.
  quoted(s: string): void {
    const to = this.grow(6 * s.length + 2);
    store<u8>(to, 0x22);
    const n = this.encode(s, to + 1, true);
    store<u8>(to + 1 + n, 0x22);
    this.length += n + 2;
  }

  // quotedBytes writes UTF-8 as JSON.
  quotedBytes(from: usize, n: u32): void {
    let to = this.grow(6 * n + 2);
    const start = to;
    store<u8>(to++, 0x22);
    for (const end = from + n; from < end; from++) to = escape(to, load<u8>(from));
    store<u8>(to++, 0x22);
    this.length += <u32>(to - start);
  }

  int(n: i64): void {
    this.text(n.toString());
  }

  // encode writes UTF-8 and returns how many bytes. Half of a pair is replaced.
  private encode(s: string, to: usize, json: bool): u32 {
    const start = to;
    const n = s.length;
    const from = changetype<usize>(s);
    for (let i = 0; i < n; i++) {
      let c: u32 = load<u16>(from + (<usize>i << 1));
      if (c < 0x80) {
        if (json) {
          to = escape(to, c);
        } else {
          store<u8>(to++, c);
        }
        continue;
      }
      if (c >= 0xd800 && c < 0xe000) {
        const low: u32 = c < 0xdc00 && i + 1 < n ? load<u16>(from + (<usize>i << 1), 2) : 0;
        if (low >= 0xdc00 && low < 0xe000) {
          c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
          i++;
        } else {
          c = 0xfffd;
        }
      }
      to = putRune(to, c);
    }
    return <u32>(to - start);
  }
}

function escape(to: usize, c: u32): usize {
  if (c >= 0x20 && c != 0x22 && c != 0x5c) {
    store<u8>(to, c);
    return to + 1;
  }
  store<u8>(to, 0x5c);
  switch (c) {
    case 0x22:
    case 0x5c: store<u8>(to, c, 1); return to + 2;
    case 0x0a: store<u8>(to, 0x6e, 1); return to + 2;
    case 0x09: store<u8>(to, 0x74, 1); return to + 2;
  }
  store<u8>(to, 0x75, 1);
  store<u16>(to, 0x3030, 2);
  store<u8>(to, hex(c >> 4), 4);
  store<u8>(to, hex(c & 15), 5);
  return to + 6;
}

// @ts-ignore: decorator
@inline
function hex(n: u32): u32 {
  return n < 10 ? 0x30 + n : 0x57 + n;
}

// putRune writes a character's UTF-8 and returns the address after it.
export function putRune(to: usize, c: u32): usize {
  if (c < 0x80) {
    store<u8>(to, c);
    return to + 1;
  }
  if (c < 0x800) {
    store<u8>(to, 0xc0 | (c >> 6));
    store<u8>(to, 0x80 | (c & 63), 1);
    return to + 2;
  }
  if (c < 0x10000) {
    store<u8>(to, 0xe0 | (c >> 12));
    store<u8>(to, 0x80 | ((c >> 6) & 63), 1);
    store<u8>(to, 0x80 | (c & 63), 2);
    return to + 3;
  }
  store<u8>(to, 0xf0 | (c >> 18));
  store<u8>(to, 0x80 | ((c >> 12) & 63), 1);
  store<u8>(to, 0x80 | ((c >> 6) & 63), 2);
  store<u8>(to, 0x80 | (c & 63), 3);
  return to + 4;
}
