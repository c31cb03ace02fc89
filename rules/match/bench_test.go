package match_test

import (
	"fmt"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
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

func benchEvents() map[string]*fixed {
	process := map[string]any{
		"proc.name": "postgres", "proc.pname": "postgres", "proc.cmdline": "postgres: writer process -D /var/lib/postgresql/data",
		"proc.args": "-D /var/lib/postgresql/data", "proc.tty": 0, "container.id": "3ad7b26ded6d", "proc.aname": []string{"postgres", "shim", "systemd"},
		"container.image.repository": "docker.io/library/postgres", "proc.is_exe_upper_layer": false,
	}
	with := func(more map[string]any) map[string]any {
		for k, v := range process {
			more[k] = v
		}
		return more
	}
	return map[string]*fixed{
		"open": newFixed(field.EventOpenat, with(map[string]any{
			"fd.name": "/var/lib/postgresql/data/base/1/2601", "fd.directory": "/var/lib/postgresql/data/base/1", "fd.typechar": "f", "fd.num": 7,
			"evt.is_open_read": true, "evt.is_open_write": true, "evt.is_open_exec": false,
		})),
		"exec": newFixed(field.EventExecve, with(map[string]any{})),
	}
}

// BenchmarkIndex matches one event that no rule wants against sets of rules, the larger with ten times as many literals.
func BenchmarkIndex(b *testing.B) {
	for name, ev := range benchEvents() {
		for _, n := range []int{96, 960} {
			b.Run(fmt.Sprintf("%s/rules=%d", name, n), func(b *testing.B) {
				m := match.NewIndex(benchPrograms(b, n), true).NewMatcher()
				var dst []int
				b.ReportAllocs()
				for b.Loop() {
					if dst = m.Match(ev, dst[:0]); len(dst) != 0 {
						b.Fatal("a rule matches")
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		benchPrograms(b, 96)
	}
	b.ReportMetric(96*float64(b.N)/b.Elapsed().Seconds(), "rules/s")
}
