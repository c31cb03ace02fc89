package rules_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/internal/conformance"
	"github.com/tiercel-project/tiercel/rules/k8saudit"
)

// A fastEvent has its values by field, so that what is measured is the matching.
type fastEvent struct {
	typ    field.EventType
	time   time.Time
	values [field.NumFields + 1]field.Value // Kind 0: no value
	byArg  map[field.Ref]field.Value
}

func (e *fastEvent) Type() field.EventType { return e.typ }
func (e *fastEvent) Time() time.Time       { return e.time }
func (e *fastEvent) RuleSource() string    { return "syscall" }
func (e *fastEvent) TwoForms() bool        { return false }

func (e *fastEvent) Extract(ref *field.Ref, _ field.Form, v *field.Value) bool {
	x := &e.values[ref.ID]
	if ref.Arg != "" {
		y, ok := e.byArg[*ref]
		if !ok {
			return false
		}
		x = &y
	}
	if x.Kind == 0 {
		return false
	}
	v.Kind, v.Num, v.Str = x.Kind, x.Num, x.Str
	switch x.Kind {
	case field.KindAddr:
		v.Addr = x.Addr
	case field.KindList:
		v.List = append(v.List[:0], x.List...)
	}
	return true
}

// newFastEvent makes an event of the values given by field; numbers, truth values and addresses as Go has them.
func newFastEvent(tb testing.TB, typ field.EventType, values map[string]any) *fastEvent {
	tb.Helper()
	e := &fastEvent{typ: typ, time: time.Unix(1767323045, 6), byArg: map[field.Ref]field.Value{}}
	values["evt.type"] = typ.String()
	for name, x := range values {
		ref, err := field.Lookup(name)
		if err != nil {
			tb.Fatal(err)
		}
		var v field.Value
		switch x := x.(type) {
		case string:
			v.SetString(x)
		case bool:
			v.SetBool(x)
		case netip.Addr:
			v.SetAddr(x)
		case []string:
			v.SetList()
			for _, s := range x {
				v.AppendString(s)
			}
		case int:
			switch ref.ID.Info().Type {
			case field.TypeInt16, field.TypeInt32, field.TypeInt64:
				v.SetInt(int64(x))
			default:
				v.SetUint(uint64(x))
			}
		}
		if ref.Arg != "" {
			e.byArg[ref] = v
		} else {
			e.values[ref.ID] = v
		}
	}
	return e
}

// openEvent is a web server opening a library: nothing for any rule.
func openEvent(tb testing.TB) *fastEvent {
	return newFastEvent(tb, field.EventOpenat, map[string]any{
		"proc.name": "nginx", "proc.pname": "nginx", "proc.cmdline": "nginx: worker process", "proc.exepath": "/usr/sbin/nginx", "proc.exe": "nginx",
		"proc.args": "", "proc.tty": 0, "proc.pcmdline": "nginx: master process", "proc.aname": []string{"nginx", "containerd-shim", "systemd"},
		"proc.aname[1]": "nginx", "proc.aname[2]": "containerd-shim", "proc.aname[3]": "systemd", "proc.duration": 5_000_000_000, "proc.cwd": "/",
		"user.name": "www-data", "user.uid": 33, "user.loginuid": -1, "container.id": "3ad7b26ded6d",
		"container.image.repository": "docker.io/library/nginx", "container.privileged": false,
		"fd.name": "/usr/lib/x86_64-linux-gnu/libc.so.6", "fd.nameraw": "/usr/lib/x86_64-linux-gnu/libc.so.6", "fd.directory": "/usr/lib/x86_64-linux-gnu",
		"fd.filename": "libc.so.6", "fd.typechar": "f", "fd.type": "file", "fd.num": 7, "evt.rawres": 7, "evt.res": "SUCCESS",
		"evt.is_open_read": true, "evt.is_open_write": false, "evt.is_open_exec": false, "evt.arg.flags": "O_RDONLY|O_CLOEXEC", "evt.num": 4242,
	})
}

