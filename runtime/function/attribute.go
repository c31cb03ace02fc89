package function

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/tiercel-project/tiercel/bus"
)

// Attribute is the value of an attribute of an event as text: rule, priority, source, hostname, target.<key> or the name of a field. What
// the event has not is empty.
func Attribute(e *bus.Event, m *bus.MatchData, name string) string {
	switch name {
	case "rule":
		return m.Rule
	case "priority":
		return m.Priority
	case "source":
		return m.Source
	case "hostname":
		return m.Hostname
	}
	if v, ok := targetAttribute(&m.Target, name); ok {
		return v
	}
	for _, raw := range []json.RawMessage{m.Fields, m.OutputFields} {
		var fields map[string]any
		if json.Unmarshal(raw, &fields) == nil {
			if v, ok := fields[name]; ok && v != nil {
				return fmt.Sprint(v)
			}
		}
	}
	return ""
}

func targetAttribute(t *bus.Target, name string) (string, bool) {
	switch name {
	case "target.cluster":
		return t.Cluster, true
	case "target.node":
		return t.Node, true
	case "target.namespace":
		return t.Namespace, true
	case "target.pod":
		return t.Pod, true
	case "target.podUID":
		return t.PodUID, true
	case "target.container":
		return t.Container, true
	case "target.containerID":
		return t.ContainerID, true
	case "target.image":
		return t.Image, true
	case "target.imageDigest":
		return t.ImageDigest, true
	case "target.pid":
		return strconv.Itoa(int(t.PID)), true
	}
	return "", false
}
