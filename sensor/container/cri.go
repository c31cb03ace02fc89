package container

import (
	"bytes"
	"context"
	"encoding/binary"
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

// A CRIResolver asks a Kubernetes container runtime (containerd, CRI-O) over its unix socket. It speaks the two calls of
// runtime.v1.RuntimeService that it needs by itself: gRPC is HTTP/2 with framed messages.
type CRIResolver struct {
	socket string
	client *http.Client
}

// NewCRIResolver returns a resolver for the CRI socket of the host that has its files in root.
func NewCRIResolver(socket string, root host.Root) *CRIResolver {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &CRIResolver{socket: socket, client: &http.Client{Transport: &http.Transport{
		Protocols: protocols, IdleConnTimeout: time.Minute,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return root.Dial(ctx, socket)
		},
	}}}
}

// String implements Resolver.
func (c *CRIResolver) String() string { return "cri " + c.socket }

// Resolve implements Resolver.
func (c *CRIResolver) Resolve(ctx context.Context, id ID) (*Info, error) {
	if id.Runtime == Docker || id.Runtime == Podman || id.Runtime == LXC {
		return nil, fmt.Errorf("%s: a container of %s: %w", c, id.Runtime, ErrUnavailable)
	}
	answer, err := c.call(ctx, "ContainerStatus", statusRequest(id.Container))
	if errors.Is(err, ErrNotFound) { // it may be a pod's sandbox
		var sandbox []byte
		if sandbox, err = c.call(ctx, "PodSandboxStatus", statusRequest(id.Container)); err == nil {
			in := &Info{Name: "POD", Runtime: c.runtime(id)}
			err = in.readSandbox(sandbox)
			return in, err
		}
	}
	if err != nil {
		return nil, err
	}
	in := &Info{Runtime: c.runtime(id)}
	if err := in.readContainer(answer); err != nil {
		return nil, fmt.Errorf("%s: decode: %w", c, err)
	}
	if in.Pod.SandboxID != "" { // the pod's address and labels are the sandbox's
		if sandbox, err := c.call(ctx, "PodSandboxStatus", statusRequest(in.Pod.SandboxID)); err == nil {
			_ = in.readSandbox(sandbox) // without them the rest still stands
		}
	}
	return in, nil
}

func (c *CRIResolver) runtime(id ID) string {
	switch {
	case id.Runtime != "":
		return id.Runtime
	case strings.Contains(c.socket, "crio"):
		return CRIO
	}
	return Containerd
}

// statusRequest is both ContainerStatusRequest and PodSandboxStatusRequest: {1: id, 2: verbose}.
func statusRequest(id string) []byte {
	b := append([]byte{1<<3 | wireBytes}, byte(len(id)))
	b = append(b, id...)
	return append(b, 2<<3|wireVarint, 1)
}

// Codes of gRPC that tell something.
const (
	grpcOK       = "0"
	grpcNotFound = "5"
)

// call does one unary gRPC call and returns the message of the answer.
func (c *CRIResolver) call(ctx context.Context, method string, msg []byte) ([]byte, error) {
	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg))) // not compressed, length
	body = append(body, msg...)
	url := "http://localhost/runtime.v1.RuntimeService/" + method
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, errors.Join(ErrUnavailable, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: read answer: %w", c, err)
	}
	code, text := resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	if code == "" { // an answer of headers only
		code, text = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: status %s: %w", c, resp.Status, ErrUnavailable)
	case code == grpcNotFound, strings.Contains(text, "not found"):
		return nil, fmt.Errorf("%s: %s: %w", c, method, ErrNotFound)
	case code != grpcOK:
		return nil, fmt.Errorf("%s: %s: gRPC status %s %q: %w", c, method, code, text, ErrUnavailable)
	}
	if len(b) < 5 || b[0] != 0 || uint64(binary.BigEndian.Uint32(b[1:5])) != uint64(len(b)-5) {
		return nil, fmt.Errorf("%s: %s: malformed frame", c, method)
	}
	return b[5:], nil
}

