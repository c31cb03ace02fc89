package extract

import (
	"maps"

	"github.com/tiercel-project/tiercel/rules/field"
)

// An arg is the value of one argument of a call, in the part that its type wants.
type arg struct {
	n    int64 // numbers, ids, descriptors, times
	s    string
	path int // index into Event.paths
}

// A source stores an argument in a and reports whether the event has it.
type source func(e *Event, a *arg) bool

// A sources maps the names of arguments to where they come from.
type sources map[string]source

// params are the sources of each event type's arguments, in the order of field.EventInfo.Params; nil where an argument is not given.
var params = makeParams()

// givenParams are the names of arguments that some event gives.
var givenParams = func() map[string]bool {
	given := map[string]bool{}
	for t, list := range params {
		for i, src := range list {
			if src != nil {
				given[t.Info().Params[i].Name] = true
			}
		}
	}
	return given
}()

func number(f func(e *Event) int64) source {
	return func(e *Event, a *arg) bool { a.n = f(e); return true }
}

func str(f func(e *Event) string) source {
	return func(e *Event, a *arg) bool { a.s = f(e); return true }
}

// num is argument i of the call as an unsigned number of 32 bits: flags, modes, ids. What stands above them in the register is no one's.
func num(i int) source { return number(func(e *Event) int64 { return int64(uint32(e.ev.Num[i])) }) }

// wide is argument i of the call with all its bits.
func wide(i int) source { return number(func(e *Event) int64 { return int64(e.ev.Num[i]) }) }

// perm is argument i of the call as the permission bits of a file.
func perm(i int) source { return number(func(e *Event) int64 { return int64(e.ev.Num[i] & 0o7777) }) }

// data is the text that the kernel side copied from the argument that points to one.
var data = str(func(e *Event) string { return bytesString(e.ev.Data) })

// num32 is argument i of the call as a signed number of 32 bits: a descriptor.
func num32(i int) source { return number(func(e *Event) int64 { return int64(int32(e.ev.Num[i])) }) }

// pathArg is path i of the call.
func pathArg(i int) source { return func(_ *Event, a *arg) bool { a.path = i; return true } }

func result(e *Event, a *arg) bool { a.n = e.ev.Result; return e.hasResult() }

// ownFD is the descriptor that the event is about; of a call that failed to make one, -errno.
func ownFD(e *Event, a *arg) bool {
	if a.n = e.fd().num; a.n < 0 {
		a.n = e.ev.Result
	}
	return e.fd().uses
}

// resultFD is the descriptor that a call made, or -errno.
func resultFD(e *Event, a *arg) bool { a.n = e.ev.Result; return true }

var openSources = sources{
	"fd": resultFD, "name": pathArg(openPath),
	"dirfd":       number(func(e *Event) int64 { return int64(e.ev.Open.DirFD) }),
	"flags":       number((*Event).openFlags),
	"mode":        number(func(e *Event) int64 { return int64(e.ev.Open.Mode) }),
	"resolve":     number(func(e *Event) int64 { return int64(e.ev.Open.How) }),
	"dev":         number(func(e *Event) int64 { return int64(e.ev.Open.Dev) }),
	"ino":         number(func(e *Event) int64 { return int64(e.ev.Open.Ino) }),
	"creat_flags": number(func(e *Event) int64 { return e.openFlags() & (ppmUpperLayer | ppmLowerLayer) }),
}

var taskSources = sources{
	"res": result,
	"exe": str(func(e *Event) string { return e.image.Exe }), "args": str(func(e *Event) string { return e.image.Args }),
	"env":      str(func(e *Event) string { return e.image.Env }),
	"comm":     str((*Event).name),
	"cwd":      str(func(e *Event) string { s, _ := e.cwd(); return s }),
	"tid":      number(func(e *Event) int64 { return int64(e.ev.Task.TID) }),
	"pid":      number(func(e *Event) int64 { return int64(e.ev.Task.PID) }),
	"ptid":     number(func(e *Event) int64 { return int64(e.ev.Task.PPID) }),
	"vtid":     number(func(e *Event) int64 { return int64(e.ev.Task.VTID) }),
	"vpid":     number(func(e *Event) int64 { return int64(e.ev.Task.VPID) }),
	"pgid":     number(func(e *Event) int64 { return int64(e.ev.Task.PGID) }),
	"vpgid":    number(func(e *Event) int64 { return int64(e.ev.Task.VPGID) }),
	"tty":      number(func(e *Event) int64 { return int64(e.ev.Task.TTY) }),
	"loginuid": number(func(e *Event) int64 { return int64(e.ev.Task.LoginUID) }),
	"uid":      number(func(e *Event) int64 { return int64(e.ev.Task.UID) }),
	"gid":      number(func(e *Event) int64 { return int64(e.ev.Task.GID) }),

	"cap_inheritable": number(func(e *Event) int64 { return int64(e.ev.Task.CapInheritable) }),
	"cap_permitted":   number(func(e *Event) int64 { return int64(e.ev.Task.CapPermitted) }),
	"cap_effective":   number(func(e *Event) int64 { return int64(e.ev.Task.CapEffective) }),
	"exe_ino":         number(func(e *Event) int64 { return int64(e.image.Ino) }),
	"exe_ino_ctime":   number(func(e *Event) int64 { return int64(e.image.CTimeNS) }),
	"exe_ino_mtime":   number(func(e *Event) int64 { return int64(e.image.MTimeNS) }),

	"pidns_init_start_ts": number(func(e *Event) int64 { return int64(e.wall(e.image.PidNSInitStartNS)) }),
}

