//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// What a kubelet has masked of /proc and /sys, and made read-only.
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// Numbers of enumerations of the CRI.
const (
	namespacePod, namespaceContainer, namespaceNode = 0, 1, 2
	containerRunning, containerExited               = 1, 2
)

// A pod is one of a node, with one container, made as a kubelet makes it of the pod's spec.
type pod struct {
	n                    *node
	namespace, name, uid string
	spec                 *corev1.PodSpec
	sandbox, id, ip      string
	sandboxConfig        message
	out                  *transcript // of the container, both streams
	stopFollowing        chan struct{}
}

// run starts a pod of spec that ends with the test. secrets are files by the name of the secret.
func (n *node) run(namespace, name string, spec *corev1.PodSpec, secrets map[string]map[string]string) *pod {
	n.t.Helper()
	p := &pod{n: n, namespace: namespace, name: name, uid: newPodUID(), spec: spec}
	p.startSandbox()
	p.startContainer(secrets)
	return p
}

func namespaceOptions(spec *corev1.PodSpec) message {
	var m message
	if spec.HostNetwork {
		m = m.number(1, namespaceNode)
	}
	if spec.HostPID {
		return m.number(2, namespaceNode)
	}
	return m.number(2, namespaceContainer)
}

func (p *pod) startSandbox() {
	t := p.n.t
	t.Helper()
	metadata := message(nil).text(1, p.name).text(2, p.uid).text(3, p.namespace)
	security := message(nil).bytes(1, namespaceOptions(p.spec)).bytes(9, message(nil).number(1, 0))
	linux := message(nil).text(1, p.n.cgroup+"/kubepods/burstable/pod"+p.uid).bytes(2, security)
	p.sandboxConfig = message(nil).bytes(1, metadata).text(2, p.name).text(3, p.logs()).
		pairs(6, map[string]string{"io.kubernetes.pod.name": p.name, "io.kubernetes.pod.namespace": p.namespace, "io.kubernetes.pod.uid": p.uid}).
		bytes(8, linux)
	answer := p.n.cri.must(t, "RunPodSandbox", message(nil).bytes(1, p.sandboxConfig))
	id, _ := answer.get(1)
	p.sandbox = string(id)
	t.Cleanup(p.remove)
	status, _ := p.n.cri.must(t, "PodSandboxStatus", message(nil).text(1, p.sandbox)).get(1)
	network, _ := message(status).get(5)
	ip, _ := message(network).get(1)
	p.ip = string(ip)
}

func (p *pod) logs() string { return filepath.Join(p.n.dir, "logs", p.uid) }

func (p *pod) startContainer(secrets map[string]map[string]string) {
	t, c := p.n.t, &p.spec.Containers[0]
	t.Helper()
	config := message(nil).bytes(1, message(nil).text(1, c.Name)).bytes(2, message(nil).text(1, image(c.Image))).text(3, c.Command...).text(4, c.Args...)
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = p.value(e)
	}
	for k, v := range env {
		env[k] = regexp.MustCompile(`\$\((\w+)\)`).ReplaceAllStringFunc(v, func(s string) string { return env[s[2:len(s)-1]] })
	}
	config = config.pairs(6, env)
	for _, m := range c.VolumeMounts {
		mount := message(nil).text(1, m.MountPath).text(2, p.volume(m.Name, secrets)).truth(3, m.ReadOnly)
		if m.MountPropagation != nil && *m.MountPropagation == corev1.MountPropagationHostToContainer {
			mount = mount.number(5, 1)
		}
		config = config.bytes(7, mount)
	}
	config = config.pairs(9, map[string]string{
		"io.kubernetes.container.name": c.Name, "io.kubernetes.pod.name": p.name,
		"io.kubernetes.pod.namespace": p.namespace, "io.kubernetes.pod.uid": p.uid,
	}).text(11, c.Name+".log")
	config = config.bytes(15, message(nil).bytes(1, resources(c)).bytes(2, p.security(c)))
	request := message(nil).text(1, p.sandbox).bytes(2, config).bytes(3, p.sandboxConfig)
	id, _ := p.n.cri.must(t, "CreateContainer", request).get(1)
	p.id = string(id)
	p.n.cri.must(t, "StartContainer", message(nil).text(1, p.id))
	p.out, p.stopFollowing = newTranscript(), make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		follow(filepath.Join(p.logs(), c.Name+".log"), p.out, p.stopFollowing)
	}()
	t.Cleanup(func() {
		close(p.stopFollowing)
		<-ended
		p.out.close()
		if t.Failed() {
			t.Logf("container %s of pod %s:\n%s", c.Name, p.name, p.out)
		}
	})
}

// image is the name by which containerd knows an image.
func image(name string) string { return "docker.io/library/" + name }

func (p *pod) value(e corev1.EnvVar) string {
	switch {
	case e.ValueFrom == nil:
		return e.Value
	case e.ValueFrom.FieldRef != nil:
		return map[string]string{"spec.nodeName": "e2e", "status.podIP": p.ip, "metadata.name": p.name, "metadata.namespace": p.namespace}[e.ValueFrom.FieldRef.FieldPath]
	}
	p.n.t.Fatalf("environment variable %s: the test does not know where it comes from", e.Name)
	return ""
}

