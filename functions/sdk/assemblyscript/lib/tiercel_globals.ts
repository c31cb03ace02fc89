// What the compiler is told to use (--use) in the place of its imports from "env", which the runtime does not have.
import { hostCall, hostLog } from "./tiercel/host";
import { Buf } from "./tiercel/buffer";

// @ts-ignore: decorator
@global
export function tiercel_abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const b = new Buf();
  if (message) b.text(message);
  b.text(" at ");
  if (file) b.text(file);
  b.text(":");
  b.int(line);
  b.text(":");
  b.int(column);
  hostLog(3, b.start, b.length);
  const r = new Buf();
  r.text('{"outcome":"failed","text":');
  r.quotedBytes(b.start, b.length);
  r.text("}");
  const op = new Buf();
  op.text("outcome");
  hostCall(op.start, op.length, r.start, r.length, 0, 0);
  unreachable();
}

// @ts-ignore: decorator
@global
export function tiercel_trace(message: string, n: i32, a0: f64, a1: f64, a2: f64, a3: f64, a4: f64): void {
  const b = new Buf();
  b.text(message);
  for (let i = 0; i < n; i++) {
    b.text(" ");
    b.text((i == 0 ? a0 : i == 1 ? a1 : i == 2 ? a2 : i == 3 ? a3 : a4).toString());
  }
  hostLog(0, b.start, b.length);
}

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "random_get")
declare function randomGet(to: usize, n: u32): u32;

// @ts-ignore: decorator
@global
export function tiercel_seed(): f64 {
  const at = heap.alloc(8);
  randomGet(at, 8);
  return reinterpret<f64>(load<u64>(at));
}
