//go:build kernel

package kernel

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

// Each comparison of a text of an exec leaves open what it holds for and rules out what it does not, and the other way round when negated; so
// for a program with all texts, for one without any, and for one whose texts are too long to be read, of which nothing is ruled out.
func TestFilterExecTexts(t *testing.T) {
	program, err := filepath.EvalSymlinks("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	long := strings.Repeat("x", 5000)
	w := start(t, func(ev *event.Event) bool { return ev.Type == field.EventExecve })
	commands := map[byte]*exec.Cmd{
		'a': {Args: []string{"./prog", "-c", "/dev/shm/x y", "--Some+Thing"}, Env: []string{"A=b", "GLIBC_TUNABLES=x", "C=d"}, Dir: dir},
		'n': {Args: []string{""}, Env: []string{}, Dir: "/"},
		'l': {Args: []string{"./prog", long}, Env: []string{"A=" + long}, Dir: dir},
	}
	const every = "anl"
	for _, tt := range []struct{ condition, yes, no string }{ // which programs may match it, and its negation
		{"proc.exe = ./prog", "al", "n"},
		{"proc.exe = ./pro", "", every},
		{"proc.exe != ./prog", "", "anl"}, // null differs from nothing
		{"proc.exe != ./pro", "al", "n"},
		{"proc.exe in (a, ./prog, b)", "al", "n"},
		{"proc.exe startswith ./", "al", "n"},
		{"proc.exe startswith ./prog", "al", "n"},
		{"proc.exe startswith ./prog2", "", every},
		{"proc.exe contains rog", "al", every},
		{"proc.exe contains zq", "", every},
		{"proc.exe endswith +x", "", every},
		{"proc.exepath = " + program, every, ""},
		{"proc.exepath != " + program, "", every},
		{"proc.exepath startswith " + program[:4], every, ""},
		{"proc.exepath startswith /etc/", "", every},
		{"proc.exepath contains zq", "", every},
		{"proc.exepath endswith true", every, every},
		{"proc.cwd startswith " + dir, "al", "n"},
		{"proc.cwd startswith " + dir + "/", "al", "n"}, // with a slash behind it
		{"proc.cwd startswith " + dir + "/x", "", every},
		{"proc.cwd startswith " + dir[:len(dir)-1] + "/", "", every},
		{"proc.cwd startswith /", every, ""},
		{"proc.cwd startswith //", "n", every},
		{"proc.cwd = " + dir + "/", every, every},
		{"proc.args startswith '-c /dev/shm'", "al", "nl"},
		{"proc.args startswith '-c /dev/shm/x y --S'", "al", "nl"},
		{"proc.args startswith '-c /dev/shm/x y '", "al", every},
		{"proc.args startswith '-c  '", "l", every},
		{"proc.args startswith -d", "l", every},
		{"proc.args startswith '-c /dev/shm/x y --Some+Thing'", "al", "nl"},
		{"proc.args startswith '-c /dev/shm/x y --Some+Thing '", "al", every}, // the kernel cannot tell the end from a blank
		{"proc.args startswith '-c /dev/shm/x y --Some+Thing  '", "l", every},
		{"proc.args contains me+Th", "al", every},
		{"proc.args contains me-th", "l", every},
		{"proc.args icontains ME+tH", "al", every},
		{"proc.args icontains ME-TH", "l", every},
		{"proc.args contains 'm/x y --'", "al", every},
		{"proc.args endswith Thing", "al", every},
		{"proc.args contains ./prog", "l", every}, // that is no argument
		{"proc.args contains x", every, every},
		{"proc.args = ''", every, every},
		{"proc.cmdline contains me+Th", "al", every},
		{"proc.cmdline contains zq", "l", every},
		{"proc.cmdline contains " + filepath.Base(program), every, every},
		{"proc.cmdline icontains TRUE", every, every},
		{"proc.cmdline contains 'e -'", every, every}, // nothing to look for that has no blank in it
		{"proc.cmdline startswith true", every, every},
		{"proc.env icontains glibc_TUNABLES", "al", every},
		{"proc.env contains C_T", "al", every},
		{"proc.env contains GLIBD_", "al", every}, // two bytes are enough for the kernel
		{"proc.env contains LD_PRELOAD", "l", every},
		{"proc.env contains 'b GL'", "al", every},
		{"proc.env[A] = b", every, every},
		{"proc.exepath glob '*/.*'", "", every},
		{"proc.exe glob './*'", "al", every},
		{"proc.exe glob './q*'", "", every},
		{"proc.exe glob '*?rog'", "al", every},
		{"proc.exe iglob '*ROG'", "al", every},
		{"proc.exepath regex '/etc/.*'", "", every},
		{"proc.args regex '.*me[+]Th.*'", "al", every},
		{"proc.args regex '.*meTh.*'", "l", every},
		{"proc.exe contains anyof (zq, qz)", every, every},
	} {
		for i, want := range []string{tt.yes, tt.no} {
			condition := tt.condition
			if i == 1 {
				condition = "not " + condition
			}
			p := compilePlan(t, filter.Options{Shadow: true}, "evt.type = execve and "+condition)
			if err := w.Use(p, p); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, name := range []byte(every) {
				cmd := *commands[name]
				cmd.Path = program
				pid := run(t, &cmd)
				ev := w.find(t, "exec", func(ev *event.Event) bool {
					return ev.Task.PID == pid && ev.Exec.ExePath == program && ev.Generation == p.Generation
				})
				if ev.Flags&event.Dropped == 0 {
					got += string(name)
				}
			}
			if sorted(got) != sorted(want) {
				t.Errorf("%s: %q may match, want %q", condition, got, want)
			}
		}
		for typ, err := range w.filter.refused {
			t.Fatalf("%s: %s: %v", tt.condition, typ, err)
		}
	}
}

// What only rules may match of which the kernel can tell next to nothing is marked, whatever other rules there are; what another may match is not.
func TestFilterBroad(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return ev.Type == field.EventExecve || ev.Type == field.EventProcexit })
	for _, tt := range []struct {
		name           string
		typ            field.EventType
		conditions     []string
		broad, dropped bool
	}{
		{"broad alone", field.EventExecve, []string{"proc.pname = x"}, true, false},
		{"broad, and one that matches", field.EventExecve, []string{"proc.pname = x", "proc.name = true"}, false, false},
		{"broad, and one that does not", field.EventExecve, []string{"proc.pname = x", "proc.name = false"}, true, false},
		{"broad, and texts that are not there", field.EventExecve, []string{"proc.name != false and user.name = y", "proc.cmdline contains zq or proc.exe startswith ./"}, true, false},
		{"broad, and a text that is there", field.EventExecve, []string{"proc.name != false and user.name = y", "proc.exepath endswith rue"}, false, false},
		{"broad, but not of this one", field.EventExecve, []string{"proc.name != true and user.name = y", "proc.name = false"}, false, true},
		{"none that is broad", field.EventExecve, []string{"proc.name = true and proc.pname = x"}, false, false},
		{"exit", field.EventProcexit, []string{"proc.pname = x", "proc.name = false"}, true, false},
	} {
		for _, shadow := range []bool{false, true} {
			var conditions []string
			for _, c := range tt.conditions {
				conditions = append(conditions, "evt.type = "+tt.typ.String()+" and ("+c+")")
			}
			p := compilePlan(t, filter.Options{Shadow: shadow}, conditions...)
			if err := w.Use(p, p); err != nil {
				t.Fatal(err)
			}
			if err := w.filter.refused[tt.typ]; err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			pid := run(t, exec.Command("/bin/true"))
			ev := w.find(t, tt.name, func(ev *event.Event) bool {
				return ev.Task.PID == pid && ev.Type == tt.typ && ev.Generation == p.Generation && ev.Result == 0
			})
			if got := ev.Flags&event.Broad != 0; got != tt.broad {
				t.Errorf("%s: broad: %v", tt.name, got)
			}
			if got := ev.Flags&event.Dropped != 0; got != tt.dropped {
				t.Errorf("%s: dropped: %v", tt.name, got)
			}
		}
	}
}
