package fncmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// there is where the script's server is: not in /var/lib/tiercel, where the commands look by themselves.
const there = " --data $WORK/data"

const guide = "../../../docs/functions.md"

// TestGuide does what docs/functions.md says, from top to bottom, in an empty home: each command of its consoles runs and succeeds, what the
// page shows of init and deploy is printed, and the sources it shows are those of the templates.
func TestGuide(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	dir, n, shown := t.TempDir(), 0, map[string]string{} // the first source of each language
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)```(console|js|go)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		switch {
		case block[1] == "console":
			n++
			script.WriteString("cd $WORK\n")
			console(t, &script, block[2])
		case shown[block[1]] == "":
			shown[block[1]] = block[2]
		}
	}
	if n < 4 {
		t.Errorf("%s has %d consoles", guide, n)
	}
	body := script.String() + "contains $WORK/shell-label/shell-label.js js\ncontains $WORK/go-label/main.go go\n-- host0.json --\n" + hostEvent + "-- host1.json --\n" + strings.Replace(hostEvent, "T8RXB", "T8RXC", 1)
	if err := os.WriteFile(filepath.Join(dir, "guide.txtar"), []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
	p := params(t)
	p.Dir = dir
	p.Cmds["contains"] = func(ts *testscript.TestScript, _ bool, args []string) {
		if !strings.Contains(ts.ReadFile(args[0]), shown[args[1]]) {
			ts.Fatalf("%s does not contain what %s shows of it:\n%s", args[0], guide, shown[args[1]])
		}
	}
	testscript.Run(t, p)
}

// console makes a script of what a console of the page shows.
func console(t *testing.T, script *strings.Builder, text string) {
	t.Helper()
	last := ""
	for line := range strings.Lines(text) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ ")
		if !ok {
			if strings.HasPrefix(last, "tiercel fn init") || strings.HasPrefix(last, "tiercel fn deploy") && !strings.HasPrefix(line, "built") {
				fmt.Fprintf(script, "stdout '^%s$'\n", regexp.QuoteMeta(strings.TrimSpace(line)))
			}
			continue
		}
		command, _, _ = strings.Cut(command, "   ") // a remark
		last = strings.TrimSpace(command)
		switch {
		case strings.HasPrefix(last, "cd "):
			script.WriteString(last + "\n")
		case last == "sudo head -1 /etc/shadow": // what the sensor publishes then
			fmt.Fprintf(script, "publish $WORK/host%d.json\n", strings.Count(script.String(), "publish "))
		case strings.HasPrefix(last, "tiercel action list"):
			fmt.Fprintf(script, "until skipped %s%s\nid\n", strings.TrimPrefix(last, "tiercel "), there)
		case strings.HasPrefix(last, "tiercel action get"):
			script.WriteString("exec tiercel action get $ID" + there + "\n")
		case strings.HasPrefix(last, "tiercel fn logs -f"):
			script.WriteString("exec " + last + " -n 1" + there + "\n")
		case strings.HasPrefix(last, "tiercel fn init"), strings.HasPrefix(last, "tiercel fn test"):
			script.WriteString("exec " + last + "\n")
		case strings.HasPrefix(last, "tiercel "):
			script.WriteString("exec " + last + there + "\n")
		default:
			t.Errorf("%s: what is %q?", guide, last)
		}
	}
}

const hostEvent = `{"specversion": "1.0", "id": "node-7-01JD8Y4J9Q6W0V7N3M5K2T8RXB", "source": "/prod/node-7/syscall", "type": "dev.tiercel.rule.matched.v1", "subject": "node-7", "time": "2026-11-20T22:58:41Z", "rule": "Read sensitive file", "priority": "Warning", "eventsource": "syscall", "hostname": "node-7", "data": {"rule": "Read sensitive file", "priority": "Warning", "source": "syscall", "hostname": "node-7", "fields": {"proc.cmdline": "head -1 /etc/shadow"}, "target": {"cluster": "prod", "node": "node-7", "pid": 4242}}}
`
