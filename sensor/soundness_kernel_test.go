//go:build kernel

package sensor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
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
	soundnessCalls = "TIERCEL_SOUNDNESS_CALLS" // how many random calls for each; default 3,000
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
		"b/link", "a", "b", "m/f1", "m/shadow", "m", "a/sub/f3", "a/..data/f", "nothing", "a/nothing", "a/"+strings.Repeat("long", 70), "/var/log/syslog.x")
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

// enterRoot makes dir the root directory: as chroot does, from which paths go on, or as containers do.
func enterRoot(r *rand.Rand, dir string) error {
	if r.IntN(4) == 0 {
		return unix.Chroot(dir)
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make the root a mount: %w", err)
	}
	if err := errors.Join(os.Chdir(dir), unix.PivotRoot(".", "."), unix.Unmount(".", unix.MNT_DETACH)); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	return nil
}

// callRandomly makes n calls with dir as its root directory, in a mount namespace of its own: the calls truncate, remove and rename what the
// names mean, and outside of it those are the machine's own files. Before, it starts some programs.
func callRandomly(r *rand.Rand, dir string, n int) error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to this namespace: %w", err)
	}
	for range 1 + n/50 {
		startRandomly(r)
	}
	if err := buildRoot(dir); err != nil {
		return err
	}
	if err := enterRoot(r, dir); err != nil {
		return err
	}
	if err := os.Chdir("/tmp/sound"); err != nil {
		return err
	}
	dir = "/tmp/sound"
	c := &caller{r, dir}
	build := func() {
		for _, d := range []string{"a/sub", "a/..data", "b", "m"} {
			_ = os.MkdirAll(d, 0o755)
		}
		for _, f := range []string{"a/f1", "a/f2", "a/.hidden", "a/sub/f3", "a/..data/f"} {
			_ = os.WriteFile(f, nil, 0o600)
		}
		_ = os.Symlink("../a/f1", "b/link")
	}
	build()
	stop := make(chan struct{})
	go func() { // moves what the others are opening, and mounts something else in its place
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = os.Rename("a", "c")
				_ = os.Rename("c", "a")
				if i%16 == 0 {
					_ = unix.Mount([...]string{"a", "b", "/etc"}[i/16%3], "m", "", unix.MS_BIND, "")
				} else if i%16 == 8 {
					_ = unix.Unmount("m", unix.MNT_DETACH)
				}
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

// startRandomly starts a program that does nothing.
func startRandomly(r *rand.Rand) {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	cmd := exec.Command(pick("/bin/true", "/bin/false", "/bin/nothing", "/bin/sh"), "-c", ":")
	for range r.IntN(4) {
		cmd.Args = append(cmd.Args, pick("-c", "", "/dev/shm/x", "a b", " ", "BEGIN Private", "\\", "stratum+tcp://x", strings.Repeat("y", r.IntN(300)), strings.Repeat("z", r.IntN(6000))))
	}
	if r.IntN(3) == 0 {
		cmd.Args[0] = pick("", "./x", "/dev/shm/y", "./x y", strings.Repeat("e", r.IntN(600)))
	}
	cmd.Dir = pick("/", "/tmp", "/dev/shm", "/proc/self")
	switch r.IntN(3) {
	case 0:
		cmd.Env = []string{}
	case 1:
		cmd.Env = []string{"A=b", "X=" + strings.Repeat("x", r.IntN(5000)), "GLIBC_TUNABLES=y"}
	}
	_ = cmd.Run()
}

// execCheck is a random comparison of a text of an exec.
func (c *caller) execCheck() string {
	f := c.pick("proc.exe", "proc.exepath", "proc.cwd", "proc.args", "proc.cmdline", "proc.env")
	v := "'" + c.pick("/dev/shm", "/dev/shm/", "/", "/tmp/", "./", "./x", "./x y", "/bin/true", "/usr/bin/", "true", "-c :", "-c : a b", "-c : ", "-c", ":", "a b",
		"stratum+tcp", "GLIBC_TUNABLES", "glibc_tun", "A=b", "begin private", "xx", "yyyy", "zz", " ", "e") + "'"
	switch c.IntN(8) {
	case 0:
		return f + " in (" + v + ", " + c.pick("./x", "/bin/sh", "/bin/false", "x") + ")"
	case 1:
		return f + c.pick(" = anyof", " startswith allof", " contains oneof") + " (" + v + ", f1)"
	case 2:
		return f + c.pick(" exists", " = ''", " != ''", " startswith ''", " glob '*/true'", " glob './*'", " iglob '*TUN*'", " regex '.*yyy.*'", " regex '/dev/shm.*'", " glob '-c*'")
	}
	return f + c.pick(" = ", " != ", " startswith ", " startswith ", " endswith ", " contains ", " icontains ") + v
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

// address is an address on this machine, or of a unix socket.
func (c *caller) address() unix.Sockaddr {
	port := []int{0, 1, 2, 3, 8000 + c.IntN(40)}[c.IntN(5)]
	switch c.IntN(5) {
	case 0:
		return &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}}
	case 1:
		return &unix.SockaddrInet6{Port: port, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}}
	case 2:
		return &unix.SockaddrUnix{Name: c.pick("/tmp/sound/socket", "@sound", "a/f1")}
	}
	return &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, byte(1 + c.IntN(3))}}
}

