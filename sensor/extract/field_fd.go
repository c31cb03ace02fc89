package extract

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
)

// A fdKind is what a descriptor refers to.
type fdKind uint8

const (
	fdNone fdKind = iota // there is no descriptor: the call failed
	fdFile
	fdDirectory
	fdIPv4
	fdIPv6
	fdIPv4Server
	fdIPv6Server
	fdUnix
	fdPipe
	fdNetlink
	fdBpf
	fdUserfault
	fdIOUring
	fdMemfd
	fdOther
)

// fdTexts are fd.typechar and fd.type.
var fdTexts = [...]struct{ char, name string }{
	fdFile: {"f", "file"}, fdDirectory: {"d", "directory"}, fdIPv4: {"4", "ipv4"}, fdIPv6: {"6", "ipv6"},
	fdIPv4Server: {"2", "ipv4"}, fdIPv6Server: {"3", "ipv6"}, fdUnix: {"u", "unix"}, fdPipe: {"p", "pipe"},
	fdNetlink: {"n", "netlink"}, fdBpf: {"b", "bpf"}, fdUserfault: {"u", "userfaultfd"}, fdIOUring: {"r", "io_uring"},
	fdMemfd: {"m", "memfd"}, fdOther: {"o", ""},
}

// A fdInfo is the descriptor of an event, made when first asked for.
type fdInfo struct {
	made           bool
	uses           bool // the event is about a descriptor at all
	kind           fdKind
	num            int64
	client, server netip.AddrPort
	name           string // of sockets
	named          bool
}

var fdFields = class{
	field.FDNum: func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		f := e.fd()
		return f.uses && v.SetInt(f.num)
	},
	field.FDType: text(func(e *Event) (string, bool) { s := fdTexts[e.fd().kind].name; return s, s != "" }),
	field.FDTypechar: text(func(e *Event) (string, bool) {
		f := e.fd()
		if f.uses && f.kind == fdNone {
			return failedChar(e.ev.Type), true
		}
		return fdTexts[f.kind].char, f.kind != fdNone
	}),
	field.FDName: func(e *Event, _ *field.Ref, form field.Form, v *field.Value) bool {
		s, ok := e.fdName(form)
		return ok && v.SetString(s)
	},
	field.FDNameraw: func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		f := e.fd()
		return f.uses && e.isFile(f) && e.ev.Open.Path.Raw != "" && v.SetString(e.squeeze(e.ev.Open.Path.Raw))
	},
	field.FDDirectory: func(e *Event, _ *field.Ref, form field.Form, v *field.Value) bool {
		f := e.fd()
		if !f.uses || !e.isFile(f) {
			return false
		}
		s, ok := e.fdName(form)
		if f.kind != fdDirectory {
			s = dirOf(s)
		}
		return ok && v.SetString(s)
	},
	field.FDFilename: func(e *Event, _ *field.Ref, form field.Form, v *field.Value) bool {
		s, ok := e.fdName(form)
		return ok && e.fd().kind == fdFile && v.SetString(baseOf(s))
	},
	field.FDContainername: func(e *Event, _ *field.Ref, form field.Form, v *field.Value) bool {
		s, ok := e.fdName(form)
		return ok && v.SetString(e.concat(e.containerID(), ":", s))
	},
	field.FDUID: text(func(e *Event) (string, bool) {
		f := e.fd()
		if !f.uses {
			return "", false
		}
		return e.concat(e.itoa(int64(e.ev.Task.TID)), e.itoa(f.num)), true
	}),

	field.FDIP:    both(addrOf),
	field.FDNet:   both(addrOf),
	field.FDPort:  both(portOf),
	field.FDProto: both(portOf),
	field.FDCip:   client(addrOf),
	field.FDCnet:  client(addrOf),
	field.FDCport: client(portOf),
	field.FDSip:   server(addrOf),
	field.FDSnet:  server(addrOf),
	field.FDSport: server(portOf),
	field.FDLip:   local(addrOf),
	field.FDLnet:  local(addrOf),
	field.FDLport: local(portOf),
	field.FDRip:   remote(addrOf),
	field.FDRnet:  remote(addrOf),
	field.FDRport: remote(portOf),

	field.FDCipName: client(domains),
	field.FDSipName: server(domains),
	field.FDLipName: local(domains),
	field.FDRipName: remote(domains),

	field.FDCproto: client(portText),
	field.FDSproto: server(portText),
	field.FDLproto: local(portText),
	field.FDRproto: remote(portText),

	field.FDL4proto: text((*Event).l4proto),
	field.FDSockfamily: text(func(e *Event) (string, bool) {
		switch f := e.fd(); {
		case f.inet():
			return "ip", true
		case f.kind == fdUnix:
			return "unix", true
		}
		return "", false
	}),
	field.FDIsServer: func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		f := e.fd()
		return f.kind != fdNone && v.SetBool(f.inet() && e.ev.Socket.Server)
	},
	field.FDConnected: func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		return e.fd().kind != fdNone && v.SetBool(e.ev.Socket.Connected)
	},
	field.FDNameChanged: func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		return e.fd().kind != fdNone && v.SetBool(e.ev.Socket.Changed)
	},
	field.FDIsUpperLayer: layer(func(e *Event) bool { return e.ev.Open.UpperLayer }),
	field.FDIsLowerLayer: layer(func(e *Event) bool { return e.ev.Open.LowerLayer }),
	field.FDDev:          device(func(dev uint32) uint32 { return dev }),
	field.FDDevMajor:     device(func(dev uint32) uint32 { return dev >> 20 }),
	field.FDDevMinor:     device(func(dev uint32) uint32 { return dev & (1<<20 - 1) }),
	field.FDIno: func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		return e.fd().kind != fdNone && e.isFile(e.fd()) && e.ev.Open.Ino != 0 && v.SetInt(int64(e.ev.Open.Ino))
	},
}

