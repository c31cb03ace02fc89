package extract

import (
	"math"
	"net/netip"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
)

var argFields = class{
	field.EvtArgs:   text((*Event).allArgs),
	field.EvtInfo:   text((*Event).allArgs), // Falco has no other info line
	field.EvtArg:    evtArg,
	field.EvtRawarg: evtRawarg,
}

// param returns the parameter that ref names, and where it comes from; nil if the event does not give it.
func (e *Event) param(ref *field.Ref) (*field.Param, source) {
	list := params[e.ev.Type]
	infos := e.ev.Type.Info().Params
	if ref.Index >= 0 {
		if ref.Index >= len(list) {
			return nil, nil
		}
		return &infos[ref.Index], list[ref.Index]
	}
	for i := range list {
		if infos[i].Name == ref.Arg {
			return &infos[i], list[i]
		}
	}
	return nil, nil
}

// argument returns the argument that ref names; nil if the event does not have it. It is valid until the next call.
func (e *Event) argument(ref *field.Ref) (*field.Param, *arg) {
	p, src := e.param(ref)
	e.arg = arg{}
	if src == nil || !src(e, &e.arg) {
		return nil, nil
	}
	return p, &e.arg
}

// evtArg is evt.arg[N] and evt.arg.NAME: the meaning of a value where it has one, else the value in digits.
func evtArg(e *Event, ref *field.Ref, form field.Form, v *field.Value) bool {
	p, a := e.argument(ref)
	if a == nil {
		return false
	}
	raw, meaning := e.render(p, a, form)
	if meaning != "" {
		return v.SetString(meaning)
	}
	return v.SetString(raw)
}

// evtRawarg is evt.rawarg.NAME: the value itself.
func evtRawarg(e *Event, ref *field.Ref, form field.Form, v *field.Value) bool {
	p, a := e.argument(ref)
	if a == nil {
		return false
	}
	switch p.Type.FieldType() {
	case field.TypeString:
		if p.Type == field.ParamPath || p.Type == field.ParamRelPath {
			raw, _ := e.render(p, a, form)
			return v.SetString(raw)
		}
		return v.SetString(a.s)
	case field.TypeBytes:
		if p.Type == field.ParamBytes {
			return v.SetBytes(a.s)
		}
		return false // tuples and addresses in the driver's own encoding
	case field.TypeInt16, field.TypeInt32, field.TypeInt64:
		return v.SetInt(a.n)
	}
	return v.SetUint(uint64(a.n))
}

// allArgs is evt.args: "name=value(meaning) …". Arguments that are not given are left out.
func (e *Event) allArgs() (string, bool) {
	infos := e.ev.Type.Info().Params
	var out []byte // values are built in buf meanwhile
	for i, src := range params[e.ev.Type] {
		e.arg = arg{}
		if src == nil || !src(e, &e.arg) {
			continue
		}
		if len(out) > 0 {
			out = append(out, ' ')
		}
		raw, meaning := e.render(&infos[i], &e.arg, field.AsPassed)
		out = append(append(append(out, infos[i].Name...), '='), raw...)
		if meaning != "" {
			out = append(append(append(out, '('), meaning...), ')')
		}
	}
	return bytesString(out), true
}

// render returns a value as Falco prints it, and its meaning if it has one.
func (e *Event) render(p *field.Param, a *arg, form field.Form) (raw, meaning string) {
	switch p.Type {
	case field.ParamErrno:
		if a.n < 0 {
			meaning = errnoName(a.n)
		}
		return e.itoa(a.n), meaning
	case field.ParamFD:
		return e.itoa(a.n), e.fdMeaning(p, a.n)
	case field.ParamPID:
		return e.itoa(a.n), e.pidMeaning(a.n)
	case field.ParamUID:
		return e.renderID(a.n, func(id uint32) (string, bool) { u, ok := e.user(id); return u.Name, ok })
	case field.ParamGID:
		return e.renderID(a.n, e.group)
	case field.ParamFlags8, field.ParamFlags16, field.ParamFlags32:
		return e.itoa(a.n), e.flagNames(tables[p.Names], uint64(a.n))
	case field.ParamEnum8, field.ParamEnum16, field.ParamEnum32:
		return e.itoa(a.n), enumName(tables[p.Names], uint64(a.n))
	case field.ParamMode:
		return e.numeral(p.Format, a.n), e.flagNames(tables[p.Names], uint64(a.n))
	case field.ParamString:
		return a.s, ""
	case field.ParamBytes:
		return e.dots(a.s), ""
	case field.ParamPath, field.ParamRelPath:
		return e.renderPath(a, form)
	case field.ParamSockTuple:
		s, _ := e.fdName(form)
		return s, ""
	case field.ParamSockAddr:
		return e.sockAddr(), ""
	case field.ParamSignal:
		return e.itoa(a.n), unix.SignalName(unix.Signal(a.n))
	case field.ParamAbsTime:
		start := len(e.buf)
		e.buf = time.Unix(0, a.n).AppendFormat(e.buf, "2006-01-02 15:04:05.000000000 -0700")
		return e.string(start), ""
	}
	return e.numeral(p.Format, a.n), ""
}

