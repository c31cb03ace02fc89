// A guest that reads a document, which the operation "read" answers with, by the SDK's functions and writes it again.
import { Event, List, Obj, Outcome, Value, call, handle, report } from "tiercel";
export { tiercel_handle, tiercel_warm } from "tiercel";

function copyMap(v: Value): Obj {
  const out = new Obj();
  const fields = v.fields;
  for (let i = 0; i < fields.length; i++) {
    const key = fields[i].key, value = fields[i].value;
    if (value.isMap) out.obj(key, copyMap(value));
    else if (value.isArray) out.list(key, copyList(value));
    else if (value.isText) out.text(key, value.text);
    else out.value(key, value);
  }
  return out;
}

function copyList(v: Value): List {
  const out = new List();
  const items = v.items;
  for (let i = 0; i < items.length; i++) {
    const value = items[i];
    if (value.isMap) out.obj(copyMap(value));
    else if (value.isArray) out.value(copyList(value).end());
    else if (value.isText) out.text(value.text);
    else out.value(value);
  }
  return out;
}

handle((ev: Event): Outcome => {
  const a = call("read", new Obj().end());
  if (!a.ok) return Outcome.skip(a.text);
  const v = a.value;
  if (v.isMap) report().obj("read", copyMap(v));
  else if (v.isArray) report().list("read", copyList(v));
  else if (v.isText) report().text("read", v.text);
  else report().value("read", v);
  return Outcome.done();
});
