use crate::json_read::{Reader, Value};
use crate::kubernetes::Pod;
use crate::Ended;

/// The match a handler is called with: a CloudEvent whose data is an alert. What is not known is empty.
#[derive(Clone, Debug, Default)]
pub struct Event {
    pub id: &'static str,
    /// `/<cluster>/<node>/<source>`
    pub source: &'static str,
    pub kind: &'static str,
    pub subject: &'static str,
    /// RFC 3339 with nanoseconds: when the kernel saw it.
    pub time: &'static str,
    pub traceparent: &'static str,
    pub rule: &'static str,
    pub priority: &'static str,
    pub event_source: &'static str,
    pub hostname: &'static str,
    /// The rule's formatted output.
    pub output: &'static str,
    /// An array of texts.
    pub tags: Value,
    pub target: Target,
    /// All of the event.
    pub json: Value,
    fields: Value,
    output_fields: Value,
}

impl Event {
    /// A field by its name in rules ("fd.sip"): one of the standard fields of its type, or one that the rule's output names.
    pub fn field(&self, name: &str) -> Value {
        let v = self.fields.get(name);
        if v.exists() {
            return v;
        }
        self.output_fields.get(name)
    }
}

/// Exactly what an event is about.
#[derive(Clone, Debug, Default)]
pub struct Target {
    pub cluster: &'static str,
    pub node: &'static str,
    pub namespace: &'static str,
    pub pod_name: &'static str,
    pub pod_uid: &'static str,
    pub container: &'static str,
    pub container_id: &'static str,
    pub image: &'static str,
    pub image_digest: &'static str,
    pub cgroup_id: u64,
    pub pid: i64,
    pub pid_start_time: u64,
}

impl Target {
    /// The event's pod. An event without one ends the invocation as skipped.
    pub fn pod(&self) -> Result<Pod, Ended> {
        if self.namespace.is_empty() || self.pod_name.is_empty() || self.pod_uid.is_empty() {
            return crate::skip("the event is not about a pod, or its pod was not known");
        }
        Ok(Pod { namespace: self.namespace, name: self.pod_name, uid: self.pod_uid })
    }
}

/// Goes through an event once.
pub fn parse_event(text: &'static str) -> Option<Event> {
    let mut ev = Event::default();
    let mut priority = None;
    let mut r = Reader::new(text);
    r.map(|r, key| {
        match key {
            "id" => ev.id = r.str()?,
            "source" => ev.source = r.str()?,
            "type" => ev.kind = r.str()?,
            "subject" => ev.subject = r.str()?,
            "time" => ev.time = r.str()?,
            "traceparent" => ev.traceparent = r.str()?,
            "rule" => ev.rule = r.str()?,
            "priority" => ev.priority = r.str()?,
            "eventsource" => ev.event_source = r.str()?,
            "hostname" => ev.hostname = r.str()?,
            "data" => priority = parse_data(&mut ev, r)?,
            _ => drop(r.value()?),
        }
        Some(())
    })?;
    ev.json = r.end()?;
    ev.priority = priority.unwrap_or(ev.priority); // as Falco writes it
    Some(ev)
}

/// Reads the alert and returns its priority. Of a key that is there twice, the last counts.
fn parse_data(ev: &mut Event, r: &mut Reader) -> Option<Option<&'static str>> {
    let mut priority = None;
    let (mut output, mut tags, mut target) = ("", Value::default(), Target::default());
    let (mut standard, mut output_fields) = (Value::default(), Value::default());
    r.map(|r, key| {
        match key {
            "output" => output = r.str()?,
            "tags" => tags = r.value()?,
            "priority" => priority = Some(r.str()?),
            "fields" => standard = r.value()?,
            "output_fields" => output_fields = r.value()?,
            "target" => target = parse_target(r)?,
            _ => drop(r.value()?),
        }
        Some(())
    })?;
    (ev.output, ev.tags, ev.target, ev.fields, ev.output_fields) = (output, tags, target, standard, output_fields);
    Some(priority)
}

fn parse_target(r: &mut Reader) -> Option<Target> {
    let mut t = Target::default();
    r.map(|r, key| {
        match key {
            "cluster" => t.cluster = r.str()?,
            "node" => t.node = r.str()?,
            "namespace" => t.namespace = r.str()?,
            "pod" => t.pod_name = r.str()?,
            "podUID" => t.pod_uid = r.str()?,
            "container" => t.container = r.str()?,
            "containerID" => t.container_id = r.str()?,
            "image" => t.image = r.str()?,
            "imageDigest" => t.image_digest = r.str()?,
            "cgroupID" => t.cgroup_id = r.value()?.uint(),
            "pid" => t.pid = r.value()?.int(),
            "pidStartTime" => t.pid_start_time = r.value()?.uint(),
            _ => drop(r.value()?),
        }
        Some(())
    })?;
    Some(t)
}
