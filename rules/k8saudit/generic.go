package k8saudit

import (
	"strconv"

	"github.com/tiercel-project/tiercel/rules/field"
)

// genericFields are the fields that events of all sources have.
func genericFields(x *[field.NumFields + 1]extractor) {
	x[field.EvtNum] = func(e *Event, _ *field.Ref, v *field.Value) bool { return v.SetUint(e.Num) }
	for id, layout := range map[field.ID]string{
		field.EvtTime: "15:04:05.000000000", field.EvtTimeS: "15:04:05",
		field.EvtDatetime: "2006-01-02 15:04:05.000000000", field.EvtDatetimeS: "2006-01-02 15:04:05",
		field.EvtTimeISO8601: "2006-01-02T15:04:05.000000000-0700",
	} {
		x[id] = func(e *Event, _ *field.Ref, v *field.Value) bool { return v.SetString(e.time.Local().Format(layout)) }
	}
	x[field.EvtRawtime] = func(e *Event, _ *field.Ref, v *field.Value) bool { return v.SetUint(uint64(e.time.UnixNano())) }
	x[field.EvtRawtimeS] = func(e *Event, _ *field.Ref, v *field.Value) bool { return v.SetUint(uint64(e.time.Unix())) }
	x[field.EvtRawtimeNS] = func(e *Event, _ *field.Ref, v *field.Value) bool { return v.SetUint(uint64(e.time.Nanosecond())) }
	x[field.EvtSource] = func(_ *Event, _ *field.Ref, v *field.Value) bool { return v.SetString(RuleSource) }
	x[field.EvtPluginname] = func(_ *Event, _ *field.Ref, v *field.Value) bool { return v.SetString("k8saudit") }
	x[field.EvtPlugininfo] = func(e *Event, _ *field.Ref, v *field.Value) bool { return v.SetString(e.info()) }
	x[field.EvtType] = func(_ *Event, _ *field.Ref, v *field.Value) bool { return v.SetString(field.EventPluginevent.String()) }
	x[field.EvtTypeIs] = func(_ *Event, ref *field.Ref, v *field.Value) bool {
		if ref.Arg == field.EventPluginevent.String() {
			return v.SetUint(1)
		}
		return v.SetUint(0)
	}
	x[field.EvtIsAsync] = func(_ *Event, _ *field.Ref, v *field.Value) bool { return v.SetBool(false) }
}

// info is the event in a line.
func (e *Event) info() string {
	verb, _ := e.str("verb")
	uri, _ := e.str("requestURI")
	code, _ := e.str("responseStatus", "code")
	user, _ := e.str("user", "username")
	return user + " " + verb + " " + strconv.Quote(uri) + " " + code
}