// execEvent is a script starting a program of the system: nothing for any rule.
func execEvent(tb testing.TB) *fastEvent {
	return newFastEvent(tb, field.EventExecve, map[string]any{
		"proc.name": "python3", "proc.pname": "supervisord", "proc.cmdline": "python3 /app/worker.py --queue default --verbose", "proc.exepath": "/usr/bin/python3.11",
		"proc.exe": "/usr/bin/python3", "proc.args": "/app/worker.py --queue default --verbose", "proc.tty": 0, "proc.pcmdline": "supervisord -n",
		"proc.aname": []string{"supervisord", "containerd-shim", "systemd"}, "proc.aname[1]": "supervisord", "proc.aname[2]": "containerd-shim",
		"proc.aname[3]": "systemd", "proc.pexe": "supervisord", "proc.pexepath": "/usr/bin/supervisord", "proc.cwd": "/app", "proc.vpid": 17,
		"proc.env": "PATH=/usr/bin:/bin HOME=/root LANG=C.UTF-8", "proc.is_exe_upper_layer": false, "proc.is_exe_from_memfd": false,
		"proc.is_vpgid_leader": false, "proc.duration": 1000, "user.name": "root", "user.uid": 0, "user.loginuid": -1, "container.id": "3ad7b26ded6d",
		"container.image.repository": "registry.example/team/worker", "container.privileged": false, "evt.arg.flags": "EXE_LOWER_LAYER",
		"evt.rawres": 0, "evt.res": "SUCCESS", "evt.num": 4242, "thread.cap_effective": "", "thread.cap_permitted": "",
	})
}

// benchmarkMatch matches ev against rules n times over, with other literals each time.
func benchmarkMatch(b *testing.B, files []rules.File, n int, ev field.Event) {
	set, rep := rules.Load(files, rules.Options{Sources: []string{"syscall"}, Matching: rules.All})
	if set == nil {
		b.Fatal(rep.Err())
	}
	if n > 1 {
		files = append(files, copies(b, set, n-1))
		if set, rep = rules.Load(files, rules.Options{Sources: []string{"syscall"}, Matching: rules.All}); set == nil {
			b.Fatal(rep.Err())
		}
	}
	m := set.NewMatcher()
	hits := make([]*rules.Rule, 0, 8)
	for _, r := range m.Match(ev, hits) {
		b.Fatalf("the event is one for rule %q", r.Name)
	}
	b.ReportAllocs()
	for b.Loop() {
		hits = m.Match(ev, hits[:0])
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(len(set.Rules())), "rules")
}

// copies returns a rules file with n copies of each rule of set, each with string literals of its own.
func copies(tb testing.TB, set *rules.Set, n int) rules.File {
	var out strings.Builder
	for k := range n {
		for _, r := range set.Rules() {
			cond, err := json.Marshal(filter.Print(alter(r.Program().Expr(), fmt.Sprintf("-%d", k))))
			if err != nil {
				tb.Fatal(err)
			}
			fmt.Fprintf(&out, "- rule: %q\n  desc: d\n  condition: %s\n  output: o\n  priority: INFO\n  enabled: %v\n", fmt.Sprintf("%s %d", r.Name, k), cond, r.Enabled)
		}
	}
	return rules.File{Name: "copies.yaml", Data: []byte(out.String())}
}

