//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/tiercel-project/tiercel/bus"
)

// podRules see what the test does, and what a sensor must not see of itself.
const podRules = `
- rule: Marker
  desc: somebody reads a file of the test
  condition: evt.type in (open, openat, openat2) and evt.is_open_read=true and (fd.name startswith /data/marker or fd.name startswith FOLDER/marker)
  output: marker %fd.name user=%user.name group=%group.name parent=%proc.pcmdline env=%proc.env[MARK] container=%container.id
  priority: NOTICE
- rule: Own
  desc: the sensor, or its doctor, does something
  condition: proc.exepath=/tiercel and (evt.type=bpf and evt.arg.cmd=BPF_PROG_LOAD or evt.type in (open, openat) and fd.name startswith /var/lib/tiercel)
  output: own %evt.type %fd.name command=%proc.cmdline
  priority: NOTICE
`

// A stage is a sensor in its pod, and a pod beside it that was there before.
type podStage struct {
	*cluster
	sensor, victim *pod
	ask            *os.File // tells the victim what to read
}

// newPodStage starts the victim: a shell that is not root, waits for names of files on a volume of the node, and has a child read each.
func newPodStage(t testing.TB) *podStage {
	t.Helper()
	s := &podStage{cluster: startCluster(t)}
	data := filepath.Join(s.dir, "data-web")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(data, "ask")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.ask, err = os.OpenFile(fifo, os.O_RDWR, 0); err != nil { // both ends, so that neither waits for the other
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.ask.Close() })
	writeFile(t, filepath.Join(s.dir, "rules", "rules.yaml"), strings.ReplaceAll(podRules, "FOLDER", s.dir))
	user := int64(1234)
	s.victim = s.node.run("shop", "web-1", &corev1.PodSpec{
		Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: data}}}},
		Containers: []corev1.Container{{
			Name: "web", Image: "web:1", Command: []string{"/bin/sh", "-c", "while read file; do cat $file; done </data/ask"},
			Env:             []corev1.EnvVar{{Name: "MARK", Value: "before"}},
			VolumeMounts:    []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
			SecurityContext: &corev1.SecurityContext{RunAsUser: &user, RunAsGroup: &user},
		}},
	}, nil)
	return s
}

// start starts the sensor with the rules of the test, and waits until it watches.
func (s *podStage) start(change func(*corev1.PodSpec)) {
	s.t.Helper()
	s.sensor = s.run(change)
	s.sensor.out.waitFor(s.t, 2*time.Minute, `msg="watching the kernel"`)
}

// run starts the sensor with the rules of the test.
func (s *podStage) run(change func(*corev1.PodSpec)) *pod {
	s.t.Helper()
	return s.cluster.sensor(func(spec *corev1.PodSpec) {
		c := &spec.Containers[0]
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "rules", VolumeSource: corev1.VolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(s.dir, "rules")},
		}})
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "rules", MountPath: "/etc/tiercel/rules", ReadOnly: true})
		setEnv(spec, "TIERCEL_RULES", "/etc/tiercel/rules")
		if change != nil {
			change(spec)
		}
	})
}

// read has the victim read a file, and returns the sensor's line about it.
func (s *podStage) read(name string) string {
	s.t.Helper()
	file := filepath.Join(s.dir, "data-web", name)
	writeFile(s.t, file, "x")
	if _, err := fmt.Fprintln(s.ask, "/data/"+name); err != nil {
		s.t.Fatal(err)
	}
	return s.sensor.out.waitFor(s.t, time.Minute, "marker /data/"+name+" ")
}

