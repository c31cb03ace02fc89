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

// parse fills in an event, in place: it is large. pad bytes follow data.
func (ev *Event) parse(data []byte) error {
	v, err := parse(data)
	if err != nil {
		return errors.New("the event is not JSON")
	}
	ev.JSON = v
	var alert Value
	for c := v.cursor(Map); ; {
		key, text, value, ok := c.next()
		if !ok {
			break
		}
		switch key {
		case "id":
			ev.ID = text
		case "source":
			ev.Source = text
		case "type":
			ev.Type = text
		case "subject":
			ev.Subject = text
		case "time":
			ev.Time = text
		case "traceparent":
			ev.TraceParent = text
		case "rule":
			ev.Rule = text
		case "priority":
			ev.Priority = text
		case "eventsource":
			ev.EventSource = text
		case "hostname":
			ev.Hostname = text
		case "data":
			alert = value
		}
	}
	for c := alert.cursor(Map); ; {
		key, text, value, ok := c.next()
		if !ok {
			break
		}
		switch key {
		case "output":
			ev.Output = text
		case "tags":
			ev.Tags = value.Strings()
		case "priority":
			ev.Priority = text // as Falco writes it
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
	for c := v.cursor(Map); ; {
		key, text, value, ok := c.next()
		if !ok {
			break
		}
		switch key {
		case "cluster":
			t.Cluster = text
		case "node":
			t.Node = text
		case "namespace":
			t.Namespace = text
		case "pod":
			t.PodName = text
		case "podUID":
			t.PodUID = text
		case "container":
			t.Container = text
		case "containerID":
			t.ContainerID = text
		case "image":
			t.Image = text
		case "imageDigest":
			t.ImageDigest = text
		case "cgroupID":
			t.CgroupID = whole(text)
		case "pid":
			t.PID = value.Int()
		case "pidStartTime":
			t.PIDStartTime = whole(text)
		}
	}
}
