//go:build kernel

package sensor

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor/event"
)

const (
	soundnessChild = "TIERCEL_SOUNDNESS_CHILD" // seed, number and root of the random calls that a process makes
	soundnessSets  = "TIERCEL_SOUNDNESS_SETS"  // how many generated sets of rules; default 8
)

func init() {
	if text := os.Getenv(soundnessChild); text != "" {
		var seed uint64
		var n int
		var dir string
		_, err := fmt.Sscan(text, &seed, &n, &dir)
		if err == nil {
			err = callRandomly(rand.New(rand.NewPCG(seed, 1)), dir, n)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// A caller makes random system calls.
type caller struct {
	*rand.Rand
	dir string
}

func (c *caller) pick(words ...string) string { return words[c.IntN(len(words))] }

// path is one of the names that rules are about, in one of many spellings.
func (c *caller) path() string {
	name := c.pick("/etc/shadow", "/etc/passwd", "/etc/pam.d/su", "/root/.ssh/id_rsa", "/dev/null", "/proc/self/exe", "/etc", "/", "a/f1", "a/f2", "a/.hidden",
		"b/link", "a", "b", "a/sub/f3", "a/..data/f", "nothing", "a/nothing", "a/"+strings.Repeat("long", 70), "/var/log/syslog.x")
	switch c.IntN(8) {
	case 0:
		name = strings.Replace(name, "/", "//", 1)
	case 1:
		name = strings.Replace(name, "/", "/./", 1)
	case 2:
		name = strings.Replace(name, "/", "/../", 1)
	case 3:
		name += "/"
	}
	if name[0] != '/' && c.IntN(2) == 0 {
		name = filepath.Join(c.dir, name)
	}
	return name
}

func (c *caller) flags() int {
	return []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, 3}[c.IntN(4)] |
		[]int{0, 0, unix.O_CREAT, unix.O_CREAT | unix.O_EXCL, unix.O_DIRECTORY, unix.O_TMPFILE, unix.O_PATH}[c.IntN(7)] | []int{0, 0, unix.O_TRUNC, unix.O_APPEND | unix.O_CLOEXEC}[c.IntN(4)]
}

// callRandomly makes n calls with dir as its root directory: the calls truncate, remove and rename what the names mean, and outside of it
// those are the machine's own files.
func callRandomly(r *rand.Rand, dir string, n int) error {
	if err := buildRoot(dir); err != nil {
		return err
	}
	if err := unix.Chroot(dir); err != nil {
		return err
	}
	if err := os.Chdir("/tmp/sound"); err != nil {
		return err
	}
	dir = "/tmp/sound"
	c := &caller{r, dir}
	build := func() {
		for _, d := range []string{"a/sub", "a/..data", "b"} {
			_ = os.MkdirAll(d, 0o755)
		}
		for _, f := range []string{"a/f1", "a/f2", "a/.hidden", "a/sub/f3", "a/..data/f"} {
			_ = os.WriteFile(f, nil, 0o600)
		}
		_ = os.Symlink("../a/f1", "b/link")
	}
	build()
	stop := make(chan struct{})
	go func() { // moves what the others are opening
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.Rename("a", "c")
				_ = os.Rename("c", "a")
				time.Sleep(20 * time.Microsecond)
			}
		}
	}()
	at := unix.AT_FDCWD
	if fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0); err == nil {
		at = fd
	}
	for i := range n {
		c.call([]int{at, unix.AT_FDCWD}[r.IntN(2)])
		if i%200 == 0 {
			build()
			_ = buildRoot("/")
		}
	}
	close(stop)
	return nil
}

