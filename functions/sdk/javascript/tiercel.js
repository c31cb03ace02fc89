// The SDK for JavaScript, which the runtime loads into the engine before a function's source. tiercel.d.ts describes what a function sees
// of it. The script's value is a function of the host's functions; what that returns is called by the host:
//
//   call(operation, request)  performs an operation: its response, parsed; throws the parsed error
//   log(level, text)          writes to the invocation's log
//   output(text)              appends to the result
//   random()                  the next of the invocation's random numbers, 0 <= x < 1
//   event()                   the event's text
//   quote(text)               the text as JSON; undefined if that is more than to put it in quotes
//   begin(key, value, …)      the beginning of a JSON object with members whose values are texts, or undefined and left out; undefined if a
//                             value is neither, or if a text is more than to put it in quotes
//   labelValue(text)          the text as the value of a label
//
// Nothing here lasts from one event to the next: each finds the memory as it was when the function had been loaded. What a function does to
// the engine's own objects is its own affair, but what is used below after loading is kept here first.
(function (host) {
  "use strict";
  const { parse, stringify } = JSON;
  const { hasOwn, keys, setPrototypeOf } = Object;
  const { apply } = Reflect;
  const then = Promise.prototype.then;
  const String = globalThis.String;
  const Error = globalThis.Error;

  // ---- errors and outcomes

  class TiercelError extends Error {
    constructor(code, text, retry = false) {
      super(text || code);
      this.code = code;
      this.retry = retry;
    }
  }
  TiercelError.prototype.name = "TiercelError";

  // An Outcome is thrown or returned to say how the invocation ends.
  class Outcome extends Error {
    constructor(outcome, text, cause) {
      super(text);
      this.outcome = outcome;
      if (cause !== undefined) this.cause = cause;
      if (outcome === "failed") this.retry = true;
    }
  }
  Outcome.prototype.name = "Outcome";

  const skip = (why) => new Outcome("skipped", String(why ?? ""));
  const ineffective = (why) => new Outcome("ineffective", String(why ?? ""));
  const retry = (error) => new Outcome("failed", error instanceof Error ? error.message : String(error), error);
  const noPod = () => skip("the event is not about a pod, or its pod was not known");

  const send = (operation, body) => {
    try {
      return host.call(operation, body);
    } catch (error) {
      if (error instanceof Error) throw error;
      throw new TiercelError(error.code, error.text, error.retry);
    }
  };
  const call = (operation, request) => send(operation, request === undefined ? "{}" : stringify(request));

  // What has few members is written by hand: that takes a tenth of what JSON.stringify does.

  // json is JSON.stringify.
  const json = (value) => (typeof value === "string" ? host.quote(value) ?? stringify(value) : stringify(value));
  // member is a member of an object behind another; nothing if its value is undefined.
  const member = (key, value) => {
    if (value === undefined) return "";
    const text = json(value);
    return text === undefined ? "" : `,"${key}":${text}`;
  };

  // ---- Kubernetes

  class Resource {
    constructor(apiVersion, resource, namespace) {
      this.apiVersion = apiVersion;
      this.resource = resource;
      this.namespace = namespace;
    }
    in(namespace) {
      return new Resource(this.apiVersion, this.resource, namespace);
    }
    get(name, options) {
      return send("kubernetes.get", ref(this, name, options?.subresource) + "}").object;
    }
    list({ labelSelector, fieldSelector, max = 1000 } = {}) {
      const items = [];
      const request = ref(this, undefined, undefined, "labelSelector", labelSelector, "fieldSelector", fieldSelector);
      for (let next; ; ) {
        const limit = max - items.length < 200 ? max - items.length : 200;
        const page = send("kubernetes.list", request + member("limit", limit) + member("continue", next) + "}");
        for (let i = 0; i < page.items.length; i++) items[items.length] = page.items[i];
        next = page.continue;
        items.more = !!next;
        if (!next || items.length >= max) return items;
      }
    }
    create(object, options) {
      return send("kubernetes.create", ref(this, options?.name, options?.subresource) + member("object", object) + "}").object;
    }
    patch(name, patch, options) {
      return patchWith(this, name, json(patch), options);
    }
    delete(name, { uid, resourceVersion, graceSeconds, propagation } = {}) {
      const request = ref(this, name, undefined, "uid", uid, "resourceVersion", resourceVersion, "propagation", propagation);
      send("kubernetes.delete", request + member("gracePeriodSeconds", graceSeconds) + "}");
    }
  }
  // ref is how a request about a resource begins, with three members more.
  const ref = (r, name, subresource, a, x, b, y, c, z) =>
    host.begin("apiVersion", r.apiVersion, "resource", r.resource, "subresource", subresource, "namespace", r.namespace, "name", name, a, x, b, y, c, z) ??
    `{"apiVersion":${json(r.apiVersion) ?? null}` +
      member("resource", r.resource) + member("subresource", subresource) + member("namespace", r.namespace) + member("name", name) +
      member(a, x) + member(b, y) + member(c, z);
  // patchWith sends a patch that is JSON already.
  const patchWith = (r, name, patch, options) => {
    let request = ref(r, name, options?.subresource, "type", options?.type, "uid", options?.uid, "resourceVersion", options?.resourceVersion);
    if (patch !== undefined) request += `,"patch":${patch}`;
    return send("kubernetes.patch", request + "}").object;
  };

  class Namespace {
    constructor(name) {
      this.name = name;
    }
    pods() {
      return new Resource("v1", "pods", this.name);
    }
    networkPolicies() {
      return new Resource("networking.k8s.io/v1", "networkpolicies", this.name);
    }
    resource(apiVersion, plural) {
      return new Resource(apiVersion, plural, this.name);
    }
  }

  // A Pod is the one pod with a name and a UID: every write to it is refused if the name has come to belong to another.
  class Pod {
    constructor(target) {
      this.name = target.pod ?? "";
      this.uid = target.podUID ?? "";
      this.exists = !!(target.namespace && this.name && this.uid);
      this.namespace = new Namespace(target.namespace ?? "");
    }
    get() {
      const object = pods(this).get(this.name);
      if (object.metadata.uid !== this.uid) {
        throw new TiercelError("not_found", `pod ${this.namespace.name}/${this.name} is another one now`);
      }
      return object;
    }
    label(key, value) {
      mark(this, "labels", key, value);
    }
    annotate(key, value) {
      mark(this, "annotations", key, value);
    }
    patch(patch) {
      return pods(this).patch(this.name, patch, { uid: this.uid });
    }
    delete(options) {
      pods(this).delete(this.name, { ...options, uid: this.uid });
    }
    evict({ graceSeconds } = {}) {
      const deleteOptions = { preconditions: { uid: this.uid }, gracePeriodSeconds: graceSeconds };
      pods(this).create({ apiVersion: "policy/v1", kind: "Eviction", deleteOptions }, { name: this.name, subresource: "eviction" });
    }
    logs({ container, tailLines, sinceSeconds, previous } = {}) {
      const log = member("log", { container, tailLines, sinceSeconds, previous });
      return send("kubernetes.get", ref(pods(this), this.name, "log") + log + "}").text;
    }
    exec(command, { container } = {}) {
      if (!this.exists) throw noPod();
      const response = call("exec", { namespace: this.namespace.name, pod: this.name, uid: this.uid, container, command });
      return { stdout: "", stderr: "", truncated: false, dryRun: false, ...response, ok: response.exitCode === 0 };
    }
    owner() {
      return { apiVersion: "v1", kind: "Pod", name: this.name, uid: this.uid };
    }
    // skipIfGone makes an operation's error one that ends the invocation as skipped, if it says that the pod is no longer there.
    skipIfGone(error) {
      if (error?.code === "conflict") {
        try {
          this.get();
          return retry(error); // changed by somebody else at the same time
        } catch (now) {
          if (now?.code !== "not_found") return retry(error);
        }
      } else if (error?.code !== "not_found") {
        return error;
      }
      return skip("the pod is gone: " + error.message);
    }
  }
  // mark patches one of the pod's labels or annotations.
  const mark = (pod, kind, key, value) => {
    const marks = host.begin(String(key), value) ?? `{${json(String(key))}:${json(value) ?? null}`;
    patchWith(pods(pod), pod.name, `{"metadata":{"${kind}":${marks}}}}`, pod);
  };
  const pods = (pod) => {
    if (!pod.exists) throw noPod();
    return pod.namespace.pods();
  };

  // ---- the event

  let pod; // the event's

  class Event {
    get output() {
      return this.data.output ?? "";
    }
    get tags() {
      return this.data.tags ?? [];
    }
    get target() {
      return (this.data.target ??= {});
    }
    get pod() {
      return (pod ??= new Pod(this.target));
    }
    get text() {
      return host.event();
    }
    field(name) {
      const { fields, output_fields: named } = this.data;
      if (fields && hasOwn(fields, name)) return fields[name];
      return named && hasOwn(named, name) ? named[name] : undefined;
    }
  }

  // ---- console

  const show = (value) => {
    if (typeof value === "string") return value;
    if (value instanceof Error) return describe(value).stack;
    if (typeof value === "object" && value !== null) {
      try {
        return stringify(value) ?? String(value);
      } catch {
        return "[object]"; // has a cycle, or a BigInt in it
      }
    }
    return String(value);
  };
  const logAt = (level) => (...parts) => {
    let line = "";
    for (let i = 0; i < parts.length; i++) line += (i ? " " : "") + show(parts[i]);
    host.log(level, line);
  };
  const log = logAt(1);
  globalThis.console = { debug: logAt(0), trace: logAt(0), log, info: log, warn: logAt(2), error: logAt(3) };

  // ---- what a function is given

  let config, invocation, data, progressed;
  const tiercel = {
    call,
    skip,
    ineffective,
    retry,
    Error: TiercelError,
    get config() {
      return (config ??= call("config"));
    },
    get invocation() {
      return (invocation ??= call("invocation"));
    },
    progress: (text) => {
      progressed = true; // so that what the handler ends with replaces it
      call("outcome", { outcome: "succeeded", text: String(text) });
    },
    report(key, value) {
      (data ??= {})[key] = value;
    },
    kubernetes: (apiVersion, plural) => new Resource(apiVersion, plural),
    namespace: (name) => new Namespace(name),
    http(request) {
      const { body, ...rest } = typeof request === "string" ? { url: request } : request;
      return new Response(call("http", { method: "GET", ...rest, body: body === undefined || typeof body === "string" ? body : stringify(body) }));
    },
    postJSON: (url, body, headers) =>
      tiercel.http({ method: "POST", url, headers: { "content-type": "application/json", ...headers }, body: stringify(body) }),
    artifact: (name, text, contentType) => call("artifact.put", { name, contentType, text }).digest,
    secret: (name, key) => call("secret", { name, key }).handle,
    kv: {
      get: (key) => call("kv.get", { key }),
      put: (key, value, { ttlSeconds, revision } = {}) => call("kv.put", { key, value, ttlSeconds, revision }).revision,
      delete: (key, { revision } = {}) => void call("kv.delete", { key, revision }),
    },
    labelValue: (text) => host.labelValue(String(text)),
  };
  class Response {
    constructor({ status, headers, body, truncated, dryRun }) {
      this.status = status;
      this.headers = headers ?? {};
      this.body = body ?? "";
      this.truncated = !!truncated;
      this.dryRun = !!dryRun;
    }
    get ok() {
      return this.status >= 200 && this.status <= 299;
    }
    json() {
      return parse(this.body);
    }
  }
  globalThis.tiercel = tiercel;
  Math.random = host.random; // the engine's own has one seed for all events
  delete globalThis.performance; // counts from when the function was loaded

  // ---- what the host calls

  const OWN = "tiercel:sdk";

  // describe says what an error is: a line of text, where it happened in the function's source, and the stack without this file's part.
  const describe = (error) => {
    if (!(error instanceof Error)) {
      let text;
      try {
        text = typeof error === "object" && error !== null ? stringify(error) : String(error);
      } catch {
        text = "a value that is not an Error";
      }
      return { text: "thrown: " + text, at: "", stack: "thrown: " + text };
    }
    let head = "", at = "", frames = "";
    try {
      head = error.name + (error.message ? ": " + error.message : "");
      const lines = String(error.stack ?? "").split("\n");
      for (let i = 0; i < lines.length; i++) {
        const line = lines[i];
        if (line.includes(OWN) || line.includes("(native)") || !line.includes(" at ")) continue;
        frames += "\n" + line;
        if (!at) at = line.slice(line.lastIndexOf(line.endsWith(")") ? "(" : " ") + 1).replace(")", "");
      }
    } catch {
      // by what the function made of its error
    }
    let cause;
    try {
      cause = error.cause;
    } catch {
      // as above
    }
    const stack = head + frames + (cause instanceof Error && cause !== error ? "\ncaused by: " + describe(cause).stack : "");
    return { text: head, at, stack };
  };

  let handler, result, rejected;

  const settle = (value) => {
    result = value instanceof Outcome ? outcomeOf(value) : { outcome: "succeeded" };
  };

  const outcomeOf = (o) => {
    const r = { outcome: o.outcome, text: String(o.message) };
    if (o.outcome === "failed") {
      r.retry = true;
      if (o.cause instanceof TiercelError) r.code = o.cause.code;
    }
    return r;
  };

  const fail = (error) => {
    if (error instanceof Outcome) {
      result = outcomeOf(error);
      return;
    }
    if (error instanceof TiercelError) {
      result = { outcome: "failed", code: error.code, text: String(error.message) };
      if (error.retry) result.retry = true;
      return;
    }
    const { text, at, stack } = describe(error);
    host.log(3, stack);
    result = { outcome: "failed", text: at ? `${text} (${at})` : text };
  };

  // load takes the function's exports.
  const load = (exports) => {
    handler = exports.default;
    if (typeof handler !== "function") {
      throw new TypeError("there is no `export default function (event, tiercel) { … }`");
    }
  };

  // exported returns an export as JSON; "" if there is none.
  const exported = (exports, name) => (name in exports ? stringify(exports[name]) ?? "" : "");

  const dispatch = (event) => {
    config = invocation = pod = undefined; // as they are, unless a benchmark lets the state last
    try {
      if (typeof event !== "object" || event === null) throw new TypeError("the event is not a JSON object");
      setPrototypeOf(event, Event.prototype);
      const alert = (event.data ??= {});
      if (alert.priority) event.priority = alert.priority; // as Falco writes it
      const value = handler(event, tiercel);
      if (typeof value === "object" && value !== null && typeof value.then === "function" && !(value instanceof Outcome)) {
        apply(then, Promise.resolve(value), [settle, fail]);
      } else {
        settle(value);
      }
    } catch (error) {
      fail(error);
    }
  };

  // reject is told of promises that were rejected with nobody to hear it, and of those that somebody heard later.
  const reject = (promise, reason, handled) => {
    rejected ??= [];
    if (!handled) {
      rejected[rejected.length] = { promise, reason };
      return;
    }
    for (let i = 0; i < rejected.length; i++) if (rejected[i].promise === promise) rejected[i].promise = undefined;
  };

  // resultText is the result as JSON, with what was reported.
  const resultText = () => {
    const { outcome, text, code, retry } = result;
    let reported = "";
    const names = data ? keys(data) : [];
    for (let i = 0; i < names.length; i++) {
      const value = json(data[names[i]]);
      if (value !== undefined) reported += `${reported && ","}${json(names[i])}:${value}`;
    }
    const begun = host.begin("outcome", outcome, "text", text, "code", code) ?? `{"outcome":"${outcome}"` + member("text", text) + member("code", code);
    return begun + member("retry", retry) + (data ? `,"data":{${reported}}}` : "}");
  };

  // finish is called when nothing is left to run; it writes the result and returns the status of tiercel_handle.
  const finish = () => {
    if (!result) fail(new Error("the function waits for a promise that nothing will settle"));
    for (let i = 0; rejected && i < rejected.length; i++) {
      if (rejected[i].promise && result.outcome !== "failed") fail(rejected[i].reason);
    }
    if (data || progressed || result.outcome !== "succeeded" || result.text) {
      let text;
      try {
        text = resultText();
      } catch (error) {
        data = undefined;
        fail(error);
        text = resultText();
      }
      host.output(text);
    }
    return result.outcome === "failed" ? 1 : 0;
  };

  // warm does what every event would otherwise be the first to do: the memory is grown and the lists of what is free are filled. Of
  // the function itself nothing runs.
  const warm = () => {
    new ArrayBuffer(768 << 10);
    const sample = '{"id":"x","data":{"priority":"p","output":"' + "o".repeat(1200) + '","fields":{"a":"b"},"target":{"namespace":"n","pod":"p","podUID":"u"}}}';
    const user = handler;
    handler = (event) => {
      try {
        event.pod.label("a", event.field("a"));
      } catch (error) {
        describe(error);
      }
    };
    for (let i = 0; i < 3; i++) {
      dispatch(parse(sample));
      result = pod = undefined;
    }
    handler = user;
  };

  return { load, exported, describe: (error) => stringify(describe(error)), dispatch, finish, reject, warm };
});
