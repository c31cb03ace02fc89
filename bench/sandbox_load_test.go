//go:build bench

package bench

import (
	"crypto/sha256"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

// BenchmarkSlowNeighbour is 1,000 events at 200 a second for one function; then the same again while another function, with as many events
// in hand as it may have, is kept waiting for 30 s by what it asked for. Baselines: the slowest of the thousand alone, and the slowest of a
// thousand computations of a third of a millisecond, by which this process is interrupted as by nothing of its own.
func BenchmarkSlowNeighbour(b *testing.B) {
	const n, rate = 1000, 200
	for range b.N {
		p := newPlant(b)
		module := build(b, "go")
		p.deploy(b, "quick", "Quick", "{concurrency: 4}", module)
		p.deploy(b, "quick-again", "Quick again", "{concurrency: 4}", module)
		p.deploy(b, "slow", "Slow", "{concurrency: 4}", module)
		released := make(chan struct{})
		waiting := make(chan struct{}, 100)
		caps := atOnce{wait: func(s capability.Scope) {
			if s.Function.Name == "slow" {
				waiting <- struct{}{}
				<-released
			}
		}}
		var outcomes sync.Map
		p.run(b, caps, told(&outcomes))
		p.paced(b, 100, rate, "Quick", &outcomes) // their modules are compiled, their instances are there
		p.paced(b, 100, rate, "Quick again", &outcomes)
		computed := compute(n, rate)
		stolen := stolenMS(b)
		alone := p.paced(b, n, rate, "Quick", &outcomes)
		p.backlog(b, 8, "Slow")
		for range 4 {
			<-waiting
		}
		release := time.AfterFunc(30*time.Second, func() { close(released) })
		beside := p.paced(b, n, rate, "Quick again", &outcomes)
		if release.Stop() {
			close(released)
		}
		b.ReportMetric(stolenMS(b)-stolen, "stolen-ms")
		percentiles(b, "computed-", computed)
		percentiles(b, "alone-", alone)
		percentiles(b, "beside-", beside)
		b.ReportMetric(float64(beside[n*99/100])/float64(alone[n*99/100]), "p99-ratio")
		for _, m := range []struct {
			took, to []time.Duration
			name     string
		}{{beside, alone, "beside-max-to-alone-p99"}, {beside, beside, "beside-max-to-p99"}, {alone, alone, "alone-max-to-p99"}, {computed, computed, "computed-max-to-p99"}} {
			b.ReportMetric(float64(m.took[n-1])/float64(m.to[n*99/100]), m.name)
		}
		b.ReportMetric(float64(computed[n-1].Microseconds())/1e3, "computed-max-ms")
	}
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

// BenchmarkDeploy is from the deployment of a function to the outcome of its first event: its module new to this machine, and known.
func BenchmarkDeploy(b *testing.B) {
	module := build(b, "go")
	for range b.N {
		p := newPlant(b)
		var outcomes sync.Map
		p.run(b, atOnce{}, told(&outcomes))
		for _, name := range []string{"cold", "cached"} {
			start := time.Now()
			p.deploy(b, name, name, "{concurrency: 4}", module)
			p.paced(b, 1, 1000, name, &outcomes)
			b.ReportMetric(float64(time.Since(start).Milliseconds()), name+"-ms")
		}
	}
}
