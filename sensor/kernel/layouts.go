package kernel

import (
	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/decode"
)

// Sections of the call table, as in bpf/c/call.h.
const (
	callsNative = 576
	callsCompat = 512
	callsSocket = 32
	callsTotal  = callsNative + callsCompat + callsSocket
)

// Flags and programs of a layout, under shorter names.
const (
	failedOnly   = uint8(bpf.SensorCallFlagCALL_FAILED_ONLY)
	socketcall   = uint8(bpf.SensorCallFlagCALL_SOCKETCALL)
	creat        = uint8(bpf.SensorCallFlagCALL_CREAT)
	newFD        = uint8(bpf.SensorCallFlagCALL_NEW_FD)
	accepts      = uint8(bpf.SensorCallFlagCALL_ACCEPTS)
	msghdr       = uint8(bpf.SensorCallFlagCALL_MSGHDR)
	receives     = uint8(bpf.SensorCallFlagCALL_RECEIVES)
	onlyFastopen = uint8(bpf.SensorCallFlagCALL_ONLY_FASTOPEN)

	progOpen     = uint8(bpf.SensorCallProgramCALL_OPEN)
	progExec     = uint8(bpf.SensorCallProgramCALL_EXEC)
	progSocket   = uint8(bpf.SensorCallProgramCALL_SOCKET)
	progMessages = uint8(bpf.SensorCallProgramCALL_MESSAGES)
	progGeneric  = uint8(bpf.SensorCallProgramCALL_GENERIC)

	progRecord      = uint8(bpf.SensorCallProgramCALL_RECORD)
	progOpenEmit    = uint8(bpf.SensorCallProgramCALL_OPEN_EMIT)
	progGenericEmit = uint8(bpf.SensorCallProgramCALL_GENERIC_EMIT)
	progSocketEmit  = uint8(bpf.SensorCallProgramCALL_SOCKET_EMIT)
	progOpenTexts   = uint8(bpf.SensorCallProgramCALL_OPEN_TEXTS)
	progSketch      = uint8(bpf.SensorCallProgramCALL_SKETCH)
	progUring       = uint8(bpf.SensorCallProgramCALL_URING)
)

