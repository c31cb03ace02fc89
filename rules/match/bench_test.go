package match_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/internal/conformance"
	"github.com/tiercel-project/tiercel/rules/load"
	"github.com/tiercel-project/tiercel/rules/match"
)

// shapes are conditions as rules have them; %[1]d makes the literals of each copy its own.
var shapes = []string{
	`evt.type in (open,openat,openat2) and evt.is_open_write=true and fd.typechar='f' and fd.num>=0 and fd.name startswith /etc/dir%[1]d and not proc.name in (dpkg%[1]d, rpm%[1]d, apt%[1]d)`,
	`evt.type in (open,openat,openat2) and evt.is_open_read=true and fd.typechar='f' and fd.num>=0 and (fd.name in (/etc/shadow%[1]d, /etc/sudoers%[1]d) or fd.directory in (/etc/sudoers.d%[1]d, /etc/pam.d%[1]d)) and not proc.name in (sshd%[1]d, login%[1]d) and not proc.pname startswith cron%[1]d`,
	`evt.type in (open,openat,openat2) and evt.is_open_write=true and fd.typechar='f' and fd.num>=0 and (fd.name contains /.ssh%[1]d/ or fd.name endswith .pub%[1]d)`,
	`evt.type in (open,openat,openat2,creat) and evt.is_open_exec=true and container.id != host and not fd.name pmatch (/usr/lib%[1]d)`,
	`evt.type in (open,openat,openat2) and evt.is_open_read=true and container.id != host and fd.name glob /proc/*/environ%[1]d`,
	`evt.type in (execve,execveat) and proc.name in (nc%[1]d, ncat%[1]d) and (proc.args contains -e%[1]d or proc.args contains -c%[1]d)`,
	`evt.type in (execve,execveat) and container.id != host and proc.name in (bash%[1]d, sh%[1]d, zsh%[1]d) and proc.tty != 0 and not proc.aname in (sshd%[1]d)`,
	`evt.type in (execve,execveat) and proc.cmdline contains stratum%[1]d+tcp`,
	`evt.type in (execve,execveat) and container.id != host and proc.is_exe_upper_layer=true and not container.image.repository in (img%[1]d)`,
	`evt.type in (execve,execveat) and (proc.pname in (httpd%[1]d, nginx%[1]d) or proc.aname[2] in (httpd%[1]d, nginx%[1]d)) and proc.name in (bash%[1]d, sh%[1]d)`,
	`evt.type=connect and fd.typechar in (4, 6) and (fd.ip != 0.0.0.0 and fd.net != 127.0.0.0/8) and fd.sport in (22, 2%[1]d) and proc.name in (svc%[1]d)`,
	`evt.type in (unlink,unlinkat,rename,renameat) and fd.name endswith history%[1]d`,
}

