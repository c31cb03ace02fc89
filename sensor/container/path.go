package container

import "strings"

// Runtimes, with Falco's names for them.
const (
	Docker     = "docker"
	Containerd = "containerd"
	CRIO       = "cri-o"
	Podman     = "podman"
	LXC        = "lxc"
)

// An ID is what the path of a cgroup says about the container in it.
type ID struct {
	Container string // the runtime's full id: 64 hexadecimal digits, or the name of an LXC container
	Runtime   string // empty if the path does not tell
	PodUID    string // of a Kubernetes pod; empty if there is none
}

// shortLen is the length of a short id.
const shortLen = 12

// Short is the first 12 digits of the id, as Docker and Falco print it.
func (id ID) Short() string { return id.Container[:min(shortLen, len(id.Container))] }

// ParsePath reads the path of a cgroup of any hierarchy. It reports false for processes of the host: services, sessions, the runtimes'
// own helpers.
//
// What is below a container may be of its own making, whatever it is called, so the outermost container counts; but of one that is not of a pod,
// the outermost one of a pod in it (kind: a node that is a container).
func ParsePath(path string) (ID, bool) {
	var outer ID
	parts := strings.Split(strings.Trim(path, "/"), "/")
	from := 0 // behind the outer container
	for i := range parts {
		id, helper := parsePart(parts, i)
		if helper && outer.Container == "" {
			return ID{}, false
		}
		if id.Container == "" {
			continue
		}
		if id.PodUID == "" {
			id.PodUID = podUID(parts[from:i])
		}
		if id.PodUID != "" {
			return id, true
		}
		if outer.Container == "" {
			outer, from = id, i+1
		}
	}
	return outer, outer.Container != ""
}

// prefixes of units and directories that hold one container.
var prefixes = []struct{ prefix, runtime string }{
	{"docker-", Docker},
	{"cri-containerd-", Containerd},
	{"nerdctl-", Containerd},
	{"crio-", CRIO},
	{"libpod-", Podman},
}

// parsePart reads component i. helper is set for a runtime's own process next to a container.
func parsePart(parts []string, i int) (id ID, helper bool) {
	part := parts[i]
	if strings.HasPrefix(part, "crio-conmon-") || strings.HasPrefix(part, "libpod-conmon-") {
		return ID{}, true
	}
	name := strings.TrimSuffix(part, ".scope")
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(name, p.prefix); ok && isID(rest) {
			return ID{Container: rest, Runtime: p.runtime}, false
		}
	}
	if isID(part) {
		return ID{Container: part, Runtime: runtimeOf(parts[:i])}, false
	}
	// A cgroup v1 path that runc made of a systemd one: "kubepods-besteffort-pod….slice:cri-containerd:<id>".
	if unit := strings.Split(part, ":"); len(unit) == 3 && isID(unit[2]) {
		id := ID{Container: unit[2], PodUID: podUID(unit[:1])}
		for _, p := range prefixes {
			if unit[1]+"-" == p.prefix {
				id.Runtime = p.runtime
			}
		}
		return id, false
	}
	return lxc(parts, i), false
}

// lxc reads the forms of LXC: lxc/<name>, lxc.payload/<name>, lxc.payload.<name>.
func lxc(parts []string, i int) ID {
	if name, ok := strings.CutPrefix(parts[i], "lxc.payload."); ok && name != "" {
		return ID{Container: name, Runtime: LXC}
	}
	if i == 1 && (parts[0] == "lxc" || parts[0] == "lxc.payload") {
		return ID{Container: parts[1], Runtime: LXC}
	}
	return ID{}
}

// runtimeOf tells the runtime from the directories above a plain id.
func runtimeOf(above []string) string {
	for i := len(above) - 1; i >= 0; i-- {
		switch above[i] {
		case "docker", "ecs":
			return Docker
		case "libpod_parent":
			return Podman
		}
	}
	return ""
}

// podUID returns the uid of the innermost pod that parts name.
func podUID(parts []string) string {
	for i := len(parts) - 1; i >= 0; i-- {
		part := parts[i]
		if uid, ok := strings.CutPrefix(part, "pod"); ok && isUID(uid) {
			return uid
		}
		// kubepods-burstable-pod<uid>.slice, in which systemd wants no dashes; kind puts "kubelet-" before it
		if unit, ok := strings.CutSuffix(part, ".slice"); ok && strings.HasPrefix(strings.TrimPrefix(unit, "kubelet-"), "kubepods-") {
			if _, uid, ok := strings.Cut(unit, "-pod"); ok {
				if uid = strings.ReplaceAll(uid, "_", "-"); isUID(uid) {
					return uid
				}
			}
		}
	}
	return ""
}

// isID reports whether s is a container id: 64 hexadecimal digits.
func isID(s string) bool { return len(s) == 64 && isHex(s) }

// isUID reports whether s is a pod's uid: a UUID, or the hash that kubelet gives a static pod.
func isUID(s string) bool {
	switch len(s) {
	case 32:
		return isHex(s)
	case 36:
		return s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' && isHex(strings.ReplaceAll(s, "-", ""))
	}
	return false
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}
