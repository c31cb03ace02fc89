package extract

import (
	"path"
	"slices"
	"strconv"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
)

// hostName is what Falco calls the container of processes that are in none.
const hostName = "host"

var containerFields = class{
	field.ContainerID: text(func(e *Event) (string, bool) { s := e.containerID(); return s, s != "" }),
	field.ContainerFullID: text(func(e *Event) (string, bool) {
		if e.id.IsHost() {
			return hostName, true
		}
		return e.id.Container, e.id.Container != ""
	}),
	field.ContainerName: text(func(e *Event) (string, bool) {
		if e.id.IsHost() {
			return hostName, true
		}
		return e.told(func(in *container.Info) string { return in.Name })
	}),
	field.ContainerType: text(func(e *Event) (string, bool) {
		if e.id.IsHost() {
			return hostName, true
		}
		return e.id.Runtime, e.id.Runtime != ""
	}),
	field.ContainerImage: text(func(e *Event) (string, bool) { return e.told(func(in *container.Info) string { return in.Image }) }),
	field.ContainerImageID: text(func(e *Event) (string, bool) {
		return e.told(func(in *container.Info) string { return in.ImageID })
	}),
	field.ContainerImageDigest: text(func(e *Event) (string, bool) {
		return e.told(func(in *container.Info) string { return in.ImageDigest })
	}),
	field.ContainerImageRepository: text(func(e *Event) (string, bool) {
		return e.told(func(in *container.Info) string { r, _, _ := container.SplitImage(in.Image); return r })
	}),
	field.ContainerImageTag: text(func(e *Event) (string, bool) {
		return e.told(func(in *container.Info) string { _, t, _ := container.SplitImage(in.Image); return t })
	}),
	field.ContainerIP:          text(func(e *Event) (string, bool) { return e.told(func(in *container.Info) string { return in.IP }) }),
	field.ContainerPrivileged:  maybe(func(in *container.Info) container.Bool { return in.Privileged }),
	field.ContainerHostPID:     maybe(func(in *container.Info) container.Bool { return in.HostPID }),
	field.ContainerHostNetwork: maybe(func(in *container.Info) container.Bool { return in.HostNetwork }),
	field.ContainerHostIPC:     maybe(func(in *container.Info) container.Bool { return in.HostIPC }),
	field.ContainerStartTs: unsigned(func(e *Event) (uint64, bool) {
		in := e.id.Info
		if in == nil || in.Started.IsZero() {
			return 0, false
		}
		return uint64(in.Started.UnixNano()), true
	}),
	field.ContainerDuration: unsigned(func(e *Event) (uint64, bool) {
		in := e.id.Info
		if in == nil || in.Started.IsZero() {
			return 0, false
		}
		return e.since(in.Started.UnixNano()), true
	}),
	field.ContainerLabel: label(func(in *container.Info) map[string]string { return in.Labels }),
	field.ContainerLabels: text(func(e *Event) (string, bool) {
		return e.labels(func(in *container.Info) map[string]string { return in.Labels })
	}),
	field.ContainerMounts:           text((*Event).mounts),
	field.ContainerMount:            mount(bySource, (*Event).mountText),
	field.ContainerMountSource:      mount(byDest, func(_ *Event, m *container.Mount) string { return m.Source }),
	field.ContainerMountDest:        mount(bySource, func(_ *Event, m *container.Mount) string { return m.Dest }),
	field.ContainerMountMode:        mount(bySource, func(_ *Event, m *container.Mount) string { return m.Mode }),
	field.ContainerMountRdwr:        mount(bySource, func(_ *Event, m *container.Mount) string { return strconv.FormatBool(m.ReadWrite) }),
	field.ContainerMountPropagation: mount(bySource, func(_ *Event, m *container.Mount) string { return m.Propagation }),
}

