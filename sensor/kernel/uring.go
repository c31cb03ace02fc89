package kernel

import (
	"bytes"
	"container/list"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/decode"
	"github.com/tiercel-project/tiercel/sensor/event"
)

const uringOps = 64

// uringTypes are the event types as which operations of io_uring are reported, by their number in linux/io_uring.h.
var uringTypes = map[int]field.EventType{
	9:  field.EventSendmsg,
	10: field.EventRecvmsg,
	13: field.EventAccept4,
	16: field.EventConnect,
	18: field.EventOpenat,
	26: field.EventSendto,
	27: field.EventRecvfrom,
	28: field.EventOpenat2,
	35: field.EventRenameat2,
	36: field.EventUnlinkat,
	37: field.EventMkdirat,
	38: field.EventSymlinkat,
	39: field.EventLinkat,
	45: field.EventSocket,
	47: field.EventSendto,
	48: field.EventSendmsg,
	54: field.EventDup, // FIXED_FD_INSTALL: a descriptor for a file of the ring's own table
	55: generic("ftruncate"),
	56: field.EventBind,
	57: field.EventListen,
}

// opensThrough reports whether one of types is an open that io_uring can make.
func opensThrough(types field.EventSet) bool {
	return types.Has(field.EventOpenat) || types.Has(field.EventOpenat2)
}

// prepareUring picks the programs that fit this kernel's tracepoints: their names and arguments changed.
func (s *Sensor) prepareUring(spec *ebpf.CollectionSpec, kernel *btf.Spec) {
	programs := map[int]string{4: bpf.SensorProgUringDone, 6: bpf.SensorProgUringDoneV518, 8: bpf.SensorProgUringDoneV518}
	done := programs[tracepointParams(kernel, "io_uring_complete")]
	for _, name := range []string{bpf.SensorProgUringDone, bpf.SensorProgUringDoneV518} {
		if name != done {
			delete(spec.Programs, name)
		}
	}
	if done == "" {
		s.lack("no tracepoint io_uring_complete: requests of io_uring are reported without their result")
	}
	for name, tracepoint := range map[string]string{
		bpf.SensorProgUringWorked:    "io_uring_task_work_run",
		bpf.SensorProgUringOverflown: "io_uring_cqe_overflow",
	} {
		if !hasTracepoint(kernel, tracepoint) {
			delete(spec.Programs, name)
		}
	}
	switch {
	case hasTracepoint(kernel, "io_uring_submit_req"):
	case tracepointParams(kernel, "io_uring_submit_sqe") == 3: // 6.0 to 6.3
		spec.Programs[bpf.SensorProgUringSubmit].AttachTo = "io_uring_submit_sqe"
		spec.Programs[bpf.SensorProgUringLook].AttachTo = "io_uring_submit_sqe"
	default:
		delete(spec.Programs, bpf.SensorProgUringSubmit)
		delete(spec.Programs, bpf.SensorProgUringLook)
		s.lack("no tracepoint io_uring_submit_req: requests of io_uring are not seen")
	}
}

// tracepointParams is the number of arguments of a tracepoint's function, the first of which is the tracepoint's own; 0 if there is none.
func tracepointParams(kernel *btf.Spec, name string) int {
	var t *btf.Typedef
	if kernel.TypeByName("btf_trace_"+name, &t) != nil {
		return 0
	}
	p, ok := btf.UnderlyingType(t).(*btf.Pointer)
	if !ok {
		return 0
	}
	f, ok := p.Target.(*btf.FuncProto)
	if !ok {
		return 0
	}
	return len(f.Params)
}

// attachUring attaches the programs of io_uring while there is a request that somebody wants.
func (s *Sensor) attachUring(in interest) error {
	wanted := in.uring != [uringOps]uint16{}
	if !wanted {
		for _, l := range s.uring {
			_ = l.Close()
		}
		s.uring = nil
		return nil
	}
	if len(s.uring) > 0 {
		return nil
	}
	looks := bpf.SensorProgUringOpened // sees all that the other one does, and sooner
	if s.coll.Programs[looks] == nil {
		looks = bpf.SensorProgUringWorked
	}
	// What is attached first runs first.
	for _, name := range []string{
		bpf.SensorProgUringDone, bpf.SensorProgUringDoneV518, bpf.SensorProgUringOverflown, looks, bpf.SensorProgUringLook, bpf.SensorProgUringSubmit,
	} {
		p, ok := s.coll.Programs[name]
		if !ok {
			continue
		}
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		s.uring = append(s.uring, l)
	}
	return nil
}

