package capability

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tiercel-project/tiercel/functions/abi"
)

var errNotAWrite = errors.New("a read leaves nothing to look for")

// getOp is kubernetes.get, of objects and of pods' logs.
type getOp struct{ c *Cluster }

// Prepare authorises the read.
func (o *getOp) Prepare(ctx context.Context, s Scope, request []byte) (*Prepared, error) {
	var q abi.KubernetesGet
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	if q.Name == "" {
		return nil, invalid("name is missing")
	}
	r, err := o.c.resolve(ctx, s, q.KubernetesRef, "get")
	if err != nil {
		return nil, err
	}
	if isLog := r.access.isPod() && q.Subresource == "log"; q.Log != nil && !isLog {
		return nil, invalid("log is for pods with subresource log")
	}
	q.KubernetesRef = r.ref
	return &Prepared{Canonical: mustJSON(q), Summary: r.String()}, nil
}

// Execute reads under the function's identity.
func (o *getOp) Execute(ctx context.Context, s Scope, p *Prepared, _ string) (Result, error) {
	var q abi.KubernetesGet
	if err := recall(p.Canonical, &q); err != nil {
		return Result{}, err
	}
	r := located(q.KubernetesRef, "get")
	if r.access.isPod() && q.Subresource == "log" {
		return o.log(ctx, s, r, q)
	}
	u, err := o.c.read(ctx, s, r, q.Name)
	if err != nil {
		return Result{}, o.c.failure(s, r.String(), err)
	}
	return Result{Response: response(u.Object, false), Object: r.object(q.Name)}, nil
}

// Look is not asked of reads.
func (o *getOp) Look(context.Context, Scope, *Prepared, string) (bool, Result, error) {
	return false, Result{}, errNotAWrite
}

// maxLog bounds the bytes of a pod's log in a response, so that the JSON of even the worst text stays within abi.MaxResponse.
const maxLog = 512 << 10

func (o *getOp) log(ctx context.Context, s Scope, r resolved, q abi.KubernetesGet) (Result, error) {
	ctx, a, err := o.c.session(ctx, s)
	if err != nil {
		return Result{}, err
	}
	req := a.rest.Get().AbsPath("/api/v1/namespaces", q.Namespace, "pods", q.Name, "log")
	for k, v := range logParams(q.Log) {
		req.Param(k, v)
	}
	stream, err := req.Stream(ctx)
	if err != nil {
		return Result{}, o.c.failure(s, r.String(), err)
	}
	defer stream.Close()
	newest, truncated, err := tail(stream, maxLog)
	if err != nil {
		return Result{}, o.c.failure(s, r.String(), err)
	}
	return Result{
		Response: mustJSON(abi.KubernetesLog{Text: redactText(strings.ToValidUTF8(string(newest), "\uFFFD")), Truncated: truncated}),
		Object:   r.object(q.Name),
	}, nil
}

func logParams(l *abi.KubernetesLogOptions) map[string]string {
	params := map[string]string{}
	if l == nil {
		return params
	}
	if l.Container != "" {
		params["container"] = l.Container
	}
	if l.Previous {
		params["previous"] = "true"
	}
	if l.TailLines > 0 {
		params["tailLines"] = strconv.FormatInt(l.TailLines, 10)
	}
	if l.SinceSeconds > 0 {
		params["sinceSeconds"] = strconv.FormatInt(l.SinceSeconds, 10)
	}
	return params
}

// tail reads r to its end and returns the last n bytes, from the beginning of a line if some were left out.
func tail(r io.Reader, n int) (last []byte, truncated bool, err error) {
	buf := make([]byte, 0, 2*n)
	chunk := make([]byte, 32<<10)
	for {
		got, err := r.Read(chunk)
		if len(buf)+got > cap(buf) {
			buf = append(buf[:0], buf[len(buf)-n+got:]...)
			truncated = true
		}
		buf = append(buf, chunk[:got]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, false, err
		}
	}
	if len(buf) > n {
		buf, truncated = buf[len(buf)-n:], true
	}
	if truncated {
		if _, rest, found := bytes.Cut(buf, []byte("\n")); found {
			buf = rest
		}
	}
	return buf, truncated, nil
}

// listOp is kubernetes.list.
type listOp struct{ c *Cluster }

const (
	listDefault = 100
	listMax     = 500
)

// Prepare authorises the read and bounds it.
func (o *listOp) Prepare(ctx context.Context, s Scope, request []byte) (*Prepared, error) {
	var q abi.KubernetesList
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	if q.Name != "" || q.Subresource != "" {
		return nil, invalid("a list has neither name nor subresource")
	}
	switch {
	case q.Limit == 0:
		q.Limit = listDefault
	case q.Limit < 0 || q.Limit > listMax:
		return nil, invalid("limit %d is not within 1 and %d", q.Limit, listMax)
	}
	r, err := o.c.resolve(ctx, s, q.KubernetesRef, "list")
	if err != nil {
		return nil, err
	}
	q.KubernetesRef = r.ref
	return &Prepared{Canonical: mustJSON(q), Summary: r.String()}, nil
}

// Execute reads under the function's identity.
func (o *listOp) Execute(ctx context.Context, s Scope, p *Prepared, _ string) (Result, error) {
	var q abi.KubernetesList
	if err := recall(p.Canonical, &q); err != nil {
		return Result{}, err
	}
	r := located(q.KubernetesRef, "list")
	ctx, a, err := o.c.session(ctx, s)
	if err != nil {
		return Result{}, err
	}
	got, err := a.on(r.gvr, q.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: q.LabelSelector, FieldSelector: q.FieldSelector, Limit: q.Limit, Continue: q.Continue,
	})
	if err != nil {
		return Result{}, o.c.failure(s, r.String(), err)
	}
	items := abi.KubernetesItems{Items: make([]abi.Raw, 0, len(got.Items)), ResourceVersion: got.GetResourceVersion(), Continue: got.GetContinue()}
	for i := range got.Items {
		item, err := json.Marshal(redactObject(got.Items[i].Object))
		if err != nil {
			return Result{}, fmt.Errorf("%s: %w", r, err)
		}
		items.Items = append(items.Items, item)
	}
	return Result{Response: mustJSON(items)}, nil
}

// Look is not asked of reads.
func (o *listOp) Look(context.Context, Scope, *Prepared, string) (bool, Result, error) {
	return false, Result{}, errNotAWrite
}
