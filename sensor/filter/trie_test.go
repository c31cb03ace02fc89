package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// lookUp does what the kernel does: the longest entry that is a prefix of key.
func lookUp(tr *Trie, key []byte) (v uint32, ok bool) {
	best := -1
	for _, e := range tr.Entries {
		if int(e.Bits) <= 8*len(key) && int(e.Bits) > best && hasBits(key, e.Data, int(e.Bits)) {
			best, v, ok = int(e.Bits), e.Value, true
		}
	}
	return v, ok
}

func hasBits(key, prefix []byte, n int) bool {
	for i := range n {
		if (key[i/8]^prefix[i/8])>>(7-i%8)&1 != 0 {
			return false
		}
	}
	return true
}

// Of several entries that fit, the longest alone says what all of them would.
func TestTextTrie(t *testing.T) {
	for _, tt := range []struct {
		op   filter.Op
		list []string
		yes  string
		no   string
	}{
		{filter.In, []string{"/etc", "/etc/foo", "/etc/foobar"}, "/etc /etc/foo", "/et /etc/ /etc/foob /etc/foobarx"},
		{filter.StartsWith, []string{"/etc", "/etc/foo", "/usr/"}, "/etc /etcx /etc/foo/x /usr/", "/usr /et"},
		{filter.PMatch, []string{"/etc", "/etc/foo", "/var/log"}, "/etc /etc/foobar /etc/foo/x /var/log/x", "/etcx /var/logs /var"},
		{filter.PMatch, []string{"/etc/foo", "/etc/foobar"}, "/etc/foo /etc/foobar/x /etc/foo/", "/etc/foobarx /etc"},
	} {
		tr := textTrie((&Test{Kind: Path, Op: tt.op, Strings: tt.list}).finish())
		in := func(s string) bool {
			v, ok := lookUp(tr, []byte(s))
			return ok && (v&triePrefix != 0 || int(v&trieLength) == len(s))
		}
		for _, s := range strings.Fields(tt.yes) {
			if !in(s) {
				t.Errorf("%v %q: %s is not found", tt.op, tt.list, s)
			}
		}
		for _, s := range strings.Fields(tt.no) {
			if in(s) {
				t.Errorf("%v %q: %s is found", tt.op, tt.list, s)
			}
		}
	}
}

// An address of IPv4 is in no network of IPv6, whatever stands before it there.
func TestAddressTrie(t *testing.T) {
	for _, tt := range []struct {
		nets, address string
		want          bool
	}{
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "11.1.2.3", false},
		{"10.0.0.0/8 ::/0", "11.1.2.3", false},
		{"10.0.0.0/8 ::/0", "fe80::1", true},
		{"0.0.0.0/0", "11.1.2.3", true},
		{"0.0.0.0/0", "::1", false},
		{"::/64", "11.1.2.3", false},
		{"::/64", "::1", true},
	} {
		test := &Test{Kind: Address, Op: filter.In}
		for _, n := range strings.Fields(tt.nets) {
			test.Nets = append(test.Nets, netip.MustParsePrefix(n))
		}
		a := netip.MustParseAddr(tt.address).As16()
		v, ok := lookUp(addressTrie(test.finish()), a[:])
		if got := ok && v != 0; got != tt.want {
			t.Errorf("%s in %s: got %v", tt.address, tt.nets, got)
		}
	}
}

// Lists that are long make programs that are not.
func TestLongLists(t *testing.T) {
	var names, nets, ports []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("/srv/%d/secret", i))
		nets = append(nets, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
	}
	for i := range 900 {
		ports = append(ports, fmt.Sprint(1000+2*i))
	}
	tries := 0
	env := &Env{V1Controller: -1, Trie: func(tr *Trie) (int, error) { tries += len(tr.Entries); return 1, nil }}
	for typ, condition := range map[field.EventType]string{
		field.EventOpenat:  "fd.name in (" + strings.Join(names, ",") + ")",
		field.EventConnect: "fd.snet in (" + strings.Join(nets, ",") + ") or fd.sport in (" + strings.Join(ports, ",") + ")",
	} {
		f := plan(t, "evt.type = "+typ.String()+" and ("+condition+")").Filters[typ]
		p, err := f.Assemble(&Plan{}, env, Next{})
		if err != nil || len(p.Late) > 4000 || len(p.Late) == 0 {
			t.Errorf("%s: %d instructions, %v", typ, len(p.Late), err)
		}
	}
	if tries != 10001 {
		t.Errorf("%d entries of tries", tries)
	}
}

// Numbers that follow one another are one range, and the search finds those that do.
func TestRanges(t *testing.T) {
	got := ranges([]uint64{1, 2, 3, 7, 9, 10, 1<<64 - 1})
	if want := []numberRange{{1, 3}, {7, 7}, {9, 10}, {1<<64 - 1, 1<<64 - 1}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What no kernel would take is said without one.
func TestPlanTooLarge(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, " or (fd.name startswith /a/very/long/path/number/%d and user.uid = %d)", i, i)
	}
	got := plan(t, "evt.type in (openat, creat) and (evt.type = openat and fd.num = 1 or evt.type = creat and (fd.num = 7"+b.String()+"))").TooLarge()
	if len(got) != 1 || !errors.Is(got[field.EventCreat], ErrTooLarge) {
		t.Errorf("got %v", got)
	}
}
