import { Buf } from "./buffer";
import { Value } from "./json_read";

// An Obj is a JSON object that is being written, a field at a time: new Obj().text("name", name).obj("labels", labels).
@final
export class Obj {
  private buf: Buf = new Buf();

  private key(key: string): Buf {
    const b = this.buf;
    b.byte(b.length ? 0x2c : 0x7b);
    b.quoted(key);
    b.byte(0x3a);
    return b;
  }

  text(key: string, s: string): Obj {
    this.key(key).quoted(s);
    return this;
  }

  int(key: string, n: i64): Obj {
    this.key(key).int(n);
    return this;
  }

  uint(key: string, n: u64): Obj {
    this.key(key).text(n.toString());
    return this;
  }

  bool(key: string, b: bool): Obj {
    this.key(key).text(b ? "true" : "false");
    return this;
  }

  value(key: string, v: Value): Obj {
    const b = this.key(key);
    if (v.length) b.bytes(v.start, v.length);
    else b.text("null");
    return this;
  }

  obj(key: string, o: Obj): Obj {
    return this.value(key, o.end());
  }

  list(key: string, l: List): Obj {
    return this.value(key, l.end());
  }

  // end returns the object; no field is added afterwards.
  end(): Value {
    const b = this.buf;
    if (!b.length) b.byte(0x7b);
    b.byte(0x7d);
    return new Value(b.start, b.length);
  }
}

// A List is a JSON array that is being written.
@final
export class List {
  private buf: Buf = new Buf();

  private item(): Buf {
    this.buf.byte(this.buf.length ? 0x2c : 0x5b);
    return this.buf;
  }

  text(s: string): List {
    this.item().quoted(s);
    return this;
  }

  int(n: i64): List {
    this.item().int(n);
    return this;
  }

  value(v: Value): List {
    this.item().bytes(v.start, v.length);
    return this;
  }

  obj(o: Obj): List {
    return this.value(o.end());
  }

  end(): Value {
    const b = this.buf;
    if (!b.length) b.byte(0x5b);
    b.byte(0x5d);
    return new Value(b.start, b.length);
  }
}