// layouts say where the arguments of a call stand: positions from 1, 0 for none. Calls that are not listed give their numbers only.
var layouts = map[field.EventType]bpf.SensorCallLayout{
	field.EventOpen:           {Program: progOpen, Path: 1, OpenFlags: 2, OpenMode: 3},
	field.EventOpenat:         {Program: progOpen, Dir: 1, Path: 2, OpenFlags: 3, OpenMode: 4},
	field.EventOpenat2:        {Program: progOpen, Dir: 1, Path: 2, OpenHow: 3},
	field.EventCreat:          {Program: progOpen, Path: 1, OpenMode: 2, Flags: creat},
	field.EventOpenByHandleAt: {Program: progGeneric, Flags: newFD},

	field.EventExecve:   {Program: progExec, Path: 1, Data: 2, Flags: failedOnly},
	field.EventExecveat: {Program: progExec, Dir: 1, Path: 2, Data: 3, Flags: failedOnly},
	field.EventClone:    {Program: progGeneric, Flags: failedOnly},
	field.EventClone3:   {Program: progGeneric, Flags: failedOnly},
	field.EventFork:     {Program: progGeneric, Flags: failedOnly},
	field.EventVfork:    {Program: progGeneric, Flags: failedOnly},

	field.EventSocket:      {Program: progSocket, Flags: newFD},
	field.EventBind:        {Program: progSocket, Fd: 1, Addr: 2, AddrLen: 3},
	field.EventConnect:     {Program: progSocket, Fd: 1, Addr: 2, AddrLen: 3},
	field.EventListen:      {Program: progSocket, Fd: 1},
	field.EventAccept:      {Program: progSocket, Fd: 1, Flags: newFD | accepts},
	field.EventAccept4:     {Program: progSocket, Fd: 1, Flags: newFD | accepts},
	field.EventSend:        {Program: progSocket, Fd: 1, Data: 2, Size: 3, OpenFlags: 4},
	field.EventSendto:      {Program: progSocket, Fd: 1, Data: 2, Size: 3, OpenFlags: 4, Addr: 5, AddrLen: 6},
	field.EventSendmsg:     {Program: progSocket, Fd: 1, Data: 2, OpenFlags: 3, Flags: msghdr},
	field.EventSendmmsg:    {Program: progMessages, Fd: 1, Data: 2},
	field.EventRecv:        {Program: progSocket, Fd: 1, Data: 2, Size: 3, Flags: receives},
	field.EventRecvfrom:    {Program: progSocket, Fd: 1, Data: 2, Size: 3, Addr: 5, AddrLen: 6, Flags: receives},
	field.EventRecvmsg:     {Program: progSocket, Fd: 1, Data: 2, Flags: msghdr | receives},
	field.EventRecvmmsg:    {Program: progMessages, Fd: 1, Data: 2, Flags: receives},
	field.EventShutdown:    {Program: progSocket, Fd: 1},
	field.EventGetsockname: {Program: progSocket, Fd: 1},
	field.EventGetpeername: {Program: progSocket, Fd: 1},
	field.EventGetsockopt:  {Program: progSocket, Fd: 1},
	field.EventSetsockopt:  {Program: progSocket, Fd: 1},

	field.EventUnlink:     {Program: progGeneric, Path: 1},
	field.EventUnlinkat:   {Program: progGeneric, Dir: 1, Path: 2},
	field.EventRmdir:      {Program: progGeneric, Path: 1},
	field.EventRename:     {Program: progGeneric, Path: 1, Path2: 2},
	field.EventRenameat:   {Program: progGeneric, Dir: 1, Path: 2, Dir2: 3, Path2: 4},
	field.EventRenameat2:  {Program: progGeneric, Dir: 1, Path: 2, Dir2: 3, Path2: 4},
	field.EventMkdir:      {Program: progGeneric, Path: 1},
	field.EventMkdirat:    {Program: progGeneric, Dir: 1, Path: 2},
	field.EventMknod:      {Program: progGeneric, Path: 1},
	field.EventMknodat:    {Program: progGeneric, Dir: 1, Path: 2},
	field.EventLink:       {Program: progGeneric, Path: 1, Path2: 2},
	field.EventLinkat:     {Program: progGeneric, Dir: 1, Path: 2, Dir2: 3, Path2: 4},
	field.EventSymlink:    {Program: progGeneric, Path: 1, Path2: 2},
	field.EventSymlinkat:  {Program: progGeneric, Path: 1, Dir2: 2, Path2: 3},
	field.EventChmod:      {Program: progGeneric, Path: 1},
	field.EventFchmodat:   {Program: progGeneric, Dir: 1, Path: 2},
	field.EventFchmod:     {Program: progGeneric, Fd: 1},
	field.EventChown:      {Program: progGeneric, Path: 1},
	field.EventLchown:     {Program: progGeneric, Path: 1},
	field.EventFchownat:   {Program: progGeneric, Dir: 1, Path: 2},
	field.EventFchown:     {Program: progGeneric, Fd: 1},
	field.EventAccess:     {Program: progGeneric, Path: 1},
	field.EventStat:       {Program: progGeneric, Path: 1},
	field.EventLstat:      {Program: progGeneric, Path: 1},
	field.EventNewfstatat: {Program: progGeneric, Dir: 1, Path: 2},
	field.EventChdir:      {Program: progGeneric, Path: 1},
	field.EventFchdir:     {Program: progGeneric, Fd: 1},
	field.EventChroot:     {Program: progGeneric, Path: 1},
	field.EventMount:      {Program: progGeneric, Path: 1, Path2: 2, Data: 3},
	field.EventUmount:     {Program: progGeneric, Path: 1},
	field.EventUmount2:    {Program: progGeneric, Path: 1},
	field.EventQuotactl:   {Program: progGeneric, Path: 2},
	field.EventFsconfig:   {Program: progGeneric, Data: 3},

	field.EventDup:           {Program: progGeneric, Flags: newFD},
	field.EventDup2:          {Program: progGeneric, Flags: newFD},
	field.EventDup3:          {Program: progGeneric, Flags: newFD},
	field.EventPidfdGetfd:    {Program: progGeneric, Flags: newFD},
	field.EventFcntl:         {Program: progGeneric, Fd: 1},
	field.EventIoctl:         {Program: progGeneric, Fd: 1},
	field.EventFlock:         {Program: progGeneric, Fd: 1},
	field.EventFstat:         {Program: progGeneric, Fd: 1},
	field.EventLseek:         {Program: progGeneric, Fd: 1},
	field.EventLlseek:        {Program: progGeneric, Fd: 1},
	field.EventGetdents:      {Program: progGeneric, Fd: 1},
	field.EventGetdents64:    {Program: progGeneric, Fd: 1},
	field.EventSendfile:      {Program: progGeneric, Fd: 1},
	field.EventSplice:        {Program: progGeneric, Fd: 1},
	field.EventCopyFileRange: {Program: progGeneric, Fd: 1},
	field.EventMmap:          {Program: progGeneric, Fd: 5},
	field.EventMmap2:         {Program: progGeneric, Fd: 5},
	field.EventRead:          {Program: progGeneric, Fd: 1, Data: 2, Size: 3, Flags: receives},
	field.EventPread:         {Program: progGeneric, Fd: 1, Data: 2, Size: 3, Flags: receives},
	field.EventWrite:         {Program: progGeneric, Fd: 1, Data: 2, Size: 3, Flags: receives},
	field.EventPwrite:        {Program: progGeneric, Fd: 1, Data: 2, Size: 3, Flags: receives},
	field.EventReadv:         {Program: progGeneric, Fd: 1},
	field.EventWritev:        {Program: progGeneric, Fd: 1},
	field.EventPreadv:        {Program: progGeneric, Fd: 1},
	field.EventPwritev:       {Program: progGeneric, Fd: 1},
	field.EventSetns:         {Program: progGeneric, Fd: 1},

	field.EventInitModule:   {Program: progGeneric, Data: 3},
	field.EventFinitModule:  {Program: progGeneric, Fd: 1, Data: 2},
	field.EventDeleteModule: {Program: progGeneric, Data: 1},
	field.EventMemfdCreate:  {Program: progGeneric, Data: 1},

	field.EventIoUringEnter: {Program: progUring},

	generic("truncate"):  {Program: progGeneric, Path: 1},
	generic("ftruncate"): {Program: progGeneric, Fd: 1},
	generic("fallocate"): {Program: progGeneric, Fd: 1},
}