// numeral writes n in a format.
func (e *Event) numeral(f field.Format, n int64) string {
	start := len(e.buf)
	switch f {
	case field.Oct: // as C's %#o
		if n != 0 {
			e.buf = append(e.buf, '0')
		}
		e.buf = strconv.AppendUint(e.buf, uint64(n), 8)
	case field.Hex: // as C's %X
		e.buf = strconv.AppendUint(e.buf, uint64(n), 16)
		for i := start; i < len(e.buf); i++ {
			if e.buf[i] >= 'a' {
				e.buf[i] -= 'a' - 'A'
			}
		}
	default:
		e.buf = strconv.AppendInt(e.buf, n, 10)
	}
	return e.string(start)
}

func (e *Event) renderID(n int64, name func(uint32) (string, bool)) (raw, meaning string) {
	if uint64(n)&math.MaxUint32 == math.MaxUint32 {
		return "-1", "<NONE>"
	}
	if s, ok := name(uint32(n)); ok {
		return e.itoa(n), s
	}
	return e.itoa(n), "<NA>"
}

// fdMeaning says what a descriptor is: "<f>/etc/passwd", "AT_FDCWD", or the error's name.
func (e *Event) fdMeaning(p *field.Param, n int64) string {
	switch {
	case n == unix.AT_FDCWD:
		return "AT_FDCWD"
	case n < 0:
		return errnoName(n)
	case n == e.fd().num && e.fd().kind != fdNone && p.Name != "dirfd":
		name, _ := e.fdName(field.AsPassed)
		proto := ""
		if s, ok := e.l4proto(); ok {
			proto = s[:1]
		}
		return e.concat("<", fdTexts[e.fd().kind].char, proto, ">", name)
	case p.Name == "dirfd" && e.ev.Open.Path.Dir != "":
		return e.concat("<d>", e.ev.Open.Path.Dir)
	}
	return ""
}

// pidMeaning is the name of the process pid.
func (e *Event) pidMeaning(pid int64) string {
	if uint32(pid) == e.ev.Task.PID || uint32(pid) == e.ev.Task.TID {
		return e.name()
	}
	if pid > 0 && pid <= math.MaxUint32 {
		if p := e.x.cfg.Table.ByPID(uint32(pid), e.ev.BootNS); p != nil {
			return e.imageOf(p).Name
		}
	}
	return ""
}

func (e *Event) renderPath(a *arg, form field.Form) (raw, meaning string) {
	switch {
	case a.s != "": // a path that is no argument of a path call: an exec's
		if a.s[0] == '/' {
			return a.s, clean(a.s)
		}
		if e.ev.Exec.Cwd == "" {
			return a.s, ""
		}
		return a.s, clean(e.ev.Exec.Cwd + "/" + a.s)
	case a.path == openPath && !isOpenFamily(e.ev.Type):
		return "", ""
	case a.path == openPath:
		return e.ev.Open.Path.Raw, e.form(openPath, form)
	}
	return e.ev.Path[a.path-firstPath].Raw, e.form(a.path, form)
}

// sockAddr is the address that a call named: "ip:port" or the path of a unix socket.
func (e *Event) sockAddr() string {
	s := &e.ev.Socket
	if s.Family == unix.AF_UNIX {
		return e.unixName()
	}
	a := s.Remote
	if e.ev.Type == field.EventBind {
		a = s.Local
	}
	if !a.IsValid() {
		return e.concat("family ", e.itoa(int64(s.Family)))
	}
	start := len(e.buf)
	e.addrPort(netip.AddrPortFrom(a.Addr(), a.Port()))
	return e.string(start)
}

// dots replaces what cannot be printed by dots.
func (e *Event) dots(s string) string {
	start := len(e.buf)
	for i := range len(s) {
		c := s[i]
		if c < 0x20 || c > 0x7e {
			c = '.'
		}
		e.buf = append(e.buf, c)
	}
	return e.string(start)
}

// bytesString is b as a string that aliases it.
func bytesString(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}
