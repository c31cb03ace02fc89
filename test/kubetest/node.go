package kubetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// Node is the node whose pods' containers can be reached.
const Node = "node-a"

// Container gives the node a container of a pod: its log, and a folder that commands are run in. The pod has to be on Node.
func (c *Cluster) Container(t testing.TB, namespace, pod, name, log string) {
	t.Helper()
	dir := filepath.Join(c.nodeDir(), namespace, pod, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+".log", []byte(log), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) nodeDir() string { return filepath.Join(c.Dir, "node") }

// startNode starts the part of a node that the API server's proxy talks to, without the node: the streaming protocol of kubelets, spoken by the
// code that container runtimes speak it with, for exec, and the end of a file for logs. A command is a process of the test's own user in a
// folder of the pod's, not in a container: tests send harmless ones. Only who has the API server's client certificate gets in. The flags
// returned are the API server's.
func (c *Cluster) startNode() (flags []string, err error) {
	keys := filepath.Join(c.nodeDir(), "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return nil, err
	}
	tlsConfig, err := nodeKeys(keys)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	h := &handler{dir: c.nodeDir()}
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", h.exec)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", h.logs)
	c.node, c.nodePort = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, TLSConfig: tlsConfig}, l.Addr().(*net.TCPAddr).Port
	go func() { _ = c.node.ServeTLS(l, "", "") }()
	return []string{
		"--kubelet-certificate-authority=" + filepath.Join(keys, "ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + filepath.Join(keys, "client.crt"), "--kubelet-client-key=" + filepath.Join(keys, "client.key"),
	}, nil
}

// announceNode tells the API where the node is.
func (c *Cluster) announceNode() error {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: Node}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create the node: %w", err)
	}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	n.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(c.nodePort)
	_, err = client.CoreV1().Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{})
	return err
}

// A handler answers for the pods that have their folders in dir: NAMESPACE/POD/CONTAINER, beside it CONTAINER.log.
type handler struct{ dir string }

// folder of a container, if the node has it: a test makes it with the container's log.
func (h *handler) folder(r *http.Request) (string, error) {
	dir := filepath.Join(h.dir, r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"))
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fmt.Errorf("container not found (%q)", r.PathValue("container"))
	}
	return dir, nil
}

func (h *handler) exec(w http.ResponseWriter, r *http.Request) {
	dir, err := h.folder(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError) // as a kubelet
		return
	}
	q := r.URL.Query()
	opts := &remotecommand.Options{Stdin: q.Get("input") == "1", Stdout: q.Get("output") == "1", Stderr: q.Get("error") == "1", TTY: q.Get("tty") == "1"}
	protocols := []string{"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"}
	remotecommand.ServeExec(w, r, runner(dir), r.PathValue("pod"), q.Get("uid"), r.PathValue("container"), q["command"], opts, time.Minute, 30*time.Second, protocols)
}

// A runner runs commands in its folder.
type runner string

// An exit is how the protocol takes a command's code.
type exit struct{ code int }

func (e exit) Error() string   { return "exit code " + strconv.Itoa(e.code) }
func (e exit) String() string  { return e.Error() }
func (e exit) Exited() bool    { return true }
func (e exit) ExitStatus() int { return e.code }

// ExecInContainer runs a command to its end, or until the connection is gone.
func (r runner) ExecInContainer(ctx context.Context, _, _, _ string, argv []string, in io.Reader, out, errs io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = string(r)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	if in != nil {
		cmd.Stdin = in
	}
	if out != nil {
		cmd.Stdout = out
	}
	if errs != nil {
		cmd.Stderr = errs
	}
	err := cmd.Run()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended) && ended.Exited():
		return exit{ended.ExitCode()}
	case errors.As(err, &ended):
		return exit{137}
	}
	return err
}

func (h *handler) logs(w http.ResponseWriter, r *http.Request) {
	dir, err := h.folder(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	text, err := os.ReadFile(dir + ".log")
	if err != nil || r.URL.Query().Get("previous") == "true" {
		http.Error(w, "previous terminated container not found", http.StatusBadRequest)
		return
	}
	if n, err := strconv.Atoi(r.URL.Query().Get("tailLines")); err == nil {
		lines := bytes.SplitAfter(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
		text = append(bytes.Join(lines[max(len(lines)-n, 0):], nil), '\n')
	}
	_, _ = w.Write(text)
}
