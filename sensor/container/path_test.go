package container

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	idA = "3ad7b26ded6d2ccc0a0b7e4a9b9d4f9e1c2d3e4f5a6b7c8d9e0f112233445566"
	idB = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	uid = "6c7f5a2e-0f4b-4b1d-9d8e-2a1b3c4d5e6f"
)

func TestParsePath(t *testing.T) {
	under := strings.ReplaceAll(uid, "-", "_")
	static := "81ea4f1c0d5e4d5e9d6b7c8a9b0c1d2e"
	tests := []struct {
		name, path string
		want       ID
		host       bool
	}{
		{name: "root", path: "/", host: true},
		{name: "empty", path: "", host: true},
		{name: "service", path: "/system.slice/ssh.service", host: true},
		{name: "session", path: "/user.slice/user-0.slice/session-3.scope", host: true},
		{name: "kubepods itself", path: "/kubepods.slice/kubepods-besteffort.slice", host: true},
		{name: "pod without container", path: "/kubepods/burstable/pod" + uid, host: true},
		{name: "almost an id", path: "/docker/" + idA[:63], host: true},
		{name: "upper case", path: "/docker/" + strings.ToUpper(idA), host: true},

		{name: "docker cgroupfs", path: "/docker/" + idA, want: ID{idA, Docker, ""}},
		{name: "docker systemd", path: "/system.slice/docker-" + idA + ".scope", want: ID{idA, Docker, ""}},
		{name: "docker rootless", path: "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + idA + ".scope", want: ID{idA, Docker, ""}},
		{name: "docker with systemd inside", path: "/docker/" + idA + "/system.slice/cron.service", want: ID{idA, Docker, ""}},
		{name: "docker in docker", path: "/docker/" + idA + "/docker/" + idB, want: ID{idA, Docker, ""}},
		{name: "ecs", path: "/ecs/7c2b6f1e/" + idA, want: ID{idA, Docker, ""}},

		{name: "kubernetes cgroupfs", path: "/kubepods/besteffort/pod" + uid + "/" + idA, want: ID{idA, "", uid}},
		{name: "kubernetes cgroupfs guaranteed", path: "/kubepods/pod" + uid + "/" + idA, want: ID{idA, "", uid}},
		{name: "kubernetes static pod", path: "/kubepods/burstable/pod" + static + "/" + idA, want: ID{idA, "", static}},
		{
			name: "containerd systemd",
			path: "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/cri-containerd-" + idA + ".scope",
			want: ID{idA, Containerd, uid},
		},
		{
			name: "containerd systemd guaranteed",
			path: "/kubepods.slice/kubepods-pod" + under + ".slice/cri-containerd-" + idA + ".scope", want: ID{idA, Containerd, uid},
		},
		{
			name: "containerd, drivers that disagree",
			path: "/system.slice/containerd.service/kubepods-besteffort-pod" + under + ".slice:cri-containerd:" + idA, want: ID{idA, Containerd, uid},
		},
		{
			name: "docker in kubernetes",
			path: "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + under + ".slice/docker-" + idA + ".scope",
			want: ID{idA, Docker, uid},
		},
		{
			name: "cri-o systemd",
			path: "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/crio-" + idA + ".scope", want: ID{idA, CRIO, uid},
		},
		{name: "cri-o cgroupfs", path: "/kubepods/besteffort/pod" + uid + "/crio-" + idA, want: ID{idA, CRIO, uid}},
		{name: "cri-o with crun", path: "/kubepods.slice/kubepods-pod" + under + ".slice/crio-" + idA + ".scope/container", want: ID{idA, CRIO, uid}},
		{name: "cri-o's monitor", path: "/kubepods.slice/kubepods-pod" + under + ".slice/crio-conmon-" + idA + ".scope", host: true},
		{name: "kind", path: "/docker/" + idB + "/kubelet/kubepods/burstable/pod" + uid + "/" + idA, want: ID{idA, Docker, uid}},
		{
			name: "kind systemd",
			path: "/docker/" + idB + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + under + ".slice/cri-containerd-" + idA + ".scope",
			want: ID{idA, Containerd, uid},
		},
		{name: "test of our own", path: "/tiercel-test-1/kubepods/besteffort/pod" + uid + "/" + idA, want: ID{idA, "", uid}},

		{name: "a pod's, as another container", path: "/kubepods/besteffort/pod" + uid + "/" + idA + "/" + idB, want: ID{idA, "", uid}},
		{name: "a pod's, as another pod's", path: "/kubepods/besteffort/pod" + uid + "/" + idA + "/pod" + static + "/" + idB, want: ID{idA, "", uid}},
		{name: "a pod's, as a monitor", path: "/kubepods/besteffort/pod" + uid + "/" + idA + "/crio-conmon-x", want: ID{idA, "", uid}},
		{name: "a pod's, as LXC's", path: "/kubepods/besteffort/pod" + uid + "/" + idA + "/lxc.payload.x", want: ID{idA, "", uid}},
		{name: "docker's, as a monitor", path: "/docker/" + idA + "/libpod-conmon-" + idB + ".scope", want: ID{idA, Docker, ""}},
		{name: "docker in LXC", path: "/lxc.payload.web/system.slice/docker-" + idA + ".scope", want: ID{"web", LXC, ""}},

		{name: "podman systemd", path: "/machine.slice/libpod-" + idA + ".scope", want: ID{idA, Podman, ""}},
		{name: "podman with crun", path: "/machine.slice/libpod-" + idA + ".scope/container", want: ID{idA, Podman, ""}},
		{
			name: "podman rootless", path: "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + idA + ".scope/container",
			want: ID{idA, Podman, ""},
		},
		{name: "podman pod", path: "/machine.slice/machine-libpod_pod_" + idB + ".slice/libpod-" + idA + ".scope", want: ID{idA, Podman, ""}},
		{name: "podman cgroupfs", path: "/libpod_parent/libpod-" + idA, want: ID{idA, Podman, ""}},
		{name: "podman's monitor", path: "/machine.slice/libpod-conmon-" + idA + ".scope", host: true},
		{name: "nerdctl", path: "/system.slice/nerdctl-" + idA + ".scope", want: ID{idA, Containerd, ""}},
		{name: "containerd by hand", path: "/default/" + idA, want: ID{idA, "", ""}},

		{name: "lxc", path: "/lxc/web", want: ID{"web", LXC, ""}},
		{name: "lxc payload", path: "/lxc.payload.web/init.scope", want: ID{"web", LXC, ""}},
		{name: "lxc monitor", path: "/lxc.monitor.web", host: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := ParsePath(tt.path)
			if ok == tt.host {
				t.Errorf("ParsePath(%q) = %+v, %v", tt.path, got, ok)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestShort(t *testing.T) {
	if got := (ID{Container: idA}).Short(); got != "3ad7b26ded6d" {
		t.Errorf("short id %q", got)
	}
	if got := (ID{Container: "web"}).Short(); got != "web" {
		t.Errorf("short name %q", got)
	}
}

// FuzzParsePath: nothing that is no container gets an id, and ids and uids are of their alphabet.
func FuzzParsePath(f *testing.F) {
	f.Add("/kubepods/besteffort/pod" + uid + "/" + idA)
	f.Add("/system.slice/docker-" + idA + ".scope")
	f.Add("/a.slice:cri-containerd:" + idA)
	f.Add("//lxc.payload.//")
	f.Fuzz(func(t *testing.T, path string) {
		id, ok := ParsePath(path)
		if ok != (id.Container != "") || (!ok && id != ID{}) {
			t.Fatalf("%q: %+v, %v", path, id, ok)
		}
		if id.PodUID != "" && !isUID(id.PodUID) {
			t.Fatalf("%q: pod uid %q", path, id.PodUID)
		}
		if ok && id.Runtime != LXC && !isID(id.Container) {
			t.Fatalf("%q: id %q", path, id.Container)
		}
	})
}

func TestSplitImage(t *testing.T) {
	for _, tt := range []struct{ image, repository, tag, digest string }{
		{"nginx", "nginx", "latest", ""},
		{"nginx:1.27", "nginx", "1.27", ""},
		{"registry:5000/a/b", "registry:5000/a/b", "latest", ""},
		{"registry:5000/a/b:v1@sha256:ab", "registry:5000/a/b", "v1", "sha256:ab"},
		{"a/b@sha256:ab", "a/b", "", "sha256:ab"},
		{"", "", "", ""},
	} {
		if r, tag, d := SplitImage(tt.image); r != tt.repository || tag != tt.tag || d != tt.digest {
			t.Errorf("SplitImage(%q) = %q, %q, %q", tt.image, r, tag, d)
		}
	}
}