// network makes some calls about a socket, which does not block. They mean this machine alone.
func (c *caller) network(fd int) {
	for range 1 + c.IntN(4) {
		switch c.IntN(9) {
		case 0, 1:
			_ = unix.Connect(fd, c.address())
		case 2:
			_ = unix.Bind(fd, c.address())
		case 3:
			_ = unix.Listen(fd, 1)
		case 4:
			if got, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK); err == nil {
				_ = unix.Close(got)
			}
		case 5:
			_ = unix.Sendto(fd, []byte("x"), []int{0, unix.MSG_FASTOPEN}[c.IntN(2)]|unix.MSG_NOSIGNAL, c.address())
		case 6:
			_ = unix.Sendmsg(fd, []byte("x"), nil, c.address(), unix.MSG_NOSIGNAL)
		case 7:
			_, _, _ = unix.Recvfrom(fd, make([]byte, 8), 0)
		case 8: // a connection, from both sides
			if to, err := unix.Getsockname(fd); err == nil {
				other, err := unix.Socket([]int{unix.AF_INET, unix.AF_INET6}[c.IntN(2)], unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
				if err == nil {
					_ = unix.Connect(other, to)
					if got, _, err := unix.Accept(fd); err == nil {
						_ = unix.Sendto(got, []byte("x"), unix.MSG_NOSIGNAL, nil)
						_ = unix.Close(got)
					}
					_ = unix.Close(other)
				}
			}
		}
	}
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
		fd, err = unix.Socket([]int{unix.AF_INET, unix.AF_UNIX, unix.AF_INET6, unix.AF_NETLINK, 99}[c.IntN(5)],
			[]int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW}[c.IntN(3)]|unix.SOCK_NONBLOCK, 0)
		if err == nil {
			c.network(fd)
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

// long is n values besides v.
func long(n int, v string, value func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(value(i) + ", ")
	}
	return "(" + b.String() + v + ")"
}

