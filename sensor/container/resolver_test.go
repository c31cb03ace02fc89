package container

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

// serve serves h on a unix socket, HTTP/2 without TLS included, and returns its path.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: h, Protocols: protocols}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return path
}

func TestDocker(t *testing.T) {
	sock := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/containers/"+idA+"/json" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"Id":"`+idA+`","Name":"/web","Image":"sha256:1234","State":{"StartedAt":"2026-01-02T03:04:05Z"},
			"Config":{"Image":"nginx:1.27","Labels":{"a":"b"}},"HostConfig":{"Privileged":true,"NetworkMode":"bridge","PidMode":"host"},
			"Mounts":[{"Source":"/var/run/docker.sock","Destination":"/sock","Mode":"ro","RW":false,"Propagation":"rprivate"}],
			"NetworkSettings":{"IPAddress":"","Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}}`)
	}))
	r := NewDockerResolver(sock, Docker, "/")
	got, err := r.Resolve(t.Context(), ID{Container: idA, Runtime: Docker})
	if err != nil {
		t.Fatal(err)
	}
	want := &Info{
		Name: "web", Runtime: Docker, Image: "nginx:1.27", ImageID: "1234", Privileged: True, HostPID: True, HostNetwork: False, HostIPC: False,
		Mounts: []Mount{{Source: "/var/run/docker.sock", Dest: "/sock", Mode: "ro", Propagation: "rprivate"}},
		Labels: map[string]string{"a": "b"}, Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), IP: "172.17.0.2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := r.Resolve(t.Context(), ID{Container: idB}); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown container: %v, want ErrNotFound", err)
	}
	if _, err := r.Resolve(t.Context(), ID{Container: idA, Runtime: CRIO}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("container of CRI-O: %v, want ErrUnavailable", err)
	}
	if _, err := NewDockerResolver("/nonexistent", Docker, "/").Resolve(t.Context(), ID{Container: idA}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no socket: %v, want ErrUnavailable", err)
	}
}

// Encoders of protocol buffers, for what the runtime answers.
func pbBytes(num int, parts ...[]byte) []byte {
	var v []byte
	for _, p := range parts {
		v = append(v, p...)
	}
	b := binary.AppendUvarint(nil, uint64(num)<<3|wireBytes)
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

func pbString(num int, s string) []byte { return pbBytes(num, []byte(s)) }

func pbInt(num int, n uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(num)<<3|wireVarint), n)
}

func pbMap(num int, k, v string) []byte { return pbBytes(num, pbString(1, k), pbString(2, v)) }

// criServer answers the two calls of a runtime that has one container in one sandbox.
func criServer(t *testing.T) http.Handler {
	started := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	container := append(pbBytes(1,
		pbString(1, idA), pbBytes(2, pbString(1, "app"), pbInt(2, 1)), pbInt(3, 1), pbInt(5, uint64(started.UnixNano())),
		pbBytes(8, pbString(1, "docker.io/library/nginx:1.27")), pbString(9, "docker.io/library/nginx@sha256:abcd"),
		pbMap(12, "io.kubernetes.pod.name", "web-0"), pbMap(12, "io.kubernetes.pod.namespace", "prod"), pbMap(12, "io.kubernetes.pod.uid", uid),
		pbBytes(14, pbString(1, "/host"), pbString(2, "/"), pbInt(3, 1), pbInt(5, 1)), pbString(17, "sha256:9999"),
	), pbMap(2, "info", `{"sandboxID":"`+idB+`","config":{"linux":{"security_context":{"privileged":true}}}}`)...)
	sandbox := pbBytes(1,
		pbString(1, idB), pbBytes(2, pbString(1, "web-0"), pbString(2, uid), pbString(3, "prod")),
		pbBytes(5, pbString(1, "10.0.0.7")), pbMap(7, "app", "web"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.ProtoMajor != 2 || len(body) < 7 || r.Header.Get("Content-Type") != "application/grpc" {
			t.Errorf("request %s of %d bytes over HTTP/%d: %v", r.URL, len(body), r.ProtoMajor, err)
		}
		id := string(body[7 : 7+64])
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		var msg []byte
		switch {
		case r.URL.Path == "/runtime.v1.RuntimeService/ContainerStatus" && id == idA:
			msg = container
		case r.URL.Path == "/runtime.v1.RuntimeService/PodSandboxStatus" && id == idB:
			msg = sandbox
		default:
			w.Header().Set("Grpc-Status", "5")
			w.Header().Set("Grpc-Message", "not found")
			return
		}
		_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg))), msg...))
		w.Header().Set("Grpc-Status", "0")
	})
}

func TestCRI(t *testing.T) {
	r := NewCRIResolver(serve(t, criServer(t)), "/")
	got, err := r.Resolve(t.Context(), ID{Container: idA, PodUID: uid})
	if err != nil {
		t.Fatal(err)
	}
	pod := Pod{Name: "web-0", Namespace: "prod", UID: uid, SandboxID: idB, IP: "10.0.0.7", Labels: map[string]string{"app": "web"}}
	want := &Info{
		Name: "app", Runtime: Containerd, Image: "docker.io/library/nginx:1.27", ImageID: "9999", ImageDigest: "sha256:abcd", Privileged: True,
		Mounts: []Mount{{Source: "/", Dest: "/host", Propagation: "rslave"}}, Started: got.Started, Pod: pod,
		Labels: map[string]string{
			"io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "prod", "io.kubernetes.pod.uid": uid,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("container (-want +got):\n%s", diff)
	}
	if want := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC); !got.Started.Equal(want) {
		t.Errorf("started %v, want %v", got.Started, want)
	}
	got, err = r.Resolve(t.Context(), ID{Container: idB})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Info{Name: "POD", Runtime: Containerd, Pod: pod}, got); diff != "" {
		t.Errorf("sandbox (-want +got):\n%s", diff)
	}
	if _, err := r.Resolve(t.Context(), ID{Container: uid + uid[:28]}); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown container: %v, want ErrNotFound", err)
	}
	if _, err := NewCRIResolver("/nonexistent", "/").Resolve(t.Context(), ID{Container: idA}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no socket: %v, want ErrUnavailable", err)
	}
}

