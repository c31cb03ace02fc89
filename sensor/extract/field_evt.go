package extract

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
)

const second = 1_000_000_000

var evtFields = class{
	field.EvtNum:         unsigned(func(e *Event) (uint64, bool) { return e.ev.Seq, true }),
	field.EvtTime:        stamp("15:04:05.000000000", false),
	field.EvtTimeS:       stamp("15:04:05", false),
	field.EvtTimeISO8601: stamp("2006-01-02T15:04:05.000000000-0700", true),
	field.EvtDatetime:    stamp("2006-01-02 15:04:05.000000000", false),
	field.EvtDatetimeS:   stamp("2006-01-02 15:04:05", false),
	field.EvtRawtime:     unsigned(func(e *Event) (uint64, bool) { return uint64(e.time), true }),
	field.EvtRawtimeS:    unsigned(func(e *Event) (uint64, bool) { return uint64(e.time / second), true }),
	field.EvtRawtimeNS:   unsigned(func(e *Event) (uint64, bool) { return uint64(e.time % second), true }),
	field.EvtReltime:     unsigned(func(e *Event) (uint64, bool) { return e.since(e.x.first), true }),
	field.EvtReltimeS:    unsigned(func(e *Event) (uint64, bool) { return e.since(e.x.first) / second, true }),
	field.EvtReltimeNS:   unsigned(func(e *Event) (uint64, bool) { return e.since(e.x.first) % second, true }),
	field.EvtDeltatime:   unsigned(func(e *Event) (uint64, bool) { return e.since(e.before), true }),
	field.EvtDeltatimeS:  unsigned(func(e *Event) (uint64, bool) { return e.since(e.before) / second, true }),
	field.EvtDeltatimeNS: unsigned(func(e *Event) (uint64, bool) { return e.since(e.before) % second, true }),
	field.EvtSource:      fixed(RuleSource),
	field.EvtIsAsync:     boolean(func(*Event) bool { return false }),
	field.EvtHostname:    text(func(e *Event) (string, bool) { return e.x.cfg.Hostname, e.x.cfg.Hostname != "" }),
	field.EvtDir:         fixed("<"), // Falco has exit events only
	field.EvtType:        text(func(e *Event) (string, bool) { return e.ev.Type.String(), true }),
	field.EvtTypeIs: func(e *Event, ref *field.Ref, _ field.Form, v *field.Value) bool {
		if e.ev.Type.String() == ref.Arg {
			return v.SetUint(1)
		}
		return v.SetUint(0)
	},
	field.SyscallType: text(func(e *Event) (string, bool) {
		k := e.ev.Type.Info().Kind
		return e.ev.Type.String(), k == field.Syscall || k == field.Generic
	}),
	field.EvtCategory: text(func(e *Event) (string, bool) { return e.category(), true }),
	field.EvtCPU:      signed(func(e *Event) int64 { return int64(e.ev.CPU) }),
	field.EvtBuffer: func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		return len(e.ev.Data) > 0 && v.SetBytes(bytesString(e.ev.Data))
	},
	field.EvtBuflen: unsigned(func(e *Event) (uint64, bool) {
		return uint64(e.ev.Result), e.ev.Result >= 0 && e.ev.Type.Info().Flags&(field.ReadsFD|field.WritesFD) != 0
	}),
	field.EvtRes: text(func(e *Event) (string, bool) {
		switch {
		case !e.hasResult():
			return "", false
		case e.ev.Result >= 0:
			return "SUCCESS", true
		}
		return errnoName(e.ev.Result), true
	}),
	field.EvtRawres: func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		return e.hasResult() && v.SetInt(e.ev.Result)
	},
	field.EvtFailed: func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		return e.hasResult() && v.SetBool(e.ev.Result < 0)
	},
	field.EvtIsIo:      boolean(func(e *Event) bool { return e.ev.Type.Info().Flags&(field.ReadsFD|field.WritesFD) != 0 }),
	field.EvtIsIoRead:  boolean(func(e *Event) bool { return e.ev.Type.Info().Flags&field.ReadsFD != 0 }),
	field.EvtIsIoWrite: boolean(func(e *Event) bool { return e.ev.Type.Info().Flags&field.WritesFD != 0 }),
	field.EvtIoDir: text(func(e *Event) (string, bool) {
		switch flags := e.ev.Type.Info().Flags; {
		case flags&field.WritesFD != 0:
			return "write", true
		case flags&field.ReadsFD != 0:
			return "read", true
		}
		return "", false
	}),
	field.EvtIsWait: boolean(func(e *Event) bool { return e.ev.Type.Info().Flags&field.Waits != 0 }),
	field.EvtCount:  unsigned(func(*Event) (uint64, bool) { return 1, true }),
	field.EvtCountError: unsigned(func(e *Event) (uint64, bool) {
		if e.ev.Result < 0 {
			return 1, e.hasResult()
		}
		return 0, e.hasResult()
	}),
	field.EvtIsOpenRead:  boolean((*Event).isOpenRead),
	field.EvtIsOpenWrite: boolean((*Event).isOpenWrite),
	field.EvtIsOpenExec:  boolean((*Event).isOpenExec),
	field.EvtIsOpenCreate: boolean(func(e *Event) bool {
		return e.isOpen() && (e.ev.Open.Created || e.ev.Open.Flags&tmpfile != 0 && e.hasResult() && e.ev.Result >= 0)
	}),
	field.EvtAbspath: absPath,
}

