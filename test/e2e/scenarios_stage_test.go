//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/samples/scenarios"
)

// A theatre is where scenarios are played: the actor, a network of addresses of its own, an image with the files that rules are about, and
// two containers of it that all scenarios share.
type theatre struct {
	t      testing.TB
	dir    string // of the actor, open to all users
	image  string // lower layer of the containers' root
	net    netns
	docker *dockerAPI
	fields []string        // that every match shows, beside those of its rule
	shared map[bool]*stage // by privileged
	acts   atomic.Int32    // number of the last one: its mark
}

// A stage is a container.
type stage struct {
	*theatre
	id, bundle string
}

// Addresses of the network, all of them on its loopback device: what the actor connects to need not be far away.
var scenarioAddresses = []string{
	"203.0.113.6", "203.0.113.7", "203.0.113.10", "198.51.100.7", "169.254.169.254", "10.99.0.1",
}

var scenarioListeners = []string{
	"203.0.113.6:443", "203.0.113.7:3333", "203.0.113.10:443", "203.0.113.10:80", "203.0.113.10:22", "203.0.113.10:3333", "203.0.113.10:30080",
	"169.254.169.254:80", "10.99.0.1:443", "[2001:db8::10]:443",
}

// scenarioHosts are names that stock rules compare with.
const scenarioHosts = "127.0.0.1 localhost\n203.0.113.6 kubernetes.default.svc.cluster.local\n203.0.113.7 pool.minexmr.com\n"

func newTheatre(t testing.TB) *theatre {
	t.Helper()
	th := &theatre{t: t, dir: filepath.Join(t.TempDir(), "scenario"), image: t.TempDir(), net: newNetns(t), shared: map[bool]*stage{}}
	openToAll(t, filepath.Dir(th.dir))
	th.compile("actor", "-static")
	if ia32 {
		th.compile("actor32/actor", "-static", "-m32")
	}
	th.makeImage()
	for _, a := range scenarioAddresses {
		sh(t, "ip", "-n", th.net.name, "addr", "add", a+"/32", "dev", "lo")
	}
	sh(t, "ip", "-n", th.net.name, "addr", "add", "2001:db8::10/128", "dev", "lo", "nodad")
	for _, l := range scenarioListeners {
		th.net.listen(t, l)
	}
	th.docker = newDockerAPI(t)
	return th
}

// openToAll lets every user into dir, which is below the directory for temporary files.
func openToAll(t testing.TB, dir string) {
	t.Helper()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
}

// ia32 is whether the hardware runs 32-bit programs of another architecture.
const ia32 = runtime.GOARCH == "amd64"

// compile builds the actor from the sources that users get.
func (th *theatre) compile(name string, flags ...string) {
	th.t.Helper()
	src := filepath.Join(th.dir, "src")
	for _, dir := range []string{src, filepath.Dir(filepath.Join(th.dir, name))} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			th.t.Fatal(err)
		}
	}
	entries, err := fs.ReadDir(scenarios.FS, "actor")
	if err != nil {
		th.t.Fatal(err)
	}
	args := append([]string{"-O1", "-o", filepath.Join(th.dir, name)}, flags...)
	for _, e := range entries {
		text, err := fs.ReadFile(scenarios.FS, "actor/"+e.Name())
		if err != nil {
			th.t.Fatal(err)
		}
		file := filepath.Join(src, e.Name())
		if err := os.WriteFile(file, text, 0o644); err != nil {
			th.t.Fatal(err)
		}
		if strings.HasSuffix(file, ".c") {
			args = append(args, file)
		}
	}
	if out, err := exec.Command("gcc", append(args, "-lpthread")...).CombinedOutput(); err != nil {
		th.t.Fatalf("gcc: %v\n%s", err, out)
	}
	names := filepath.Join(filepath.Dir(args[2]), "names")
	if err := os.MkdirAll(names, 0o777); err != nil {
		th.t.Fatal(err)
	}
	openToAll(th.t, names)
}

// imageFiles are the files of the image, beside the actor and busybox.
var imageFiles = map[string]string{
	"etc/passwd":               "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/sh\nbin:x:2:2::/:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
	"etc/group":                "root:x:0:\napp:x:1000:\n",
	"etc/shadow":               "root:*:19000:0:99999:7:::\n",
	"etc/sudoers":              "root ALL=(ALL:ALL) ALL\n",
	"etc/hostname":             "web-1\n",
	"etc/pam.d/login":          "auth required pam_unix.so\n",
	"etc/pem.d/login":          "x\n",
	"etc/cron.d/present":       "x\n",
	"etc/apt/present":          "x\n",
	"etc/opt/present":          "x\n",
	"etc/yum.repos.d/present":  "x\n",
	"etc/nginx/conf.d/present": "x\n",
	"root/.ssh/id_rsa":         "x\n",
	"root/.profile":            "x\n",
	"root/.bash_history":       "x\n",
	"root/.bash_other":         "x\n",
	"root/.zsh_history":        "x\n",
	"root/.zsh_other":          "x\n",
	"root/.ash_history":        "x\n",
	"root/.cache/present":      "x\n",
	"home/app/.ssh/config":     "x\n",
	"var/www/index.html":       "x\n",
	"var/log/syslog":           "x\n",
	"var/lib/rpm/present":      "x\n",
	"usr/bin/present":          "x\n",
	"usr/share/present":        "x\n",
	"usr/local/bin/present":    "x\n",
	"srv/data":                 "x\n",
	"host/data":                "x\n",
	"run/secrets/kubernetes.io/serviceaccount/token": "x\n",
}