// alter returns e with suffix in each literal that names a program, a file or an image.
func alter(e filter.Expr, suffix string) filter.Expr {
	switch e := e.(type) {
	case *filter.And:
		out := &filter.And{At: e.At}
		for _, x := range e.Exprs {
			out.Exprs = append(out.Exprs, alter(x, suffix))
		}
		return out
	case *filter.Or:
		out := &filter.Or{At: e.At}
		for _, x := range e.Exprs {
			out.Exprs = append(out.Exprs, alter(x, suffix))
		}
		return out
	case *filter.Not:
		return &filter.Not{At: e.At, Expr: alter(e.Expr, suffix)}
	case *filter.Check:
		f, ok := e.Left.(*filter.Field)
		if !ok || !strings.HasPrefix(f.Name, "proc.") && !strings.HasPrefix(f.Name, "fd.name") && f.Name != "fd.directory" && f.Name != "fd.filename" && f.Name != "container.image.repository" {
			return e
		}
		if id, ok := field.ByName(f.Name); !ok || id.Info().Type != field.TypeString {
			return e
		}
		c := *e
		switch right := e.Right.(type) {
		case *filter.Value:
			c.Right = &filter.Value{At: right.At, Text: right.Text + suffix}
		case *filter.List:
			l := &filter.List{At: right.At}
			for _, v := range right.Items {
				l.Items = append(l.Items, &filter.Value{At: v.At, Text: v.Text + suffix})
			}
			c.Right = l
		}
		return &c
	}
	return e
}

func stockSyscall(b *testing.B) []rules.File { return stock(b)[:3] }

func BenchmarkMatchOpenStock(b *testing.B) { benchmarkMatch(b, stockSyscall(b), 1, openEvent(b)) }
func BenchmarkMatchExecStock(b *testing.B) { benchmarkMatch(b, stockSyscall(b), 1, execEvent(b)) }

func BenchmarkMatchOpenStock10(b *testing.B) { benchmarkMatch(b, stockSyscall(b), 10, openEvent(b)) }

func BenchmarkMatchExecStock10(b *testing.B) { benchmarkMatch(b, stockSyscall(b), 10, execEvent(b)) }

// samples returns the rules that come with Tiercel. The package that embeds them may not be imported here.
func samples(b *testing.B) []rules.File {
	files, err := rules.ReadFS(os.DirFS("../samples/rules"))
	if err != nil {
		b.Fatal(err)
	}
	return files
}

// syscallSamples are those for system calls.
func syscallSamples(b *testing.B) []rules.File {
	files := samples(b)
	return files[len(files)-1:]
}

func BenchmarkLoadSamples(b *testing.B) {
	files := samples(b)
	b.ReportAllocs()
	for b.Loop() {
		if set, rep := rules.Load(files, rules.Options{}); set == nil {
			b.Fatal(rep.Err())
		}
	}
}

func BenchmarkMatchOpenSamples(b *testing.B) {
	benchmarkMatch(b, syscallSamples(b), 1, openEvent(b))
}

func BenchmarkMatchExecSamples(b *testing.B) {
	benchmarkMatch(b, syscallSamples(b), 1, execEvent(b))
}

// A match costs what its alert costs: rendering, and the fields.
func BenchmarkAlert(b *testing.B) {
	set, rep := rules.Load(syscallSamples(b), rules.Options{Hostname: "h"})
	if set == nil {
		b.Fatal(rep.Err())
	}
	ev := openEvent(b)
	ev.values[field.FDName].SetString("/etc/shadow")
	ev.values[field.ProcName].SetString("cat")
	m := set.NewMatcher()
	hits := m.Match(ev, nil)
	if len(hits) != 1 {
		b.Fatalf("%d rules match", len(hits))
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = m.Alert(hits[0], ev).AppendJSON(buf[:0])
	}
}

// An audit event is read from JSON and matched against the stock audit rules.
func BenchmarkAuditStock(b *testing.B) {
	set, rep := rules.Load(stock(b)[3:], rules.Options{Matching: rules.All})
	if set == nil {
		b.Fatal(rep.Err())
	}
	data := conformance.Read(b, "k8saudit/traces/create_nginx_pod_unprivileged.json")
	m := set.NewMatcher()
	var hits []*rules.Rule
	b.ReportAllocs()
	for b.Loop() {
		events, _, err := k8saudit.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		hits = m.Match(events[0], hits[:0])
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
