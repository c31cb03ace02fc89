package extract

import (
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/process"
)

var procFields = class{
	field.ProcName:    text(func(e *Event) (string, bool) { return e.name(), e.name() != "" }),
	field.ProcExe:     text(func(e *Event) (string, bool) { return e.image.Exe, e.image.Exe != "" }),
	field.ProcExepath: text(func(e *Event) (string, bool) { return e.image.ExePath, e.image.ExePath != "" }),
	field.ProcCmdline: text(func(e *Event) (string, bool) { return cmdline(e.image) }),
	field.ProcExeline: text(func(e *Event) (string, bool) {
		return e.concat(e.image.Exe, " ", e.image.ArgString()), e.image.Exe != ""
	}),
	field.ProcCmdnargs:   unsigned(func(e *Event) (uint64, bool) { return uint64(e.image.NumArgs()), e.image != &noImage }),
	field.ProcCmdlenargs: unsigned(func(e *Event) (uint64, bool) { return uint64(e.image.ArgsLen()), e.image != &noImage }),
	field.ProcArgs: func(e *Event, ref *field.Ref, _ field.Form, v *field.Value) bool {
		if e.image == &noImage {
			return false
		}
		if ref.Index >= 0 {
			s, ok := e.image.Arg(ref.Index)
			return ok && v.SetString(s)
		}
		return v.SetString(e.image.ArgString())
	},
	field.ProcEnv: func(e *Event, ref *field.Ref, _ field.Form, v *field.Value) bool {
		if ref.Arg != "" {
			s, ok := e.image.EnvVar(ref.Arg)
			return ok && v.SetString(s)
		}
		return e.image.Env != "" && v.SetString(e.image.EnvString())
	},
	field.ProcCwd:   text(func(e *Event) (string, bool) { return e.cwd() }),
	field.ProcTTY:   unsigned(func(e *Event) (uint64, bool) { return uint64(e.ev.Task.TTY), true }),
	field.ProcPID:   signed(func(e *Event) int64 { return int64(e.ev.Task.PID) }),
	field.ProcPpid:  signed(func(e *Event) int64 { return int64(e.ev.Task.PPID) }),
	field.ProcVpid:  signed(func(e *Event) int64 { return int64(e.ev.Task.VPID) }),
	field.ProcSID:   signed(func(e *Event) int64 { return int64(e.ev.Task.VSID) }),
	field.ProcVpgid: signed(func(e *Event) int64 { return int64(e.ev.Task.VPGID) }),
	field.ProcPgid:  signed(func(e *Event) int64 { return int64(e.ev.Task.PGID) }),

	field.ProcIsSIDLeader:   boolean(func(e *Event) bool { return e.ev.Task.VSID == e.ev.Task.VPID }),
	field.ProcIsVpgidLeader: boolean(func(e *Event) bool { return e.ev.Task.VPGID == e.ev.Task.VPID }),
	field.ProcIsPgidLeader:  boolean(func(e *Event) bool { return e.ev.Task.PGID == e.ev.Task.PID }),

	field.ProcIsExeWritable:   exeIs(event.ExeWritable),
	field.ProcIsExeUpperLayer: exeIs(event.ExeUpperLayer),
	field.ProcIsExeLowerLayer: exeIs(event.ExeLowerLayer),
	field.ProcIsExeFromMemfd:  exeIs(event.ExeFromMemfd),

	field.ProcExeIno: func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		return e.image.Ino != 0 && v.SetInt(int64(e.image.Ino))
	},
	field.ProcExeInoCtime: unsigned(func(e *Event) (uint64, bool) { return e.image.CTimeNS, e.image.CTimeNS != 0 }),
	field.ProcExeInoMtime: unsigned(func(e *Event) (uint64, bool) { return e.image.MTimeNS, e.image.MTimeNS != 0 }),
	field.ProcExeInoCtimeDurationProcStart: unsigned(func(e *Event) (uint64, bool) {
		return after(e.wall(e.proc.StartNS), e.image.CTimeNS)
	}),
	field.ProcExeInoCtimeDurationPidnsStart: unsigned(func(e *Event) (uint64, bool) {
		return after(e.image.CTimeNS, e.wall(e.image.PidNSInitStartNS))
	}),
	field.ProcPidnsInitStartTs: unsigned(func(e *Event) (uint64, bool) {
		n := e.wall(e.image.PidNSInitStartNS)
		return n, n != 0
	}),

	field.ProcDuration: unsigned(func(e *Event) (uint64, bool) { return e.age(e.ev.Task.StartNS) }),
	field.ProcPIDTs:    unsigned(func(e *Event) (uint64, bool) { n := e.wall(e.ev.Task.StartNS); return n, n != 0 }),

	field.ThreadTID:    signed(func(e *Event) int64 { return int64(e.ev.Task.TID) }),
	field.ThreadVtid:   signed(func(e *Event) int64 { return int64(e.ev.Task.VTID) }),
	field.ThreadIsmain: boolean(func(e *Event) bool { return e.ev.Task.TID == e.ev.Task.PID }),

	field.ThreadCapPermitted:   text(func(e *Event) (string, bool) { return e.x.capNames(e.ev.Task.CapPermitted), true }),
	field.ThreadCapInheritable: text(func(e *Event) (string, bool) { return e.x.capNames(e.ev.Task.CapInheritable), true }),
	field.ThreadCapEffective:   text(func(e *Event) (string, bool) { return e.x.capNames(e.ev.Task.CapEffective), true }),
}