// stamp makes a getter of the time in layout.
func stamp(layout string, utc bool) getter {
	return func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		t := time.Unix(0, e.time)
		if utc {
			t = t.UTC()
		}
		start := len(e.buf)
		e.buf = t.AppendFormat(e.buf, layout)
		return v.SetString(e.string(start))
	}
}

// since is the time from ns to the event, not negative.
func (e *Event) since(ns int64) uint64 { return uint64(max(0, e.time-ns)) }

// hasResult reports whether the event is a call, which returns something. A request of io_uring without a completion counts as one that
// returned 0: a completion is suppressed for success only (IOSQE_CQE_SKIP_SUCCESS), and a null would let it slip through every condition
// on results.
func (e *Event) hasResult() bool {
	k := e.ev.Type.Info().Kind
	return k == field.Syscall || k == field.Generic
}

// category is evt.category: of reads and writes, the kind of the descriptor.
func (e *Event) category() string {
	c := e.ev.Type.Info().Category
	switch c {
	case "io_read", "io_write", "io_other":
	default:
		return c
	}
	switch e.fd().kind {
	case fdFile, fdDirectory:
		return "file"
	case fdIPv4, fdIPv6, fdIPv4Server, fdIPv6Server:
		return "net"
	case fdUnix, fdPipe:
		return "ipc"
	}
	return "unknown"
}

// isOpen reports whether the event is one that evt.is_open_* look at.
func (e *Event) isOpen() bool {
	switch e.ev.Type {
	case field.EventOpen, field.EventOpenat, field.EventOpenat2, field.EventOpenByHandleAt:
		return true
	}
	return false
}

func (e *Event) isOpenRead() bool {
	acc := e.ev.Open.Flags & unix.O_ACCMODE
	return e.isOpen() && acc != unix.O_WRONLY
}

func (e *Event) isOpenWrite() bool {
	acc := e.ev.Open.Flags & unix.O_ACCMODE
	return e.isOpen() && (acc == unix.O_WRONLY || acc == unix.O_RDWR)
}

// isOpenExec: a file is made with a mode that lets somebody execute it.
func (e *Event) isOpenExec() bool {
	const anyExec = 0o111
	o := &e.ev.Open
	switch {
	case e.ev.Type == field.EventCreat:
	case e.ev.Type == field.EventOpenByHandleAt:
		return false // has no mode
	case e.isOpen() && o.Flags&(unix.O_CREAT|tmpfile) != 0:
	default:
		return false
	}
	return o.Mode&anyExec != 0
}

// absPath is evt.abspath, .src and .dst: the paths of the *at calls.
func absPath(e *Event, ref *field.Ref, form field.Form, v *field.Value) bool {
	i := firstPath
	switch e.ev.Type {
	case field.EventOpenat, field.EventOpenat2:
		i = openPath
	case field.EventRenameat, field.EventRenameat2, field.EventLinkat:
		if ref.Arg == ".dst" {
			i = secondPath
		}
	case field.EventSymlinkat:
		i = secondPath
	case field.EventUnlinkat, field.EventMkdirat, field.EventFchmodat, field.EventFchownat:
	default:
		return false
	}
	s := e.form(i, form)
	return s != "" && v.SetString(s)
}