// execSources are those of execve and execveat; of a failed one what was passed to it.
var execSources = with(taskSources, sources{
	"flags":           number(func(e *Event) int64 { return int64(e.ev.Exec.Flags) }),
	"exe":             str(func(e *Event) string { return e.ev.Exec.Exe }),
	"args":            str(func(e *Event) string { return bytesString(e.ev.Exec.Args) }),
	"env":             str(func(e *Event) string { return bytesString(e.ev.Exec.Env) }),
	"trusted_exepath": str(func(e *Event) string { return e.ev.Exec.ExePath }),
	"filename":        str(func(e *Event) string { return e.ev.Exec.Filename }),
})

var forkSources = with(taskSources, sources{
	"flags": number(func(e *Event) int64 { return int64(e.ev.Fork.CloneFlags) }),
})

var socketSources = sources{
	"res": result, "fd": ownFD,
	"tuple": func(e *Event, _ *arg) bool { return e.fd().kind != fdNone },
	"addr":  func(e *Event, _ *arg) bool { return e.ev.Socket.Family != 0 },
	"data":  str(func(e *Event) string { return bytesString(e.ev.Data) }),
	"size":  number(func(e *Event) int64 { return int64(e.ev.Socket.Size) }),

	"queuelen": number(func(e *Event) int64 { return int64(e.ev.Socket.Backlog) }),
	"queuemax": number(func(e *Event) int64 { return int64(e.ev.Socket.BacklogMax) }),
	"queuepct": number(func(e *Event) int64 {
		if e.ev.Socket.BacklogMax == 0 {
			return 0
		}
		return int64(uint64(e.ev.Socket.Backlog) * 100 / uint64(e.ev.Socket.BacklogMax))
	}),
}

