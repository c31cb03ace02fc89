import { Buf } from "./buffer";
import { Event } from "./event";
import { hostInput, hostOutput } from "./host";
import { Obj } from "./json_write";
import { Value, parse } from "./json_read";
import { takeReport } from "./operations";

// An Answer is what an operation answered with: a value, or an error.
@final
export class Answer {
  constructor(
    public value: Value,
    public code: string = "", // of the error: "denied", "not_found", …: functions/abi lists them
    public text: string = "", // of the error
    public retry: bool = false, // whether trying again can help
  ) {}

  get ok(): bool {
    return !this.code.length;
  }
}

// An Outcome is how an invocation ends.
@final
export class Outcome {
  private constructor(
    public outcome: string,
    public text: string,
    public code: string = "",
    public retry: bool = false,
  ) {}

  static done(): Outcome {
    return new Outcome("succeeded", "");
  }

  // There is nothing to do for this event; why says the reason.
  static skip(why: string): Outcome {
    return new Outcome("skipped", why);
  }

  static noPod(): Outcome {
    return Outcome.skip("the event is not about a pod, or its pod was not known");
  }

  // It was done, but does not have the effect it is for.
  static ineffective(why: string): Outcome {
    return new Outcome("ineffective", why);
  }

  static fail(text: string): Outcome {
    return new Outcome("failed", text);
  }

  // It failed by an operation's error.
  static failed(a: Answer): Outcome {
    return new Outcome("failed", a.text, a.code, a.retry);
  }
}

let handler: ((ev: Event) => Outcome) | null = null;

// handle registers the function's handler; call it once, at the top of the function's file.
export function handle(f: (ev: Event) => Outcome): void {
  handler = f;
}

// What the runtime calls, for the function's own file to export.
export function tiercel_handle(n: u32): i32 {
  const event = heap.alloc(n);
  hostInput(event, n);
  const v = parse(event, n);
  const f = handler;
  let o: Outcome;
  if (!v.length) o = Outcome.fail("the event is not JSON");
  else if (f == null) o = Outcome.fail("no handler: call handle in the function's file");
  else o = f(new Event(v));
  const result = new Obj().text("outcome", o.outcome);
  if (o.code.length) result.text("code", o.code);
  if (o.text.length) result.text("text", o.text);
  if (o.retry) result.bool("retry", true);
  const report = takeReport();
  if (report != null) result.obj("data", report);
  const out = result.end();
  hostOutput(out.start, out.length);
  return o.outcome == "failed" ? 1 : 0;
}

// Memory that is had already need not be asked for in every event.
export function tiercel_warm(): void {
  new Buf(64 << 10);
}