func (th *theatre) makeImage() {
	th.t.Helper()
	for name, text := range imageFiles {
		writeFile(th.t, filepath.Join(th.image, name), text)
	}
	for _, dir := range []string{"bin", "dev", "proc", "work", "tmp"} {
		if err := os.MkdirAll(filepath.Join(th.image, dir), 0o755); err != nil {
			th.t.Fatal(err)
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		th.t.Fatalf("%v: install busybox-static", err)
	}
	sh(th.t, "cp", busybox, filepath.Join(th.image, "bin"))
	sh(th.t, "cp", "-r", filepath.Join(th.dir, "."), filepath.Join(th.image, "scenario"))
	for _, applet := range []string{"sleep", "true"} {
		if err := os.Symlink("busybox", filepath.Join(th.image, "bin", applet)); err != nil {
			th.t.Fatal(err)
		}
	}
	open := []string{filepath.Join(th.image, "work"), filepath.Join(th.image, "tmp"), filepath.Join(th.image, "scenario/names")}
	if ia32 {
		open = append(open, filepath.Join(th.image, "scenario/actor32/names"))
	}
	for _, dir := range open {
		if err := os.Chmod(dir, 0o777); err != nil {
			th.t.Fatal(err)
		}
	}
	if err := os.Chmod(th.image, 0o755); err != nil {
		th.t.Fatal(err)
	}
}

// usualCaps are what container runtimes give a container.
var usualCaps = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE",
	"CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

var allCaps = append([]string{
	"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_MODULE", "CAP_NET_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYS_RAWIO", "CAP_SYSLOG", "CAP_BPF",
}, usualCaps...)

// newStage prepares a container for act, and tells the container runtime's API about it. It is not started yet.
func (th *theatre) newStage(act *scenarios.Act, args, env []string) *stage {
	th.t.Helper()
	s := &stage{theatre: th, id: newContainerID(), bundle: th.t.TempDir()}
	root := filepath.Join(s.bundle, "rootfs")
	for _, dir := range []string{"rootfs", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(s.bundle, dir), 0o755); err != nil {
			th.t.Fatal(err)
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", th.image, s.bundle, s.bundle)
	if err := unix.Mount("overlay", root, "overlay", 0, layers); err != nil {
		th.t.Fatalf("mount overlay: %v", err)
	}
	th.t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	pod := fmt.Sprintf("%s-%s-%s-%s-%s", s.id[:8], s.id[8:12], s.id[12:16], s.id[16:20], s.id[20:32])
	top := fmt.Sprintf("/tiercel-e2e-%d", os.Getpid())
	spec, err := json.Marshal(s.spec(act, top+"/kubepods/besteffort/pod"+pod+"/"+s.id, args, env))
	if err != nil {
		th.t.Fatal(err)
	}
	writeFile(th.t, filepath.Join(s.bundle, "config.json"), string(spec))
	th.docker.add(s.id, act)
	th.t.Cleanup(func() {
		_ = s.runc("delete", "--force", s.id).Run()
		removeCgroups(top)
	})
	return s
}

func (s *stage) spec(act *scenarios.Act, cgroup string, args, env []string) map[string]any {
	type object = map[string]any
	caps := append(append([]string{}, usualCaps...), act.Caps...)
	if act.Privileged {
		caps = allCaps
	}
	mount := func(at, kind string, options ...string) object {
		return object{"destination": at, "type": kind, "source": kind, "options": options}
	}
	return object{
		"ociVersion": "1.0.2", "hostname": "web-1", "root": object{"path": "rootfs"},
		"process": object{
			"args": args, "cwd": "/work", "env": append([]string{"PATH=/bin"}, env...), "user": object{"uid": act.User, "gid": act.User},
			"capabilities": object{"bounding": caps, "effective": caps, "permitted": caps},
		},
		"mounts": []object{
			mount("/proc", "proc"), mount("/dev", "tmpfs"), mount("/dev/pts", "devpts", "newinstance", "ptmxmode=0666"),
			mount("/dev/shm", "tmpfs"),
		},
		"linux": object{
			"cgroupsPath": cgroup,
			"namespaces":  []object{{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network", "path": s.net.path}},
		},
	}
}

func (s *stage) runc(args ...string) *exec.Cmd {
	return exec.Command("runc", append([]string{"--root", filepath.Join(s.bundle, "state")}, args...)...)
}

// open starts the containers that scenarios share.
func (th *theatre) open() {
	th.t.Helper()
	for _, privileged := range []bool{false, true} {
		s := th.newStage(&scenarios.Act{Privileged: privileged, Image: scenarios.Image}, []string{"sleep", "3600"}, nil)
		logFile := filepath.Join(s.bundle, "log")
		run := s.runc("--log", logFile, "run", "--detach", "--bundle", s.bundle, s.id) // the container inherits the outputs: none, a pipe would never end
		if err := run.Run(); err != nil {
			text, _ := os.ReadFile(logFile)
			th.t.Fatalf("runc run: %v\n%s", err, text)
		}
		th.shared[privileged] = s
	}
}

// play runs the script of act under a mark and waits for its end. program is the actor: actor, or actor32/actor.
func (th *theatre) play(act *scenarios.Act, mark, program string) (output string, err error) {
	env := []string{"SCENARIO=" + act.Do, "SCENARIO_ID=" + mark}
	var cmd *exec.Cmd
	switch {
	case act.On == "host":
		return th.playOnHost(act, env, program)
	case act.Start:
		s := th.newStage(act, []string{"/scenario/" + program}, env)
		cmd = s.runc("run", "--bundle", s.bundle, s.id)
	default:
		s := th.shared[act.Privileged]
		args := []string{"exec", "--user", fmt.Sprintf("%d:%d", act.User, act.User), "--cwd", "/work"}
		for _, e := range env {
			args = append(args, "--env", e)
		}
		for _, c := range act.Caps {
			args = append(args, "--cap", c)
		}
		if act.Terminal {
			args = append(args, "-t")
		}
		cmd = s.runc(append(args, s.id, "/scenario/"+program)...)
		if act.Terminal {
			cmd = withTerminal(cmd)
		}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// withTerminal runs a command with a terminal.
func withTerminal(cmd *exec.Cmd) *exec.Cmd {
	quoted := make([]string, len(cmd.Args))
	for i, a := range cmd.Args {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return exec.Command("script", "-q", "-e", "-c", strings.Join(quoted, " "), "/dev/null")
}

// playOnHost runs the actor on the host, but in the scenarios' network.
func (th *theatre) playOnHost(act *scenarios.Act, env []string, program string) (string, error) {
	var out bytes.Buffer
	cmd := exec.Command(filepath.Join(th.dir, program))
	cmd.Env, cmd.Stdout, cmd.Stderr = append(env, "PATH=/bin"), &out, &out
	work, err := os.MkdirTemp(th.dir, "work")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(work, 0o777); err != nil {
		return "", err
	}
	cmd.Dir = work
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(act.User), Gid: uint32(act.User)}}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its namespace with it
		ns, err := os.Open(th.net.path)
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
	}()
	if err := <-started; err != nil {
		return "", err
	}
	err = cmd.Wait()
	return out.String(), err
}

// A dockerAPI answers as Docker's daemon does, about containers that runc runs for the test. Names, images, mounts and whether a container
// is privileged come from there, as they would from a real daemon.
type dockerAPI struct {
	socket string
	mu     sync.Mutex
	known  map[string]*scenarios.Act // guarded by mu
}

func newDockerAPI(t testing.TB) *dockerAPI {
	t.Helper()
	d := &dockerAPI{socket: filepath.Join(t.TempDir(), "docker.sock"), known: map[string]*scenarios.Act{}}
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(d.serve), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return d
}

func (d *dockerAPI) add(id string, act *scenarios.Act) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known[id] = act
}

func (d *dockerAPI) serve(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/containers/"), "/json")
	d.mu.Lock()
	act := d.known[id]
	d.mu.Unlock()
	if act == nil {
		http.Error(w, `{"message":"no such container"}`, http.StatusNotFound)
		return
	}
	type object = map[string]any
	answer := object{
		"Id": id, "Name": "/web", "Image": "sha256:" + strings.Repeat("0", 64), "State": object{"StartedAt": time.Now().UTC()},
		"Config": object{"Image": act.Image, "Labels": object{
			"io.kubernetes.pod.name": "web-1", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.container.name": "web",
		}},
		"HostConfig": object{"Privileged": act.Privileged, "NetworkMode": "default"},
	}
	if act.Mount != "" {
		answer["Mounts"] = []object{{"Source": "/srv", "Destination": act.Mount, "Mode": "", "RW": true, "Propagation": "rprivate"}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}