// benchPrograms returns n programs of all shapes.
func benchPrograms(b *testing.B, n int) []*match.Program {
	var out []*match.Program
	c := match.NewCompiler(match.Env{})
	for i := range n {
		e, err := filter.Parse(fmt.Sprintf(shapes[i%len(shapes)], i/len(shapes)))
		if err != nil {
			b.Fatal(err)
		}
		p, _, err := c.Compile(e)
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// benchEvents are events that no rule wants, as a busy database makes them.
func benchEvents() map[string]*fixed {
	process := map[string]any{
		"evt.num": 9, "evt.rawres": 7, "evt.res": "SUCCESS", "proc.name": "postgres", "proc.pname": "postgres", "proc.exe": "postgres:",
		"proc.cmdline": "postgres: writer process -D /var/lib/postgresql/data", "proc.pcmdline": "postgres -D /var/lib/postgresql/data",
		"proc.args": "-D /var/lib/postgresql/data", "proc.tty": 0, "proc.exepath": "/usr/lib/postgresql/16/bin/postgres", "proc.cwd": "/var/lib/postgresql/data/",
		"proc.vpid": 17, "proc.aname": []string{"postgres", "shim", "systemd"}, "proc.duration": 1000000000, "proc.is_exe_upper_layer": false,
		"proc.is_exe_from_memfd": false, "proc.env": "PGDATA=/var/lib/postgresql/data LANG=en_US.utf8", "user.uid": 999, "user.name": "postgres",
		"user.loginuid": -1, "thread.cap_effective": "", "thread.cap_permitted": "", "container.id": "3ad7b26ded6d", "container.privileged": false,
		"container.image.repository": "docker.io/library/postgres", "k8s.ns.name": "default",
	}
	with := func(more map[string]any) map[string]any {
		for k, v := range process {
			more[k] = v
		}
		return more
	}
	open := func(write bool) *fixed {
		return newFixed(field.EventOpenat, with(map[string]any{
			"fd.name": "/var/lib/postgresql/data/base/1/2601", "fd.nameraw": "base/1/2601", "fd.directory": "/var/lib/postgresql/data/base/1",
			"fd.filename": "2601", "fd.typechar": "f", "fd.type": "file", "fd.num": 7, "evt.is_open_read": !write, "evt.is_open_write": write,
			"evt.is_open_exec": false,
		}))
	}
	return map[string]*fixed{
		"open-read": open(false), "open-write": open(true), "exec": newFixed(field.EventExecve, with(map[string]any{})),
		"connect": newFixed(field.EventConnect, with(map[string]any{
			"fd.num": 7, "fd.typechar": "4", "fd.type": "ipv4", "fd.l4proto": "tcp", "fd.connected": true, "fd.name_changed": true, "fd.sport": 5432,
			"fd.name": "10.0.0.7:43210->10.0.0.9:5432", "fd.ip": []string{"10.0.0.7", "10.0.0.9"}, "fd.net": []string{"10.0.0.7", "10.0.0.9"},
			"fd.port": []string{"43210", "5432"}, "fd.sip": "10.0.0.9", "fd.snet": "10.0.0.9", "fd.cip": "10.0.0.7", "fd.cnet": "10.0.0.7",
		})),
	}
}

// benchMatch matches each event against programs.
func benchMatch(b *testing.B, name string, programs []*match.Program) {
	for kind, ev := range benchEvents() {
		b.Run(kind+"/"+name, func(b *testing.B) {
			m := match.NewIndex(programs, true).NewMatcher()
			var dst []int
			b.ReportAllocs()
			for b.Loop() {
				if dst = m.Match(ev, dst[:0]); len(dst) != 0 {
					b.Fatalf("rule %d matches: %s", dst[0], filter.Print(programs[dst[0]].Expr()))
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkIndex matches one event that no rule wants against sets of rules, the larger with ten times as many literals.
func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{96, 960} {
		benchMatch(b, fmt.Sprintf("rules=%d", n), benchPrograms(b, n))
	}
}

// BenchmarkStock does it with Falco's 93 stock rules for system calls, and with ten copies of them, each with literals of its own.
func BenchmarkStock(b *testing.B) {
	for _, copies := range []int{1, 10} {
		programs := stockPrograms(b, copies)
		benchMatch(b, fmt.Sprintf("rules=%d", len(programs)), programs)
	}
}

// BenchmarkPrepare makes the plans that the stock rules need.
func BenchmarkPrepare(b *testing.B) {
	for _, copies := range []int{1, 10} {
		programs := stockPrograms(b, copies)
		var types field.EventSet
		for _, p := range programs {
			types = types.Union(p.EventTypes())
		}
		b.Run(fmt.Sprintf("rules=%d", len(programs)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				match.NewIndex(programs, true).Prepare(types)
			}
			b.ReportMetric(float64(types.Len()*b.N)/b.Elapsed().Seconds(), "plans/s")
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		benchPrograms(b, 96)
	}
	b.ReportMetric(96*float64(b.N)/b.Elapsed().Seconds(), "rules/s")
}

// stockPrograms compiles copies of Falco's stock rules. In all but the first, every string that a rule compares something with is another,
// but for those with few possible values.
func stockPrograms(b *testing.B, copies int) []*match.Program {
	var files []load.File
	for _, name := range []string{"falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"} {
		files = append(files, load.File{Name: name, Data: conformance.Read(b, "rules/"+name)})
	}
	rules, report := load.Read(files, load.Options{FieldError: func(string, string) error { return nil }})
	conditions := rules.Resolve()
	if !report.OK() {
		b.Fatal(report.Err())
	}
	c := match.NewCompiler(match.Env{})
	var out []*match.Program
	for i := range copies {
		for _, r := range rules.Rules {
			e, err := filter.Parse(filter.Print(conditions[r].Expr))
			if err != nil {
				b.Fatal(err)
			}
			if i > 0 {
				changeLiterals(e, fmt.Sprint("x", i))
			}
			p, _, err := c.Compile(e)
			if err != nil {
				b.Fatal(err)
			}
			out = append(out, p)
		}
	}
	return out
}

func changeLiterals(e filter.Expr, suffix string) {
	filter.Walk(e, func(e filter.Expr) bool {
		check, ok := e.(*filter.Check)
		if !ok {
			return true
		}
		f, ok := check.Left.(*filter.Field)
		if !ok {
			return true
		}
		ref, err := field.Resolve(f.Name, f.Arg, f.HasArg)
		if err != nil || ref.ID.Info().Type != field.TypeString || slices.Contains([]string{
			"evt.type", "evt.res", "fd.type", "fd.typechar", "fd.l4proto",
			"container.id",
		}, f.Name) {
			return true
		}
		switch r := check.Right.(type) {
		case *filter.Value:
			r.Text += suffix
		case *filter.List:
			for _, v := range r.Items {
				v.Text += suffix
			}
		}
		return true
	})
}