// readContainer reads a ContainerStatusResponse. Numbers are those of the fields in runtime/v1/api.proto.
func (in *Info) readContainer(b []byte) error {
	return eachField(b, func(num int, _ uint64, v []byte) error {
		switch num {
		case 1:
			return in.readContainerStatus(v)
		case 2:
			key, value, err := mapEntry(v)
			if key == "info" {
				in.readVerbose(value)
			}
			return err
		}
		return nil
	})
}

func (in *Info) readContainerStatus(b []byte) error {
	in.Labels = map[string]string{}
	err := eachField(b, func(num int, n uint64, v []byte) error {
		switch num {
		case 2: // ContainerMetadata
			return eachField(v, func(num int, _ uint64, v []byte) error {
				if num == 1 {
					in.Name = string(v)
				}
				return nil
			})
		case 5:
			in.Started = time.Unix(0, int64(n))
		case 8: // ImageSpec
			return eachField(v, func(num int, _ uint64, v []byte) error {
				if num == 1 {
					in.Image = string(v)
				}
				return nil
			})
		case 9: // image_ref: repository@digest or the image's id
			if _, digest, ok := strings.Cut(string(v), "@"); ok {
				in.ImageDigest = digest
			} else {
				in.ImageID = strings.TrimPrefix(string(v), "sha256:")
			}
		case 12:
			key, value, err := mapEntry(v)
			in.Labels[key] = value
			return err
		case 14:
			m, err := readMount(v)
			in.Mounts = append(in.Mounts, m)
			return err
		case 17: // image_id
			in.ImageID = strings.TrimPrefix(string(v), "sha256:")
		}
		return nil
	})
	sandbox := in.Pod.SandboxID
	in.Pod = podOfLabels(in.Labels)
	if in.Pod.SandboxID == "" {
		in.Pod.SandboxID = sandbox
	}
	return err
}

func readMount(b []byte) (Mount, error) {
	m := Mount{ReadWrite: true}
	err := eachField(b, func(num int, n uint64, v []byte) error {
		switch num {
		case 1:
			m.Dest = string(v)
		case 2:
			m.Source = string(v)
		case 3:
			m.ReadWrite = n == 0
		case 5:
			m.Propagation = map[uint64]string{1: "rslave", 2: "rshared"}[n]
		}
		return nil
	})
	if m.Propagation == "" {
		m.Propagation = "rprivate"
	}
	return m, err
}

// readVerbose reads what containerd and CRI-O tell as JSON about a container when asked to be verbose.
func (in *Info) readVerbose(text string) {
	var v struct {
		SandboxID  string `json:"sandboxID"`
		Privileged *bool  `json:"privileged"` // CRI-O
		Config     struct {
			Linux struct {
				SecurityContext struct {
					Privileged bool `json:"privileged"`
				} `json:"security_context"`
			} `json:"linux"`
		} `json:"config"`
	}
	if json.Unmarshal([]byte(text), &v) != nil {
		return
	}
	in.Pod.SandboxID = v.SandboxID
	in.Privileged = BoolOf(v.Config.Linux.SecurityContext.Privileged || (v.Privileged != nil && *v.Privileged))
}

// readSandbox reads a PodSandboxStatusResponse.
func (in *Info) readSandbox(b []byte) error {
	return eachField(b, func(num int, _ uint64, v []byte) error {
		if num != 1 {
			return nil
		}
		in.Pod.Labels = map[string]string{}
		return eachField(v, func(num int, _ uint64, v []byte) error {
			switch num {
			case 1:
				in.Pod.SandboxID = string(v)
			case 2: // PodSandboxMetadata
				return eachField(v, func(num int, _ uint64, v []byte) error {
					switch num {
					case 1:
						in.Pod.Name = string(v)
					case 2:
						in.Pod.UID = string(v)
					case 3:
						in.Pod.Namespace = string(v)
					}
					return nil
				})
			case 5: // PodSandboxNetworkStatus
				return eachField(v, func(num int, _ uint64, v []byte) error {
					if num == 1 {
						in.Pod.IP = string(v)
					}
					return nil
				})
			case 7:
				key, value, err := mapEntry(v)
				in.Pod.Labels[key] = value
				return err
			}
			return nil
		})
	})
}
