import { Buf } from "./buffer";
import { Answer } from "./handle";
import { hostCall, hostLog, hostResponse } from "./host";
import { Obj } from "./json_write";
import { Value, parse } from "./json_read";

const firstRoom: u32 = 4 << 10; // for a response at first: most fit, and one call does it all

// call performs an operation by its name, as functions/abi lists them.
export function call(op: string, request: Value): Answer {
  const name = new Buf(64);
  name.text(op);
  let response = heap.alloc(firstRoom);
  const status = hostCall(name.start, name.length, request.start, request.length, response, firstRoom);
  const n = <u32>status;
  if (n > firstRoom) {
    response = heap.alloc(n);
    hostResponse(response, n);
  }
  const v = parse(response, n);
  if (!v.length) return new Answer(Value.none, "internal", op + ": the response is not JSON");
  if (!(status >> 32)) return new Answer(v);
  const code = v.get("code").text;
  return new Answer(Value.none, code.length ? code : "internal", v.get("text").text, v.get("retry").bool);
}

// config returns the function's configuration, with the defaults of the manifest's schema.
export function config(): Value {
  return call("config", new Obj().end()).value; // local: it does not fail
}

// invocationID returns the id of this invocation, which is the same for every attempt at the same event.
export function invocationID(): string {
  return call("invocation", new Obj().end()).value.get("id").text;
}

// functionName returns the name the function is deployed under.
export function functionName(): string {
  return call("invocation", new Obj().end()).value.get("function").text;
}

// progress says how far the handler has come. It is reported if the function is stopped before it returns.
export function progress(text: string): void {
  call("outcome", new Obj().text("outcome", "succeeded").text("text", text).end());
}

let reported: Obj | null = null;

// report adds to the data that is shown with the invocation: report().text("pod", name).
export function report(): Obj {
  let r = reported;
  if (r == null) {
    r = new Obj();
    reported = r;
  }
  return r;
}

export function takeReport(): Obj | null {
  const r = reported;
  reported = null;
  return r;
}

function logAt(level: i32, text: string): void {
  const b = new Buf();
  b.text(text);
  hostLog(level, b.start, b.length);
}

// log writes a line to the invocation's log.
export function log(text: string): void {
  logAt(1, text);
}

export function warn(text: string): void {
  logAt(2, text);
}

export function debug(text: string): void {
  logAt(0, text);
}

// secret returns a text, the handle of a secret, to be used in the URL or a header of an HTTP request, where the runtime fills in the
// value; the function never sees it. key names one of a Secret's several.
export function secret(name: string, key: string = ""): Answer {
  const r = new Obj().text("name", name);
  if (key.length) r.text("key", key);
  return part(call("secret", r.end()), "handle");
}

// http sends a request and returns "status", "headers", "body".
export function http(method: string, url: string, headers: Obj | null = null, body: string = ""): Answer {
  const r = new Obj().text("method", method).text("url", url);
  if (headers != null) r.obj("headers", headers);
  if (body.length) r.text("body", body);
  return call("http", r.end());
}

// postJSON sends JSON by POST.
export function postJSON(url: string, body: Obj): Answer {
  return http("POST", url, new Obj().text("content-type", "application/json"), body.end().raw);
}

// kvGet returns "value" and "revision" of a key; the revision is 0 if there is none.
export function kvGet(key: string): Answer {
  return call("kv.get", new Obj().text("key", key).end());
}

// kvPut sets a key, whatever it was, for ttlSeconds or, if that is 0, for ever. It returns the new revision.
export function kvPut(key: string, value: string, ttlSeconds: u32 = 0): Answer {
  const r = new Obj().text("key", key).text("value", value);
  if (ttlSeconds) r.int("ttlSeconds", ttlSeconds);
  return part(call("kv.put", r.end()), "revision");
}

// kvUpdate is kvPut if the key's revision is still the one given (0: there is no such key); otherwise the code is conflict.
export function kvUpdate(key: string, value: string, revision: u64, ttlSeconds: u32 = 0): Answer {
  const r = new Obj().text("key", key).text("value", value).uint("revision", revision);
  if (ttlSeconds) r.int("ttlSeconds", ttlSeconds);
  return part(call("kv.put", r.end()), "revision");
}

// kvDelete removes a key; one that does not exist is no error.
export function kvDelete(key: string): Answer {
  return call("kv.delete", new Obj().text("key", key).end());
}

// artifact keeps a text as evidence: it is listed with the action under its name. It returns the text's digest.
export function artifact(name: string, text: string): Answer {
  return part(call("artifact.put", new Obj().text("name", name).text("text", text).end()), "digest");
}

// part is an answer of which one field is asked for.
export function part(a: Answer, key: string): Answer {
  if (a.ok) a.value = a.value.get(key);
  return a;
}
