// The SDK for functions in AssemblyScript.
//
// A function's assembly/index.ts registers its handler and exports what the runtime calls:
//
//	import { handle, labelValue, Event, Outcome } from "tiercel";
//	export { tiercel_handle, tiercel_warm } from "tiercel";
//
//	handle((ev: Event): Outcome => {
//	  const pod = ev.target.pod();
//	  if (pod == null) return Outcome.noPod();
//	  const labelled = pod.label("example.com/seen", labelValue(ev.rule));
//	  return labelled.ok ? Outcome.done() : Outcome.failed(labelled);
//	});
//
// tiercel fn build compiles it and adds manifest.json. For each Event that its triggers select, the runtime starts it afresh and calls
// the handler once; nothing in memory lasts from one event to the next, so it is compiled with the runtime "stub", which never frees.
// AssemblyScript has no exceptions to catch: what can fail returns an Answer. What the operations do, which errors they have and which
// limits hold is said in functions/abi.
//
// All text of an event may be an attacker's: it belongs into data (Obj), never into commands, URLs or selectors.
export { Value, Field, parse } from "./tiercel/json_read";
export { Obj, List } from "./tiercel/json_write";
export { Event, Target } from "./tiercel/event";
export { Resource, ListOptions, Pod, kubernetes, labelValue } from "./tiercel/kubernetes";
export { Answer, Outcome, handle, tiercel_handle, tiercel_warm } from "./tiercel/handle";
export {
  call, config, invocationID, functionName, progress, report, log, warn, debug, secret, http, postJSON, kvGet, kvPut, kvUpdate, kvDelete,
  artifact,
} from "./tiercel/operations";
