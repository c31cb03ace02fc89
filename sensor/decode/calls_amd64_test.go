package decode

import "github.com/tiercel-project/tiercel/rules/field"

// nativeSamples are numbers of golang.org/x/sys that must not change, x32's own among them.
var nativeSamples = map[int]field.EventType{
	2: field.EventOpen, 42: field.EventConnect, 59: field.EventExecve, 257: field.EventOpenat, 316: field.EventRenameat2, 322: field.EventExecveat,
	437: field.EventOpenat2, 425: field.EventIoUringSetup, 519: field.EventRecvmsg, 520: field.EventExecve, 545: field.EventExecveat,
}
