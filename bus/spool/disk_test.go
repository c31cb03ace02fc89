package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A testDisk is a disk with what it reported.
type testDisk struct {
	*disk
	damage []string
	lost   map[string]uint64
	closed bool
}

func (d *testDisk) close() {
	if !d.closed {
		d.closed = true
		d.disk.close()
	}
}

func open(t testing.TB, dir string, maxBytes int64) *testDisk {
	t.Helper()
	d, err := openDisk(dir, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	td := &testDisk{disk: d, lost: map[string]uint64{}}
	d.onDamage = func(path string, offset, n int64) {
		td.damage = append(td.damage, fmt.Sprintf("%s %d %d", filepath.Base(path), offset, n))
	}
	d.onLost = func(n uint64, reason string) { td.lost[reason] += n }
	if err := d.recover(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(td.close)
	return td
}

func (d *testDisk) put(t testing.TB, from, n int) {
	t.Helper()
	for i := range n {
		if _, err := d.append("tiercel.events.x", fmt.Sprint(from+i), []byte(strings.Repeat("x", 100))); err != nil {
			t.Fatal(err)
		}
	}
}

// ids reads all that is left.
func (d *testDisk) ids(t testing.TB) []string {
	t.Helper()
	ids := []string{}
	for {
		r, err := d.read()
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			return ids
		}
		if r.subject != "tiercel.events.x" || len(r.data) != 100 {
			t.Errorf("record %+v", r)
		}
		ids = append(ids, r.id)
	}
}

func numbers(from, n int) []string {
	list := []string{}
	for i := range n {
		list = append(list, fmt.Sprint(from+i))
	}
	return list
}

// TestRestart: what was not acknowledged is there again, in order, and what was is not.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, minBytes)
	d.put(t, 0, 1000)
	for _, seq := range []uint64{1, 2, 3, 5, 9} { // 4 is missing: 5 and 9 come again
		d.ack(seq)
	}
	if d.pending() != 995 {
		t.Errorf("%d pending, want 995", d.pending())
	}
	d.close()
	d = open(t, dir, minBytes)
	d.put(t, 1000, 5)
	if diff := cmp.Diff(numbers(3, 1002), d.ids(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for seq := d.done; seq < d.end; seq++ {
		d.ack(seq)
	}
	if d.pending() != 0 || len(d.segments) != 1 || len(d.early) != 0 {
		t.Errorf("%d pending in %d segments, %d early, want none", d.pending(), len(d.segments), len(d.early))
	}
	d.close()
	d = open(t, dir, minBytes)
	if got := d.ids(t); len(got) != 0 || len(d.lost) != 0 {
		t.Errorf("acknowledged messages are there again: %v, lost %v", got, d.lost)
	}
}

// TestEmptied: a spool whose messages are all acknowledged does not keep their bytes.
func TestEmptied(t *testing.T) {
	d := open(t, t.TempDir(), 64<<20)
	for round := range 50 {
		for i := range 200 {
			d.put(t, round*200+i, 1)
			d.handedOn(d.end - 1)
			d.ack(d.end - 1)
		}
	}
	if d.size > 300<<10 {
		t.Errorf("%d bytes for nothing", d.size)
	}
	d.put(t, 0, 2)
	if diff := cmp.Diff(numbers(0, 2), d.ids(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFull: beyond the size the oldest go, and are counted, but for those that are in memory.
func TestFull(t *testing.T) {
	d := open(t, t.TempDir(), minBytes)
	d.put(t, 0, 10)
	for range 10 {
		d.handedOn(d.next)
	}
	const n = 20000
	d.put(t, 10, n)
	if d.size > minBytes+minBytes/segments {
		t.Errorf("%d bytes, limit %d", d.size, minBytes)
	}
	got := d.ids(t)
	if lost := int(d.lost[lostFull]); lost == 0 || len(got)+lost != n {
		t.Errorf("%d read and %d lost of %d", len(got), lost, n)
	}
	if diff := cmp.Diff(numbers(10+n-len(got), len(got)), got); diff != "" {
		t.Errorf("not the newest ones:\n%s", diff)
	}
}

// TestDamage: a damaged record is passed over and reported with its place, whatever is damaged, and those behind it are read.
func TestDamage(t *testing.T) {
	const n = 20
	size := len(appendRecord(nil, &record{subject: "tiercel.events.x", id: "10", data: make([]byte, 100)}))
	for name, change := range map[string]func([]byte, int){
		"mark":     func(b []byte, at int) { b[at] ^= 1 },
		"length":   func(b []byte, at int) { b[at+4] ^= 0x40 },
		"huge":     func(b []byte, at int) { b[at+7] = 0xff },
		"checksum": func(b []byte, at int) { b[at+8] ^= 1 },
		"number":   func(b []byte, at int) { b[at+13] ^= 1 },
		"data":     func(b []byte, at int) { b[at+size-1] ^= 1 },
		"zeros":    func(b []byte, at int) { clear(b[at : at+size]) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := open(t, dir, minBytes)
			d.put(t, 10, n)
			path := d.segments[0].path
			d.close()
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			change(b, 5*size)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			d = open(t, dir, minBytes)
			d.put(t, 10+n, 3)
			want := append(numbers(10, 5), numbers(16, n+3-6)...)
			if diff := cmp.Diff(want, d.ids(t)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want := []string{fmt.Sprintf("%016x.spool %d %d", 1, 5*size, size)}; !cmp.Equal(want, d.damage) || d.lost[lostDamaged] != 1 {
				t.Errorf("reported %v, want %v; %d lost", d.damage, want, d.lost[lostDamaged])
			}
			for seq := d.done; seq < d.end; seq++ {
				d.ack(seq)
			}
			if d.pending() != 0 {
				t.Errorf("%d pending", d.pending())
			}
		})
	}
}

// TestTorn: the end of a machine in the middle of a write costs no more than that record.
func TestTorn(t *testing.T) {
	for cut := 1; cut < 150; cut += 7 {
		dir := t.TempDir()
		d := open(t, dir, minBytes)
		d.put(t, 0, 3)
		path, size := d.segments[0].path, d.segments[0].size
		d.close()
		if err := os.Truncate(path, size-int64(cut)); err != nil {
			t.Fatal(err)
		}
		d = open(t, dir, minBytes)
		d.put(t, 3, 1)
		left := 2
		if cut > int(size)/3 {
			left = 1
		}
		if diff := cmp.Diff(append(numbers(0, left), "3"), d.ids(t)); diff != "" {
			t.Errorf("cut %d of %d (-want +got):\n%s", cut, size, diff)
		}
		if cut%int(size/3) != 0 && len(d.damage) != 1 {
			t.Errorf("cut %d: reported %v", cut, d.damage)
		}
	}
}

// TestLostFiles: segments and cursors that are gone or foreign do not keep the rest from being read.
func TestLostFiles(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, minBytes)
	d.put(t, 0, 1000)
	if len(d.segments) < 4 {
		t.Fatalf("%d segments", len(d.segments))
	}
	gone, first, second := d.segments[1].path, d.segments[1].first, d.segments[2].first
	d.ack(1)
	d.close()
	for _, err := range []error{
		os.Remove(gone), os.WriteFile(filepath.Join(dir, "cursor"), []byte("garbage that is no cursor"), 0o600),
		os.WriteFile(filepath.Join(dir, "zz.spool"), nil, 0o600), os.Mkdir(filepath.Join(dir, "ff.spool"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d = open(t, dir, minBytes)
	want := append(numbers(0, int(first)-1), numbers(int(second)-1, 1000-int(second)+1)...)
	if diff := cmp.Diff(want, d.ids(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := d.lost[lostDamaged]; got != second-first {
		t.Errorf("%d lost, want %d", got, second-first)
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, minBytes)
	if _, err := openDisk(dir, minBytes); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	d.close()
	open(t, dir, minBytes)
}

// FuzzRead opens a spool whose segment holds any bytes.
func FuzzRead(f *testing.F) {
	r := appendRecord(nil, &record{seq: 1, subject: "s", id: "i", data: []byte("d")})
	f.Add(r)
	f.Add(append(r[:len(r)-1:len(r)-1], r...))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%016x.spool", 1)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		d := open(t, dir, minBytes)
		for n := 0; ; n++ {
			r, err := d.read()
			if err != nil {
				t.Fatal(err)
			}
			if r == nil {
				break
			}
			d.ack(r.seq)
			if n > len(b) {
				t.Fatal("more records than bytes")
			}
		}
	})
}

// BenchmarkAppend is what the spool adds to a match: a record written, handed on and acknowledged.
func BenchmarkAppend(b *testing.B) {
	d := open(b, b.TempDir(), 64<<20)
	data := make([]byte, 1500)
	b.ReportAllocs()
	for b.Loop() {
		seq, err := d.append("tiercel.events.syscall.warning.rule.ns.node", "node-01JABCDEFGHJKMNPQRSTVWXYZ0", data)
		if err != nil {
			b.Fatal(err)
		}
		d.handedOn(seq)
		d.ack(seq)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
