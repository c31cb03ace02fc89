package sensor

import (
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/extract"
)

// The standard fields of events, by what they are about: what `fields` of an event holds whether or not the rule's output names it. Those
// that come first stay if there is not room for all.
var (
	taskStandard = refs(
		"evt.type", "evt.num", "evt.rawtime", "evt.res", "proc.name", "proc.pid", "proc.exepath", "proc.cmdline", "proc.pname", "proc.ppid",
		"user.name", "user.uid", "user.loginuid", "container.id", "tiercel.identity", "container.name", "container.image.repository",
		"container.image.tag", "k8s.ns.name", "k8s.pod.name", "k8s.pod.uid", "proc.tty", "proc.vpid", "proc.cwd",
	)
	lineStandard = refs(
		"proc.pcmdline", "proc.pexepath", "proc.sname", "tiercel.lineage", "user.loginname", "group.gid", "group.name", "container.type",
		"container.image.digest", "container.full_id", "tiercel.args_unstable", "tiercel.truncated", "thread.tid", "evt.cpu",
	)
	execStandard = refs(
		"proc.exe", "proc.args", "evt.arg.flags", "proc.is_exe_upper_layer", "proc.is_exe_from_memfd", "proc.is_exe_writable",
		"proc.exe_ino", "proc.exe_ino.ctime", "proc.duration",
	)
	openStandard = refs(
		"fd.name", "fd.nameraw", "fd.num", "fd.typechar", "evt.arg.flags", "evt.arg.mode", "evt.is_open_read", "evt.is_open_write",
		"evt.is_open_create", "fd.directory", "fd.filename", "fd.ino", "fd.is_upper_layer",
	)
	netStandard = refs(
		"fd.name", "fd.num", "fd.type", "fd.typechar", "fd.l4proto", "fd.sip", "fd.sport", "fd.cip", "fd.cport", "fd.rip", "fd.rport",
		"fd.lip", "fd.lport", "fd.connected", "fd.is_server", "fd.sockfamily", "evt.args",
	)
	callStandard = refs(
		"evt.args", "fd.num", "fd.name", "fd.type", "fs.path.name", "fs.path.source", "fs.path.target", "thread.cap_effective",
	)
)

// resolvedName is the key of the path that the kernel walked to, where it is not the one that was passed.
const resolvedName = "fd.name.resolved"

func refs(names ...string) []field.Ref {
	list := make([]field.Ref, len(names))
	for i, name := range names {
		ref, err := field.Lookup(name)
		if err != nil {
			panic("sensor: standard field: " + err.Error())
		}
		list[i] = ref
	}
	return list
}

// standardOf returns the fields that are particular to events of type t.
func standardOf(t field.EventType) []field.Ref {
	switch t {
	case field.EventExecve, field.EventExecveat:
		return execStandard
	case field.EventOpen, field.EventOpenat, field.EventOpenat2, field.EventCreat, field.EventOpenByHandleAt:
		return openStandard
	}
	switch t.Info().Category {
	case "net", "io_read", "io_write":
		return netStandard
	}
	return callStandard
}

// A fieldWriter writes the standard fields of events as JSON.
type fieldWriter struct {
	buf   []byte
	value field.Value
	room  int
}

// append returns the standard fields of e as a JSON object of at most room bytes; nil if nothing fits. It is valid until the next call.
func (w *fieldWriter) append(e *extract.Event, room int) []byte {
	w.buf, w.room = append(w.buf[:0], '{'), room-1
	for _, refs := range [...][]field.Ref{taskStandard, standardOf(e.Type()), lineStandard} {
		for i := range refs {
			w.field(e, &refs[i])
		}
	}
	if e.TwoForms() {
		ref := field.Ref{ID: field.FDName, Index: -1}
		if e.Extract(&ref, field.Resolved, &w.value) {
			w.pair(resolvedName)
		}
	}
	if len(w.buf) == 1 {
		return nil
	}
	return append(w.buf, '}')
}

func (w *fieldWriter) field(e *extract.Event, ref *field.Ref) {
	if e.Extract(ref, field.AsPassed, &w.value) {
		w.pair(ref.String())
	}
}

// pair writes the value under name, or nothing if it does not fit.
func (w *fieldWriter) pair(name string) {
	start := len(w.buf)
	if start > 1 {
		w.buf = append(w.buf, ',')
	}
	w.buf = appendString(w.buf, name)
	w.buf = append(w.buf, ':')
	w.buf = appendValue(w.buf, &w.value)
	if len(w.buf) > w.room {
		w.buf = w.buf[:start]
	}
}

func appendValue(dst []byte, v *field.Value) []byte {
	switch v.Kind {
	case field.KindString, field.KindBytes:
		return appendString(dst, v.Str)
	case field.KindInt:
		return strconv.AppendInt(dst, int64(v.Num), 10)
	case field.KindUint:
		return strconv.AppendUint(dst, v.Num, 10)
	case field.KindBool:
		return strconv.AppendBool(dst, v.Num != 0)
	case field.KindFloat:
		return strconv.AppendFloat(dst, math.Float64frombits(v.Num), 'g', -1, 64)
	case field.KindAddr:
		return appendString(dst, v.Addr.String())
	case field.KindPrefix:
		return appendString(dst, v.Prefix.String())
	case field.KindList:
		dst = append(dst, '[')
		for i := range v.List {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, &v.List[i])
		}
		return append(dst, ']')
	}
	return append(dst, "null"...)
}

// appendString appends s as a JSON string; what is not UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20 || r == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
