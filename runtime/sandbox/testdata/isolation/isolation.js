// A guest that leaves behind what it can, and reports what it finds: in its globals, on its heap, in memory it grew, and promises.
export const manifest = { name: "isolation-javascript" };

let calls = 0;
let last = "";
const kept = [];

export default function (event, tiercel) {
  tiercel.report("calls", ++calls);
  tiercel.report("last", last);
  tiercel.report("kept", kept.length + Object.keys(globalThis.left ?? {}).length);
  last = event.id;
  globalThis.left = { [event.id]: true };
  Array.prototype.left = event.id;
  if (event.subject === "leave") {
    for (let i = 0; i < 100; i++) new Promise(() => {}).then(() => kept.push(i));
    Promise.resolve().then(() => kept.push("later"));
  }
  kept.push(new Uint8Array(event.subject === "grow" ? 12 << 20 : 4096).fill(107));
}
