// A guest that leaves behind what it can, and reports what it finds: in its globals, on its heap, and in memory it grew.
import { Event, Outcome, handle, report } from "tiercel";
export { tiercel_handle, tiercel_warm } from "tiercel";

let calls: i32 = 0;
let last: string = "";
const kept: Array<Uint8Array> = [];

handle((ev: Event): Outcome => {
  calls++;
  report().text("calls", calls.toString()).text("last", last).text("kept", kept.length > 0 ? "something" : "");
  last = ev.id;
  const bytes = new Uint8Array(ev.subject == "grow" ? 12 << 20 : 4096);
  bytes.fill(107);
  kept.push(bytes);
  return Outcome.done();
});
