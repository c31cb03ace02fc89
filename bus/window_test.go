package bus

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A modelSlot is a message of the obvious implementation of window: a slice.
type modelSlot struct {
	t        token
	m        *Message
	inFlight bool
}

// TestWindowAgainstModel does random operations on a window and on a slice, and compares.
func TestWindowAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var w window
		var model []modelSlot
		next := token(0)
		find := func(t token) int {
			for i := range model {
				if model[i].t == t {
					return i
				}
			}
			return -1
		}
		for step := range 500 {
			now := time.Unix(int64(step), 0)
			switch r.IntN(6) {
			case 0, 1:
				m := &Message{ID: "x", Data: make([]byte, r.IntN(10))}
				w.push(m)
				model = append(model, modelSlot{t: next, m: m})
				next++
			case 2:
				tok, m := w.next(now)
				want := -1
				for i := range model {
					if !model[i].inFlight {
						want = i
						break
					}
				}
				if (m == nil) != (want < 0) || m != nil && (model[want].m != m || model[want].t != tok) {
					t.Fatalf("seed %d step %d: next gave %d, want place %d", seed, step, tok, want)
				}
				if m != nil {
					model[want].inFlight = true
				}
			case 3:
				if next > 0 {
					tok := token(r.Uint64N(uint64(next) + 2))
					m := w.remove(tok)
					i := find(tok)
					if (m != nil) != (i >= 0) {
						t.Fatalf("seed %d step %d: remove(%d) gave %v, model has it at %d", seed, step, tok, m, i)
					}
					if i >= 0 {
						model = append(model[:i:i], model[i+1:]...)
					}
				}
			case 4:
				tok := token(r.Uint64N(uint64(next) + 2))
				n := w.rewind(tok)
				want := 0
				for i := range model {
					if model[i].t >= tok && model[i].inFlight {
						model[i].inFlight = false
						want++
					}
				}
				if n != want {
					t.Fatalf("seed %d step %d: rewind(%d) gave %d, want %d", seed, step, tok, n, want)
				}
			case 5:
				if len(model) > 0 && r.IntN(4) == 0 {
					if m := w.dropOldest(); m != model[0].m {
						t.Fatalf("seed %d step %d: dropOldest gave another", seed, step)
					}
					model = model[1:]
				}
			}
			bytes, flying, flyingBytes := 0, 0, 0
			for _, s := range model {
				bytes += size(s.m)
				if s.inFlight {
					flying++
					flyingBytes += size(s.m)
				}
			}
			if w.len() != len(model) || w.bytes != bytes || w.inFlight != flying || w.inFlightBytes != flyingBytes {
				t.Fatalf("seed %d step %d: window has %d messages, %d bytes, %d and %d in flight; want %d, %d, %d, %d",
					seed, step, w.len(), w.bytes, w.inFlight, w.inFlightBytes, len(model), bytes, flying, flyingBytes)
			}
		}
	}
}
