package extract

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/process"
)

// base is what boot time 0 is since the epoch, in these tests.
const base = 1_767_323_045_000_000_000 // 2026-01-02T03:04:05Z

type testNames struct{}

func (testNames) User(r container.Root, uid uint32) (container.User, bool) {
	switch {
	case r.Container == "" && uid == 1000:
		return container.User{Name: "ann", Home: "/home/ann", Shell: "/bin/bash"}, true
	case r.Container != "" && uid == 1000:
		return container.User{Name: "app"}, true
	}
	return container.User{}, false
}

func (testNames) Group(r container.Root, gid uint32) (string, bool) { return "staff", gid == 50 }

// A stage is a table with a line of processes: systemd, sshd, bash, cat.
type stage struct {
	table *process.Table
	x     *Extractor
	seq   uint64
}

func newStage() *stage {
	s := &stage{table: process.New(process.DefaultConfig(), nil)}
	domains := func(a netip.Addr) []string {
		switch a.String() {
		case "192.0.2.9":
			return []string{"one.example"}
		case "9.9.9.9":
			return []string{"dns.example", "nine.example"}
		}
		return nil
	}
	s.x = New(Config{Hostname: "box", Table: s.table, Names: testNames{}, Domains: domains, Wall: func(ns uint64) int64 { return base + int64(ns) }})
	s.exec(event.Task{PID: 1, VPID: 1, SID: 1, VSID: 1, StartNS: 1, Comm: "systemd"}, event.Exec{Exe: "/sbin/init", ExePath: "/usr/lib/systemd/systemd"})
	s.exec(event.Task{PID: 20, VPID: 20, PPID: 1, ParentStartNS: 1, SID: 20, VSID: 20, StartNS: 20, Comm: "sshd"}, event.Exec{
		Exe: "sshd: ann", ExePath: "/usr/sbin/sshd", Args: []byte("-D\x00"),
	})
	s.exec(event.Task{PID: 30, VPID: 30, PPID: 20, ParentStartNS: 20, SID: 30, VSID: 30, StartNS: 30, Comm: "bash"}, event.Exec{
		Exe: "-bash", ExePath: "/usr/bin/bash", Cwd: "/home/ann", Env: []byte("SHELL=/bin/bash\x00"),
	})
	s.apply(&event.Event{Type: field.EventProcinfo, BootNS: 40, Task: cat(), Exec: catExec()})
	return s
}

func cat() event.Task {
	return event.Task{
		TID: 40, PID: 40, PPID: 30, VTID: 40, VPID: 40, PGID: 40, SID: 30, VPGID: 40, VSID: 30, UID: 1000, GID: 50, LoginUID: 1000,
		TTY: 34817, StartNS: 40, ParentStartNS: 30, CapEffective: 1 << 21, CapPermitted: 1<<21 | 1<<12, Comm: "cat",
	}
}

func catExec() event.Exec {
	return event.Exec{
		Filename: "/bin/cat", ExePath: "/usr/bin/cat", Exe: "cat", Args: []byte("-n\x00/etc/shadow\x00"), Env: []byte("HOME=/home/ann\x00LANG=C\x00"),
		Cwd: "/home/ann", Flags: event.ExeWritable | event.ExeUpperLayer, Ino: 77, CTimeNS: base - 3e9, MTimeNS: base - 9e9,
	}
}

func (s *stage) exec(t event.Task, x event.Exec) {
	t.TID = t.PID
	s.apply(&event.Event{Type: field.EventProcinfo, BootNS: t.StartNS, Task: t, Exec: x})
}

func (s *stage) apply(ev *event.Event) *process.Process { return s.table.Apply(ev) }

// bind presents ev, done by cat on the host unless it says otherwise.
func (s *stage) bind(ev event.Event, id *container.Identity) *Event {
	if ev.Task.PID == 0 {
		ev.Task = cat()
	}
	if ev.BootNS == 0 {
		ev.BootNS = 5e9
	}
	s.seq++
	ev.Seq = s.seq
	return s.x.Bind(&ev, s.apply(&ev), id)
}

