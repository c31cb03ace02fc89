package capability

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	clientexec "k8s.io/client-go/util/exec"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// execOp is exec: a command that the grant lists, in a running container.
type execOp struct{ c *Cluster }

// An execCall is the canonical form of exec.
type execCall struct {
	Namespace string        `json:"namespace"`
	Pod       string        `json:"pod"`
	UID       string        `json:"uid"`
	Container string        `json:"container"`
	Command   []string      `json:"command"`
	Timeout   time.Duration `json:"timeoutNS"`
}

func (q execCall) String() string {
	return fmt.Sprintf("exec in %s/%s (%s): %s", q.Namespace, q.Pod, q.Container, words(q.Command))
}

func (q execCall) resolved() resolved {
	return located(abi.KubernetesRef{APIVersion: "v1", Resource: "pods", Subresource: "exec", Namespace: q.Namespace, Name: q.Pod}, "create")
}

// Prepare finds the grant for the command, and the pod and its container.
func (o *execOp) Prepare(ctx context.Context, s Scope, request []byte) (*Prepared, error) {
	var q abi.ExecRequest
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	if q.Namespace == "" {
		q.Namespace = s.Target.Namespace
	}
	if err := checkExec(q); err != nil {
		return nil, err
	}
	if _, err := s.Grants.execGrants(q.Namespace, q.Container, q.Command); err != nil {
		return nil, err
	}
	call := execCall{Namespace: q.Namespace, Pod: q.Pod, UID: q.UID, Container: q.Container, Command: q.Command}
	a := call.resolved().access
	if err := s.within(a, true); err != nil {
		return nil, err
	}
	if s.isTarget(a) && s.Target.PodUID != "" && q.UID != s.Target.PodUID {
		return nil, denied("exec: the event's pod has uid %q, the request says %q", s.Target.PodUID, q.UID)
	}
	if err := o.admit(ctx, s, &call); err != nil {
		return nil, err
	}
	return &Prepared{
		Write: true, Class: Unconditional, Canonical: mustJSON(call), Summary: call.String(),
		Inverse: &Inverse{Irreversible: "what a command did cannot be taken back"},
	}, nil
}

func checkExec(q abi.ExecRequest) error {
	for _, field := range []struct{ key, value string }{{"namespace", q.Namespace}, {"pod", q.Pod}, {"uid", q.UID}} {
		if field.value == "" {
			return invalid("%s is missing", field.key)
		}
	}
	for _, name := range []string{q.Namespace, q.Pod, q.Container} {
		if problems := content.IsPathSegmentName(name); len(problems) > 0 {
			return invalid("%q %s", name, problems[0])
		}
	}
	if err := checkCommand(q.Command); err != nil {
		return invalid("%v", err)
	}
	return nil
}

// admit is asked when the call is prepared and again right before it is sent: the namespace is not protected, the event is true, the pod
// is still that one, and a grant covers pod and container. It fills in container and time.
func (o *execOp) admit(ctx context.Context, s Scope, q *execCall) error {
	if err := o.c.protect(q.resolved().access); err != nil {
		return err
	}
	if err := o.c.checkTarget(ctx, s); err != nil {
		return err
	}
	pod, err := o.c.read(ctx, s, located(abi.KubernetesRef{APIVersion: "v1", Resource: "pods", Namespace: q.Namespace}, "get"), q.Pod)
	if err != nil {
		return o.c.failure(s, "look at pod "+objectName(q.Namespace, q.Pod), err)
	}
	if string(pod.GetUID()) != q.UID {
		return abiErrorf(abi.CodeNotFound, "pod %s has another uid than %q now", objectName(q.Namespace, q.Pod), q.UID)
	}
	if q.Container, err = containerOf(pod, q.Container); err != nil {
		return err
	}
	grants, err := s.Grants.execGrants(q.Namespace, q.Container, q.Command)
	if err != nil {
		return err
	}
	for _, g := range grants {
		if selector, err := labels.Parse(g.Selector); err == nil && selector.Matches(labels.Set(pod.GetLabels())) {
			q.Timeout = g.timeout()
			return nil
		}
	}
	return denied("exec in %s: the pod does not have the labels that the grant wants (%s)", objectName(q.Namespace, q.Pod), grants[0].Selector)
}

// containerOf returns the container to run in: the one asked for, or the only one.
func containerOf(pod *unstructured.Unstructured, name string) (string, error) {
	list, _, _ := unstructured.NestedSlice(pod.Object, "spec", "containers")
	var there []string
	for _, c := range list {
		if m, ok := c.(map[string]any); ok {
			there = append(there, text(m, "name"))
		}
	}
	switch {
	case name == "" && len(there) == 1:
		return there[0], nil
	case name == "":
		return "", invalid("container is missing: the pod has %s", strings.Join(there, ", "))
	case !slices.Contains(there, name):
		return "", abiErrorf(abi.CodeNotFound, "the pod has no container %q; it has %s", name, strings.Join(there, ", "))
	}
	return name, nil
}

