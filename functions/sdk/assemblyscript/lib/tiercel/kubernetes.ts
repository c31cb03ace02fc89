import { Answer } from "./handle";
import { Buf } from "./buffer";
import { List, Obj } from "./json_write";
import { Value } from "./json_read";
import { call, part } from "./operations";

// A Resource is a kind of Kubernetes resource, in a namespace if it is namespaced.
@final
export class Resource {
  constructor(
    private apiVersion: string,
    private plural: string,
    private namespace: string = "",
  ) {}

  // within returns the resource in a namespace.
  within(namespace: string): Resource {
    return new Resource(this.apiVersion, this.plural, namespace);
  }

  request(name: string, subresource: string): Obj {
    const r = new Obj().text("apiVersion", this.apiVersion).text("resource", this.plural);
    if (this.namespace.length) r.text("namespace", this.namespace);
    if (name.length) r.text("name", name);
    if (subresource.length) r.text("subresource", subresource);
    return r;
  }

  // get returns an object.
  get(name: string): Answer {
    return part(call("kubernetes.get", this.request(name, "").end()), "object");
  }

  // list returns one response: "items", and "continue" if there are more.
  list(o: ListOptions = new ListOptions()): Answer {
    const r = this.request("", "");
    if (o.labelSelector.length) r.text("labelSelector", o.labelSelector);
    if (o.fieldSelector.length) r.text("fieldSelector", o.fieldSelector);
    if (o.limit) r.int("limit", o.limit);
    if (o.from.length) r.text("continue", o.from);
    return call("kubernetes.list", r.end());
  }

  // create creates an object and returns it. Without metadata.name the runtime gives it one (metadata.generateName is that name's prefix).
  create(object: Obj): Answer {
    return part(call("kubernetes.create", this.request("", "").obj("object", object).end()), "object");
  }

  // patch changes the object of that name and returns it; type is merge, json (add, remove and
  // replace alone), strategic or apply. uid, unless empty, must be the object's.
  patch(name: string, uid: string, patch: Value, type: string = "merge"): Answer {
    const r = this.request(name, "").value("patch", patch);
    if (type != "merge") r.text("type", type);
    if (uid.length) r.text("uid", uid);
    return part(call("kubernetes.patch", r.end()), "object");
  }

  // delete deletes the object of that name and UID. graceSeconds below 0: the object's own.
  delete(name: string, uid: string, graceSeconds: i32 = -1): Answer {
    const r = this.request(name, "").text("uid", uid);
    if (graceSeconds >= 0) r.int("gracePeriodSeconds", graceSeconds);
    return call("kubernetes.delete", r.end());
  }
}

// ListOptions narrows a list.
@final
export class ListOptions {
  labelSelector: string = "";
  fieldSelector: string = "";
  limit: u32 = 0; // objects in one response, 1 to 500; 0: 100
  from: string = ""; // "continue" of the response before
}

// kubernetes returns a kind of resource, without a namespace: kubernetes("apps/v1", "deployments").within("shop").
export function kubernetes(apiVersion: string, plural: string): Resource {
  return new Resource(apiVersion, plural);
}

// A Pod is the one pod with a name and a UID. Every write to it is refused if the name has come to belong to another.
@final
export class Pod {
  constructor(
    public namespace: string,
    public name: string,
    public uid: string,
  ) {}

  private get resource(): Resource {
    return new Resource("v1", "pods", this.namespace);
  }

  // get returns the pod's object. If the name has come to belong to another pod, the code is not_found.
  get(): Answer {
    const a = this.resource.get(this.name);
    if (a.ok && !a.value.get("metadata").get("uid").is(this.uid)) {
      return new Answer(Value.none, "not_found", "pod " + this.namespace + "/" + this.name + " is another one now");
    }
    return a;
  }

  // patch merges a patch into the pod.
  patch(patch: Obj): Answer {
    return this.resource.patch(this.name, this.uid, patch.end());
  }

  // label sets a label. value must be a label's: see labelValue.
  label(key: string, value: string): Answer {
    return this.patch(new Obj().obj("metadata", new Obj().obj("labels", new Obj().text(key, value))));
  }

  annotate(key: string, value: string): Answer {
    return this.patch(new Obj().obj("metadata", new Obj().obj("annotations", new Obj().text(key, value))));
  }

  // delete deletes the pod. graceSeconds below 0: the pod's own.
  delete(graceSeconds: i32 = -1): Answer {
    return this.resource.delete(this.name, this.uid, graceSeconds);
  }

  // evict asks for the pod's eviction, which disruption budgets may refuse.
  evict(): Answer {
    const options = new Obj().obj("preconditions", new Obj().text("uid", this.uid));
    const eviction = new Obj().text("apiVersion", "policy/v1").text("kind", "Eviction").obj("deleteOptions", options);
    return call("kubernetes.create", this.resource.request(this.name, "eviction").obj("object", eviction).end());
  }

  // exec runs a command in a container, without a shell and without input, and returns "exitCode", "stdout" and "stderr". It must be, word
  // for word, one that the grant lists. container may be empty if there is only one.
  exec(container: string, command: string[]): Answer {
    const words = new List();
    for (let i = 0; i < command.length; i++) words.text(command[i]);
    const r = new Obj().text("namespace", this.namespace).text("pod", this.name).text("uid", this.uid);
    if (container.length) r.text("container", container);
    return call("exec", r.list("command", words).end());
  }

  // log returns the last lines of a container's log as a text. container may be empty if there is only one.
  log(container: string, lines: u32): Answer {
    const options = new Obj().int("tailLines", lines);
    if (container.length) options.text("container", container);
    return part(call("kubernetes.get", this.resource.request(this.name, "log").obj("log", options).end()), "text");
  }
}

// labelValue makes a label's value of any text: what may not be in one becomes "_", it is cut to 63 characters, and begins and ends with
// a letter or digit.
export function labelValue(s: string): string {
  const b = new Buf(3 * s.length + 1);
  b.text(s);
  let from = b.start, to = b.start + min<u32>(b.length, 63);
  for (let p = from; p < to; p++) {
    const c = load<u8>(p);
    if (!alphanumeric(c) && c != 0x2d && c != 0x2e) store<u8>(p, 0x5f);
  }
  while (from < to && !alphanumeric(load<u8>(from))) from++;
  while (from < to && !alphanumeric(load<u8>(to - 1))) to--;
  return String.UTF8.decodeUnsafe(from, to - from);
}

function alphanumeric(c: u32): bool {
  return (c >= 0x30 && c <= 0x39) || ((c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a);
}
