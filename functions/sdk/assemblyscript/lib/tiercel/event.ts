import { Cursor, Value, same } from "./json_read";
import { Pod } from "./kubernetes";

// An Event is the match a handler is called with: a CloudEvent whose data is an alert. What is not known is "" or 0.
@final
export class Event {
  private data: Value;
  private fields: Value = Value.none;
  private outputFields: Value = Value.none;
  readonly target: Target;

  constructor(
    public readonly json: Value, // all of the event
  ) {
    let target = Value.none;
    const data = (this.data = json.get("data"));
    const at = new Cursor(data, 0x7b);
    while (at.next()) {
      if (same(at.keyStart, at.keyLength, "fields")) this.fields = at.value();
      else if (same(at.keyStart, at.keyLength, "output_fields")) this.outputFields = at.value();
      else if (same(at.keyStart, at.keyLength, "target")) target = at.value();
    }
    this.target = new Target(target);
  }

  get id(): string { return this.json.get("id").text; }
  get source(): string { return this.json.get("source").text; } // /<cluster>/<node>/<source>
  get type(): string { return this.json.get("type").text; }
  get subject(): string { return this.json.get("subject").text; }
  get time(): string { return this.json.get("time").text; } // RFC 3339 with nanoseconds: when the kernel saw it
  get traceparent(): string { return this.json.get("traceparent").text; }
  get rule(): string { return this.json.get("rule").text; }
  get eventSource(): string { return this.json.get("eventsource").text; }
  get hostname(): string { return this.json.get("hostname").text; }
  get output(): string { return this.data.get("output").text; } // the rule's formatted output
  get tags(): Value { return this.data.get("tags"); } // an array of texts

  get priority(): string {
    const v = this.data.get("priority"); // as Falco writes it
    return v.exists ? v.text : this.json.get("priority").text;
  }

  // field returns a field by its name in rules ("fd.sip"): one of the standard fields of its type, or one that the rule's output names.
  field(name: string): Value {
    const v = this.fields.get(name);
    return v.exists ? v : this.outputFields.get(name);
  }
}

// A Target says exactly what an event is about.
@final
export class Target {
  constructor(private json: Value) {}

  get cluster(): string { return this.json.get("cluster").text; }
  get node(): string { return this.json.get("node").text; }
  get namespace(): string { return this.json.get("namespace").text; }
  get podName(): string { return this.json.get("pod").text; }
  get podUID(): string { return this.json.get("podUID").text; }
  get container(): string { return this.json.get("container").text; }
  get containerID(): string { return this.json.get("containerID").text; }
  get image(): string { return this.json.get("image").text; }
  get imageDigest(): string { return this.json.get("imageDigest").text; }
  get cgroupID(): u64 { return this.json.get("cgroupID").uint; }
  get pid(): i64 { return this.json.get("pid").int; }
  get pidStartTime(): u64 { return this.json.get("pidStartTime").uint; }

  // pod returns the event's pod, or null if it has none.
  pod(): Pod | null {
    const namespace = this.namespace, name = this.podName, uid = this.podUID;
    if (!namespace.length || !name.length || !uid.length) return null;
    return new Pod(namespace, name, uid);
  }
}