const (
	// maxRequests bounds the requests that are known and have not completed.
	maxRequests = 4096
	// requestWait is how long a request waits for its completion; then it leaves without a result. It may never come: a program can ask for none, and
	// the kernel tells nobody of those that the program leaves no room for.
	requestWait = 100 * time.Millisecond
	// oldWait is how long such a request is remembered; a completion after that tells of it by itself.
	oldWait = time.Minute
)

// requests are events of io_uring requests that have not completed, by the address of the request. The zero requests is empty.
type requests struct {
	known   map[uint64]*request
	waiting list.List // of *request, oldest first
	old     list.List // of *request, oldest first: they have waited for long, and most have left without a result
}

type request struct {
	address uint64
	ev      *event.Event
	told    bool // it has left
	in      *list.List
	at      *list.Element
}

func (q *request) put(l *list.List) { q.in, q.at = l, l.PushBack(q) }

func (r *requests) add(address uint64, ev *event.Event) {
	if r.known == nil {
		r.known = make(map[uint64]*request)
	}
	q := &request{address: address, ev: ev}
	q.put(&r.waiting)
	r.known[address] = q
}

// take returns the event of a request and whether it has left, and forgets it; nil if there is none.
func (r *requests) take(address uint64) (ev *event.Event, told bool) {
	q := r.known[address]
	if q == nil {
		return nil, false
	}
	delete(r.known, address)
	q.in.Remove(q.at)
	return q.ev, q.told
}

// expire hands out, without a result, the requests that have waited for too long at time now, and the oldest ones beyond the bound.
func (r *requests) expire(now uint64, hand func(*event.Event)) {
	for q := oldest(&r.waiting); q != nil && (len(r.known) > maxRequests || now >= q.ev.BootNS+uint64(requestWait)); q = oldest(&r.waiting) {
		r.waiting.Remove(q.at)
		q.put(&r.old)
		if q.told = !passive(q.ev); q.told {
			q.ev.Flags |= event.NoResult
			hand(q.ev)
		}
		r.forget(now)
	}
}

// passive reports whether a request has done nothing before somebody else does something, of which its completion tells all.
func passive(ev *event.Event) bool {
	return (ev.Type == field.EventAccept4 || ev.Type == field.EventRecvfrom || ev.Type == field.EventRecvmsg) && ev.Flags&event.NoResult == 0
}

// forget forgets the requests that have waited for very long, and the oldest ones beyond the bound.
func (r *requests) forget(now uint64) {
	for q := oldest(&r.old); q != nil && (len(r.known) > maxRequests || now >= q.ev.BootNS+uint64(oldWait)); q = oldest(&r.old) {
		r.take(q.address)
	}
}

func oldest(l *list.List) *request {
	if e := l.Front(); e != nil {
		return e.Value.(*request)
	}
	return nil
}

// joinRequest joins the record just decoded with the other one of its request. An address that is used again without a completion
// belonged to a request whose completion nobody told of.
func (s *Sensor) joinRequest(address uint64, done bool, now uint64, handle func(*event.Event)) {
	ev, told := s.requests.take(address)
	switch {
	case !done:
		if ev != nil && !told {
			ev.Flags |= event.NoResult
			s.hand(ev, now, handle)
		}
		s.requests.add(address, s.event.Clone())
	case ev == nil:
		if decode.Alone(&s.event) {
			s.hand(&s.event, now, handle)
		}
	default:
		if told && !decode.News(ev, &s.event) {
			return
		}
		decode.Complete(ev, &s.event)
		ev.Completion = bytes.Clone(s.event.Raw)
		s.hand(ev, now, handle)
	}
}
