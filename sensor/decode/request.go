package decode

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"

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

// Alone reports whether the completion of an io_uring request is an event without its submission, which was not seen or has been handed out: it
// tells what the request was about. What was cancelled has not happened.
func Alone(done *event.Event) bool {
	return (done.Open.Ino != 0 || done.Socket.Family != 0) && done.Result != -int64(unix.ECANCELED)
}

// News reports whether the completion of an io_uring request tells more of ev, its submission, than that it succeeded.
func News(ev, done *event.Event) bool {
	r := done.Socket.Remote
	return done.Result < 0 || len(done.Data) > 0 || r.IsValid() && r != ev.Socket.Remote || done.Socket.Family != ev.Socket.Family ||
		done.Open.Ino != 0 && done.Open.Path.Resolved != ev.Open.Path.Raw && done.Open.Path.Resolved != ev.Open.Path.Resolved
}

// Complete adds to ev, the submission of an io_uring request, what done, its completion, tells.
func Complete(ev, done *event.Event) {
	ev.Flags &^= event.NoResult
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
