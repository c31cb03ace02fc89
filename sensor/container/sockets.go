package container

import (
	"fmt"
	"strings"

	"github.com/tiercel-project/tiercel/sensor/host"
)

// A Socket is where a container runtime answers.
type Socket struct {
	Kind string // Docker, Podman or "cri"
	Path string
}

// DefaultSockets are the places where runtimes usually listen. Those that are not there cost nothing.
func DefaultSockets() []string {
	return []string{
		"cri:/run/containerd/containerd.sock",
		"cri:/run/crio/crio.sock",
		"cri:/run/k3s/containerd/containerd.sock",
		"docker:/run/docker.sock",
		"podman:/run/podman/podman.sock",
	}
}

// ParseSocket reads "kind:path".
func ParseSocket(s string) (Socket, error) {
	kind, path, ok := strings.Cut(s, ":")
	if !ok || !strings.HasPrefix(path, "/") {
		return Socket{}, fmt.Errorf("%q is not KIND:/PATH", s)
	}
	switch kind {
	case Docker, Podman, "cri":
		return Socket{Kind: kind, Path: path}, nil
	}
	return Socket{}, fmt.Errorf("%q: the kind is none of docker, podman, cri", s)
}

// Resolver returns a resolver that asks at s on the host that has its files in root.
func (s Socket) Resolver(root host.Root) Resolver {
	if s.Kind == "cri" {
		return NewCRIResolver(s.Path, root)
	}
	return NewDockerResolver(s.Path, s.Kind, root)
}
