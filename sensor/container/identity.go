package container

import (
	"strings"
	"time"
)

// A State says how much of an Identity is known.
type State uint8

// States of an Identity.
const (
	Pending    State = iota // id and pod uid are known, names are being asked for
	Resolved                // all that the runtime tells is known
	Unresolved              // nobody could tell the names (in time)
	Host                    // no container
)

// String is the value of the field tiercel.identity.
func (s State) String() string {
	return [...]string{"pending", "resolved", "unresolved", "host"}[s]
}

// An Identity is who a process is, as far as containers go. It never changes.
type Identity struct {
	ID
	State State
	Info  *Info // nil unless Resolved
}

// HostIdentity is the identity of every process outside of containers.
var HostIdentity = &Identity{State: Host}

// UnknownIdentity is the identity of a process whose cgroup could not be found out.
var UnknownIdentity = &Identity{State: Unresolved}

// IsHost reports whether i is no container.
func (i *Identity) IsHost() bool { return i.State == Host }

// An Info is what a runtime tells about a container. What is not known is zero.
type Info struct {
	Name        string // container.name
	Runtime     string // as in ID
	Image       string // as the container names it: "docker.io/library/nginx:1.27"
	ImageID     string // without "sha256:"
	ImageDigest string // "sha256:…"
	Privileged  Bool
	HostPID     Bool
	HostNetwork Bool
	HostIPC     Bool
	Mounts      []Mount
	Labels      map[string]string
	Started     time.Time
	IP          string
	Pod         Pod
}

// A Bool is a boolean that may be unknown, which is its zero value.
type Bool uint8

// Values of Bool.
const (
	Unknown Bool = iota
	False
	True
)

// BoolOf returns True or False.
func BoolOf(b bool) Bool {
	if b {
		return True
	}
	return False
}

// A Mount is a mount of a container.
type Mount struct {
	Source, Dest string
	Mode         string
	ReadWrite    bool
	Propagation  string
}

// A Pod is the Kubernetes pod of a container.
type Pod struct {
	Name, Namespace, UID string
	SandboxID            string
	IP                   string
	Labels               map[string]string
}

// SplitImage splits the name of an image into its repository, tag and digest.
func SplitImage(image string) (repository, tag, digest string) {
	repository, digest, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		repository, tag = repository[:i], repository[i+1:]
	}
	if tag == "" && digest == "" && repository != "" {
		tag = "latest"
	}
	return repository, tag, digest
}