// show writes a value as these tests compare it.
func show(v *field.Value) string {
	switch v.Kind {
	case field.KindString:
		return v.Str
	case field.KindBytes:
		return fmt.Sprintf("bytes %q", v.Str)
	case field.KindInt:
		return fmt.Sprint(int64(v.Num))
	case field.KindUint:
		return fmt.Sprint(v.Num)
	case field.KindBool:
		return fmt.Sprint(v.Num != 0)
	case field.KindFloat:
		return fmt.Sprint(math.Float64frombits(v.Num))
	case field.KindAddr:
		return v.Addr.String()
	case field.KindList:
		parts := make([]string, len(v.List))
		for i := range v.List {
			parts[i] = show(&v.List[i])
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	return "?"
}

const null = "<NA>"

// check compares the fields named in want; a name that ends in "!" is taken in the resolved form.
func check(t *testing.T, e *Event, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for name := range want {
		text, resolved := strings.CutSuffix(name, "!")
		ref, err := field.Lookup(text)
		if err != nil {
			t.Fatal(err)
		}
		form := field.AsPassed
		if resolved {
			form = field.Resolved
		}
		var v field.Value
		got[name] = null
		if e.Extract(&ref, form, &v) {
			got[name] = show(&v)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProcess(t *testing.T) {
	e := newStage().bind(event.Event{Type: field.EventExecve, Exec: catExec(), CPU: 1}, container.HostIdentity)
	check(t, e, map[string]string{
		"evt.type": "execve", "evt.num": "1", "evt.dir": "<", "evt.res": "SUCCESS", "evt.rawres": "0", "evt.failed": "false",
		"evt.cpu": "1", "evt.category": "process", "evt.source": "syscall", "evt.hostname": "box", "syscall.type": "execve",
		"evt.type.is.execve": "1", "evt.type.is.open": "0", "evt.rawtime": fmt.Sprint(int64(base + 5e9)), "evt.rawtime.s": "1767323050",
		"evt.time.iso8601": "2026-01-02T03:04:10.000000000+0000", "evt.arg.flags": "EXE_WRITABLE|EXE_UPPER_LAYER",
		"evt.arg.exe": "cat", "evt.arg.args": "-n./etc/shadow.", "evt.arg.filename": "/bin/cat", "evt.arg.trusted_exepath": "/usr/bin/cat",
		"evt.arg.loginuid": "ann", "evt.arg.res": "0", "evt.arg[0]": "0", "evt.rawarg.flags": "3", "evt.arg.ptid": "bash",
		"evt.arg.cap_effective": "200000",

		"proc.name": "cat", "proc.exe": "cat", "proc.exepath": "/usr/bin/cat", "proc.cmdline": "cat -n /etc/shadow", "proc.args": "-n /etc/shadow",
		"proc.args[0]": "-n", "proc.args[1]": "/etc/shadow", "proc.args[2]": null, "proc.exeline": "cat -n /etc/shadow",
		"proc.cmdnargs": "2", "proc.cmdlenargs": "13", "proc.env": "HOME=/home/ann LANG=C", "proc.env[LANG]": "C", "proc.env[X]": null,
		"proc.cwd": "/home/ann/", "proc.tty": "34817", "proc.pid": "40", "proc.ppid": "30", "proc.vpid": "40", "proc.sid": "30",
		"proc.pname": "bash", "proc.pexe": "-bash", "proc.pexepath": "/usr/bin/bash", "proc.pcmdline": "bash", "proc.pvpid": "30",
		"proc.aname[0]": "cat", "proc.aname[1]": "bash", "proc.aname[2]": "sshd", "proc.aname[3]": "systemd", "proc.aname[4]": null,
		"proc.aname": "[bash sshd systemd]", "proc.apid": "[30 20 1]", "proc.apid[2]": "20", "proc.aexe[2]": "sshd: ann",
		"proc.aexepath[2]": "/usr/sbin/sshd", "proc.acmdline[2]": "sshd -D", "proc.aenv[SHELL]": "/bin/bash", "proc.aenv[1]": "SHELL=/bin/bash",
		"tiercel.lineage": "[bash sshd systemd]", "tiercel.lineage[1]": "bash", "tiercel.identity": "host",
		"proc.sname": "bash", "proc.sid.exe": "-bash", "proc.sid.exepath": "/usr/bin/bash", "proc.vpgid.name": "cat", "proc.pgid.name": "cat",
		"proc.is_sid_leader": "false", "proc.is_vpgid_leader": "true", "proc.is_pgid_leader": "true", "proc.loginshellid": "30",
		"proc.is_exe_writable": "true", "proc.is_exe_upper_layer": "true", "proc.is_exe_from_memfd": "false", "proc.is_exe_lower_layer": "false",
		"proc.exe_ino": "77", "proc.exe_ino.ctime": fmt.Sprint(int64(base - 3e9)), "proc.exe_ino.mtime": fmt.Sprint(int64(base - 9e9)),
		"proc.exe_ino.ctime_duration_proc_start": "3000000040", "proc.duration": "4999999960", "proc.ppid.duration": "4999999970",
		"proc.pid.ts": fmt.Sprint(int64(base + 40)), "thread.tid": "40", "thread.ismain": "true",
		"thread.cap_effective": "CAP_SYS_ADMIN", "thread.cap_permitted": "CAP_NET_ADMIN CAP_SYS_ADMIN", "thread.cap_inheritable": "",

		"user.uid": "1000", "user.name": "ann", "user.homedir": "/home/ann", "user.shell": "/bin/bash", "user.loginuid": "1000",
		"user.loginname": "ann", "group.gid": "50", "group.name": "staff",
		"container.id": "host", "container.name": "host", "container.type": "host", "container.image": null, "container.image.repository": null,
		"container.privileged": null, "k8s.ns.name": null, "k8s.pod.name": null,
		"fd.name": null, "fd.num": null, "fd.typechar": null, "fs.path.name": null,
	})
	if e.TwoForms() {
		t.Error("an exec has two forms of a path")
	}
	if want := time.Unix(0, base+5e9); !e.Time().Equal(want) {
		t.Errorf("time %v, want %v", e.Time(), want)
	}
}

func TestFailedExec(t *testing.T) {
	e := newStage().bind(event.Event{Type: field.EventExecve, Result: -int64(unix.ENOENT), Exec: event.Exec{
		Filename: "tool", Exe: "tool", Args: []byte("-x\x00"), Cwd: "/home/ann",
	}}, container.HostIdentity)
	check(t, e, map[string]string{
		"evt.type": "execve", "evt.res": "ENOENT", "evt.rawres": "-2", "evt.failed": "true", "evt.arg.res": "ENOENT", "evt.arg.filename": "/home/ann/tool",
		"evt.arg.exe": "tool", "proc.name": "cat", "proc.cmdline": "cat -n /etc/shadow",
	})
}

// An event whose program is not known, since others have replaced it too often, has no fields of a program, least of all a later one's.
func TestForgottenProgram(t *testing.T) {
	s := newStage()
	task := event.Task{TID: 50, PID: 50, VPID: 50, PPID: 1, ParentStartNS: 1, StartNS: 50}
	for task.ExecGen = 1; task.ExecGen < 100; task.ExecGen++ {
		x := event.Exec{Exe: "env", ExePath: "/usr/bin/env", Args: []byte("env\x00"), Flags: event.ExeLowerLayer}
		s.apply(&event.Event{Type: field.EventExecve, BootNS: 50 + uint64(task.ExecGen), Task: task, Exec: x})
	}
	task.ExecGen = 2
	check(t, s.bind(event.Event{Type: field.EventOpenat, Task: task, BootNS: 52}, container.HostIdentity), map[string]string{
		"proc.exe": null, "proc.exepath": null, "proc.cmdline": null, "proc.args": null, "proc.args[0]": null, "proc.exeline": null,
		"proc.cmdnargs": null, "proc.cmdlenargs": null, "proc.env": null, "proc.is_exe_writable": null, "proc.is_exe_upper_layer": null,
		"proc.is_exe_lower_layer": null, "proc.is_exe_from_memfd": null, "proc.aexepath[0]": null, "proc.acmdline[0]": null,
		"proc.pid": "50",
	})
}

func TestIDs(t *testing.T) {
	task := cat()
	task.UID, task.GID, task.LoginUID, task.TTY = 4242, 4242, math.MaxUint32, 0
	e := newStage().bind(event.Event{Type: field.EventExecve, Task: task, Exec: catExec()}, container.HostIdentity)
	check(t, e, map[string]string{
		"user.uid": "4242", "user.name": null, "group.name": null, "user.loginuid": "-1", "user.loginname": null, "proc.tty": "0",
		"evt.arg.loginuid": "<NONE>", "evt.arg.uid": "<NA>",
	})
	task.UID, task.GID = 0, 0
	e = newStage().bind(event.Event{Type: field.EventSetuid, Task: task, Num: [6]uint64{1000}}, container.HostIdentity)
	check(t, e, map[string]string{"user.name": "root", "group.name": "root", "evt.arg.uid": "ann", "evt.rawarg.uid": "1000", "evt.args": "res=0 uid=1000(ann)"})
}

func open(flags uint32, raw, dir, resolved string) event.Open {
	return event.Open{
		Path: event.Path{Raw: raw, Dir: dir, Resolved: resolved}, DirFD: unix.AT_FDCWD, Flags: flags, Mode: 0o640, Dev: 8<<20 | 1, Ino: 9, Type: unix.S_IFREG >> 12,
	}
}

func TestOpen(t *testing.T) {
	tests := []struct {
		name string
		ev   event.Event
		want map[string]string
	}{
		{
			name: "read", ev: event.Event{Type: field.EventOpenat, Result: 3, Open: open(unix.O_RDONLY|unix.O_CLOEXEC, "/etc/shadow", "", "/etc/shadow")},
			want: map[string]string{
				"fd.name": "/etc/shadow", "fd.name!": "/etc/shadow", "fd.nameraw": "/etc/shadow", "fd.num": "3", "fd.type": "file", "fd.typechar": "f",
				"fd.directory": "/etc", "fd.filename": "shadow", "evt.is_open_read": "true", "evt.is_open_write": "false", "evt.is_open_exec": "false",
				"evt.arg.flags": "O_RDONLY|O_CLOEXEC", "evt.arg.name": "/etc/shadow", "evt.arg.dirfd": "AT_FDCWD", "evt.arg.fd": "<f>/etc/shadow",
				"evt.arg.mode": "0640", "evt.rawarg.mode": "416", "evt.rawarg.fd": "3", "evt.res": "SUCCESS", "evt.rawres": "3", "fd.ino": "9",
				"fd.dev.major": "8", "fd.dev.minor": "1", "fs.path.name": "/etc/shadow", "fs.path.nameraw": "/etc/shadow", "evt.abspath": "/etc/shadow",
				"fd.ip": null, "fd.sip": null, "fd.l4proto": null, "fd.connected": "false", "fd.uid": "403", "fd.containername": "host:/etc/shadow",
				"evt.args":     "fd=3(<f>/etc/shadow) dirfd=-100(AT_FDCWD) name=/etc/shadow(/etc/shadow) flags=4097(O_RDONLY|O_CLOEXEC) mode=0640 dev=800001 ino=9",
				"evt.category": "file",
			},
		},
		{
			name: "write", ev: event.Event{Type: field.EventOpen, Result: 4, Open: open(unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, "/tmp/x", "", "/tmp/x")},
			want: map[string]string{
				"evt.arg.flags": "O_TRUNC|O_CREAT|O_WRONLY", "evt.is_open_read": "false", "evt.is_open_write": "true", "evt.is_open_create": "false",
			},
		},
		{
			name: "made, executable",
			ev: event.Event{Type: field.EventOpenat2, Result: 4, Open: event.Open{
				Path: event.Path{Raw: "/tmp/x", Resolved: "/tmp/x"}, Flags: unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, Mode: 0o755, How: unix.RESOLVE_IN_ROOT,
				Created: true, UpperLayer: true,
			}},
			want: map[string]string{
				"evt.arg.flags": "O_EXCL|O_CREAT|O_RDWR|O_F_CREATED|FD_UPPER_LAYER", "evt.is_open_read": "true", "evt.is_open_write": "true",
				"evt.is_open_exec": "true", "evt.is_open_create": "true", "evt.arg.resolve": "RESOLVE_IN_ROOT", "fd.is_upper_layer": "true",
				"evt.arg.mode": "0755",
			},
		},
		{
			name: "failed", ev: event.Event{Type: field.EventOpenat, Result: -int64(unix.EACCES), Open: open(unix.O_RDONLY, "../secret/", "/home/ann", "")},
			want: map[string]string{
				"fd.name": "/home/secret", "fd.nameraw": "../secret/", "fd.num": "-1", "fd.type": null, "fd.typechar": "f", "fd.directory": "/home",
				"fd.filename": null, "evt.res": "EACCES", "evt.arg.fd": "EACCES", "evt.arg.name": "/home/secret", "fs.path.name": null,
				"evt.is_open_read": "true", "fd.ino": null,
			},
		},
		{
			name: "relative", ev: event.Event{Type: field.EventOpenat, Result: 3, Open: open(unix.O_RDONLY, "a/b", "/srv", "/srv/a/b")},
			want: map[string]string{"fd.name": "/srv/a/b", "fd.name!": "/srv/a/b", "evt.arg.name": "/srv/a/b"},
		},
		{
			name: "directory of a descriptor unknown", ev: event.Event{Type: field.EventOpenat, Result: -2, Open: open(unix.O_RDONLY, "b", "", "")},
			want: map[string]string{"fd.name": "<UNKNOWN>/b"},
		},
		{
			name: "symbolic link",
			ev:   event.Event{Type: field.EventOpenat, Result: 3, Open: open(unix.O_RDONLY, "//proc//self/root/etc/shadow", "", "/etc/shadow")},
			want: map[string]string{
				"fd.name": "/proc/self/root/etc/shadow", "fd.name!": "/etc/shadow", "fd.directory!": "/etc", "fd.filename!": "shadow",
				"fd.nameraw": "/proc/self/root/etc/shadow", "evt.arg.name!": "/etc/shadow", "fs.path.name!": "/etc/shadow",
			},
		},
		{
			name: "directory", ev: event.Event{Type: field.EventOpenat, Result: 3, Open: open(unix.O_RDONLY|unix.O_DIRECTORY, "/etc", "", "/etc")},
			want: map[string]string{
				"fd.typechar": "d", "fd.type": "directory", "fd.directory": "/etc", "fd.filename": null, "evt.arg.flags": "O_DIRECTORY|O_RDONLY",
			},
		},
		{
			name: "creat", ev: event.Event{Type: field.EventCreat, Result: 5, Open: open(0, "/tmp/n", "", "/tmp/n")},
			want: map[string]string{"fd.name": "/tmp/n", "fd.typechar": "f", "evt.is_open_write": "false", "evt.arg.mode": "0640", "evt.arg.name": "/tmp/n"},
		},
		{
			name: "in the root", ev: event.Event{Type: field.EventOpen, Result: 5, Open: open(0, "/", "", "/")},
			want: map[string]string{"fd.name": "/", "fd.directory": "/"},
		},
		{
			name: "by io_uring, without a completion",
			ev:   event.Event{Type: field.EventOpenat, Flags: event.NoResult, Result: 0, Open: open(0, "/etc/x", "", "/etc/x")},
			want: map[string]string{"evt.res": "SUCCESS", "evt.rawres": "0", "evt.failed": "false", "fd.name": "/etc/x", "fd.num": "0", "fd.typechar": "f"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check(t, newStage().bind(tt.ev, container.HostIdentity), tt.want)
		})
	}
}

func TestTwoForms(t *testing.T) {
	s := newStage()
	for _, tt := range []struct {
		raw, dir, resolved string
		want               bool
	}{
		{"/etc/shadow", "", "/etc/shadow", false},
		{"/etc/../etc/shadow", "", "/etc/shadow", false},
		{"/etc/shadow", "", "", false},
		{"shadow", "/etc", "/etc/shadow", false},
		{"/proc/self/root/etc/shadow", "", "/etc/shadow", true},
		{"link", "/tmp", "/etc/shadow", true},
	} {
		e := s.bind(event.Event{Type: field.EventOpenat, Result: 3, Open: open(0, tt.raw, tt.dir, tt.resolved)}, container.HostIdentity)
		if got := e.TwoForms(); got != tt.want {
			t.Errorf("%q below %q, walked to %q: two forms %v", tt.raw, tt.dir, tt.resolved, got)
		}
	}
}

func sock(local, remote string) event.Socket {
	s := event.Socket{FD: 7, Family: unix.AF_INET, Type: unix.SOCK_STREAM, Proto: unix.IPPROTO_TCP}
	if local != "" {
		s.Local = netip.MustParseAddrPort(local)
	}
	if remote != "" {
		s.Remote = netip.MustParseAddrPort(remote)
	}
	if strings.Contains(local+remote, "[") {
		s.Family = unix.AF_INET6
	}
	return s
}

func TestNet(t *testing.T) {
	server := sock("10.0.0.1:443", "192.0.2.9:5000")
	server.Server = true
	listening := sock("0.0.0.0:80", "")
	listening.Server, listening.Backlog, listening.BacklogMax = true, 1, 4
	udp := sock("10.0.0.1:40000", "9.9.9.9:53")
	udp.Type, udp.Proto, udp.Changed, udp.Size = unix.SOCK_DGRAM, unix.IPPROTO_UDP, true, 33
	raw := sock("", "")
	raw.Type, raw.Proto = unix.SOCK_RAW, unix.IPPROTO_ICMP
	tests := []struct {
		name string
		ev   event.Event
		want map[string]string
	}{
		{
			name: "connect", ev: event.Event{Type: field.EventConnect, Result: -int64(unix.EINPROGRESS), Socket: sock("10.0.0.1:4321", "192.0.2.9:443")},
			want: map[string]string{
				"fd.name": "10.0.0.1:4321->192.0.2.9:443", "fd.type": "ipv4", "fd.typechar": "4", "fd.num": "7", "fd.sip": "192.0.2.9", "fd.sport": "443",
				"fd.cip": "10.0.0.1", "fd.cport": "4321", "fd.rip": "192.0.2.9", "fd.rport": "443", "fd.lip": "10.0.0.1", "fd.lport": "4321",
				"fd.ip": "[10.0.0.1 192.0.2.9]", "fd.port": "[4321 443]", "fd.net": "[10.0.0.1 192.0.2.9]", "fd.snet": "192.0.2.9", "fd.sproto": "443",
				"fd.l4proto": "tcp", "fd.sockfamily": "ip", "fd.is_server": "false", "evt.res": "EINPROGRESS", "fd.directory": null, "fd.filename": null,
				"evt.args":   "res=-115(EINPROGRESS) tuple=10.0.0.1:4321->192.0.2.9:443 fd=7(<4t>10.0.0.1:4321->192.0.2.9:443) addr=192.0.2.9:443",
				"fd.nameraw": null, "evt.category": "net", "fd.sip.name": "one.example", "fd.rip.name": "one.example", "fd.cip.name": null,
			},
		},
		{
			name: "accept", ev: event.Event{Type: field.EventAccept4, Result: 8, Socket: server},
			want: map[string]string{
				"fd.name": "192.0.2.9:5000->10.0.0.1:443", "fd.cip": "192.0.2.9", "fd.sip": "10.0.0.1", "fd.rip": "192.0.2.9", "fd.lport": "443",
				"fd.is_server": "true", "fd.num": "8",
			},
		},
		{
			name: "accept failed", ev: event.Event{Type: field.EventAccept, Result: -11},
			want: map[string]string{"fd.num": "-1", "fd.typechar": "4", "fd.type": null, "fd.sip": null, "fd.name": null, "evt.arg.fd": "EAGAIN"},
		},
		{
			name: "listen", ev: event.Event{Type: field.EventListen, Socket: listening, Num: [6]uint64{7, 4}},
			want: map[string]string{
				"fd.name": "0.0.0.0:80", "fd.typechar": "2", "fd.type": "ipv4", "fd.sip": "0.0.0.0", "fd.sport": "80", "fd.cip": null, "fd.lport": null,
				"fd.ip": "[0.0.0.0]", "evt.arg.backlog": "4", "fd.l4proto": "tcp",
			},
		},
		{
			name: "ipv6", ev: event.Event{Type: field.EventConnect, Socket: sock("[fe80::1]:1", "[2001:db8::2]:22")},
			want: map[string]string{"fd.name": "fe80::1:1->2001:db8::2:22", "fd.typechar": "6", "fd.type": "ipv6", "fd.sip": "2001:db8::2"},
		},
		{
			name: "ipv4 in ipv6", ev: event.Event{Type: field.EventConnect, Socket: sock("[::ffff:10.0.0.1]:1", "[::ffff:192.0.2.9]:22")},
			want: map[string]string{"fd.name": "10.0.0.1:1->192.0.2.9:22", "fd.typechar": "4", "fd.sip": "192.0.2.9"},
		},
		{
			name: "sendto", ev: event.Event{Type: field.EventSendto, Result: 33, Socket: udp, Data: []byte("\xca\xfe\xba\xbe")},
			want: map[string]string{
				"fd.name": "10.0.0.1:40000->9.9.9.9:53", "fd.l4proto": "udp", "fd.sip.name": "[dns.example nine.example]", "fd.name_changed": "true", "fd.connected": "false", "evt.arg.size": "33",
				"evt.buffer": `bytes "\xca\xfe\xba\xbe"`, "evt.arg.data": "....", "evt.buflen": "33", "evt.is_io_write": "true", "evt.io_dir": "write",
				"evt.category": "net",
			},
		},
		{
			name: "raw socket without a peer", ev: event.Event{Type: field.EventSendto, Result: -1, Socket: raw},
			want: map[string]string{"fd.l4proto": "raw", "fd.sip": null, "fd.name": null, "fd.typechar": "4", "fd.buflen": null},
		},
		{
			name: "unix", ev: event.Event{Type: field.EventConnect, Socket: event.Socket{FD: 3, Family: unix.AF_UNIX, Type: unix.SOCK_STREAM, UnixPath: "/var/run/docker.sock"}},
			want: map[string]string{
				"fd.name": "/var/run/docker.sock", "fd.typechar": "u", "fd.type": "unix", "fd.sockfamily": "unix", "fd.l4proto": null, "fd.sip": null,
				"evt.arg.addr": "/var/run/docker.sock",
			},
		},
		{
			name: "abstract", ev: event.Event{Type: field.EventConnect, Socket: event.Socket{FD: 3, Family: unix.AF_UNIX, UnixPath: "\x00x"}},
			want: map[string]string{"fd.name": "@x"},
		},
		{
			name: "bind",
			ev: event.Event{Type: field.EventBind, Socket: event.Socket{
				FD: 3, Family: unix.AF_INET, Type: unix.SOCK_DGRAM, Proto: unix.IPPROTO_UDP, Local: netip.MustParseAddrPort("198.51.100.7:53"),
			}},
			want: map[string]string{"fd.name": "198.51.100.7:53", "fd.sip": "198.51.100.7", "fd.sport": "53", "fd.typechar": "2", "fd.l4proto": "udp"},
		},
		{
			name: "packet socket",
			ev:   event.Event{Type: field.EventSocket, Result: 5, Socket: event.Socket{FD: 5, Family: unix.AF_PACKET, Type: unix.SOCK_RAW}, Num: [6]uint64{unix.AF_PACKET, unix.SOCK_RAW, 768}},
			want: map[string]string{"evt.arg.domain": "AF_PACKET", "fd.typechar": "o", "fd.num": "5", "evt.rawarg.domain": "17", "evt.arg.type": "3"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			delete(tt.want, "fd.buflen")
			check(t, newStage().bind(tt.ev, container.HostIdentity), tt.want)
		})
	}
}

func TestCalls(t *testing.T) {
	p := func(raw, dir string) event.Path { return event.Path{Raw: raw, Dir: dir} }
	high := uint64(0xdead_beef_0000_0000) // what no one cleared
	tests := []struct {
		name string
		ev   event.Event
		want map[string]string
	}{
		{
			name: "ptrace", ev: event.Event{Type: field.EventPtrace, Num: [6]uint64{unix.PTRACE_ATTACH, 30}},
			want: map[string]string{"evt.arg.request": "PTRACE_ATTACH", "evt.arg.pid": "bash", "evt.rawarg.pid": "30"},
		},
		{
			name: "bpf", ev: event.Event{Type: field.EventBpf, Result: 5, Num: [6]uint64{5}},
			want: map[string]string{"evt.arg.cmd": "BPF_PROG_LOAD", "evt.rawarg.cmd": "5", "fd.typechar": "b", "fd.type": "bpf"},
		},
		{
			name: "chmod", ev: event.Event{Type: field.EventChmod, Num: [6]uint64{0, 0o4711 | high}, Path: [2]event.Path{p("x", "/bin")}},
			want: map[string]string{
				"evt.arg.filename": "/bin/x", "evt.arg.mode": "S_IXOTH|S_IXGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID", "fs.path.name": "/bin/x",
				"evt.args": "res=0 filename=x(/bin/x) mode=04711(S_IXOTH|S_IXGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID)",
			},
		},
		{
			name: "fchmod", ev: event.Event{Type: field.EventFchmod, Num: [6]uint64{6, 0o2000}, Open: event.Open{Path: event.Path{Resolved: "/bin/y"}, Type: 8}},
			want: map[string]string{"fd.name": "/bin/y", "fd.num": "6", "fd.typechar": "f", "evt.arg.fd": "<f>/bin/y", "evt.arg.mode": "S_ISGID"},
		},
		{
			name: "renameat2", ev: event.Event{Type: field.EventRenameat2, Num: [6]uint64{0, 0, 0, 0, 1}, Path: [2]event.Path{p("/a/../b", ""), p("c", "/d")}},
			want: map[string]string{
				"evt.arg.oldpath": "/b", "evt.arg.newpath": "/d/c", "evt.arg.flags": "RENAME_NOREPLACE", "fs.path.source": "/b", "fs.path.target": "/d/c",
				"fs.path.sourceraw": "/a/../b", "evt.abspath.src": "/b", "evt.abspath.dst": "/d/c", "fs.path.name": null,
			},
		},
		{
			name: "symlink", ev: event.Event{Type: field.EventSymlinkat, Num: [6]uint64{0, 5}, Path: [2]event.Path{p("../etc/shadow", "/cwd"), p("l", "/tmp")}},
			want: map[string]string{
				"evt.arg.target": "../etc/shadow", "evt.arg.linkpath": "/tmp/l", "fs.path.target": "../etc/shadow", "fs.path.source": "/tmp/l",
				"evt.arg.linkdirfd": "5",
			},
		},
		{
			name: "link failed", ev: event.Event{Type: field.EventLink, Result: -1, Path: [2]event.Path{p("/etc/shadow", ""), p("/tmp/s", "")}},
			want: map[string]string{"evt.arg.oldpath": "/etc/shadow", "evt.arg.newpath": "/tmp/s", "fs.path.source": null, "evt.res": "EPERM"},
		},
		{
			name: "unlinkat", ev: event.Event{Type: field.EventUnlinkat, Num: [6]uint64{0, 0, unix.AT_REMOVEDIR}, Path: [2]event.Path{p("/var/log/x", "")}},
			want: map[string]string{"evt.arg.name": "/var/log/x", "evt.arg.flags": "AT_REMOVEDIR", "fs.path.name": "/var/log/x"},
		},
		{
			name: "mount", ev: event.Event{Type: field.EventMount, Num: [6]uint64{0, 0, 0, unix.MS_BIND | unix.MS_REC}, Path: [2]event.Path{p("/", ""), p("/mnt", "")}, Data: []byte("none")},
			want: map[string]string{"evt.arg.dev": "/", "evt.arg.dir": "/mnt", "evt.arg.flags": "BIND|REC", "evt.arg.type": "none"},
		},
		{
			name: "unshare", ev: event.Event{Type: field.EventUnshare, Num: [6]uint64{unix.CLONE_NEWUSER | unix.CLONE_NEWNS}},
			want: map[string]string{"evt.arg.flags": "CLONE_NEWNS|CLONE_NEWUSER"},
		},
		{
			name: "setns", ev: event.Event{Type: field.EventSetns, Num: [6]uint64{4 | high, 0}, Open: event.Open{Path: event.Path{Resolved: "mnt:[4026531841]"}, Type: 8}},
			want: map[string]string{"evt.arg.nstype": "0", "fd.num": "4", "evt.arg.fd": "<f>mnt:[4026531841]"},
		},
		{
			name: "dup2", ev: event.Event{Type: field.EventDup2, Result: 0, Num: [6]uint64{7, 0}, Socket: func() event.Socket { s := sock("10.0.0.1:1", "192.0.2.9:4444"); s.FD = 0; return s }()},
			want: map[string]string{"fd.num": "0", "fd.type": "ipv4", "fd.typechar": "4", "fd.name": "10.0.0.1:1->192.0.2.9:4444", "evt.arg.oldfd": "7", "evt.res": "SUCCESS"},
		},
		{
			name: "userfaultfd", ev: event.Event{Type: field.EventUserfaultfd, Result: 3, Num: [6]uint64{unix.O_CLOEXEC}},
			want: map[string]string{"evt.arg.flags": "O_RDONLY|O_CLOEXEC", "fd.type": "userfaultfd"},
		},
		{
			name: "init_module", ev: event.Event{Type: field.EventInitModule, Num: [6]uint64{0, 4096}, Data: []byte("debug=1")},
			want: map[string]string{"evt.arg.length": "4096", "evt.arg.uargs": "debug=1"},
		},
		{
			name: "memfd_create", ev: event.Event{Type: field.EventMemfdCreate, Result: 3, Num: [6]uint64{0, 1}, Data: []byte("payload")},
			want: map[string]string{"evt.arg.name": "payload", "evt.arg.flags": "MFD_CLOEXEC", "fd.typechar": "m"},
		},
		{
			name: "kill", ev: event.Event{Type: field.EventKill, Num: [6]uint64{uint64(math.MaxUint32), 9}},
			want: map[string]string{"evt.arg.pid": "-1", "evt.arg.sig": "SIGKILL", "evt.rawarg.sig": "9"},
		},
		{
			name: "clone", ev: event.Event{Type: field.EventClone, Result: 50, Fork: event.Fork{ChildPID: 50, ChildTID: 50, ChildStartNS: 50, CloneFlags: unix.CLONE_NEWPID | 17}},
			want: map[string]string{"evt.arg.flags": "CLONE_NEWPID", "evt.rawres": "50", "evt.arg.exe": "cat", "evt.arg.res": "cat"},
		},
		{
			name: "procexit", ev: event.Event{Type: field.EventProcexit, Result: 9 << 8},
			want: map[string]string{"evt.arg.status": "2304", "evt.arg.ret": "9", "evt.res": null, "syscall.type": null, "proc.name": "cat"},
		},
		{
			name: "generic", ev: event.Event{Type: typeOf(t, "acct"), Result: -1},
			want: map[string]string{"evt.type": "acct", "syscall.type": "acct", "evt.res": "EPERM", "evt.rawres": "-1", "evt.args": "", "fd.name": null},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check(t, newStage().bind(tt.ev, container.HostIdentity), tt.want)
		})
	}
}

func typeOf(t *testing.T, name string) field.EventType {
	t.Helper()
	typ, ok := field.EventTypeByName(name)
	if !ok {
		t.Fatalf("no event type %s", name)
	}
	return typ
}

const testID = "3ad7b26ded6d2ccc0a0b7e4a9b9d4f9e1c2d3e4f5a6b7c8d9e0f112233445566"

func TestContainer(t *testing.T) {
	id := &container.Identity{
		ID: container.ID{Container: testID, Runtime: container.Containerd, PodUID: "6c7f5a2e-0f4b-4b1d-9d8e-2a1b3c4d5e6f"}, State: container.Resolved,
		Info: &container.Info{
			Name: "app", Image: "docker.io/library/nginx:1.27", ImageID: "99", ImageDigest: "sha256:ab", Privileged: container.True,
			Mounts: []container.Mount{
				{Source: "/etc/kubernetes", Dest: "/k", Mode: "ro", Propagation: "rprivate"}, {Source: "/", Dest: "/host", ReadWrite: true, Propagation: "rslave"},
			},
			Labels: map[string]string{"b": "2", "a": "1"}, Started: time.Unix(0, base),
			Pod: container.Pod{Name: "web-0", Namespace: "prod", IP: "10.0.0.7", SandboxID: testID, Labels: map[string]string{"app": "web"}},
		},
	}
	task := cat()
	task.VPID, task.VSID = 1, 1
	e := newStage().bind(event.Event{Type: field.EventExecve, Task: task, Exec: catExec()}, id)
	check(t, e, map[string]string{
		"container.id": testID[:12], "container.full_id": testID, "container.name": "app", "container.type": "containerd",
		"container.image": "docker.io/library/nginx:1.27", "container.image.repository": "docker.io/library/nginx", "container.image.tag": "1.27",
		"container.image.digest": "sha256:ab", "container.image.id": "99", "container.privileged": "true", "container.host_pid": null,
		"container.mounts":                      "/etc/kubernetes:/k:ro:false:rprivate,/:/host::true:rslave",
		"container.mount[0]":                    "/etc/kubernetes:/k:ro:false:rprivate",
		"container.mount.dest[/etc/kubernetes]": "/k",
		"container.mount.dest[/etc*]":           "/k",
		"container.mount.dest[/]":               "/host",
		"container.mount.dest[/proc*]":          null,
		"container.mount.source[/host]":         "/",
		"container.mount.rdwr[1]":               "true",
		"container.mount.mode[0]":               "ro",
		"container.mount.propagation[/]":        "rslave",
		"container.label[a]":                    "1",
		"container.label[c]":                    null,
		"container.labels":                      "a:1, b:2",
		"container.start_ts":                    fmt.Sprint(int64(base)),
		"container.duration":                    "5000000000",
		"k8s.pod.name":                          "web-0",
		"k8s.ns.name":                           "prod",
		"k8s.pod.uid":                           id.PodUID,
		"k8s.pod.id":                            id.PodUID,
		"k8s.pod.ip":                            "10.0.0.7",
		"k8s.pod.sandbox_id":                    testID[:12],
		"k8s.pod.full_sandbox_id":               testID,
		"k8s.pod.label[app]":                    "web",
		"k8s.pod.labels":                        "app:web",
		"user.name":                             "app",
		"tiercel.identity":                      "resolved",
		"proc.vpid":                             "1",
		"proc.sname":                            "cat",
	})
	e = newStage().bind(event.Event{Type: field.EventExecve, Exec: catExec()}, &container.Identity{ID: id.ID, State: container.Unresolved})
	check(t, e, map[string]string{
		"container.id": testID[:12], "container.name": null, "container.image.repository": null, "k8s.pod.uid": id.PodUID, "k8s.pod.name": null,
		"container.mounts": null, "container.label[a]": null, "tiercel.identity": "unresolved", "container.privileged": null,
	})
	e = newStage().bind(event.Event{Type: field.EventExecve, Exec: catExec()}, container.UnknownIdentity)
	check(t, e, map[string]string{"container.id": null, "container.full_id": null, "k8s.pod.uid": null, "tiercel.identity": "unresolved"})
}

func TestUnknown(t *testing.T) {
	pending := &container.Identity{ID: container.ID{Container: testID}}
	known := &container.Identity{ID: container.ID{Container: testID}, State: container.Resolved}
	for _, tt := range []struct {
		name    string
		id      *container.Identity
		reading bool
		want    bool
	}{
		{"container.id", pending, true, false},
		{"container.name", pending, false, true},
		{"container.name", known, true, false},
		{"k8s.ns.name", pending, false, true},
		{"k8s.pod.uid", pending, false, true},
		{"container.type", pending, false, true},
		{"user.name", pending, false, false},
		{"user.name", known, true, true},
		{"user.uid", pending, true, false},
		{"group.name", known, true, true},
		{"evt.arg.uid", known, true, true},
		{"proc.name", pending, true, false},
		{"tiercel.identity", pending, false, true},
	} {
		ref, err := field.Lookup(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := Unknown(&ref, tt.id, tt.reading); got != tt.want {
			t.Errorf("%s of %v, reading %v: unknown %v", tt.name, tt.id.State, tt.reading, got)
		}
	}
}

func TestGlobMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"/etc", "/etc", true},
		{"/etc", "/etcd", false},
		{"/proc*", "/proc/1", true},
		{"/root*", "/", false},
		{"*", "", true},
		{"/a/*/c", "/a/b/x/c", true},
		{"/a?", "/ab", true},
		{"[", "[", false},
		{"/x/*", "/", false},
	} {
		if got := globMatch(tt.pattern, tt.s); got != tt.want {
			t.Errorf("globMatch(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}

// TestStockRules: every field of the stock rules about system calls is given.
func TestStockRules(t *testing.T) {
	text, err := os.ReadFile("testdata/stock_fields.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(text)) {
		ref, err := field.Lookup(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !Given(&ref) {
			t.Errorf("%s is not given", name)
		}
	}
}

// TestSources: what params names is there in the registry, so that no source is lost by a misspelling.
func TestSources(t *testing.T) {
	for typ, s := range callSources {
		for name := range s {
			if _, _, ok := typ.Param(name); !ok {
				t.Errorf("%s has no argument %s", typ, name)
			}
		}
	}
	for names := range tables {
		found := false
		for _, typ := range field.EventTypes() {
			for _, p := range typ.Info().Params {
				found = found || p.Names == names
			}
		}
		if !found {
			t.Errorf("no argument uses the table %s", names)
		}
	}
}

// TestNoAllocation: what conditions commonly read costs no memory.
func TestNoAllocation(t *testing.T) {
	s := newStage()
	ev := event.Event{Type: field.EventOpenat, BootNS: 5e9, Task: cat(), Result: 3, Open: open(unix.O_RDONLY, "a/b", "/srv", "/srv/a/b")}
	net := event.Event{Type: field.EventConnect, BootNS: 5e9, Task: cat(), Socket: sock("10.0.0.1:1", "192.0.2.9:4444")}
	var refs []field.Ref
	for _, name := range []string{
		"proc.name", "proc.cmdline", "proc.pname", "proc.aname[2]", "proc.aname", "fd.name", "fd.directory", "fd.filename", "fd.typechar", "fd.num",
		"fd.sip", "fd.ip", "fd.sport", "fd.l4proto", "evt.is_open_read", "evt.arg.flags", "evt.res", "container.id", "user.name", "proc.tty",
		"container.image.repository", "thread.cap_effective", "proc.sname", "proc.args", "evt.rawres",
	} {
		ref, err := field.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	var v field.Value
	read := func(ev *event.Event) {
		e := s.x.Bind(ev, s.apply(ev), container.HostIdentity)
		e.TwoForms()
		for i := range refs {
			e.Extract(&refs[i], field.AsPassed, &v)
			e.Extract(&refs[i], field.Resolved, &v)
		}
	}
	read(&ev)
	read(&net)
	if n := testing.AllocsPerRun(100, func() { read(&ev); read(&net) }); n != 0 {
		t.Errorf("%v allocations for two events", n)
	}
}

// isValue reports whether v has a kind that there is, and its elements too.
func isValue(v *field.Value) bool {
	if v.Kind == field.KindList {
		return !slices.ContainsFunc(v.List, func(of field.Value) bool { return of.Kind == field.KindList || !isValue(&of) })
	}
	return field.KindString <= v.Kind && v.Kind <= field.KindPrefix
}

// FuzzExtract: no event makes extraction fail, whatever bytes a process put into it.
func FuzzExtract(f *testing.F) {
	f.Add(uint16(field.EventOpenat), int64(3), "a/../b", "/x", "//", uint64(7), []byte("data"))
	f.Add(uint16(field.EventConnect), int64(-1), "\x00abstract", "", "", uint64(1), []byte{})
	all := field.All()
	f.Fuzz(func(t *testing.T, typ uint16, result int64, raw, dir, resolved string, num uint64, data []byte) {
		s := newStage()
		p := event.Path{Raw: raw, Dir: dir, Resolved: resolved}
		ev := event.Event{
			Type: field.EventType(typ), Result: result, Data: data, Num: [6]uint64{num, num >> 8, num << 3, num, num, num}, Path: [2]event.Path{p, p},
			Open:   event.Open{Path: p, Flags: uint32(num), Mode: uint32(num), Type: byte(num)},
			Socket: event.Socket{Family: uint16(num), UnixPath: raw, FD: int32(num)},
			Exec:   event.Exec{Filename: raw, Cwd: dir, Args: data, Exe: resolved},
		}
		e := s.bind(ev, container.HostIdentity)
		var v field.Value
		for _, id := range all {
			for _, ref := range []field.Ref{{ID: id, Index: -1}, {ID: id, Arg: "1", Index: 1}, {ID: id, Arg: raw, Index: -1}} {
				for _, form := range []field.Form{field.AsPassed, field.Resolved} {
					v.Kind = 0
					if e.Extract(&ref, form, &v) && !isValue(&v) {
						t.Fatalf("%s has a value of no kind", ref)
					}
				}
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	s := newStage()
	ev := event.Event{Type: field.EventOpenat, BootNS: 5e9, Task: cat(), Result: 3, Open: open(unix.O_RDONLY, "/etc/ld.so.cache", "", "/etc/ld.so.cache")}
	var refs []field.Ref
	for _, name := range []string{"fd.name", "fd.typechar", "fd.num", "evt.is_open_read", "proc.name", "container.id", "proc.pname"} {
		ref, err := field.Lookup(name)
		if err != nil {
			b.Fatal(err)
		}
		refs = append(refs, ref)
	}
	var v field.Value
	b.ReportAllocs()
	for b.Loop() {
		e := s.x.Bind(&ev, s.apply(&ev), container.HostIdentity)
		e.TwoForms()
		for i := range refs {
			e.Extract(&refs[i], field.AsPassed, &v)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
