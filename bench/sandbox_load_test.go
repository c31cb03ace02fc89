//go:build bench

package bench

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

// BenchmarkSlowNeighbour is 1,000 events at 200 a second for one function; then the same again while another function, with as many events
// in hand as it may have, is kept waiting for 30 s by what it asked for.
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
		percentiles(b, "alone-", alone)
		percentiles(b, "beside-", beside)
		b.ReportMetric(float64(beside[n*99/100])/float64(alone[n*99/100]), "p99-ratio")
		b.ReportMetric(float64(beside[n-1])/float64(alone[n*99/100]), "max-to-p99")
	}
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
		start, began := cpu(b), time.Now()
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
		b.ReportMetric(<-most-base, "MiB-above")
		b.ReportMetric(base, "MiB-base")
		b.ReportMetric(float64(int64(warm+n)-all.n.Load()), "missing")
	}
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