// The DaemonSet's pod works as it is deployed: it watches host and containers by their names, publishes with credentials, sees nothing of itself,
// and a doctor in it finds nothing to do.
func TestSensorInPod(t *testing.T) {
	s := newPodStage(t)
	s.startNATS()
	s.start(nil)
	line := s.read("marker-0")
	for _, want := range []string{
		"user=insider ", "group=insiders ", "parent=sh -c while read file", "env=before ", "container=" + s.victim.id[:12],
		"container_name=web ", "image_repository=docker.io/library/web ", "k8s_pod_name=web-1 ", "k8s_ns_name=shop",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in\n%s", want, line)
		}
	}
	host := filepath.Join(s.dir, "marker-host")
	writeFile(t, host, "x")
	cat := exec.Command("cat", host)
	cat.Dir, cat.SysProcAttr = "/", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cat.CombinedOutput(); err != nil {
		t.Fatalf("cat: %v\n%s", err, out)
	}
	line = s.sensor.out.waitFor(t, time.Minute, "marker "+host)
	for _, want := range []string{"user=nobody group=nogroup ", "container=host"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in\n%s", want, line)
		}
	}
	conn := s.connect()
	var events []*bus.Event
	eventually(t, "the events are on the bus", func() bool { events = eventsOn(t, conn); return len(events) >= 2 })
	m, err := events[0].Match()
	if err != nil {
		t.Fatal(err)
	}
	if g := m.Target; g.Pod != "web-1" || g.Namespace != "shop" || g.PodUID != s.victim.uid || g.ContainerID != s.victim.id || g.Node != "e2e" {
		t.Errorf("the target is %+v", g)
	}
	s.checkStatus()
	s.checkRuntime()
	out, _ := s.sensor.exec("/tiercel", "doctor")
	for _, want := range []string{
		"OK .*rights .*in a container, with the host's files at ", "OK .*backends .*loads and attaches", "OK .*cgroups .*cgroup v1, with v2 beside it",
		"OK .*containers .*cri answers for names of containers at /run/containerd/containerd.sock", "OK .*memory .*heap keeps below [12]..? MiB",
		"OK .*sensor .*ready", "OK .*bus .*NATS answers at " + s.url(),
	} {
		if !matches(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	nothingToDo(t, out)
	if n := s.sensor.out.count("Notice own "); n != 0 {
		t.Errorf("rules saw %d of its own actions:\n%s", n, s.sensor.out)
	}
	s.sensor.end(30)
	if left := processesWith("/tiercel\x00sensor"); len(left) > 0 && strings.Contains(strings.Join(left, ""), s.dir) {
		t.Errorf("processes are left over: %q", left)
	}
}

// connect connects to the bus as the sensor does.
func (c *cluster) connect() *bus.Bus {
	t := c.t
	t.Helper()
	creds := filepath.Join(t.TempDir(), "creds")
	writeFile(t, creds, c.seed)
	conn, err := bus.Connect(t.Context(), bus.Config{Name: "test", URL: fmt.Sprintf("nats://127.0.0.1:%d", c.port), Creds: creds, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// checkStatus asks as a kubelet and a Prometheus do: names of containers and processes are not for them.
func (s *podStage) checkStatus() {
	t := s.t
	t.Helper()
	var limit float64
	for path, want := range map[string]int{"/readyz": 200, "/healthz": 200, "/metrics": 200, "/losses": 403, "/exempt": 403} {
		resp, err := http.Get("http://" + s.sensor.ip + ":8765" + path)
		if err != nil {
			t.Error(err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: got %s (%v), want %d\n%.200s", path, resp.Status, err, want, body)
		}
		if _, text, ok := strings.Cut(string(body), "\ngo_gc_gomemlimit_bytes "); ok {
			_, _ = fmt.Sscan(text, &limit)
		}
	}
	// The manifest's limit, less the BPF maps and a tenth.
	if all := float64(s.sensor.spec.Containers[0].Resources.Limits.Memory().Value()); limit >= 0.88*all || limit <= 0.4*all {
		t.Errorf("the heap keeps below %v bytes of %v", limit, all)
	}
}

// checkRuntime starts a runtime in a pod from the same image, which is exempt.
func (s *podStage) checkRuntime() {
	s.t.Helper()
	spec := sensorSpec(s.t)
	var volumes []corev1.Volume
	for _, v := range spec.Volumes {
		if v.Name == "self" || v.Name == "nats" {
			volumes = append(volumes, v)
		}
	}
	runtime := s.node.run("tiercel", "tiercel-runtime-x", &corev1.PodSpec{Volumes: volumes, Containers: []corev1.Container{{
		Name: "runtime", Image: "tiercel:latest", Args: []string{"runtime", "--data", "/dev/shm/data", "--creds", "/nats/sensor.creds"},
		Env:          []corev1.EnvVar{{Name: "TIERCEL_NATS", Value: s.url()}},
		VolumeMounts: []corev1.VolumeMount{{Name: "self", MountPath: "/run/tiercel"}, {Name: "nats", MountPath: "/nats"}},
	}}}, s.secrets())
	defer runtime.remove()
	runtime.out.waitFor(s.t, time.Minute, "the sensor on this machine passes over what this process does|error")
	s.sensor.out.waitFor(s.t, time.Minute, "a process is exempt.* exe=/tiercel uid=0")
}

func matches(text, pattern string) bool {
	tr := newTranscript()
	_, _ = io.WriteString(tr, text)
	tr.close()
	return tr.count(pattern) > 0
}

// Without its bus the sensor in its pod spools on the node; killed with its pod and made anew, it delivers what either of the two had read, once
// and in order.
func TestSensorPodSpools(t *testing.T) {
	s := newPodStage(t)
	s.start(nil)
	s.sensor.out.waitFor(t, time.Minute, "the bus is out of reach")
	const first, all = 20, 30
	for i := range first {
		s.read(fmt.Sprintf("marker-%03d", i))
	}
	s.sensor.remove()
	s.start(nil)
	s.sensor.out.waitFor(t, time.Minute, fmt.Sprintf("messages of an earlier process wait in the spool.*messages=%d", first))
	for i := first; i < all; i++ {
		s.read(fmt.Sprintf("marker-%03d", i))
	}
	s.startNATS()
	conn := s.connect()
	var got []*bus.Event
	eventually(t, "everything arrives", func() bool { got = eventsOn(t, conn); return len(got) >= all })
	if len(got) != all {
		t.Errorf("%d events, want %d", len(got), all)
	}
	for i, ev := range got {
		var data struct{ Output string }
		if err := json.Unmarshal(ev.Data, &data); err != nil || !strings.Contains(data.Output, fmt.Sprintf("marker-%03d ", i)) {
			t.Errorf("event %d: %v %s", i, err, data.Output)
		}
	}
}

// What the pod of the manifest lacks is said by name, by the sensor or where that works all the same by its doctor, with what to do.
func TestSensorPodLacks(t *testing.T) {
	s := newPodStage(t)
	s.startNATS()
	for _, tt := range []struct {
		name   string
		change func(*corev1.PodSpec)
		sensor string // what it says and ends with; empty: it works
		doctor []string
	}{
		{"BPF", without("BPF"), "error: not permitted to load BPF programs: CAP_BPF$", []string{"ACTION .*without CAP_BPF$", "hint: .*securityContext.capabilities.add"}},
		{"PERFMON", without("PERFMON"), "error: not permitted to load BPF programs: CAP_PERFMON$", []string{"ACTION .*without CAP_PERFMON$"}},
		{"NET_ADMIN", without("NET_ADMIN"), "error: not permitted to load BPF programs: CAP_NET_ADMIN$", []string{"ACTION .*without CAP_NET_ADMIN$"}},
		{"seccomp", func(spec *corev1.PodSpec) {
			profile := filepath.Join(s.dir, "seccomp.json")
			writeFile(t, profile, `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ERRNO"}]}`)
			spec.Containers[0].SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: &profile}
		}, "hint: .*seccompProfile", []string{"ACTION .*does not load", "hint: .*seccompProfile"}},
		{"BTF", func(spec *corev1.PodSpec) {
			spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "empty", VolumeSource: corev1.VolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(s.dir, "cni", "conf")},
			}})
			spec.Containers[0].VolumeMounts = append(spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "empty", MountPath: "/sys/kernel/btf"})
		}, "error: .*kernel has no BTF", []string{"ACTION .*BTF"}},
		{"SYS_PTRACE", without("SYS_PTRACE"), "", []string{"NOTE .*without CAP_SYS_PTRACE: "}},
		{"DAC_READ_SEARCH", without("DAC_READ_SEARCH"), "", []string{"NOTE .*without CAP_DAC_READ_SEARCH: "}},
		{"hostPID", func(spec *corev1.PodSpec) { spec.HostPID = false }, "", []string{"NOTE .*not in the host's pid namespace", "hint: hostPID: true"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.sensor == "" {
				s.start(tt.change)
				defer s.sensor.remove()
				s.read("marker-" + tt.name)
				out, _ := s.sensor.exec("/tiercel", "doctor")
				said(t, out, tt.doctor)
				return
			}
			sensor := s.run(tt.change)
			defer sensor.remove()
			sensor.out.waitFor(t, 2*time.Minute, tt.sensor)
			eventually(t, "the sensor ends", func() bool { state, _ := sensor.state(); return state == containerExited })
			if _, code := sensor.state(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			doctor := s.run(func(spec *corev1.PodSpec) {
				tt.change(spec)
				spec.Containers[0].Args = []string{"doctor"}
			})
			defer doctor.remove()
			eventually(t, "the doctor ends", func() bool { state, _ := doctor.state(); return state == containerExited })
			for _, want := range tt.doctor {
				doctor.out.waitFor(t, time.Minute, want)
			}
		})
	}
}

func without(capability corev1.Capability) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		caps := spec.Containers[0].SecurityContext.Capabilities
		var kept []corev1.Capability
		for _, c := range caps.Add {
			if c != capability {
				kept = append(kept, c)
			}
		}
		if len(kept) == len(caps.Add) {
			panic(errors.New("the manifest does not add " + string(capability)))
		}
		caps.Add = kept
	}
}

// nothingToDo fails the test if a doctor wants anything but what others on the machine may have caused: they may have lost records.
func nothingToDo(t *testing.T, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		if matches(line, "^(ACTION|UNKNOWN) ") && !matches(line, "^ACTION +sensor .*(lost|held back|dropped)") {
			t.Errorf("doctor says %s in\n%s", line, out)
		}
	}
}

func said(t *testing.T, out string, patterns []string) {
	t.Helper()
	for _, want := range patterns {
		if !matches(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