// volume returns the folder of the node that a volume is, made as a kubelet makes it.
func (p *pod) volume(name string, secrets map[string]map[string]string) string {
	t := p.n.t
	t.Helper()
	for _, v := range p.spec.Volumes {
		if v.Name != name {
			continue
		}
		switch {
		case v.HostPath != nil:
			path := p.n.path(v.HostPath.Path)
			switch kind := v.HostPath.Type; {
			case kind != nil && *kind == corev1.HostPathDirectoryOrCreate:
				if err := os.MkdirAll(path, 0o755); err != nil {
					t.Fatal(err)
				}
			case kind != nil && *kind == corev1.HostPathDirectory:
				if st, err := os.Stat(path); err != nil || !st.IsDir() {
					t.Fatalf("volume %s: %s is no folder of the node: %v", name, v.HostPath.Path, err)
				}
			}
			return v.HostPath.Path
		case v.Secret != nil:
			dir := filepath.Join(p.n.dir, "secrets", p.uid, name)
			files, ok := secrets[v.Secret.SecretName]
			if !ok {
				t.Fatalf("volume %s: no secret %s", name, v.Secret.SecretName)
			}
			for file, text := range files {
				writeFile(t, filepath.Join(dir, file), text)
			}
			return dir
		}
	}
	t.Fatalf("volume %s: the test does not know what it is", name)
	return ""
}

func resources(c *corev1.Container) message {
	var m message
	if cpu := c.Resources.Requests.Cpu(); !cpu.IsZero() {
		m = m.number(3, cpu.MilliValue()*1024/1000)
	}
	if memory := c.Resources.Limits.Memory(); !memory.IsZero() {
		m = m.number(4, memory.Value())
	}
	return m.number(5, 900)
}

func (p *pod) security(c *corev1.Container) message {
	s := c.SecurityContext
	if s == nil {
		s = &corev1.SecurityContext{}
	}
	var m message
	if caps := s.Capabilities; caps != nil {
		var b message
		for _, name := range caps.Add {
			b = b.text(1, string(name))
		}
		for _, name := range caps.Drop {
			b = b.text(2, string(name))
		}
		m = m.bytes(1, b)
	}
	is := func(b *bool) bool { return b != nil && *b }
	m = m.truth(2, is(s.Privileged)).bytes(3, namespaceOptions(p.spec))
	if l := s.SELinuxOptions; l != nil {
		m = m.bytes(4, message(nil).text(1, l.User).text(2, l.Role).text(3, l.Type).text(4, l.Level))
	}
	if s.RunAsUser != nil {
		m = m.bytes(5, message(nil).number(1, *s.RunAsUser))
	}
	m = m.truth(7, is(s.ReadOnlyRootFilesystem)).truth(11, s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation)
	if s.RunAsGroup != nil {
		m = m.bytes(12, message(nil).number(1, *s.RunAsGroup))
	}
	m = m.text(13, maskedPaths...).text(14, readonlyPaths...)
	const runtimeDefault, unconfined, localhost = 0, 1, 2
	profile := message(nil).number(1, unconfined)
	if f := s.SeccompProfile; f != nil && f.Type == corev1.SeccompProfileTypeRuntimeDefault {
		profile = message(nil).number(1, runtimeDefault)
	} else if f != nil && f.LocalhostProfile != nil {
		profile = message(nil).number(1, localhost).text(2, *f.LocalhostProfile)
	}
	return m.bytes(15, profile)
}

// exec runs a program in the container, as kubectl exec does.
func (p *pod) exec(args ...string) (out string, code int64) {
	p.n.t.Helper()
	answer := p.n.cri.must(p.n.t, "ExecSync", message(nil).text(1, p.id).text(2, args...).number(3, 60))
	stdout, _ := answer.get(1)
	stderr, _ := answer.get(2)
	_, code = answer.get(3)
	return string(stdout) + string(stderr), code
}

// state is the container's, and its exit code.
func (p *pod) state() (state, code int64) {
	p.n.t.Helper()
	b, _ := p.n.cri.must(p.n.t, "ContainerStatus", message(nil).text(1, p.id)).get(1)
	_, state = message(b).get(3)
	_, code = message(b).get(7)
	return state, code
}

// remove kills the pod. It may be called twice.
func (p *pod) remove() { p.end(0) }

// end asks the container to end, kills it after a grace of some seconds, and removes the pod.
func (p *pod) end(grace int64) {
	if p.id != "" {
		_, _ = p.n.cri.call("StopContainer", message(nil).text(1, p.id).number(2, grace))
		_, _ = p.n.cri.call("RemoveContainer", message(nil).text(1, p.id))
	}
	_, _ = p.n.cri.call("StopPodSandbox", message(nil).text(1, p.sandbox))
	_, _ = p.n.cri.call("RemovePodSandbox", message(nil).text(1, p.sandbox))
}

// follow copies what a container writes, as its runtime logs it, until stop is closed and all was copied.
func follow(name string, to *transcript, stop <-chan struct{}) {
	var at int64
	for stopped := false; ; {
		if b, err := os.ReadFile(name); err == nil {
			for end := strings.IndexByte(string(b[at:]), '\n'); end >= 0; end = strings.IndexByte(string(b[at:]), '\n') {
				if f := strings.SplitN(string(b[at:at+int64(end)]), " ", 4); len(f) == 4 { // time, stream, F or P, text
					text := f[3]
					if f[2] == "F" {
						text += "\n"
					}
					_, _ = to.Write([]byte(text))
				}
				at += int64(end) + 1
			}
		}
		if stopped {
			return
		}
		select {
		case <-stop:
			stopped = true
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func goarch() string { return runtime.GOARCH }

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

// newPodUID returns what an API server would call a pod.
func newPodUID() string {
	s := newContainerID()
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:32]}, "-")
}
