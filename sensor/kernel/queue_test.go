package kernel

import (
	"math/rand/v2"
	"testing"
)

// Whoever has little in the ring is handed out before the rest of one who floods it, each cgroup's records stay in their order, nothing is
// left out, and no space is given back before its record was handed out.
func TestQueueIsFair(t *testing.T) {
	const flood, others = 5000, 10
	q := queue{perTurn: turnRecords}
	now := uint64(0)
	add := func(key uint64, n int) {
		for range n {
			now++
			q.add(entry{time: now, pos: now * 64, n: uint32(key)}, key)
		}
	}
	add(1, flood)
	for key := range uint64(others) {
		add(2+key, 3)
	}
	order := map[uint32][]uint64{}
	lastOther, taken, came := 0, 0, 0
	done := map[uint64]bool{}
	for q.left > 0 {
		if came == 0 && taken > 1000 {
			add(99, 1) // somebody comes while the flood is on
			came = taken
		}
		q.sort()
		for e := q.first(); e != nil; e = q.first() {
			order[e.n] = append(order[e.n], e.time)
			done[e.time] = true
			q.take()
			taken++
			if e.n != 1 && e.n != 99 {
				lastOther = taken
			}
		}
		q.end()
		if pos := q.oldest(1 << 40); pos != 1<<40 {
			for at := uint64(1); at < pos/64; at++ {
				if !done[at] {
					t.Fatalf("space is given back up to %d, and record %d waits", pos/64, at)
				}
			}
		}
		if came > 0 && len(order[99]) == 0 {
			t.Fatalf("who came at %d waits after %d records", came, taken)
		}
	}
	if lastOther > turnRecords+3*others {
		t.Errorf("the others' last record is number %d", lastOther)
	}
	if len(order[1]) != flood || len(order[99]) != 1 {
		t.Errorf("%d of %d records of the flood", len(order[1]), flood)
	}
	for key, times := range order {
		for i := 1; i < len(times); i++ {
			if times[i] < times[i-1] {
				t.Fatalf("cgroup %d: %d after %d", key, times[i], times[i-1])
			}
		}
	}
	if q.oldest(7) != 7 || len(q.marks) != 0 {
		t.Error("an empty queue keeps space")
	}
}

// Without turns the order is that of time.
func TestQueueByTime(t *testing.T) {
	var q queue
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range uint64(2000) {
		q.add(entry{time: i*10 + rnd.Uint64N(50), pos: i}, rnd.Uint64N(3))
	}
	q.sort()
	last, n := uint64(0), 0
	for e := q.first(); e != nil; e = q.first() {
		if e.time < last {
			t.Fatalf("%d after %d", e.time, last)
		}
		last = e.time
		q.take()
		n++
	}
	q.end()
	if n != 2000 || q.left != 0 {
		t.Errorf("%d records, %d left", n, q.left)
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, bb := range []struct {
		name    string
		perTurn int
	}{{"by time", 0}, {"turns", turnRecords}} {
		b.Run(bb.name, func(b *testing.B) {
			q := queue{perTurn: bb.perTurn}
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				q.add(entry{time: i, pos: i}, i/7%5)
				if i++; i%256 == 0 {
					for q.left > 0 {
						q.sort()
						for q.first() != nil {
							q.take()
						}
						q.end()
					}
					q.oldest(i)
				}
			}
		})
	}
}
