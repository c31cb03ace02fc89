package sensor

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// embedded are our own rules.
func embedded(b *testing.B) *rules.Set {
	b.Helper()
	files, err := rules.ReadFiles([]string{"../samples/rules/tiercel_rules.yaml"})
	if err != nil {
		b.Fatal(err)
	}
	set, report := rules.Load(files, rules.Options{Provider: Provider()})
	if set == nil {
		b.Fatal(report.Err())
	}
	return set
}

// BenchmarkPipeline takes opens that no rule matches through the pipeline, with our own rules: the price of an event in user space. It is
// what a flood costs.
func BenchmarkPipeline(b *testing.B) {
	s, err := New(DefaultConfig(), Deps{Rules: embedded(b), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	p := &s.pipeline
	p.handle(cgroup(1, "/system.slice/x.service"))
	p.handle(shell(task(10, "worker")))
	for _, bb := range []struct {
		name string
		open event.Open
	}{
		{"read", event.Open{Path: event.Path{Raw: "/usr/lib/locale/C.utf8/LC_CTYPE", Resolved: "/usr/lib/locale/C.utf8/LC_CTYPE"}, Flags: unix.O_RDONLY, Type: 8}},
		{"write", event.Open{Path: event.Path{Raw: "out/x.o", Dir: "/build", Resolved: "/build/out/x.o"}, Flags: unix.O_WRONLY | unix.O_CREAT, Type: 8}},
		{"link", event.Open{Path: event.Path{Raw: "/lib/libc.so.6", Resolved: "/usr/lib/libc.so.6"}, Flags: unix.O_RDONLY, Type: 8}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			ev := shadow(task(10, "worker"))
			ev.Open = bb.open
			b.ReportAllocs()
			for b.Loop() {
				p.handle(ev)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkLife takes a fork, an exec that no rule matches and an exit through the pipeline, one process each millisecond, and forgets what has been
// dead for long enough: the price of a process in user space.
func BenchmarkLife(b *testing.B) {
	s, err := New(DefaultConfig(), Deps{Rules: embedded(b), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	p := &s.pipeline
	p.handle(cgroup(1, "/system.slice/x.service"))
	parent := task(10, "make")
	p.handle(shell(parent))
	const brief = event.Brief | event.Dropped | event.Recorded
	forked := &event.Event{Type: field.EventClone, Flags: brief, Task: parent}
	exited := &event.Event{Type: field.EventProcexit, Flags: brief}
	execed := shell(task(0, "true"))
	execed.Exec = event.Exec{
		Exe: "true", ExePath: "/usr/bin/true", Filename: "/bin/true", Cwd: "/build", Args: []byte("-x\x00"), Env: bytes.Repeat([]byte("VARIABLE=value\x00"), 60),
	}
	now := bootNS()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now += uint64(time.Millisecond)
		t := event.Task{
			PID: uint32(1000 + i%100_000), StartNS: now, PPID: parent.PID, ParentStartNS: parent.StartNS, ExecGen: 1, Comm: "true", CgroupID: 1,
		}
		t.TID, t.VPID = t.PID, t.PID
		forked.BootNS, forked.ReadNS, forked.Result = now, now, int64(t.PID)
		forked.Fork = event.Fork{ChildTID: t.PID, ChildPID: t.PID, ChildVTID: t.PID, ChildVPID: t.PID, ChildStartNS: now, ChildCgroupID: 1}
		p.handle(forked)
		execed.Task, execed.BootNS, execed.ReadNS = t, now+1, now
		p.handle(execed)
		exited.Task, exited.BootNS, exited.ReadNS = t, now+2, now
		p.handle(exited)
		if i%1000 == 0 {
			p.table.Expire(now)
		}
	}
}