func (f *fdInfo) inet() bool { return f.kind >= fdIPv4 && f.kind <= fdIPv6Server }

// isFile reports whether f is a file or directory, or was meant to become one.
func (e *Event) isFile(f *fdInfo) bool {
	return f.kind == fdFile || f.kind == fdDirectory || (f.kind == fdNone && f.uses && failedChar(e.ev.Type) == "f")
}

// failedChar is fd.typechar where a call that makes a descriptor failed.
func failedChar(t field.EventType) string {
	switch t {
	case field.EventOpen, field.EventOpenat, field.EventOpenat2, field.EventCreat:
		return "f"
	case field.EventSocket, field.EventAccept, field.EventAccept4:
		return "4" // Falco does not look further
	case field.EventPipe, field.EventPipe2:
		return "p"
	}
	return "o"
}

// fd returns what the event's descriptor is.
func (e *Event) fd() *fdInfo {
	f := &e.fdInfo
	if f.made {
		return f
	}
	f.made = true
	flags := e.ev.Type.Info().Flags
	if flags&(field.CreatesFD|field.UsesFD|field.DestroysFD) == 0 {
		return f
	}
	f.uses = true
	f.num = e.fdNumber(flags)
	switch {
	case isOpenFamily(e.ev.Type):
		if e.ev.Result >= 0 {
			f.kind = openKind(e.ev.Open.Flags, e.ev.Open.Type)
		}
	case e.ev.Socket.Family != 0:
		e.socketKind(f)
	case e.ev.Open.Path.Resolved != "" || e.ev.Open.Type != 0:
		f.kind = fileKind(e.ev.Open.Type)
	default:
		f.kind = createdKind(e.ev.Type, e.ev.Result)
	}
	if flags&field.CreatesFD != 0 && flags&field.UsesFD == 0 && e.ev.Result < 0 {
		f.kind = fdNone
	}
	return f
}

// fdNumber is fd.num: the result of calls that make a descriptor, else the argument.
func (e *Event) fdNumber(flags field.EventFlags) int64 {
	if flags&field.CreatesFD != 0 {
		return max(e.ev.Result, -1)
	}
	if e.ev.Socket.Family != 0 {
		return int64(e.ev.Socket.FD)
	}
	return int64(int32(e.ev.Num[0]))
}

func isOpenFamily(t field.EventType) bool {
	switch t {
	case field.EventOpen, field.EventOpenat, field.EventOpenat2, field.EventCreat, field.EventOpenByHandleAt:
		return true
	}
	return false
}

// openKind is the kind of an opened file. Falco tells a directory by O_DIRECTORY alone; we look at the inode too.
func openKind(flags uint32, typ byte) fdKind {
	if flags&unix.O_DIRECTORY != 0 || typ == unix.S_IFDIR>>12 {
		return fdDirectory
	}
	return fdFile
}

// fileKind is the kind of a descriptor that is no socket.
func fileKind(typ byte) fdKind {
	switch typ {
	case unix.S_IFDIR >> 12:
		return fdDirectory
	case unix.S_IFIFO >> 12:
		return fdPipe
	case unix.S_IFSOCK >> 12:
		return fdOther
	}
	return fdFile
}

func createdKind(t field.EventType, result int64) fdKind {
	if result < 0 {
		return fdNone
	}
	switch t {
	case field.EventBpf:
		return fdBpf
	case field.EventUserfaultfd:
		return fdUserfault
	case field.EventMemfdCreate:
		return fdMemfd
	case field.EventIoUringSetup:
		return fdIOUring
	case field.EventPipe, field.EventPipe2:
		return fdPipe
	}
	return fdOther
}