// generic is the type of a call that Falco has no arguments of.
func generic(name string) field.EventType {
	t, ok := field.EventTypeByName(name)
	if !ok {
		panic("kernel: no event type " + name)
	}
	return t
}

// numbersOnly are the modelled calls whose arguments are all in Num.
var numbersOnly = []field.EventType{
	field.EventBpf, field.EventCapset, field.EventClose, field.EventCloseRange, field.EventEventfd, field.EventEventfd2,
	field.EventIoUringRegister, field.EventIoUringSetup, field.EventKill, field.EventMlock, field.EventMlock2,
	field.EventMlockall, field.EventMprotect, field.EventMunlock, field.EventMunlockall, field.EventMunmap, field.EventPidfdOpen,
	field.EventPrctl, field.EventProcessVmReadv, field.EventProcessVmWritev, field.EventPtrace, field.EventSeccomp, field.EventSetgid,
	field.EventSetpgid, field.EventSetregid, field.EventSetresgid, field.EventSetresuid, field.EventSetreuid, field.EventSetsid,
	field.EventSetuid, field.EventTgkill, field.EventTkill, field.EventUnshare, field.EventUserfaultfd,
}

// layout returns the layout of calls of type t.
func layout(t field.EventType) bpf.SensorCallLayout {
	l, ok := layouts[t]
	if !ok {
		l.Program = progGeneric
	}
	l.Type = uint16(t)
	return l
}

// Given returns the event types that the sensor delivers with all the arguments that Falco knows of them: none of the generic ones. Other
// system calls arrive with Num and Result only.
func Given() field.EventSet {
	set := field.NewEventSet(numbersOnly...)
	set.Add(field.EventProcexit)
	for t := range layouts {
		set.Add(t)
	}
	for _, calls := range [][]field.EventType{decode.NativeCalls(), decode.IA32Calls()} {
		for _, t := range calls {
			if t != 0 && t.Info().Kind == field.Generic {
				set.Add(t)
			}
		}
	}
	return set
}
