package filter

import (
	"encoding/binary"
	"unsafe"

	"github.com/cilium/ebpf/asm"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// straightTexts is how many paths of one list are compared one by one; more stand in a trie. Where a program with that is too long, or too much
// for the verifier, it is made again with shortTexts.
const (
	straightTexts = 64
	shortTexts    = 4
)

// A Trie is a list that is too long to be compared one by one: a map of type LPM_TRIE, whose keys are a length in bits and KeyBytes of data.
type Trie struct {
	Key      string // the same for tries that are the same
	KeyBytes uint32
	Entries  []TrieEntry
}

// A TrieEntry is a prefix and what a program reads where it is the longest that fits.
type TrieEntry struct {
	Data  []byte
	Bits  uint32
	Value uint32
}

// Values of a trie of texts: the length of the text, and whether it is enough that another begins with it, or with one that it begins with.
const (
	trieLength = 0xffff
	triePrefix = 1 << 16
)

const textBits = int16(unsafe.Offsetof(bpf.SensorTexts{}.T[0].Bits))

// longList reports whether the paths of a test stand in a trie.
func (g *generator) longList(test *Test) bool {
	switch {
	case test.Subject == Basename || test.Subject == Raw:
		return false
	case test.Op != filter.In && test.Op != filter.StartsWith && test.Op != filter.PMatch:
		return false
	case g.next.Short:
		return len(test.Strings) > shortTexts
	}
	return len(test.Strings) > straightTexts
}

// textTrie looks a path up.
func (g *generator) textTrie(test *Test, t, f string) {
	fd, err := g.env.Trie(textTrie(test))
	if err != nil {
		g.failed = err
		return
	}
	length := textOffset(test.Subject) + textLen
	if test.Subject == Directory {
		length = textDir
	}
	key := textOffset(test.Subject) + textBits
	g.add(
		asm.LoadMem(asm.R1, text, length, asm.Word),
		asm.LSh.Imm(asm.R1, 3),
		asm.StoreMem(text, key, asm.R1, asm.Word),
		asm.Mov.Reg(asm.R2, text),
		asm.Add.Imm(asm.R2, int32(key)),
		asm.LoadMapPtr(asm.R1, fd),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, f),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Word),
		asm.JSet.Imm(asm.R1, triePrefix, t),
		asm.LoadMem(asm.R2, text, length, asm.Word),
		asm.JEq.Reg(asm.R1, asm.R2, t),
	)
	g.jump(f)
}

// textTrie makes the trie of a list of paths. What is compared whole must be as long as its entry. Of several entries that fit a program gets
// the longest alone, so that each says what the shorter ones would.
func textTrie(test *Test) *Trie {
	begins := map[string]bool{} // by text: whether it is enough that a path begins with it
	for _, s := range test.Strings {
		switch {
		case len(s) > maxText:
		case test.Op == filter.StartsWith:
			begins[s] = true
		default:
			if test.Op == filter.PMatch && len(s) < maxText {
				begins[s+"/"] = true
			}
			if !begins[s] {
				begins[s] = false
			}
		}
	}
	tr := &Trie{Key: test.key, KeyBytes: maxText + 1}
	for s, prefix := range begins {
		for i := 0; i < len(s) && !prefix; i++ {
			prefix = begins[s[:i]]
		}
		v := uint32(len(s))
		if prefix {
			v |= triePrefix
		}
		tr.Entries = append(tr.Entries, TrieEntry{Data: []byte(s), Bits: uint32(8 * len(s)), Value: v})
	}
	return tr
}

// addressTrie looks an address up.
func (g *generator) addressTrie(test *Test, end int16, t, f string) {
	fd, err := g.env.Trie(addressTrie(test))
	if err != nil {
		g.failed = err
		return
	}
	g.add(
		asm.Mov.Reg(asm.R2, call),
		asm.Add.Imm(asm.R2, int32(end+endBits)),
		asm.LoadMapPtr(asm.R1, fd),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, f),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Word),
		asm.JNE.Imm(asm.R1, 0, t),
	)
	g.jump(f)
}

// addressTrie makes the trie of a list of networks. Addresses of IPv4, which stand in those of IPv6, are in no network of IPv6.
func addressTrie(test *Test) *Trie {
	tr := &Trie{Key: test.key, KeyBytes: uint32(len(bpf.SensorCall{}.Socket.Client.Ip))}
	mapped := TrieEntry{Data: make([]byte, tr.KeyBytes), Bits: 96}
	binary.BigEndian.PutUint16(mapped.Data[10:], 0xffff)
	for _, n := range test.Nets {
		a := n.Addr().As16()
		e := TrieEntry{Data: a[:], Bits: uint32(n.Bits()), Value: 1}
		if n.Addr().Is4() {
			e.Bits += mapped.Bits
		}
		if e.Bits == mapped.Bits && string(e.Data) == string(mapped.Data) {
			mapped.Value = 1 // all of IPv4
			continue
		}
		tr.Entries = append(tr.Entries, e)
	}
	tr.Entries = append(tr.Entries, mapped)
	return tr
}