// buildRoot makes the files below dir that rules are about.
func buildRoot(dir string) error {
	for _, f := range []string{"etc/shadow", "etc/passwd", "etc/pam.d/su", "root/.ssh/id_rsa", "dev/null", "proc/self/exe", "var/log/syslog", "tmp/sound/x"} {
		name := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// call makes one call; most fail.
func (c *caller) call(at int) {
	fd := -1
	var err error
	mode := uint32([]int{0, 0o600, 0o755, 0o4755}[c.IntN(4)])
	switch c.IntN(24) {
	case 0:
		_ = unix.Unlinkat(at, c.path(), 0)
	case 1:
		_ = unix.Renameat(at, "a/f1", unix.AT_FDCWD, c.pick("a/f2", "b/f1", "a/.hidden"))
	case 2:
		_ = unix.Mkdirat(at, c.pick("a/new", "/bin/x/y", "a/.new", "b/../a/new2"), mode)
	case 3:
		_ = unix.Fchmodat(at, c.pick("a/f1", "a/f2", "b/link", "nothing"), mode, 0)
	case 4:
		fd, err = unix.Dup(0)
	case 5:
		_ = unix.Setuid(0)
	case 6:
		_ = unix.Prctl(unix.PR_SET_NAME, 0, 0, 0, 0)
	case 7:
		fd, err = unix.Socket([]int{unix.AF_INET, unix.AF_UNIX, unix.AF_INET6, 99}[c.IntN(4)], []int{unix.SOCK_STREAM, unix.SOCK_DGRAM}[c.IntN(2)], 0)
		if err == nil {
			_ = unix.Connect(fd, &unix.SockaddrInet4{Port: 1 + c.IntN(3), Addr: [4]byte{127, 0, 0, 1}})
		}
	case 8:
		_ = unix.Linkat(at, "a/f1", at, c.pick("a/l", "b/l"), 0)
	case 9:
		_ = unix.Symlinkat("a/f1", at, c.pick("a/s", "b/s"))
	case 10:
		_ = unix.Kill(0, 0)
	case 11:
		fd, err = unix.Creat(c.path(), mode)
	case 12, 13:
		fd, err = unix.Openat2(at, c.path(), &unix.OpenHow{
			Flags: uint64(c.flags() &^ 3), Resolve: []uint64{0, unix.RESOLVE_BENEATH, unix.RESOLVE_IN_ROOT}[c.IntN(3)],
		})
	case 14:
		fd, err = unix.Open(c.path(), c.flags(), mode)
	default:
		fd, err = unix.Openat(at, c.path(), c.flags(), mode)
	}
	if err == nil && fd > 2 {
		_ = unix.Close(fd)
	}
}

// condition is a random one over what the filter knows, and some that it does not.
func (c *caller) condition(depth int) string {
	if depth == 0 || c.IntN(4) == 0 {
		return c.check()
	}
	switch c.IntN(5) {
	case 0:
		return "not (" + c.condition(depth-1) + ")"
	case 1, 2, 3:
		return "(" + c.condition(depth-1) + " and " + c.condition(depth-1) + ")"
	}
	return "(" + c.condition(depth-1) + " or " + c.condition(depth-1) + ")"
}

func (c *caller) check() string {
	switch c.IntN(24) {
	case 0:
		return c.pick("evt.is_open_read", "evt.is_open_write", "evt.is_open_exec", "evt.is_open_create", "evt.failed") + c.pick(" = true", " = false", " != true", " exists")
	case 1:
		return c.pick("fd.num", "evt.rawres") + c.pick(" >= 0", " < 0", " = -1", " in (3, 4, 5)", " != 3", " > 7", " <= -2")
	case 2:
		return "evt.res " + c.pick("= SUCCESS", "!= SUCCESS", "startswith E", "= ENOENT", "in (EACCES, ENOENT, EEXIST)", "contains NO")
	case 3:
		return c.pick("fd.typechar", "fd.type") + c.pick(" = f", " != f", " = d", " in (file, directory)", " exists", " startswith d")
	case 4:
		return "proc.name " + c.pick("= sensor.test", "!= sensor.test", "in (cat, sensor.test)", "in (a, b)", "startswith sensor", "contains x")
	case 5:
		return c.pick("user.uid", "group.gid", "user.loginuid") + c.pick(" = 0", " != 0", " > 10", " = -1", " >= 0")
	case 6:
		return "container.id " + c.pick("= host", "!= host", "in (host, x)", "exists", "= 0123456789ab")
	case 7:
		return "evt.arg.flags contains " + c.pick("O_CREAT", "O_TRUNC", "O_RDONLY", "O_", "O_CLOEXEC", "REMOVEDIR", "O_TMPFILE", "O_DIRECTORY")
	case 8:
		return "evt.arg.mode contains " + c.pick("S_ISUID", "S_IXUSR", "S_I")
	case 9:
		return c.pick("proc.pname", "proc.cmdline", "user.name", "evt.arg.res") + c.pick(" = x", " != x", " exists", " contains s")
	case 10:
		return c.pick("evt.rawarg.mode", "evt.rawarg.domain", "evt.rawarg.dirfd") + c.pick(" = 0", " > 1", " != 2", " in (2, 384)")
	case 11:
		return "evt.dir = " + c.pick("<", ">")
	}
	if c.IntN(3) == 0 { // as long as a path that is opened
		op := c.pick("= %s", "startswith %s", "endswith %s", "in (%s)", "pmatch (%s)")
		return "fd.name " + fmt.Sprintf(op, c.pick("/etc/shadow", "/etc/passwd", "/tmp/sound/a/f1", "/dev/null", "/etc"))
	}
	f := c.pick("fd.name", "fd.name", "fd.name", "fd.directory", "fd.filename", "fd.nameraw", "evt.arg.name", "evt.arg.path", "evt.arg.oldpath", "evt.arg.newpath",
		"evt.arg.filename", "evt.arg.linkpath", "evt.abspath")
	v := c.pick("/etc/shadow", "/etc/passwd", "/etc", "/etc/pam.d", "/etc/", "/", "f1", ".hidden", "shadow", "a", "id_rsa", "../", "/..", "/.", "log", "/dev/null",
		"..", "/root/", "/etc/pam.d/su", "b/link", "data/f", "x")
	switch c.IntN(6) {
	case 0:
		return f + c.pick(" in ", " pmatch ") + "(" + v + ", " + c.pick("/etc", "/etc/shadow", "/tmp", "f2", "/dev") + ")"
	case 1:
		return f + " glob '" + c.pick("/etc/*", "*/f?", "/*", "*shadow", "*..*", "/etc/shadow", "*/.h*") + "'"
	case 2:
		return f + c.pick(" = anyof", " startswith allof", " contains oneof") + " (" + v + ", f1)"
	}
	return f + c.pick(" = ", " != ", " startswith ", " endswith ", " contains ", " icontains ") + v
}

// ruleSet makes n rules, most of them about what callRandomly does.
func (c *caller) ruleSet(n int) string {
	var b strings.Builder
	for i := range n {
		types := c.pick("open, openat, openat2, creat", "open, openat", "openat", "unlink, unlinkat, rename, renameat, mkdirat, linkat, symlinkat", "openat2, fchmodat, dup",
			"socket, connect, setuid, prctl, kill", "openat, unlinkat, renameat2, mkdirat")
		fmt.Fprintf(&b, "- rule: r%d\n  desc: d\n  condition: %q\n  output: x\n  priority: INFO\n", i, "evt.type in ("+types+") and "+c.condition(c.IntN(4)))
	}
	return b.String()
}

func compileRules(t testing.TB, text string) *rules.Set {
	t.Helper()
	set, report := rules.Load([]rules.File{{Name: "test.yaml", Data: []byte(text)}}, rules.Options{Matching: rules.All})
	if set == nil {
		t.Fatalf("%v\n%s", report.Err(), text)
	}
	return set
}

// quietly runs a sensor that reports to nobody until the test ends.
func quietly(t testing.TB, set *rules.Set, change func(*Config)) *Sensor {
	t.Helper()
	cfg := DefaultConfig()
	cfg.RuntimeSockets, cfg.ThrottleRate = nil, 0
	change(&cfg)
	log := newSyncBuffer()
	s, err := New(cfg, Deps{Rules: set, Log: slog.New(slog.NewTextHandler(log, nil)), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log.String(), "watching the kernel"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the sensor does not attach")
		}
	}
	return s
}

func callAtRandom(t testing.TB, seed uint64, n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s", soundnessChild, seed, n, t.TempDir()))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestSoundness: no event that the kernel filter would drop matches a rule. The rules are random and about what random calls do, while the
// folders that they go to are renamed.
func TestSoundness(t *testing.T) {
	sets, calls := 8, 3000
	if text := os.Getenv(soundnessSets); text != "" {
		var err error
		if sets, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &caller{Rand: rand.New(rand.NewPCG(seed, 0))}
	var bad atomic.Pointer[string]
	text := c.ruleSet(4)
	s := quietly(t, compileRules(t, text), func(cfg *Config) { cfg.FilterShadow = true })
	report := s.pipeline.report
	s.pipeline.report = func(m *match) {
		if m.raw.Flags&event.Dropped != 0 {
			say := fmt.Sprintf("%s: %s\n%+v", m.rule.Name, m.rule.Condition, m.raw)
			bad.CompareAndSwap(nil, &say)
		}
		report(m)
	}
	for i := range sets {
		if i > 0 {
			text = c.ruleSet(1 + c.IntN(3))
			s.Reload(compileRules(t, text))
		}
		callAtRandom(t, seed+uint64(i), calls)
		if b := bad.Load(); b != nil {
			t.Fatalf("the filter would have dropped an event that matches: %s", *b)
		}
	}
	checked, matched := testutil.ToFloat64(s.metrics.checked), testutil.ToFloat64(s.metrics.unsound)
	t.Logf("%v events with verdict drop, %v of them matched", checked, matched)
	if checked == 0 || matched != 0 {
		t.Errorf("%v of %v events that would have been dropped matched", matched, checked)
	}
}

// TestStockSoundness is TestSoundness with Falco's own rules, all of them.
func TestStockSoundness(t *testing.T) {
	dir := os.Getenv("TIERCEL_CONFORMANCE")
	if dir == "" {
		t.Skip("TIERCEL_CONFORMANCE names no folder: Falco's rules are not there")
	}
	var paths []string
	for _, n := range []string{"falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"} {
		paths = append(paths, filepath.Join(dir, "rules", n))
	}
	files, err := rules.ReadFiles(paths)
	if err != nil {
		t.Fatal(err)
	}
	set, report := rules.Load(files, rules.Options{Matching: rules.All})
	if set == nil {
		t.Fatal(report.Err())
	}
	s := quietly(t, set, func(cfg *Config) { cfg.FilterShadow = true })
	for i := range uint64(5) {
		callAtRandom(t, i, 5000)
	}
	checked, matched := testutil.ToFloat64(s.metrics.checked), testutil.ToFloat64(s.metrics.unsound)
	t.Logf("%v events with verdict drop, %v of them matched", checked, matched)
	if checked == 0 || matched != 0 {
		t.Errorf("%v of %v events that would have been dropped matched", matched, checked)
	}
}
