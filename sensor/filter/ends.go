package filter

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"github.com/cilium/ebpf/asm"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// Where the facts of a socket stand in struct call.
const (
	socketAt    = int16(unsafe.Offsetof(bpf.SensorCall{}.Socket))
	socketKnown = socketAt + int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Known))
	endKnown    = int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Client.Known))
	endPort     = int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Client.Port))
	endBits     = int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Client.Bits))
	endIP       = int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Client.Ip))
)

var socketMembers = map[Fact]int16{
	SocketKind:      socketAt + int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Kind)),
	SocketProtocol:  socketAt + int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Protocol)),
	SocketServer:    socketAt + int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Server)),
	SocketConnected: socketAt + int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Connected)),
	SocketChanged:   socketAt + int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Changed)),
}

var endMembers = map[End]int16{
	Client: socketAt + int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Client)),
	Server: socketAt + int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.ServerEnd)),
	Local:  socketAt + int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Local)),
	Remote: socketAt + int16(unsafe.Offsetof(bpf.SensorCall{}.Socket.Remote)),
}

// ends compares an end of a connection, or each of the two. An end that is null makes a comparison false, also that with !=.
func (g *generator) ends(test *Test, t, f, either string) {
	of := []int16{endMembers[test.End]}
	if test.End == Either {
		of = []int16{endMembers[Client], endMembers[Server]}
	}
	g.add(asm.LoadMem(asm.R1, call, socketKnown, asm.Word), asm.JEq.Imm(asm.R1, 0, either))
	if test.Op == filter.NotEqual { // true unless one is equal, if there is any
		some := g.newLabel()
		for _, end := range of {
			g.add(asm.LoadMem(asm.R1, call, end+endKnown, asm.Word), asm.JNE.Imm(asm.R1, 0, some))
		}
		g.jump(f)
		g.place(some)
		t, f = f, t
	}
	for _, end := range of {
		on := g.newLabel()
		g.add(asm.LoadMem(asm.R1, call, end+endKnown, asm.Word), asm.JEq.Imm(asm.R1, 0, on))
		switch {
		case test.Op == filter.Exists:
			g.jump(t)
		case test.Fact == EndPort:
			g.add(asm.LoadMem(asm.R1, call, end+endPort, asm.Word))
			if test.Op == filter.NotEqual {
				g.search(ranges(test.Values), t, on)
			} else {
				g.number(test, t, on, on)
			}
		default:
			g.address(test, end, t, on)
		}
		g.place(on)
	}
	g.jump(f) // a place must be taken by an instruction
}

// address goes to t if the address of an end is in one of the networks of a test, else to f.
func (g *generator) address(test *Test, end int16, t, f string) {
	if len(test.Nets) > straightNets {
		g.addressTrie(test, end, t, f)
		return
	}
	six := g.newLabel()
	g.wordIs(end+endIP+8, mappedWord, ^uint32(0), six)
	g.wordIs(end+endIP+4, 0, ^uint32(0), six)
	g.wordIs(end+endIP, 0, ^uint32(0), six)
	g.networks(test.Nets, end+endIP+12, netip.Addr.Is4, t, f)
	g.place(six)
	g.networks(test.Nets, end+endIP, netip.Addr.Is6, t, f)
}

// networks goes to t if the address that stands at a place of struct call is in one of the networks of a family, else to f.
func (g *generator) networks(nets []netip.Prefix, at int16, family func(netip.Addr) bool, t, f string) {
	for _, n := range nets {
		switch {
		case !family(n.Addr()):
		case n.Bits() == 0: // all of them; no instruction may stand behind that
			g.jump(t)
			return
		default:
			g.network(n, at, t)
		}
	}
	g.jump(f)
}

// mappedWord is what stands before an IPv4 address in an IPv6 one, as it is loaded.
const mappedWord = 0xffff0000

// network goes to t if the address that stands at a place of struct call is in n.
func (g *generator) network(n netip.Prefix, at int16, t string) {
	on := g.newLabel()
	left := n.Bits()
	for b := n.Addr().AsSlice(); len(b) > 0 && left > 0; b, at, left = b[4:], at+4, left-32 {
		mask := ^uint32(0)
		if left < 32 {
			mask <<= 32 - left
		}
		var bytes [4]byte
		binary.BigEndian.PutUint32(bytes[:], mask)
		g.wordIs(at, binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(bytes[:]), on)
	}
	g.jump(t)
	g.place(on)
}

// wordIs goes to no unless the word at a place of struct call has the bits of v under a mask.
func (g *generator) wordIs(at int16, v, mask uint32, no string) {
	g.add(asm.LoadMem(asm.R1, call, at, asm.Word))
	if mask != ^uint32(0) {
		g.add(asm.And.Imm32(asm.R1, int32(mask)))
	}
	g.add(asm.JNE.Imm32(asm.R1, int32(v&mask), no))
}