// callSources are the arguments of the other calls, by their position in the call.
var callSources = map[field.EventType]sources{
	field.EventSocket:          {"fd": resultFD, "domain": num(0), "type": num(1), "proto": num(2)},
	field.EventSocketpair:      {"domain": num(0), "type": num(1), "proto": num(2)},
	field.EventListen:          {"fd": num32(0), "backlog": num32(1)},
	field.EventShutdown:        {"fd": num32(0), "how": num(1)},
	field.EventDup:             {"res": resultFD, "oldfd": num32(0)},
	field.EventDup2:            {"res": resultFD, "oldfd": num32(0), "newfd": num32(1)},
	field.EventDup3:            {"res": resultFD, "oldfd": num32(0), "newfd": num32(1), "flags": openFlagsAt(2)},
	field.EventFcntl:           {"fd": num32(0), "cmd": num(1)},
	field.EventBpf:             {"fd": resultFD, "cmd": num(0)},
	field.EventPtrace:          {"request": num(0), "pid": num32(1)},
	field.EventSetns:           {"fd": num32(0), "nstype": num(1)},
	field.EventUnshare:         {"flags": num(0)},
	field.EventSetuid:          {"uid": num(0)},
	field.EventSetgid:          {"gid": num(0)},
	field.EventSetreuid:        {"ruid": num(0), "euid": num(1)},
	field.EventSetregid:        {"rgid": num(0), "egid": num(1)},
	field.EventSetresuid:       {"ruid": num(0), "euid": num(1), "suid": num(2)},
	field.EventSetresgid:       {"rgid": num(0), "egid": num(1), "sgid": num(2)},
	field.EventUserfaultfd:     {"res": resultFD, "flags": openFlagsAt(0)},
	field.EventInitModule:      {"length": wide(1), "uargs": data},
	field.EventFinitModule:     {"fd": num32(0), "uargs": data, "flags": num(2)},
	field.EventDeleteModule:    {"name": data, "flags": num(1)},
	field.EventMemfdCreate:     {"fd": resultFD, "name": data, "flags": num(1)},
	field.EventPrctl:           {"option": num(0), "arg2_int": wide(1)},
	field.EventKill:            {"pid": num32(0), "sig": num(1)},
	field.EventTkill:           {"tid": num32(0), "sig": num(1)},
	field.EventTgkill:          {"pid": num32(0), "tid": num32(1), "sig": num(2)},
	field.EventProcessVmReadv:  {"pid": num32(0)},
	field.EventProcessVmWritev: {"pid": num32(0)},
	field.EventIoUringSetup:    {"entries": num(0)},
	field.EventSeccomp:         {"op": num(0), "flags": num(1)},
	field.EventChdir:           {"path": rawPath(firstPath)},
	field.EventFchdir:          {"fd": num32(0)},
	field.EventChroot:          {"path": pathArg(firstPath)},
	field.EventMkdir:           {"path": pathArg(firstPath), "mode": num(1)},
	field.EventMkdirat:         {"dirfd": num32(0), "path": pathArg(firstPath), "mode": num(2)},
	field.EventRmdir:           {"path": pathArg(firstPath)},
	field.EventUnlink:          {"path": pathArg(firstPath)},
	field.EventUnlinkat:        {"dirfd": num32(0), "name": pathArg(firstPath), "flags": num(2)},
	field.EventRename:          {"oldpath": pathArg(firstPath), "newpath": pathArg(secondPath)},
	field.EventRenameat:        {"olddirfd": num32(0), "oldpath": pathArg(firstPath), "newdirfd": num32(2), "newpath": pathArg(secondPath)},
	field.EventRenameat2:       {"olddirfd": num32(0), "oldpath": pathArg(firstPath), "newdirfd": num32(2), "newpath": pathArg(secondPath), "flags": num(4)},
	field.EventLink:            {"oldpath": pathArg(firstPath), "newpath": pathArg(secondPath)},
	field.EventLinkat:          {"olddir": num32(0), "oldpath": pathArg(firstPath), "newdir": num32(2), "newpath": pathArg(secondPath), "flags": num(4)},
	field.EventSymlink:         {"target": rawPath(firstPath), "linkpath": pathArg(secondPath)},
	field.EventSymlinkat:       {"target": rawPath(firstPath), "linkdirfd": num32(1), "linkpath": pathArg(secondPath)},
	field.EventChmod:           {"filename": pathArg(firstPath), "mode": perm(1)},
	field.EventFchmod:          {"fd": num32(0), "mode": perm(1)},
	field.EventFchmodat:        {"dirfd": num32(0), "filename": pathArg(firstPath), "mode": perm(2)},
	field.EventChown:           {"path": pathArg(firstPath), "uid": num(1), "gid": num(2)},
	field.EventLchown:          {"path": pathArg(firstPath), "uid": num(1), "gid": num(2)},
	field.EventFchown:          {"fd": num32(0), "uid": num(1), "gid": num(2)},
	field.EventFchownat:        {"dirfd": num32(0), "pathname": pathArg(firstPath), "uid": num(2), "gid": num(3), "flags": num(4)},
	field.EventMount:           {"dev": rawPath(firstPath), "dir": pathArg(secondPath), "type": data, "flags": num(3)},
	field.EventUmount:          {"name": pathArg(firstPath)},
	field.EventUmount2:         {"name": pathArg(firstPath), "flags": num(1)},
	field.EventMknod:           {"path": pathArg(firstPath), "mode": num(1), "dev": num(2)},
	field.EventMknodat:         {"dirfd": num32(0), "path": pathArg(firstPath), "mode": num(2), "dev": num(3)},
}

func openFlagsAt(i int) source {
	return number(func(e *Event) int64 { return int64(openFlags(uint32(e.ev.Num[i]))) })
}

// rawPath is path i as passed, for arguments that are paths to us but texts to Falco.
func rawPath(i int) source {
	return str(func(e *Event) string { return e.ev.Path[i-firstPath].Raw })
}

func with(base, more sources) sources {
	s := maps.Clone(base)
	maps.Copy(s, more)
	return s
}

func makeParams() map[field.EventType][]source {
	all := map[field.EventType]sources{}
	for _, t := range []field.EventType{field.EventOpen, field.EventOpenat, field.EventOpenat2, field.EventCreat} {
		all[t] = openSources
	}
	for _, t := range []field.EventType{field.EventExecve, field.EventExecveat} {
		all[t] = execSources
	}
	for _, t := range []field.EventType{field.EventClone, field.EventClone3, field.EventFork, field.EventVfork} {
		all[t] = forkSources
	}
	for _, t := range []field.EventType{
		field.EventConnect, field.EventBind, field.EventAccept, field.EventAccept4, field.EventSendto, field.EventSendmsg,
		field.EventSendmmsg, field.EventRecvfrom, field.EventRecvmsg, field.EventRecvmmsg,
	} {
		all[t] = socketSources
	}
	all[field.EventProcexit] = sources{
		"status": number(func(e *Event) int64 { return e.ev.Result }),
		"ret":    number(func(e *Event) int64 { return e.ev.Result >> 8 & 0xff }),
		"sig":    number(func(e *Event) int64 { return e.ev.Result & 0x7f }),
		"core":   number(func(e *Event) int64 { return e.ev.Result >> 7 & 1 }),
	}
	for t, s := range callSources {
		all[t] = with(sources{"res": result}, s)
	}
	lists := make(map[field.EventType][]source, len(all))
	for t, s := range all {
		list := make([]source, len(t.Info().Params))
		for i, p := range t.Info().Params {
			list[i] = s[p.Name]
		}
		lists[t] = list
	}
	return lists
}
