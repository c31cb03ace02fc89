package decode

import "github.com/tiercel-project/tiercel/rules/field"

// nativeSamples are numbers of golang.org/x/sys that must not change.
var nativeSamples = map[int]field.EventType{
	56: field.EventOpenat, 203: field.EventConnect, 221: field.EventExecve, 281: field.EventExecveat, 276: field.EventRenameat2,
	437: field.EventOpenat2, 425: field.EventIoUringSetup, 35: field.EventUnlinkat,
}