var podFields = class{
	field.K8sPodName: text(func(e *Event) (string, bool) { return e.told(func(in *container.Info) string { return in.Pod.Name }) }),
	field.K8sNSName: text(func(e *Event) (string, bool) {
		return e.told(func(in *container.Info) string { return in.Pod.Namespace })
	}),
	field.K8sPodID:  text(func(e *Event) (string, bool) { return e.id.PodUID, e.id.PodUID != "" }),
	field.K8sPodUID: text(func(e *Event) (string, bool) { return e.id.PodUID, e.id.PodUID != "" }),
	field.K8sPodIP:  text(func(e *Event) (string, bool) { return e.told(func(in *container.Info) string { return in.Pod.IP }) }),
	field.K8sPodSandboxID: text(func(e *Event) (string, bool) {
		return e.told(func(in *container.Info) string { return container.ID{Container: in.Pod.SandboxID}.Short() })
	}),
	field.K8sPodFullSandboxID: text(func(e *Event) (string, bool) {
		return e.told(func(in *container.Info) string { return in.Pod.SandboxID })
	}),
	field.K8sPodLabel: label(func(in *container.Info) map[string]string { return in.Pod.Labels }),
	field.K8sPodLabels: text(func(e *Event) (string, bool) {
		return e.labels(func(in *container.Info) map[string]string { return in.Pod.Labels })
	}),
}

func (e *Event) containerID() string {
	if e.id.IsHost() {
		return hostName
	}
	return e.id.Short()
}

// told returns what the runtime told of the container; empty is not told.
func (e *Event) told(f func(in *container.Info) string) (string, bool) {
	if e.id.Info == nil {
		return "", false
	}
	s := f(e.id.Info)
	return s, s != ""
}

func maybe(f func(in *container.Info) container.Bool) getter {
	return func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		if e.id.Info == nil {
			return false
		}
		b := f(e.id.Info)
		return b != container.Unknown && v.SetBool(b == container.True)
	}
}

func label(f func(in *container.Info) map[string]string) getter {
	return func(e *Event, ref *field.Ref, _ field.Form, v *field.Value) bool {
		if e.id.Info == nil {
			return false
		}
		s, ok := f(e.id.Info)[ref.Arg]
		return ok && v.SetString(s)
	}
}

// labels writes all labels as Falco does: "key:value, key:value", sorted.
func (e *Event) labels(f func(in *container.Info) map[string]string) (string, bool) {
	if e.id.Info == nil || len(f(e.id.Info)) == 0 {
		return "", false
	}
	all := f(e.id.Info)
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	start := len(e.buf)
	for i, k := range keys {
		if i > 0 {
			e.buf = append(e.buf, ", "...)
		}
		e.buf = append(append(append(e.buf, k...), ':'), all[k]...)
	}
	return e.string(start), true
}

func bySource(m *container.Mount) string { return m.Source }
func byDest(m *container.Mount) string   { return m.Dest }

// mount makes a getter that selects a mount by number, or by a path or glob compared with what by returns, and gives a part of it.
func mount(by func(*container.Mount) string, part func(*Event, *container.Mount) string) getter {
	return func(e *Event, ref *field.Ref, _ field.Form, v *field.Value) bool {
		if e.id.Info == nil {
			return false
		}
		ms := e.id.Info.Mounts
		if ref.Index >= 0 {
			return ref.Index < len(ms) && v.SetString(part(e, &ms[ref.Index]))
		}
		for i := range ms {
			if globMatch(ref.Arg, by(&ms[i])) {
				return v.SetString(part(e, &ms[i]))
			}
		}
		return false
	}
}

// globMatch compares as fnmatch without flags does: * crosses slashes.
func globMatch(pattern, s string) bool {
	for i := range len(pattern) {
		if pattern[i] == '*' {
			if ok, _ := path.Match(pattern[:i], s[:min(i, len(s))]); !ok || i > len(s) {
				return false
			}
			rest := pattern[i+1:]
			for j := i; j <= len(s); j++ {
				if globMatch(rest, s[j:]) {
					return true
				}
			}
			return false
		}
	}
	ok, err := path.Match(pattern, s)
	return ok && err == nil
}

// mountText writes a mount as Falco does: source:dest:mode:rdwr:propagation.
func (e *Event) mountText(m *container.Mount) string {
	return e.concat(m.Source, ":", m.Dest, ":", m.Mode, ":", strconv.FormatBool(m.ReadWrite), ":", m.Propagation)
}

func (e *Event) mounts() (string, bool) {
	if e.id.Info == nil {
		return "", false
	}
	start := len(e.buf)
	for i := range e.id.Info.Mounts {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		e.mountText(&e.id.Info.Mounts[i])
	}
	return e.string(start), true
}
