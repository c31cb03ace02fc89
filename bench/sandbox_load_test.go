//go:build bench

package bench

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

const (
	neighbourEvents = 1000 // of each turn
	neighbourPieces = 5    // that a turn is taken in, between those of the others
	neighbourRate   = 200  // of them a second
	neighbourRounds = 5    // of which the median counts
)

// A turn is how long the events of a turn took, sorted.
type turn []time.Duration

func (t turn) p99() time.Duration { return t[len(t)*99/100] }

// beyond counts those that took longer than a bound.
func (t turn) beyond(most time.Duration) int {
	return len(t) - sort.Search(len(t), func(i int) bool { return t[i] > most })
}

// BenchmarkSlowNeighbour is 1,000 events at 200 a second for one function, in turns: alone, beside another function that keeps as many events
// in hand as it may have waiting for 30 s, and a thousand computations of a third of a millisecond, by which this process is interrupted as by
// nothing of its own. The turns of a round are taken in pieces, one of each, forwards and backwards, since the machine is disturbed for seconds
// at a time. The goal is that the neighbour puts none beyond twice the p99, which is that
// of all events without it; the computations have their own. Each turn counts those beyond. Reported are the medians of the rounds, with the
// least and the most.
func BenchmarkSlowNeighbour(b *testing.B) {
	for range b.N {
		p := newPlant(b)
		module := build(b, "go")
		p.deploy(b, "quick", "Quick", "{concurrency: 4}", module)
		p.deploy(b, "slow", "Slow", "{concurrency: 4}", module)
		waiting := make(chan struct{}, 100)
		var release atomic.Pointer[chan struct{}] // closed at the end of a turn
		caps := atOnce{wait: func(s capability.Scope) {
			if s.Function.Name == "slow" {
				waiting <- struct{}{}
				select {
				case <-*release.Load():
				case <-time.After(30 * time.Second):
				}
			}
		}}
		var outcomes sync.Map
		p.run(b, caps, told(&outcomes))
		p.paced(b, neighbourRate, neighbourRate, "Quick", &outcomes) // its module is compiled, its instances are there
		stolen := stolenMS(b)
		var alone, beside, computed [neighbourRounds]turn
		for r := range neighbourRounds {
			for k := range 3 * neighbourPieces {
				const n = neighbourEvents / neighbourPieces
				piece := k % 3
				if (r+k/3)%2 == 1 {
					piece = 2 - piece
				}
				time.Sleep(100 * time.Millisecond) // what the last piece began is over
				switch piece {
				case 0:
					alone[r] = append(alone[r], p.paced(b, n, neighbourRate, "Quick", &outcomes)...)
				case 1:
					ended := make(chan struct{})
					release.Store(&ended)
					p.backlog(b, 4, "Slow")
					for range 4 {
						<-waiting
					}
					beside[r] = append(beside[r], p.paced(b, n, neighbourRate, "Quick", &outcomes)...)
					close(ended)
				case 2:
					computed[r] = append(computed[r], compute(n, neighbourRate)...)
				}
			}
			slices.Sort(alone[r])
			slices.Sort(beside[r])
			slices.Sort(computed[r])
		}
		b.ReportMetric(stolenMS(b)-stolen, "stolen-ms")
		spread := func(name string, of func(r int) float64) {
			var v []float64
			for r := range neighbourRounds {
				v = append(v, of(r))
			}
			slices.Sort(v)
			b.ReportMetric(v[0], name+"-least")
			b.ReportMetric(v[len(v)/2], name)
			b.ReportMetric(v[len(v)-1], name+"-most")
		}
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
		bound, computedBound := 2*all(alone).p99(), 2*all(computed).p99()
		spread("alone-p99-ms", func(r int) float64 { return ms(alone[r].p99()) })
		spread("beside-p99-ms", func(r int) float64 { return ms(beside[r].p99()) })
		spread("p99-ratio", func(r int) float64 { return float64(beside[r].p99()) / float64(alone[r].p99()) })
		spread("alone-beyond", func(r int) float64 { return float64(alone[r].beyond(bound)) })
		spread("beside-beyond", func(r int) float64 { return float64(beside[r].beyond(bound)) })
		spread("computed-beyond", func(r int) float64 { return float64(computed[r].beyond(computedBound)) })
		spread("more-beside", func(r int) float64 { return float64(beside[r].beyond(bound) - alone[r].beyond(bound)) })
	}
}

// all is several turns as one.
func all(turns [neighbourRounds]turn) turn {
	t := slices.Concat(turns[:]...)
	slices.Sort(t)
	return t
}