// Execute runs the command. What was started and not heard the end of is the guest's to be told of, unless the grant says to repeat.
func (o *execOp) Execute(ctx context.Context, s Scope, p *Prepared, _ string) (Result, error) {
	var q execCall
	if err := recall(p.Canonical, &q); err != nil {
		return Result{}, err
	}
	r := q.resolved()
	if err := o.admit(ctx, s, &q); err != nil {
		return Result{}, err
	}
	object := r.object(q.Pod)
	if s.Mode != Enforce {
		return Result{Response: mustJSON(abi.ExecResponse{DryRun: true}), Object: object, Rehearsed: true, Note: "not run"}, nil
	}
	limited, cancel := context.WithTimeout(ctx, q.Timeout)
	defer cancel()
	var out, errs head
	reached, err := o.stream(limited, s, q, remotecommand.StreamOptions{Stdout: &out, Stderr: &errs})
	answer := abi.ExecResponse{Stdout: out.text(), Stderr: errs.text(), Truncated: out.cut() || errs.cut()}
	var ended clientexec.CodeExitError
	switch {
	case errors.As(err, &ended):
		answer.ExitCode = int32(ended.Code)
	case err != nil && ctx.Err() != nil:
		return Result{}, fmt.Errorf("%s: %w", p.Summary, ctx.Err())
	case err != nil:
		return Result{}, o.unheard(s, q, reached, limited.Err(), err)
	}
	return Result{Response: mustJSON(answer), Object: object, Note: fmt.Sprintf("exit code %d", answer.ExitCode)}, nil
}

// unheard is the error of a command whose exit code did not come.
func (o *execOp) unheard(s Scope, q execCall, reached *reached, late, err error) error {
	if upgrade, ok := errors.AsType[*httpstream.UpgradeFailureError](err); ok {
		err = upgrade.Cause
	}
	repeat := s.Grants.OnUnknown == "repeat"
	switch {
	case !reached.started():
		return o.c.failure(s, q.String(), reached.status(q, err))
	case late != nil:
		return abiErrorf(abi.CodeTimeout, "%s: it had not ended after %s, and may go on", q, q.Timeout)
	case errors.Unwrap(err) == nil: // the container runtime's own word, not that of a broken connection
		return abiErrorf(abi.CodeInternal, "%s: %v", q, err)
	case repeat:
		return &TransientError{Err: fmt.Errorf("%s: %w", q, err)}
	}
	return abiErrorf(abi.CodeTimeout, "%s: %v; whether it has run is unknown", q, err)
}

// stream runs the command over a WebSocket, or over SPDY where a server or a proxy between knows no other. Neither begins before its
// connection is agreed upon, so falling back runs nothing twice.
func (o *execOp) stream(ctx context.Context, s Scope, q execCall, options remotecommand.StreamOptions) (*reached, error) {
	far := &reached{}
	ctx, a, err := o.c.session(ctx, s)
	if err != nil {
		return far, err
	}
	cfg := rest.CopyConfig(a.cfg)
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return switching{rt, far} })
	req := a.rest.Post().AbsPath("/api/v1/namespaces", q.Namespace, "pods", q.Pod, "exec").
		Param("container", q.Container).Param("stdout", "true").Param("stderr", "true")
	for _, w := range q.Command {
		req.Param("command", w)
	}
	socket, err := remotecommand.NewWebSocketExecutor(cfg, http.MethodGet, req.URL().String())
	if err != nil {
		return far, err
	}
	spdy, err := remotecommand.NewSPDYExecutor(cfg, http.MethodPost, req.URL())
	if err != nil {
		return far, err
	}
	both, err := remotecommand.NewFallbackExecutor(socket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return far, err
	}
	quiet := klog.NewContext(ctx, logr.Discard()) // the error says it
	return far, both.StreamWithContext(quiet, options)
}

// reached is the last status that a server answered with, 0 if none.
type reached struct{ code atomic.Int32 }

// started reports whether the server has agreed to another protocol: from then on the command may run.
func (r *reached) started() bool { return r.code.Load() == http.StatusSwitchingProtocols }

// status is err as the API machinery's error of the status, where client-go has lost it.
func (r *reached) status(q execCall, err error) error {
	code := int(r.code.Load())
	if _, ok := errors.AsType[*apierrors.StatusError](err); ok || code < http.StatusBadRequest || code == http.StatusInternalServerError {
		return err // a kubelet answers 500 to what will not get better, such as a container that does not run
	}
	return apierrors.NewGenericServerResponse(code, "create", pods.GroupResource(), q.Pod, err.Error(), 0, false)
}

// switching notes how a server answers.
type switching struct {
	next http.RoundTripper
	far  *reached
}

func (t switching) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err == nil {
		t.far.code.Store(int32(resp.StatusCode))
	}
	return resp, err
}

// Look cannot tell. Where the grant says to repeat, that is the answer.
func (o *execOp) Look(_ context.Context, s Scope, p *Prepared, _ string) (bool, Result, error) {
	if s.Grants.OnUnknown == "repeat" {
		return false, Result{}, nil
	}
	return false, Result{}, fmt.Errorf("%s: %w", p.Summary, ErrUnknown)
}

// A head keeps the first MaxExecOutput bytes of what is written to it, and counts the rest: a command that is not read blocks.
type head struct {
	mu   sync.Mutex // a stream that is given up may still be written to
	kept []byte     // guarded by mu
	more bool       // guarded by mu
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	room := abi.MaxExecOutput - len(h.kept)
	h.kept = append(h.kept, p[:min(room, len(p))]...)
	h.more = h.more || len(p) > room
	return len(p), nil
}

func (h *head) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := redactText(strings.ToValidUTF8(string(h.kept), "\uFFFD"))
	if len(text) > abi.MaxExecOutput { // a byte that is none of UTF-8 has become three
		text, h.more = strings.ToValidUTF8(text[:abi.MaxExecOutput], ""), true
	}
	return text
}

func (h *head) cut() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.more
}
