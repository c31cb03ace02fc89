package decode

import (
	"bytes"
	"encoding/binary"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// Request returns the number of the io_uring request that record b is about, and whether the record is of its completion. It reports
// false for all other records.
func Request(b []byte) (request uint64, done, ok bool) {
	if len(b) < headSize+sectionSize+8 {
		return 0, false, false
	}
	kind := bpf.SensorKind(binary.LittleEndian.Uint16(b))
	if kind != bpf.SensorKindKIND_URING && kind != bpf.SensorKindKIND_URING_DONE {
		return 0, false, false
	}
	if s := b[headSize:]; binary.LittleEndian.Uint16(s) == uint16(bpf.SensorTagTAG_REQUEST) {
		return binary.LittleEndian.Uint64(s[sectionSize:]), kind == bpf.SensorKindKIND_URING_DONE, true
	}
	return 0, false, false
}

// Complete adds to ev, the submission of an io_uring request, what done, its completion, tells.
func Complete(ev, done *event.Event) {
	ev.Result = done.Result
	if o := done.Open; o.Ino != 0 {
		ev.Open.Path.Resolved = o.Path.Resolved
		ev.Open.Dev, ev.Open.Ino, ev.Open.Type, ev.Open.Created = o.Dev, o.Ino, o.Type, o.Created
		ev.Open.UpperLayer, ev.Open.LowerLayer = o.UpperLayer, o.LowerLayer
	}
	if len(done.Data) > 0 {
		ev.Data = bytes.Clone(done.Data)
	}
	passed := ev.Socket
	if done.Socket.Family == 0 {
		return
	}
	ev.Socket = done.Socket
	if !ev.Socket.Remote.IsValid() {
		ev.Socket.Remote = passed.Remote
	}
	if l := passed.Local; l.IsValid() && ev.Socket.Local.Port() == 0 {
		ev.Socket.Local = l
	}
	if ev.Socket.FD < 0 {
		ev.Socket.FD = passed.FD
	}
	if ev.Socket.UnixPath == "" {
		ev.Socket.UnixPath = passed.UnixPath
	}
	ev.Flags |= done.Flags & event.ArgsUnstable
}