// compute hashes the same bytes n times at a rate and returns how long each took, sorted.
func compute(n, rate int) []time.Duration {
	block := make([]byte, 1<<10)
	work := func(times int) time.Duration {
		start := time.Now()
		for range times {
			sum := sha256.Sum256(block)
			copy(block, sum[:])
		}
		return time.Since(start)
	}
	times := 1 + int(330*time.Microsecond/(work(1000)/1000+1))
	took := make([]time.Duration, n)
	t := time.NewTicker(time.Second / time.Duration(rate))
	defer t.Stop()
	for i := range took {
		<-t.C
		took[i] = work(times)
	}
	slices.Sort(took)
	return took
}

// stolenMS is how long the machine's processors would have run and were another machine's, since it was started.
func stolenMS(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	ticks, err := strconv.ParseFloat(strings.Fields(string(text))[8], 64) // after the word cpu: user nice system idle iowait irq softirq steal
	if err != nil {
		b.Fatal(err)
	}
	return ticks * 10
}

// BenchmarkBurst publishes 100,000 events (TIERCEL_BURST says otherwise) as fast as the bus takes them, beside the runtime that handles them,
// and reports how much memory the process took at most beyond what it had after 5,000, and how many outcomes are missing.
func BenchmarkBurst(b *testing.B) {
	n := 100_000
	if s := os.Getenv("TIERCEL_BURST"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	const warm = 5000
	for range b.N {
		p := newPlant(b)
		p.deploy(b, "burst", "Burst", "{concurrency: 16}", build(b, "go"))
		first, all := newTally(warm), newTally(warm+n)
		p.run(b, atOnce{}, func(a *journal.Action) {
			first.add(a)
			all.add(a)
		})
		p.backlog(b, warm, "Burst")
		<-first.done
		runtime.GC()
		base := residentMiB(b)
		start, collected, began := cpu(b), collecting(), time.Now()
		most := make(chan float64)
		go func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for m := base; ; m = max(m, residentMiB(b)) {
				select {
				case <-all.done:
					most <- m
					return
				case <-tick.C:
				}
			}
		}()
		p.backlog(b, n, "Burst")
		<-all.done
		b.ReportMetric(float64(n)/time.Since(began).Seconds(), "events/s")
		b.ReportMetric(float64((cpu(b)-start).Microseconds())/float64(n), "cpu-µs/event")
		b.ReportMetric((collecting()-collected)*1e6/float64(n), "gc-µs/event")
		b.ReportMetric(<-most-base, "MiB-above")
		b.ReportMetric(base, "MiB-base")
		b.ReportMetric(float64(int64(warm+n)-all.n.Load()), "missing")
	}
}

// collecting is the processor time that the collector has taken so far, in seconds, as far as collections that have ended tell.
func collecting() float64 {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64()
}

func residentMiB(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Error(err)
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Error(err)
	}
	return kb / 1024
}

// BenchmarkDeploy is from the deployment of a function to the outcome of its first event. In Go: its module new to this machine, and known,
// which is the baseline of the others. In JavaScript, a source in two revisions: the first of a machine, for which the engine is compiled,
// and one beside others, the median of some.
func BenchmarkDeploy(b *testing.B) {
	module := build(b, "go")
	source, err := os.ReadFile(filepath.Join("..", "samples", "sdk", "javascript", "mark-pod.js"))
	if err != nil {
		b.Fatal(err)
	}
	const sources = 5
	for range b.N {
		p := newPlant(b)
		var outcomes sync.Map
		p.run(b, atOnce{}, told(&outcomes))
		first := func(name string, module func() []byte) float64 {
			start := time.Now()
			p.deploy(b, name, name, "{concurrency: 4}", module())
			p.paced(b, 1, 1000, name, &outcomes)
			return float64(time.Since(start).Microseconds()) / 1e3
		}
		for _, name := range []string{"cold", "cached"} {
			b.ReportMetric(first(name, func() []byte { return module }), name+"-ms")
		}
		var took []float64
		for i := range 1 + sources {
			took = append(took, first("js"+strconv.Itoa(i), func() []byte {
				packed, err := p.engine.Pack(b.Context(), "mark-pod.js", fmt.Appendf(nil, "%s// %d\n", source, i))
				if err != nil {
					b.Fatal(err)
				}
				return packed.Module
			}))
		}
		b.ReportMetric(took[0], "javascript-cold-ms")
		slices.Sort(took[1:])
		b.ReportMetric(took[1+sources/2], "javascript-ms")
	}
}
