package tiercel

import "errors"

// An Event is the match a handler is called with: a CloudEvent whose data is an alert. All of its text may be an attacker's: it belongs
// into data, never into commands, URLs or selectors.
type Event struct {
	ID          string
	Source      string // /<cluster>/<node>/<source>
	Type        string // dev.tiercel.rule.matched.v1
	Subject     string // <namespace>/<pod>, or the host name
	Time        string // RFC 3339 with nanoseconds: when the kernel saw it
	TraceParent string // W3C trace context; may be empty

	Rule        string
	Priority    string // Falco's: Emergency, Alert, Critical, Error, Warning, Notice, Informational, Debug
	EventSource string // syscall, k8s_audit
	Hostname    string
	Output      string // the rule's formatted output
	Tags        []string
	Target      Target

	JSON Value // all of the event

	fields, outputFields Value // of its data
}

// Field returns a field of the event by its name in rules ("fd.sip"): one of the standard fields of its type, or one that the
// rule's output names.
func (ev Event) Field(name string) Value {
	if v := ev.fields.get(name); v.Exists() {
		return v
	}
	return ev.outputFields.get(name)
}

// A Target says exactly what an event is about. What is not known is empty.
type Target struct {
	Cluster      string
	Node         string
	Namespace    string
	PodName      string
	PodUID       string
	Container    string
	ContainerID  string
	Image        string
	ImageDigest  string
	CgroupID     uint64
	PID          int64
	PIDStartTime uint64
}

// parse fills in an event, in place: it is large.
func (ev *Event) parse(data []byte) error {
	v, err := ParseJSON(data)
	if err != nil {
		return errors.New("the event is not JSON")
	}
	ev.JSON = v
	var alert Value
	for c := v.cursor('{'); c.more(); c.pastField() {
		value := c.value()
		switch c.key() {
		case "id":
			ev.ID = value.String()
		case "source":
			ev.Source = value.String()
		case "type":
			ev.Type = value.String()
		case "subject":
			ev.Subject = value.String()
		case "time":
			ev.Time = value.String()
		case "traceparent":
			ev.TraceParent = value.String()
		case "rule":
			ev.Rule = value.String()
		case "priority":
			ev.Priority = value.String()
		case "eventsource":
			ev.EventSource = value.String()
		case "hostname":
			ev.Hostname = value.String()
		case "data":
			alert = value
		}
	}
	for c := alert.cursor('{'); c.more(); c.pastField() {
		value := c.value()
		switch c.key() {
		case "output":
			ev.Output = value.String()
		case "tags":
			ev.Tags = value.Strings()
		case "priority":
			ev.Priority = value.String() // as Falco writes it
		case "fields":
			ev.fields = value
		case "output_fields":
			ev.outputFields = value
		case "target":
			ev.Target.parse(value)
		}
	}
	return nil
}

func (t *Target) parse(v Value) {
	for c := v.cursor('{'); c.more(); c.pastField() {
		value := c.value()
		switch c.key() {
		case "cluster":
			t.Cluster = value.String()
		case "node":
			t.Node = value.String()
		case "namespace":
			t.Namespace = value.String()
		case "pod":
			t.PodName = value.String()
		case "podUID":
			t.PodUID = value.String()
		case "container":
			t.Container = value.String()
		case "containerID":
			t.ContainerID = value.String()
		case "image":
			t.Image = value.String()
		case "imageDigest":
			t.ImageDigest = value.String()
		case "cgroupID":
			t.CgroupID = value.Uint()
		case "pid":
			t.PID = value.Int()
		case "pidStartTime":
			t.PIDStartTime = value.Uint()
		}
	}
}
