package filter

import (
	"net/netip"
	"slices"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/match"
)

// maxNets bounds the addresses and networks of one comparison, straightNets those that are compared one by one; more stand in a trie.
const (
	maxNets      = 16384
	straightNets = 16
)

// socketTypes are the calls about one socket, whose ends the kernel side has before the event is sent.
var socketTypes = field.NewEventSet(
	field.EventSocket, field.EventBind, field.EventConnect, field.EventListen, field.EventAccept, field.EventAccept4, field.EventSend,
	field.EventSendto, field.EventSendmsg, field.EventRecv, field.EventRecvfrom, field.EventRecvmsg, field.EventShutdown,
	field.EventGetsockname, field.EventGetpeername, field.EventGetsockopt, field.EventSetsockopt,
)

func hasSocket(t field.EventType) bool { return socketTypes.Has(t) }

// socketFields are those of a descriptor that stay null where there is no socket.
var socketFields = map[field.ID]bool{
	field.FDIP: true, field.FDNet: true, field.FDPort: true, field.FDProto: true, field.FDCip: true, field.FDCnet: true, field.FDCport: true,
	field.FDSip: true, field.FDSnet: true, field.FDSport: true, field.FDLip: true, field.FDLnet: true, field.FDLport: true, field.FDRip: true,
	field.FDRnet: true, field.FDRport: true, field.FDL4proto: true, field.FDSockfamily: true, field.FDIsServer: true, field.FDConnected: true,
	field.FDNameChanged: true,
}

// Values of the classes, in the order of the enumerations in bpf/c/filter.h.
var (
	null = value{null: true}

	socketChars     = isString("4", "6", "2", "3", "u", "n", "o", "4") // of a call that failed: 4, whatever it would have been
	socketNames     = append(isString("ipv4", "ipv6", "ipv4", "ipv6", "unix", "netlink"), null, null)
	socketFamilies  = append(isString("ip", "ip", "ip", "ip", "unix"), null, null, null)
	socketProtocols = append([]value{null}, isString("tcp", "udp", "icmp", "raw")...)
	truths          = append(isBool(false, true), null)
)

// endFields are the fields of an end of a connection.
var endFields = map[field.ID]struct {
	end  End
	fact Fact
}{
	field.FDIP: {Either, EndAddr}, field.FDNet: {Either, EndAddr}, field.FDPort: {Either, EndPort}, field.FDProto: {Either, EndPort},
	field.FDCip: {Client, EndAddr}, field.FDCnet: {Client, EndAddr}, field.FDCport: {Client, EndPort},
	field.FDSip: {Server, EndAddr}, field.FDSnet: {Server, EndAddr}, field.FDSport: {Server, EndPort},
	field.FDLip: {Local, EndAddr}, field.FDLnet: {Local, EndAddr}, field.FDLport: {Local, EndPort},
	field.FDRip: {Remote, EndAddr}, field.FDRnet: {Remote, EndAddr}, field.FDRport: {Remote, EndPort},
}

// socketTest makes a test of a field of a socket, in a call about one; nil if the kernel does not make it.
func socketTest(a *match.Atom, t field.EventType) *Test {
	switch a.Left.Ref.ID {
	case field.FDNum:
		if t.Info().Flags&field.CreatesFD == 0 {
			return number(a, &Test{Fact: Arg, Arg: 0, Width: Int32})
		}
	case field.FDTypechar:
		return class(a, SocketKind, socketChars)
	case field.FDType:
		return class(a, SocketKind, socketNames)
	case field.FDSockfamily:
		return class(a, SocketKind, socketFamilies)
	case field.FDL4proto:
		return class(a, SocketProtocol, socketProtocols)
	case field.FDIsServer:
		return class(a, SocketServer, truths)
	case field.FDConnected:
		return class(a, SocketConnected, truths)
	case field.FDNameChanged:
		return class(a, SocketChanged, truths)
	}
	of, ok := endFields[a.Left.Ref.ID]
	switch {
	case !ok:
		return nil
	case a.Op == filter.Exists:
		return (&Test{Kind: Address, Fact: of.fact, End: of.end, Op: filter.Exists, Exact: true}).finish()
	case of.fact == EndPort:
		return number(a, &Test{Fact: EndPort, End: of.end})
	}
	return addressTest(a, of.end)
}

// addressTest is about an address: a value is one, or a network.
func addressTest(a *match.Atom, end End) *Test {
	if a.Mod != 0 && (a.Mod != filter.AnyOf || a.Op != filter.Equal) || len(a.Values) > maxNets || len(a.Values) == 0 {
		return nil
	}
	t := &Test{Kind: Address, Fact: EndAddr, End: end, Exact: true}
	switch a.Op {
	case filter.Equal, filter.In, filter.Intersects:
		t.Op = filter.In
	case filter.NotEqual:
		t.Op = filter.NotEqual
	default:
		return nil
	}
	for _, v := range a.Values {
		p := v.Prefix
		switch {
		case v.Addr.IsValid():
			p = netip.PrefixFrom(v.Addr, v.Addr.BitLen())
		case !p.IsValid():
			return nil
		case p.Addr().Is4In6():
			continue // no address is in it: those of IPv4 are taken for what they are
		}
		t.Nets = append(t.Nets, p.Masked())
	}
	slices.SortFunc(t.Nets, comparePrefixes)
	t.Nets = slices.Compact(t.Nets)
	return t.finish()
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}