// FuzzCRI: no answer of a runtime makes the reader fail in another way than by an error.
func FuzzCRI(f *testing.F) {
	f.Add(pbBytes(1, pbString(1, "x"), pbMap(12, "a", "b")))
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = new(Info).readContainer(b)
		_ = new(Info).readSandbox(b)
	})
}

// A knower resolves what it is told to, when it is told to.
type knower struct {
	answers chan any // *Info or error
}

func (k knower) String() string { return "knower" }
func (k knower) Resolve(ctx context.Context, _ ID) (*Info, error) {
	select {
	case a := <-k.answers:
		if in, ok := a.(*Info); ok {
			return in, nil
		}
		return nil, a.(error)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run starts table and returns what notify was told.
func run(t *testing.T, cfg Config, r ...Resolver) (*Table, <-chan string) {
	t.Helper()
	told := make(chan string, 10)
	table := NewTable(cfg, r, func(c string) { told <- c }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- table.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return table, told
}

func TestTable(t *testing.T) {
	k := knower{make(chan any)}
	table, told := run(t, DefaultConfig(), k)
	if table.Lookup(7, false) != nil {
		t.Error("identity of a cgroup whose path is not known")
	}
	if id := table.SetPath(1, false, "/system.slice/x.service"); !id.IsHost() {
		t.Errorf("service is %+v", id)
	}
	id := table.SetPath(7, false, "/kubepods/besteffort/pod"+uid+"/"+idA)
	if id.State != Pending || id.Container != idA || id.PodUID != uid {
		t.Errorf("at first %+v", id)
	}
	table.SetPath(8, true, "/kubepods/besteffort/pod"+uid+"/"+idA) // the same container in another hierarchy
	k.answers <- ErrNotFound
	k.answers <- &Info{Name: "app", Runtime: Containerd}
	if c := <-told; c != idA {
		t.Errorf("told of %q", c)
	}
	for _, key := range []struct {
		id uint64
		v1 bool
	}{{7, false}, {8, true}} {
		if id := table.Lookup(key.id, key.v1); id.State != Resolved || id.Info.Name != "app" || id.Runtime != Containerd {
			t.Errorf("cgroup %d in the end %+v", key.id, id)
		}
	}
	if table.Lookup(8, false) != nil {
		t.Error("ids of different hierarchies are mixed up")
	}
	table.Drop(7, false)
	table.Drop(8, true)
	table.Expire(time.Hour)
	if id := table.Lookup(7, false); id == nil || id.Container != idA {
		t.Errorf("right after its end the cgroup is %+v", id)
	}
	table.Expire(0)
	if st := table.Stats(); st.Containers != 0 || st.Cgroups != 1 || st.Resolved != 1 {
		t.Errorf("%+v", st)
	}
}

// TestUnresolved: when nobody can tell, the container is unresolved at once; when nobody tells in time, after it; it is asked for again
// later.
func TestUnresolved(t *testing.T) {
	k := knower{make(chan any)}
	cfg := DefaultConfig()
	cfg.Timeout, cfg.Retry = time.Minute, time.Nanosecond
	table, told := run(t, cfg, k)
	table.SetPath(7, false, "/docker/"+idA)
	k.answers <- ErrUnavailable
	<-told
	if id := table.Lookup(7, false); id.State != Unresolved || id.Container != idA {
		t.Errorf("%+v", id)
	}
	table.Lookup(7, false)
	k.answers <- &Info{Name: "late"}
	<-told
	if id := table.Lookup(7, false); id.State != Resolved || id.Info.Name != "late" {
		t.Errorf("asked again: %+v", id)
	}
	cfg.Timeout = 50 * time.Millisecond
	table, told = run(t, cfg, k)
	table.SetPath(9, false, "/docker/"+idB)
	if c := <-told; c != idB { // nobody answers: the timeout does
		t.Errorf("told of %q", c)
	}
	if id := table.Lookup(9, false); id.State != Unresolved {
		t.Errorf("%+v", id)
	}
	alone := NewTable(cfg, nil, nil, slog.New(slog.DiscardHandler))
	if id := alone.SetPath(1, false, "/docker/"+idA); id.State != Unresolved {
		t.Errorf("without resolvers %+v", id)
	}
}

func TestTableBound(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxCgroups = 100
	table := NewTable(cfg, nil, nil, slog.New(slog.DiscardHandler))
	for i := range uint64(1000) {
		table.SetPath(i+1, false, "/x")
		table.Lookup(1, false)
	}
	if st := table.Stats(); st.Cgroups != 100 || st.Evicted != 900 {
		t.Errorf("%+v", st)
	}
	if table.Lookup(1, false) == nil {
		t.Error("the one in use was evicted")
	}
}

// TestSetPathCopies: the path that a record held is not kept: its memory is the ring's.
func TestSetPathCopies(t *testing.T) {
	const id = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	ring := []byte("/docker/" + id)
	table := NewTable(DefaultConfig(), nil, nil, slog.New(slog.DiscardHandler))
	table.SetPath(1, false, unsafe.String(&ring[0], len(ring)))
	clear(ring)
	if got := table.Lookup(1, false); got == nil || got.Container != id {
		t.Errorf("identity %+v, want container %s", got, id)
	}
}
