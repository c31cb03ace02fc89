//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/tiercel-project/tiercel/test/kubetest"
)

// sensorManifest is deploy/kubernetes/sensor.yaml.
func sensorManifest(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(kubetest.Root(), "deploy", "kubernetes", "sensor.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sensorSpec is the pod of the DaemonSet, as it is deployed.
func sensorSpec(t testing.TB) *corev1.PodSpec {
	t.Helper()
	for in := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(sensorManifest(t)), 4096); ; {
		var ds appsv1.DaemonSet
		if err := in.Decode(&ds); errors.Is(err, io.EOF) {
			t.Fatal("no DaemonSet in the manifest")
		} else if err != nil {
			t.Fatal(err)
		}
		if ds.Kind == "DaemonSet" {
			return &ds.Spec.Template.Spec
		}
	}
}

// loadTiercel gives the node the image that deploy/Dockerfile makes, of the program under test.
func (n *node) loadTiercel() {
	t := n.t
	t.Helper()
	b, err := os.ReadFile(filepath.Join(kubetest.Root(), "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, last, ok := bytes.Cut(b, []byte("FROM scratch\n"))
	if !ok {
		t.Fatal("the Dockerfile has no stage FROM scratch")
	}
	var files []file
	for _, m := range regexp.MustCompile(`(?m)^COPY --from=build (\S+) /(\S+)$`).FindAllSubmatch(last, -1) {
		from, mode := string(m[1]), int64(0o644)
		if from == "/src/bin/tiercel" {
			from, mode = binary, 0o755
		}
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file{name: string(m[2]), data: data, mode: mode})
	}
	if !bytes.Contains(last, []byte(`ENTRYPOINT ["/tiercel"]`)) || len(files) != 2 {
		t.Fatalf("the Dockerfile says what the test does not know:\n%s", last)
	}
	n.load("tiercel:latest", []string{"/tiercel"}, files)
}

// A cluster is a node, a NATS server that wants a key, and what it takes to be let in.
type cluster struct {
	*node
	seed    string
	public  string
	port    int
	storage string
}

func startCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{node: startNode(t), port: freePort(t), storage: t.TempDir()}
	c.loadTiercel()
	c.load("web:1", nil, c.busyboxFiles())
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err1 := key.Seed()
	public, err2 := key.PublicKey()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	c.seed, c.public = string(seed), public
	return c
}

func (c *cluster) url() string { return fmt.Sprintf("nats://%s.1:%d", c.subnet(), c.port) }

// startNATS starts the server, which ends with the test.
func (c *cluster) startNATS() *server.Server {
	t := c.t
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "0.0.0.0", Port: c.port, JetStream: true, StoreDir: c.storage, NoSigs: true, NoLog: true,
		Nkeys: []*server.NkeyUser{{Nkey: c.public}},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server does not start")
	}
	return srv
}

// sensor starts the pod of the manifest, with its server's name replaced and what change makes of it.
func (c *cluster) sensor(change func(*corev1.PodSpec)) *pod {
	c.t.Helper()
	spec := sensorSpec(c.t)
	setEnv(spec, "TIERCEL_NATS", c.url())
	setEnv(spec, "TIERCEL_HOST_ROOT", c.path("")) // in a cluster that of the first process, which is not the node's here
	if change != nil {
		change(spec)
	}
	return c.run("tiercel", "tiercel-sensor-x", spec, c.secrets())
}

// secrets are those that the manifest wants.
func (c *cluster) secrets() map[string]map[string]string {
	return map[string]map[string]string{"tiercel-nats": {"sensor.creds": c.seed}}
}

func setEnv(spec *corev1.PodSpec, name, value string) {
	env := spec.Containers[0].Env
	for i := range env {
		if env[i].Name == name {
			env[i] = corev1.EnvVar{Name: name, Value: value}
			return
		}
	}
	spec.Containers[0].Env = append(env, corev1.EnvVar{Name: name, Value: value})
}
