//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// cgroup2Script has cgroup v2 alone at /sys/fs/cgroup, and runs the container of folder $1 with that as the host. $2 is its id.
const cgroup2Script = `
mount -t cgroup2 cgroup2 /sys/fs/cgroup
sed -i "s|HOSTROOT|/proc/$$/root|" "$1/config.json"
exec runc --root "$1/state" run --bundle "$1" "$2"
`

// On a host with cgroup v2 alone a container has a cgroup namespace of its own: the sensor sees the others all the same. The container is what
// containerd makes of the manifest, with what it makes differently there.
func TestSensorInPodCgroup2(t *testing.T) {
	s := newPodStage(t)
	s.startNATS()
	model := s.run(func(spec *corev1.PodSpec) {
		spec.Containers[0].Image, spec.Containers[0].Command, spec.Containers[0].Args = "web:1", []string{"/bin/sleep", "100000"}, nil
	})
	type object = map[string]any
	var spec object
	b, err := os.ReadFile(s.path("/run/containerd/io.containerd.runtime.v2.task/k8s.io/" + model.id + "/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &spec); err != nil {
		t.Fatal(err)
	}
	id, bundle := newContainerID(), filepath.Join(s.dir, "bundle")
	process, linux := spec["process"].(object), spec["linux"].(object)
	process["args"] = []string{"/tiercel", "sensor"}
	env := process["env"].([]any)
	for i := range env {
		if strings.HasPrefix(env[i].(string), "TIERCEL_HOST_ROOT=") {
			env[i] = "TIERCEL_HOST_ROOT=HOSTROOT"
		}
	}
	delete(process, "apparmorProfile")
	spec["root"] = object{"path": "rootfs", "readonly": true}
	linux["namespaces"] = append(linux["namespaces"].([]any), object{"type": "cgroup"})
	linux["cgroupsPath"] = s.cgroup + "/kubepods/burstable/pod" + model.uid + "/" + id
	delete(linux, "resources") // the machine's controllers are those of v1
	if b, err = json.Marshal(spec); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(bundle, "config.json"), string(b))
	for _, dir := range []string{"proc", "sys", "dev", "etc", "run/tiercel", "var/lib/tiercel"} {
		if err := os.MkdirAll(filepath.Join(bundle, "rootfs", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "rootfs", "tiercel"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("runc", "--root", filepath.Join(bundle, "state"), "delete", "--force", id).Run()
	})
	cmd := exec.Command("nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", s.p.cmd.Process.Pid), "unshare", "--mount", "/bin/sh", "-ec", cgroup2Script, "sh", bundle, id)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	sensor := startCommand(t, "sensor", cmd)
	sensor.stderr.waitFor(t, 2*time.Minute, `msg="watching the kernel"`)
	s.sensor = &pod{out: sensor.stdout}
	line := s.read("marker-0")
	for _, want := range []string{"user=insider ", "container=" + s.victim.id[:12], "k8s_pod_name=web-1 "} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in\n%s", want, line)
		}
	}
	out, err := exec.Command("nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", sensor.cmd.Process.Pid), "runc", "--root", filepath.Join(bundle, "state"),
		"exec", id, "/tiercel", "doctor").CombinedOutput()
	said(t, string(out), []string{"OK .*cgroups .*cgroup v2$", "OK .*backends .*loads and attaches", "OK .*sensor .*ready"})
	nothingToDo(t, string(out))
	if strings.Contains(string(out), "destinations of sockets") {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	if code := sensor.terminate(); code != 0 {
		t.Errorf("after SIGTERM the exit code is %d", code)
	}
}
