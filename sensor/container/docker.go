package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tiercel-project/tiercel/sensor/host"
)

// maxAnswer is how much of a runtime's answer is read.
const maxAnswer = 4 << 20

// A DockerResolver asks Docker, or Podman's service of the same API, over its unix socket.
type DockerResolver struct {
	socket  string
	runtime string
	client  *http.Client
}

// NewDockerResolver returns a resolver for the API on socket. runtime is the runtime that containers found there have: Docker or Podman.
// root is where the host's files are found.
func NewDockerResolver(socket, runtime string, root host.Root) *DockerResolver {
	return &DockerResolver{socket: socket, runtime: runtime, client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return root.Dial(ctx, socket)
		},
		MaxIdleConns: 2, IdleConnTimeout: time.Minute,
	}}}
}

// String implements Resolver.
func (d *DockerResolver) String() string { return d.runtime + " " + d.socket }

// dockerContainer is the part of a container's description that is used.
type dockerContainer struct {
	ID     string `json:"Id"`
	Name   string
	Image  string // the image's id
	State  struct{ StartedAt time.Time }
	Config struct {
		Image  string
		Labels map[string]string
	}
	HostConfig struct {
		Privileged                    bool
		NetworkMode, PidMode, IpcMode string
	}
	Mounts []struct {
		Source, Destination, Mode, Propagation string
		RW                                     bool
	}
	NetworkSettings struct {
		IPAddress string
		Networks  map[string]struct{ IPAddress string }
	}
}

// Resolve implements Resolver.
func (d *DockerResolver) Resolve(ctx context.Context, id ID) (*Info, error) {
	if id.Runtime != "" && id.Runtime != d.runtime {
		return nil, fmt.Errorf("%s: a container of %s: %w", d, id.Runtime, ErrUnavailable)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/containers/"+id.Container+"/json", nil)
	if err != nil {
		return nil, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, errors.Join(ErrUnavailable, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w", d, ErrNotFound)
	default:
		return nil, fmt.Errorf("%s: status %s: %w", d, resp.Status, ErrUnavailable)
	}
	var c dockerContainer
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&c); err != nil {
		return nil, fmt.Errorf("%s: decode: %w", d, err)
	}
	return c.info(d.runtime), nil
}

func (c *dockerContainer) info(runtime string) *Info {
	in := &Info{
		Name: strings.TrimPrefix(c.Name, "/"), Runtime: runtime,
		Image: c.Config.Image, ImageID: strings.TrimPrefix(c.Image, "sha256:"),
		Privileged: BoolOf(c.HostConfig.Privileged), HostPID: BoolOf(c.HostConfig.PidMode == "host"),
		HostNetwork: BoolOf(c.HostConfig.NetworkMode == "host"), HostIPC: BoolOf(c.HostConfig.IpcMode == "host"),
		Labels: c.Config.Labels, Started: c.State.StartedAt, IP: c.NetworkSettings.IPAddress,
		Pod: podOfLabels(c.Config.Labels),
	}
	_, _, in.ImageDigest = SplitImage(c.Config.Image)
	for _, n := range c.NetworkSettings.Networks {
		if in.IP == "" {
			in.IP = n.IPAddress
		}
	}
	for _, m := range c.Mounts {
		in.Mounts = append(in.Mounts, Mount{Source: m.Source, Dest: m.Destination, Mode: m.Mode, ReadWrite: m.RW, Propagation: m.Propagation})
	}
	if name := c.Config.Labels["io.kubernetes.container.name"]; name != "" {
		in.Name = name
	}
	return in
}

// podOfLabels returns the pod that kubelet's labels of a container name.
func podOfLabels(labels map[string]string) Pod {
	return Pod{
		Name:      labels["io.kubernetes.pod.name"],
		Namespace: labels["io.kubernetes.pod.namespace"],
		UID:       labels["io.kubernetes.pod.uid"],
		SandboxID: labels["io.kubernetes.sandbox.id"],
	}
}
