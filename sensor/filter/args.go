package filter

import "github.com/tiercel-project/tiercel/rules/field"

// A numberArg says in which register of a call an argument stands.
type numberArg struct {
	arg   int
	width Width
	open  bool // flags of an open: rules see Falco's bits
}

// numberArgs are the arguments that are numbers, as sensor/extract gives them; TestArgs holds the two together.
var numberArgs = map[field.EventType]map[string]numberArg{
	field.EventOpen:            {"flags": {1, Bits32, true}},
	field.EventOpenat:          {"flags": {2, Bits32, true}},
	field.EventSocket:          {"domain": {0, Bits32, false}, "type": {1, Bits32, false}, "proto": {2, Bits32, false}},
	field.EventSocketpair:      {"domain": {0, Bits32, false}, "type": {1, Bits32, false}, "proto": {2, Bits32, false}},
	field.EventListen:          {"fd": {0, Int32, false}, "backlog": {1, Int32, false}},
	field.EventShutdown:        {"fd": {0, Int32, false}, "how": {1, Bits32, false}},
	field.EventDup:             {"oldfd": {0, Int32, false}},
	field.EventDup2:            {"oldfd": {0, Int32, false}, "newfd": {1, Int32, false}},
	field.EventDup3:            {"oldfd": {0, Int32, false}, "newfd": {1, Int32, false}, "flags": {2, Bits32, true}},
	field.EventFcntl:           {"fd": {0, Int32, false}, "cmd": {1, Bits32, false}},
	field.EventBpf:             {"cmd": {0, Bits32, false}},
	field.EventPtrace:          {"request": {0, Bits32, false}, "pid": {1, Int32, false}},
	field.EventSetns:           {"fd": {0, Int32, false}, "nstype": {1, Bits32, false}},
	field.EventUnshare:         {"flags": {0, Bits32, false}},
	field.EventSetuid:          {"uid": {0, Bits32, false}},
	field.EventSetgid:          {"gid": {0, Bits32, false}},
	field.EventSetreuid:        {"ruid": {0, Bits32, false}, "euid": {1, Bits32, false}},
	field.EventSetregid:        {"rgid": {0, Bits32, false}, "egid": {1, Bits32, false}},
	field.EventSetresuid:       {"ruid": {0, Bits32, false}, "euid": {1, Bits32, false}, "suid": {2, Bits32, false}},
	field.EventSetresgid:       {"rgid": {0, Bits32, false}, "egid": {1, Bits32, false}, "sgid": {2, Bits32, false}},
	field.EventUserfaultfd:     {"flags": {0, Bits32, true}},
	field.EventInitModule:      {"length": {1, Wide, false}},
	field.EventFinitModule:     {"fd": {0, Int32, false}, "flags": {2, Bits32, false}},
	field.EventDeleteModule:    {"flags": {1, Bits32, false}},
	field.EventMemfdCreate:     {"flags": {1, Bits32, false}},
	field.EventPrctl:           {"option": {0, Bits32, false}, "arg2_int": {1, Wide, false}},
	field.EventKill:            {"pid": {0, Int32, false}, "sig": {1, Bits32, false}},
	field.EventTkill:           {"tid": {0, Int32, false}, "sig": {1, Bits32, false}},
	field.EventTgkill:          {"pid": {0, Int32, false}, "tid": {1, Int32, false}, "sig": {2, Bits32, false}},
	field.EventProcessVmReadv:  {"pid": {0, Int32, false}},
	field.EventProcessVmWritev: {"pid": {0, Int32, false}},
	field.EventIoUringSetup:    {"entries": {0, Bits32, false}},
	field.EventSeccomp:         {"op": {0, Bits32, false}, "flags": {1, Bits32, false}},
	field.EventMkdir:           {"mode": {1, Bits32, false}},
	field.EventMkdirat:         {"dirfd": {0, Int32, false}, "mode": {2, Bits32, false}},
	field.EventUnlinkat:        {"dirfd": {0, Int32, false}, "flags": {2, Bits32, false}},
	field.EventRenameat2:       {"flags": {4, Bits32, false}},
	field.EventLinkat:          {"flags": {4, Bits32, false}},
	field.EventChmod:           {"mode": {1, Perm, false}},
	field.EventFchmod:          {"fd": {0, Int32, false}, "mode": {1, Perm, false}},
	field.EventFchmodat:        {"dirfd": {0, Int32, false}, "mode": {2, Perm, false}},
	field.EventChown:           {"uid": {1, Bits32, false}, "gid": {2, Bits32, false}},
	field.EventLchown:          {"uid": {1, Bits32, false}, "gid": {2, Bits32, false}},
	field.EventFchown:          {"fd": {0, Int32, false}, "uid": {1, Bits32, false}, "gid": {2, Bits32, false}},
	field.EventFchownat:        {"dirfd": {0, Int32, false}, "uid": {2, Bits32, false}, "gid": {3, Bits32, false}, "flags": {4, Bits32, false}},
	field.EventMount:           {"flags": {3, Bits32, false}},
	field.EventUmount2:         {"flags": {1, Bits32, false}},
	field.EventMknod:           {"mode": {1, Bits32, false}, "dev": {2, Bits32, false}},
	field.EventMknodat:         {"dirfd": {0, Int32, false}, "mode": {2, Bits32, false}, "dev": {3, Bits32, false}},
}

// pathArgs are the arguments that are paths which the kernel side has.
var pathArgs = map[field.EventType]map[string]Subject{
	field.EventOpen:      {"name": Opened},
	field.EventOpenat:    {"name": Opened},
	field.EventOpenat2:   {"name": Opened},
	field.EventCreat:     {"name": Opened},
	field.EventChroot:    {"path": First},
	field.EventMkdir:     {"path": First},
	field.EventMkdirat:   {"path": First},
	field.EventRmdir:     {"path": First},
	field.EventUnlink:    {"path": First},
	field.EventUnlinkat:  {"name": First},
	field.EventRename:    {"oldpath": First, "newpath": Second},
	field.EventRenameat:  {"oldpath": First, "newpath": Second},
	field.EventRenameat2: {"oldpath": First, "newpath": Second},
	field.EventLink:      {"oldpath": First, "newpath": Second},
	field.EventLinkat:    {"oldpath": First, "newpath": Second},
	field.EventSymlink:   {"linkpath": Second},
	field.EventSymlinkat: {"linkpath": Second},
	field.EventChmod:     {"filename": First},
	field.EventFchmodat:  {"filename": First},
	field.EventChown:     {"path": First},
	field.EventLchown:    {"path": First},
	field.EventFchownat:  {"pathname": First},
	field.EventMount:     {"dir": Second},
	field.EventUmount:    {"name": First},
	field.EventUmount2:   {"name": First},
	field.EventMknod:     {"path": First},
	field.EventMknodat:   {"path": First},
}

// HasPaths reports whether the kernel side has the paths of events of type t at hand before they are sent.
func HasPaths(t field.EventType) bool { return pathArgs[t] != nil }
