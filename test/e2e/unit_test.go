//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/sensor/host"
	"github.com/tiercel-project/tiercel/test/kubetest"
)

// unit returns the settings of the systemd unit's service, those that it has once.
func unit(t testing.TB) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(kubetest.Root(), "deploy", "systemd", "tiercel.service"))
	if err != nil {
		t.Fatal(err)
	}
	_, service, _ := strings.Cut(string(text), "[Service]\n")
	service, _, _ = strings.Cut(service, "\n[")
	settings := map[string]string{}
	for line := range strings.Lines(service) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = value
		}
	}
	return settings
}

// What the systemd unit starts sees what happens, with the capabilities that the unit leaves it and no others. With the tracefs that systemd
// mounts on every host it is refused nothing; without one it says what that costs.
func TestUnitCapabilities(t *testing.T) {
	const all = "tracepoints of single system calls: no tracefs at /sys/kernel/tracing"
	for _, tt := range []struct {
		name, tracing string // and the command that leaves /sys/kernel/tracing so
		want          string // the log's line of what was refused
	}{
		{"tracefs", "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing", ""},
		{"no tracefs", "while mountpoint -q /sys/kernel/tracing; do umount /sys/kernel/tracing; done", all},
	} {
		t.Run(tt.name, func(t *testing.T) { testUnitCapabilities(t, tt.tracing, tt.want) })
	}
}

func testUnitCapabilities(t *testing.T, tracing, want string) {
	u := unit(t)
	bounds := "-all"
	caps := strings.Fields(u["CapabilityBoundingSet"])
	for _, c := range caps {
		bounds += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	command := strings.Fields(u["ExecStart"])
	if len(caps) == 0 || len(command) < 2 || u["NoNewPrivileges"] != "yes" || u["User"] != "" || u["AmbientCapabilities"] != "" {
		t.Fatalf("this test does not know such a unit: %v", u)
	}
	functions, data := t.TempDir(), t.TempDir()
	args := []string{"-ec", tracing + `; exec setpriv "$@"`, "sh", "--bounding-set", bounds, "--inh-caps", "-all", "--ambient-caps", "-all", "--no-new-privs", binary}
	for _, arg := range command[1:] {
		args = append(args, strings.Replace(arg, "/etc/tiercel/functions", functions, 1))
	}
	args = append(args, "--data", data, "--http", "", "--node", "e2e", "--self-socket", filepath.Join(publicDir(t), "self.sock"))
	cmd := exec.Command("sh", args...)
	// A mount namespace of its own, as ProtectSystem= makes it one.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Unshareflags: syscall.CLONE_NEWNS}
	p := startCommand(t, "the unit's command", cmd)
	p.stderr.waitFor(t, 2*time.Minute, `msg="watching the kernel"`)

	have, err := host.EffectiveCapabilities(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var needed uint64
	for _, c := range []int{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH} {
		needed |= 1 << c
	}
	if have != needed {
		t.Errorf("it has the capabilities %x of %v, and %x are what docs/kubernetes.md explains", have, caps, needed)
	}
	if out, err := exec.Command("cat", "/etc/shadow").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p.stdout.waitFor(t, 2*time.Minute, `Warning Sensitive file read .*file=/etc/shadow process=cat`)
	var refused []string
	for line := range strings.Lines(p.stderr.String()) {
		if strings.Contains(line, "permitted") || strings.Contains(line, "without CAP_") {
			refused = append(refused, line)
		}
	}
	if want == "" && len(refused) > 0 || want != "" && (len(refused) != 1 || !strings.Contains(refused[0], want)) {
		t.Errorf("it was refused %q, want %q", refused, want)
	}
	if code := p.terminate(); code != 0 {
		t.Errorf("after SIGTERM the exit code is %d", code)
	}
}