// socketKind fills f for a socket. IPv6 addresses that stand for IPv4 ones count as IPv4, as in Falco.
func (e *Event) socketKind(f *fdInfo) {
	s := &e.ev.Socket
	f.kind = fdOther
	switch s.Family {
	case unix.AF_UNIX:
		f.kind = fdUnix
		return
	case unix.AF_NETLINK:
		f.kind = fdNetlink
		return
	case unix.AF_INET:
		f.kind = fdIPv4
	case unix.AF_INET6:
		f.kind = fdIPv6
	default:
		return
	}
	lo, re := unmap(s.Local), unmap(s.Remote)
	if f.kind == fdIPv6 && ((re.IsValid() && re.Addr().Is4()) || (!re.IsValid() && lo.IsValid() && lo.Addr().Is4())) {
		f.kind = fdIPv4
	}
	switch {
	case re.IsValid() && s.Server:
		f.client, f.server = re, lo
	case re.IsValid():
		f.client, f.server = lo, re
	case s.Server, e.ev.Type == field.EventBind && lo.IsValid(): // it listens, or is about to
		f.server = lo
		f.kind += fdIPv4Server - fdIPv4
	}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() {
		return a
	}
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// fdName is fd.name in a form.
func (e *Event) fdName(form field.Form) (string, bool) {
	f := e.fd()
	switch {
	case !f.uses:
		return "", false
	case e.isFile(f):
		s := e.form(openPath, form)
		return s, s != ""
	case f.kind == fdUnix:
		s := e.unixName()
		return s, s != ""
	case !f.inet():
		return "", false
	}
	if !f.named {
		f.named = true
		start := len(e.buf)
		if f.client.IsValid() {
			e.addrPort(f.client)
			e.buf = append(e.buf, "->"...)
		}
		if f.server.IsValid() {
			e.addrPort(f.server)
		}
		f.name = e.string(start)
	}
	return f.name, f.name != ""
}

// unixName is the path of a unix socket; an abstract one begins with @. Falco puts two kernel addresses before it, which mean nothing to
// anybody else.
func (e *Event) unixName() string {
	s := e.ev.Socket.UnixPath
	if s != "" && s[0] == 0 {
		return e.concat("@", s[1:])
	}
	return s
}

// A part of an address, stored in v.
type addrPart func(e *Event, a netip.AddrPort, v *field.Value) bool

func addrOf(_ *Event, a netip.AddrPort, v *field.Value) bool { return v.SetAddr(a.Addr()) }
func portOf(_ *Event, a netip.AddrPort, v *field.Value) bool { return v.SetUint(uint64(a.Port())) }
func portText(e *Event, a netip.AddrPort, v *field.Value) bool {
	return v.SetString(e.itoa(int64(a.Port())))
}

// domains gives the name that the rules know an address by; all of them if there are several.
func domains(e *Event, a netip.AddrPort, v *field.Value) bool {
	names := e.x.cfg.Domains(a.Addr())
	switch len(names) {
	case 0:
		return false
	case 1:
		return v.SetString(names[0])
	}
	v.SetList()
	for _, n := range names {
		v.AppendString(n)
	}
	return true
}

// both makes a getter of the list of the client's and the server's part: comparing with it means comparing with each.
func both(part addrPart) getter {
	return func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		f := e.fd()
		if !f.client.IsValid() && !f.server.IsValid() {
			return false
		}
		v.SetList()
		for _, a := range [...]netip.AddrPort{f.client, f.server} {
			if a.IsValid() {
				v.List = append(v.List, field.Value{})
				part(e, a, &v.List[len(v.List)-1])
			}
		}
		return true
	}
}

func of(pick func(e *Event, f *fdInfo) netip.AddrPort, part addrPart) getter {
	return func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		a := pick(e, e.fd())
		return a.IsValid() && part(e, a, v)
	}
}

func client(part addrPart) getter {
	return of(func(_ *Event, f *fdInfo) netip.AddrPort { return f.client }, part)
}

func server(part addrPart) getter {
	return of(func(_ *Event, f *fdInfo) netip.AddrPort { return f.server }, part)
}

func local(part addrPart) getter {
	return of(func(e *Event, f *fdInfo) netip.AddrPort {
		switch {
		case !f.client.IsValid():
			return netip.AddrPort{} // no connection: neither end is
		case e.ev.Socket.Server:
			return f.server
		}
		return f.client
	}, part)
}

func remote(part addrPart) getter {
	return of(func(e *Event, f *fdInfo) netip.AddrPort {
		switch {
		case !f.client.IsValid():
			return netip.AddrPort{}
		case e.ev.Socket.Server:
			return f.client
		}
		return f.server
	}, part)
}

// l4proto is fd.l4proto. Without a peer there is none, as in Falco, but for raw sockets.
func (e *Event) l4proto() (string, bool) {
	f := e.fd()
	s := &e.ev.Socket
	switch {
	case !f.inet():
		return "", false
	case s.Type == unix.SOCK_RAW:
		return "raw", true
	case !f.client.IsValid() && !f.server.IsValid():
		return "", false
	}
	switch s.Proto {
	case unix.IPPROTO_TCP:
		return "tcp", true
	case unix.IPPROTO_UDP:
		return "udp", true
	case unix.IPPROTO_ICMP:
		return "icmp", true
	case 0:
		switch s.Type {
		case unix.SOCK_STREAM:
			return "tcp", true
		case unix.SOCK_DGRAM:
			return "udp", true
		}
	}
	return "", false
}

func layer(is func(*Event) bool) getter {
	return func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		return e.fd().kind != fdNone && v.SetBool(is(e))
	}
}

func device(part func(uint32) uint32) getter {
	return func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		return e.fd().kind != fdNone && e.isFile(e.fd()) && e.ev.Open.Dev != 0 && v.SetInt(int64(part(e.ev.Open.Dev)))
	}
}