// exeIs gives a flag of the program's file.
func exeIs(flag uint32) getter {
	is := boolean(func(e *Event) bool { return e.image.Flags&flag != 0 })
	return func(e *Event, ref *field.Ref, form field.Form, v *field.Value) bool {
		return e.image != &noImage && is(e, ref, form, v)
	}
}

// name is Falco's proc.name: the comm at exec, or copied at clone.
func (e *Event) name() string {
	if e.ev.Task.Comm != "" {
		return e.ev.Task.Comm
	}
	return e.image.Name
}

func cmdline(im *process.Image) (string, bool) {
	s := im.Cmdline()
	return s, s != ""
}

// cwd is the working directory with a slash behind it, as Falco has it. An exec says itself what it was.
func (e *Event) cwd() (string, bool) {
	c := e.proc.Cwd
	if e.ev.Exec.Cwd != "" {
		c = e.ev.Exec.Cwd
	}
	switch {
	case c == "":
		return "", false
	case strings.HasSuffix(c, "/"):
		return c, true
	}
	return e.concat(c, "/"), true
}

// wall converts a boot time to nanoseconds since the epoch; zero stays zero.
func (e *Event) wall(bootNS uint64) uint64 {
	if bootNS == 0 {
		return 0
	}
	return uint64(e.x.cfg.Wall(bootNS))
}

// age is the time from boot time ns to the event.
func (e *Event) age(ns uint64) (uint64, bool) {
	if ns == 0 || ns > e.ev.BootNS {
		return 0, false
	}
	return e.ev.BootNS - ns, true
}

// after is the time from b to a, if both are known and a is not before b.
func after(a, b uint64) (uint64, bool) {
	if a == 0 || b == 0 || a <= b {
		return 0, false
	}
	return a - b, true
}

// maxCaps bounds the cache of capability sets; there are few different ones.
const maxCaps = 256

// capNames returns the names of a set of capabilities, joined by blanks.
func (x *Extractor) capNames(set uint64) string {
	if s, ok := x.caps[set]; ok {
		return s
	}
	var names []string
	for i, name := range capabilities {
		if set&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(x.caps) >= maxCaps {
		clear(x.caps)
	}
	s := strings.Join(names, " ")
	x.caps[set] = s
	return s
}

var capabilities = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
	"CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN",
	"CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE",
	"CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}