// socketCheck is a random comparison of a socket.
func (c *caller) socketCheck() string {
	address := c.pick("127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "::")
	network := c.pick("127.0.0.0/8", "127.0.0.2/31", "::/0", "0.0.0.0/0", "::1/128", "::ffff:0:0/96")
	port := c.pick("0", "1", "2", "3", "8007")
	switch c.IntN(9) {
	case 0, 1:
		f := c.pick("fd.ip", "fd.cip", "fd.sip", "fd.lip", "fd.rip")
		return f + c.pick(" = "+address, " != "+address, " in ("+address+", 127.0.0.3)", " exists", " in "+
			long(c.IntN(60), address, func(i int) string { return fmt.Sprintf("10.0.0.%d", i) }))
	case 2, 3:
		f := c.pick("fd.net", "fd.cnet", "fd.snet", "fd.lnet", "fd.rnet")
		return f + c.pick(" = "+network, " != "+network, " in ("+network+", 10.0.0.0/8)", " in "+
			long(c.IntN(60), network, func(i int) string { return fmt.Sprintf("10.%d.0.0/16", i) }))
	case 4, 5:
		f := c.pick("fd.port", "fd.cport", "fd.sport", "fd.lport", "fd.rport", "fd.proto")
		return f + c.pick(" = "+port, " != "+port, " < "+port, " >= "+port, " in ("+port+", 2)", " exists", " in "+
			long(c.IntN(90), port, func(i int) string { return strconv.Itoa(8000 + 3*i) }))
	case 6:
		return c.pick("fd.typechar", "fd.type") + c.pick(" = 4", " in (4, 6, u)", " != 6", " = ipv4", " startswith ip", " exists", " in (unix, netlink)", " = 2")
	case 7:
		return c.pick("fd.l4proto = tcp", "fd.l4proto != udp", "fd.l4proto exists", "fd.l4proto in (udp, raw)", "fd.sockfamily = ip", "fd.sockfamily != unix",
			"fd.sockfamily exists")
	}
	return c.pick("fd.is_server", "fd.connected", "fd.name_changed") + c.pick(" = true", " = false", " != true", " exists")
}

// lifeCheck is a random comparison of what is known of a process.
func (c *caller) lifeCheck() string {
	switch c.IntN(6) {
	case 3, 4, 5:
		return c.execCheck()
	case 0:
		return c.pick("proc.is_exe_writable", "proc.is_exe_upper_layer", "proc.is_exe_lower_layer", "proc.is_exe_from_memfd") + c.pick(" = true", " = false", " exists")
	case 1:
		return c.pick("proc.tty", "proc.ppid", "proc.vpid", "proc.sid", "proc.vpgid", "proc.pgid", "thread.vtid") + c.pick(" = 0", " != 0", " > 100", " in (1, 2)")
	}
	return "proc.name " + c.pick("= true", "!= sh", "in (true, false)", "startswith tr", "contains al", "icontains TR", "glob '*ue'", "regex 'tr.*'", "endswith st")
}

func (c *caller) check() string {
	switch c.IntN(34) {
	case 32, 33:
		return c.execCheck()
	case 24, 25, 26, 27:
		return c.socketCheck()
	case 28, 29:
		return c.lifeCheck()
	case 30:
		return c.pick("fd.name", "fd.directory", "evt.arg.newpath", "evt.arg.name") + c.pick(" in ", " pmatch ") +
			long(60+c.IntN(20), c.pick("/etc/shadow", "/etc", "/tmp/sound/a", "/tmp"), func(i int) string { return fmt.Sprintf("/etc/x%d", i) })
	case 31:
		return c.pick("fd.name", "fd.nameraw", "evt.arg.name", "evt.arg.newpath") + c.pick(" icontains SHADOW", " icontains /E", " iglob '*SHA?ow'", " regex '/etc/.*'",
			" regex '.*shadow'", " regex '(/etc|/tmp).*'", " regex '/et(c)+/.*'")

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
			"socket, connect, setuid, prctl, kill", "connect, bind, listen", "accept, accept4, socket", "sendto, sendmsg, recvfrom", "connect, sendto",
			"execve, execveat", "execve", "clone, fork, vfork, clone3", "procexit", "openat, unlinkat, renameat2, mkdirat")
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
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(log.String(), "watching the kernel"); time.Sleep(10 * time.Millisecond) {
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestSoundness: no event that the kernel filter would drop matches a rule. The rules are random and about what random calls do, while the
// folders that they go to are renamed.
func TestSoundness(t *testing.T) {
	sets, calls := 8, 3000
	for name, n := range map[string]*int{soundnessSets: &sets, soundnessCalls: &calls} {
		if text := os.Getenv(name); text != "" {
			var err error
			if *n, err = strconv.Atoi(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &caller{Rand: rand.New(rand.NewPCG(seed, 0))}
	var bad atomic.Pointer[string]
	text := c.ruleSet(4)
	s := quietly(t, compileRules(t, text), func(cfg *Config) { cfg.FilterShadow = true })
	s.pipeline.mu.Lock()
	report := s.pipeline.report
	s.pipeline.report = func(m *match) {
		if m.raw.Flags&event.Dropped != 0 {
			say := fmt.Sprintf("%s: %s\n%+v", m.rule.Name, m.rule.Condition, m.raw)
			bad.CompareAndSwap(nil, &say)
		}
		report(m)
	}
	s.pipeline.mu.Unlock()
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
