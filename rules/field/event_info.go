package field

import "slices"

// An EventKind says where events of a type come from.
type EventKind uint8

// Kinds of event types. The zero EventKind is a system call without a model of its own.
const (
	Generic    EventKind = iota // a system call that is not modelled: type, result and raw arguments only
	Syscall                     // a system call
	Tracepoint                  // another kernel tracepoint: procexit, switch, signaldeliver, page_fault
	Plugin                      // an event of a plugin's source
	Meta                        // made in user space
	Iterator                    // the state of the system at the start
)

// EventFlags say what an event does with a file descriptor, and the like.
type EventFlags uint8

// Flags of an event type.
const (
	CreatesFD EventFlags = 1 << iota
	UsesFD
	DestroysFD
	ReadsFD
	WritesFD
	Waits
	ModifiesState // Falco always watches it, to keep its own state
)

// A ParamType is the type of a parameter of an event.
type ParamType uint8

// Types of parameters. Their names in Falco begin with PT_.
const (
	ParamErrno ParamType = iota + 1
	ParamFD
	ParamPID
	ParamUID
	ParamGID
	ParamInt16
	ParamInt32
	ParamInt64
	ParamUint8
	ParamUint16
	ParamUint32
	ParamUint64
	ParamFlags8
	ParamFlags16
	ParamFlags32
	ParamEnum8 // one of several values, where flags are combined
	ParamEnum16
	ParamEnum32
	ParamMode
	ParamString
	ParamStrings
	ParamPairs
	ParamBytes
	ParamPath    // a path, made absolute with cwd
	ParamRelPath // a path, made absolute with the descriptor of the parameter before it
	ParamSockAddr
	ParamSockTuple
	ParamIPv4
	ParamIPv6
	ParamPort
	ParamFDList
	ParamSignal
	ParamSigSet
	ParamSyscallID
	ParamRelTime
	ParamAbsTime
	ParamDyn // depends on another parameter
)

// FieldType is the type that evt.rawarg of a parameter of type t has.
func (t ParamType) FieldType() Type {
	switch t {
	case ParamErrno, ParamFD, ParamPID, ParamInt64:
		return TypeInt64
	case ParamInt16:
		return TypeInt16
	case ParamInt32:
		return TypeInt32
	case ParamUID, ParamGID, ParamUint8, ParamUint16, ParamUint32, ParamFlags8, ParamFlags16, ParamFlags32,
		ParamEnum8, ParamEnum16, ParamEnum32, ParamMode, ParamSignal, ParamSigSet, ParamSyscallID:
		return TypeUint32
	case ParamUint64:
		return TypeUint64
	case ParamPort:
		return TypePort
	case ParamIPv4, ParamIPv6:
		return TypeIPAddr
	case ParamRelTime:
		return TypeRelTime
	case ParamAbsTime:
		return TypeAbsTime
	case ParamString, ParamStrings, ParamPairs, ParamPath, ParamRelPath:
		return TypeString
	}
	return TypeBytes
}

// A Format says how Falco prints a number of a parameter.
type Format uint8

// Formats of parameters.
const (
	Plain Format = iota // not a number
	Dec
	Hex
	Oct
)

// A Param is one parameter of an event type.
type Param struct {
	Name   string
	Type   ParamType
	Format Format
	Names  string // the table of names its values have, by Falco's name for it: "file_flags"; empty if none
}

// An EventInfo describes an event type.
type EventInfo struct {
	Name string
	// Category is evt.category; "io_read", "io_write" and "io_other" stand for the kind of the descriptor: file, net, IPC or unknown.
	Category string
	Kind     EventKind
	Flags    EventFlags
	Params   []Param // in the order of evt.arg[N]
}

// numEvents is one above the last event type.
const numEvents = int(numModelled) + len(genericNames)

var (
	eventInfos  [numEvents]EventInfo
	eventByName = make(map[string]EventType, numEvents)
	paramEvents = make(map[string]EventSet, len(paramTypes))
)

func init() {
	copy(eventInfos[:], eventTable[:])
	for i, name := range modelledNames {
		eventInfos[i].Name = name
	}
	for i, name := range genericNames {
		eventInfos[int(numModelled)+i] = EventInfo{Name: name, Category: "other"}
		if name == "ftruncate" || name == "fallocate" { // the sensor gives their descriptor
			eventInfos[int(numModelled)+i].Flags = UsesFD
		}
	}
	for i := 1; i < numEvents; i++ {
		info := &eventInfos[i]
		eventByName[info.Name] = EventType(i)
		for _, p := range info.Params {
			s := paramEvents[p.Name]
			s.Add(EventType(i))
			paramEvents[p.Name] = s
		}
	}
}

// EventTypeByName returns the event type that evt.type calls name.
func EventTypeByName(name string) (EventType, bool) {
	t, ok := eventByName[name]
	return t, ok
}

// EventTypes returns all event types: the modelled ones first, each group sorted by name.
func EventTypes() []EventType {
	types := make([]EventType, 0, numEvents-1)
	for i := 1; i < numEvents; i++ {
		types = append(types, EventType(i))
	}
	return types
}

// String is the name of t as evt.type gives it; empty for no event.
func (t EventType) String() string { return t.Info().Name }

// Info describes t. The caller must not change it.
func (t EventType) Info() *EventInfo {
	if int(t) >= numEvents {
		t = 0
	}
	return &eventInfos[t]
}

// Param returns the parameter of t called name and its position.
func (t EventType) Param(name string) (index int, p Param, ok bool) {
	params := t.Info().Params
	i := slices.IndexFunc(params, func(p Param) bool { return p.Name == name })
	if i < 0 {
		return -1, Param{}, false
	}
	return i, params[i], true
}

// RawArgType returns the type of the parameter called name of whatever event has one: what evt.rawarg.name is. False means that no event,
// not even of an older version, has such a parameter.
func RawArgType(name string) (ParamType, bool) {
	t, ok := paramTypes[name]
	return t, ok
}

// ParamEvents returns the event types that have a parameter called name. It is empty for names that only older versions of events had.
func ParamEvents(name string) EventSet { return paramEvents[name] }
