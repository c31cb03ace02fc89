//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A node is containerd with its CRI, in a mount namespace in which /run, /var/lib/tiercel and containerd's own folders are the test's. All else,
// processes and cgroups too, is the machine's.
type node struct {
	t      testing.TB
	dir    string
	p      *process
	cri    *criClient
	cgroup string // below which pods are
}

// nodeScript makes the namespace. $1 is the folder of the test.
const nodeScript = `
mount -t tmpfs tmpfs /run
mount --make-rshared /
mkdir -p /run/containerd /run/netns "$1/data" "$1/containerd" /var/lib/tiercel /var/lib/containerd
mount --bind "$1/data" /var/lib/tiercel
mount --bind "$1/containerd" /var/lib/containerd
exec containerd --config "$1/config.toml" --log-level warn
`

const nodeConfig = `
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "DIR/cni/bin"
    conf_dir = "DIR/cni/conf"
`

const cniConfig = `{"cniVersion": "0.3.1", "name": "e2e", "plugins": [{"type": "e2e"}]}`

// cniPlugin gives each pod a pair of devices to the machine, and an address that the name of its namespace is the key of.
const cniPlugin = `#!/bin/sh -e
result() { echo '{"cniVersion": "0.3.1", "interfaces": [{"name": "'$CNI_IFNAME'", "sandbox": "'$CNI_NETNS'"}], "ips": [{"version": "4", "address": "'$1'", "interface": 0}]}'; }
case $CNI_COMMAND in
VERSION) echo '{"cniVersion": "0.3.1", "supportedVersions": ["0.3.1"]}' ;;
ADD)
	if [ "$CNI_IFNAME" = lo ]; then
		nsenter --net="$CNI_NETNS" ip link set lo up
		result 127.0.0.1/8
		exit
	fi
	exec 9>"DIR/cni/lock"
	flock 9
	n=$(cat DIR/cni/next 2>/dev/null || echo 2)
	echo $((n + 1)) >DIR/cni/next
	host=tclPID-$n
	nsenter --net="$CNI_NETNS" ip link add "$CNI_IFNAME" type veth peer name "$host" netns $$
	ip addr add SUBNET.1/32 dev "$host"
	ip link set "$host" up
	ip route add SUBNET.$n/32 dev "$host"
	nsenter --net="$CNI_NETNS" ip addr add "SUBNET.$n/32" dev "$CNI_IFNAME"
	nsenter --net="$CNI_NETNS" ip link set "$CNI_IFNAME" up
	nsenter --net="$CNI_NETNS" ip route add SUBNET.1/32 dev "$CNI_IFNAME"
	nsenter --net="$CNI_NETNS" ip route add default via SUBNET.1 dev "$CNI_IFNAME"
	result "SUBNET.$n/32"
	;;
esac
`

// startNode starts a node that ends with the test, pods and all.
func startNode(t testing.TB) *node {
	t.Helper()
	n := &node{t: t, dir: publicDir(t), cgroup: fmt.Sprintf("/tiercel-e2e-%d-node", os.Getpid())}
	fill := strings.NewReplacer("DIR", n.dir, "PID", fmt.Sprint(os.Getpid()%100000), "SUBNET", n.subnet()).Replace
	writeFile(t, filepath.Join(n.dir, "config.toml"), fill(nodeConfig))
	writeFile(t, filepath.Join(n.dir, "cni", "conf", "e2e.conflist"), cniConfig)
	for _, name := range []string{"e2e", "loopback"} {
		file := filepath.Join(n.dir, "cni", "bin", name)
		writeFile(t, file, fill(cniPlugin))
		if err := os.Chmod(file, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { removeCgroups(n.cgroup) })
	cmd := exec.Command("/bin/sh", "-ec", nodeScript, "sh", n.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Unshareflags: syscall.CLONE_NEWNS}
	n.p = startCommand(t, "containerd", cmd)
	n.cri = newCRIClient(n.path("/run/containerd/containerd.sock"))
	t.Cleanup(n.cri.close)
	eventually(t, "containerd answers", func() bool {
		answer, err := n.cri.call("Version", nil)
		return err == nil && len(answer) > 0
	})
	n.load("pause:1", []string{"/bin/sleep", "100000"}, n.busyboxFiles())
	return n
}

// subnet is three numbers of the addresses of this node's pods, .1 being the machine's.
func (n *node) subnet() string { return fmt.Sprintf("10.213.%d", os.Getpid()%250+1) }

// path is where the test finds a file of the node.
func (n *node) path(name string) string {
	return fmt.Sprintf("/proc/%d/root%s", n.p.cmd.Process.Pid, name)
}

// A file is one of an image.
type file struct {
	name, link string
	data       []byte
	mode       int64
}

func (n *node) busyboxFiles() []file {
	n.t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		n.t.Fatalf("%v: install busybox-static", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		n.t.Fatal(err)
	}
	files := []file{
		{name: "bin/busybox", data: data, mode: 0o755},
		{name: "etc/passwd", data: []byte("root:x:0:0::/:/bin/sh\ninsider:x:1234:1234::/:/bin/sh\n"), mode: 0o644},
		{name: "etc/group", data: []byte("root:x:0:\ninsiders:x:1234:\n"), mode: 0o644},
		{name: "etc/shadow", data: []byte("root:*:1::::::\n"), mode: 0o644},
	}
	for _, applet := range []string{"sh", "sleep", "nc", "cat", "true", "su"} {
		files = append(files, file{name: "bin/" + applet, link: "busybox"})
	}
	return files
}

// load gives containerd an image of one layer.
func (n *node) load(name string, entrypoint []string, files []file) {
	t := n.t
	t.Helper()
	layer := archive(t, files)
	config, _ := json.Marshal(map[string]any{
		"architecture": goarch(), "os": "linux", "config": map[string]any{"Entrypoint": entrypoint, "Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	manifest, _ := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{"docker.io/library/" + name}, "Layers": []string{"layer.tar"}}})
	all := archive(t, []file{{name: "layer.tar", data: layer}, {name: "config.json", data: config}, {name: "manifest.json", data: manifest}})
	cmd := exec.Command("ctr", "--address", n.path("/run/containerd/containerd.sock"), "--namespace", "k8s.io", "images", "import", "-")
	cmd.Stdin = bytes.NewReader(all)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ctr images import: %v\n%s", err, out)
	}
}

func archive(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	dirs := map[string]bool{".": true}
	for _, f := range files {
		if d := filepath.Dir(f.name); !dirs[d] {
			dirs[d] = true
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d, Mode: 0o755}); err != nil {
				t.Fatal(err)
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.data))}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
