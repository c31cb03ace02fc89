package capability

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// Config is what a registry reaches the world through. Whatever is nil, its operations answer abi.CodeUnsupported.
type Config struct {
	Cluster    *Cluster              // kubernetes.*, exec
	KV         jetstream.KeyValue    // kv.*: the bucket of functions' keys, which are put under "<function>."
	Artifacts  jetstream.ObjectStore // artifact.*: the object store of evidence
	Secrets    Secrets               // secret, and what its handles stand for
	HTTP       HTTPConfig            // http
	Registerer prometheus.Registerer // nil: no metrics
	Logger     *slog.Logger          // nil: discarded
}

// A Registry holds the operations a host offers. It is made once and is safe for concurrent use afterwards.
type Registry struct {
	ops     map[string]Operation
	cluster *Cluster
	calls   *prometheus.HistogramVec
}

// New returns the registry of every operation of functions/abi that needs more than the sandbox.
func New(cfg Config) (*Registry, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	web, err := newHTTP(cfg.HTTP, cfg.Secrets)
	if err != nil {
		return nil, err
	}
	r := NewRegistry(map[string]Operation{
		abi.OpSecret: &secretOp{cfg.Secrets},
		abi.OpHTTP:   web,
	})
	r.cluster = cfg.Cluster
	if c := cfg.Cluster; c != nil {
		maps.Copy(r.ops, map[string]Operation{
			abi.OpKubernetesGet:    &getOp{c},
			abi.OpKubernetesList:   &listOp{c},
			abi.OpKubernetesCreate: &createOp{c},
			abi.OpKubernetesPatch:  &patchOp{c},
			abi.OpKubernetesDelete: &deleteOp{c},
			abi.OpExec:             &execOp{c: c},
		})
	}
	if kv := cfg.KV; kv != nil {
		sh := newShares(kv)
		maps.Copy(r.ops, map[string]Operation{
			abi.OpKVGet:    &kvGetOp{kv},
			abi.OpKVPut:    &kvPutOp{kv, sh},
			abi.OpKVDelete: &kvDeleteOp{kv, sh},
		})
	}
	if cfg.Artifacts != nil {
		r.ops[abi.OpArtifactPut] = &artifactPutOp{cfg.Artifacts}
	}
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(r.calls); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return r, nil
}

// NewRegistry returns a registry of other operations, by the name a guest calls them by.
func NewRegistry(ops map[string]Operation) *Registry {
	return &Registry{ops: maps.Clone(ops), calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "tiercel_runtime_capability_call_seconds",
		Help:    "Duration of a step of an operation, by step (prepare, execute, look, revert) and how it ended.",
		Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, 1, 5},
	}, []string{"op", "step", "result"})}
}

// Names returns the operations on offer, sorted.
func (r *Registry) Names() []string { return slices.Sorted(maps.Keys(r.ops)) }

// Cluster returns what kubernetes.* works on, nil if there is none.
func (r *Registry) Cluster() *Cluster { return r.cluster }

// Prepare authorises and completes a request. Its errors are *abi.Error (an answer for the guest: malformed, not granted, not there),
// a *TransientError, or one that wraps ErrForged.
func (r *Registry) Prepare(ctx context.Context, s Scope, op string, request []byte) (p *Prepared, err error) {
	o, err := r.operation(op)
	if err != nil {
		return nil, err
	}
	defer r.observe(op, "prepare", time.Now(), &err)
	if len(request) > abi.MaxRequest {
		return nil, abiErrorf(abi.CodeTooLarge, "the request has %d bytes; %d are allowed", len(request), abi.MaxRequest)
	}
	if p, err = o.Prepare(ctx, s, request); err != nil {
		return nil, err
	}
	p.Op, p.Digest = op, digest(op, p.Canonical)
	return p, nil
}

// Execute carries out what Prepare answered, or rehearses it when the scope's mode is DryRun. The effect id is the caller's, the same
// for every repetition of this effect and never used for another. Errors are as Prepare's.
func (r *Registry) Execute(ctx context.Context, s Scope, p *Prepared, effect string) (res Result, err error) {
	o, err := r.operation(p.Op)
	if err != nil {
		return Result{}, err
	}
	defer r.observe(p.Op, "execute", time.Now(), &err)
	if res, err = o.Execute(ctx, s, p, effect); err != nil {
		return res, err
	}
	if len(res.Response) > abi.MaxResponse && !p.Write {
		return Result{}, abiErrorf(abi.CodeTooLarge, "the response has %d bytes; %d are allowed", len(res.Response), abi.MaxResponse)
	}
	return res, nil
}

// Look reports whether the effect is in the world already. It returns an error that wraps ErrUnknown where that cannot be known.
func (r *Registry) Look(ctx context.Context, s Scope, p *Prepared, effect string) (done bool, res Result, err error) {
	o, err := r.operation(p.Op)
	if err != nil {
		return false, Result{}, err
	}
	defer r.observe(p.Op, "look", time.Now(), &err)
	return o.Look(ctx, s, p, effect)
}

// Revert takes an effect back. Done twice, or for an effect that never took place, it changes nothing and says so in the note.
func (r *Registry) Revert(ctx context.Context, s Scope, i *Inverse, effect string) (res Result, err error) {
	if !i.Reversible() {
		return Result{}, fmt.Errorf("revert: %s", irreversible(i))
	}
	o, err := r.operation(i.Op)
	if err != nil {
		return Result{}, err
	}
	rev, ok := o.(Reverter)
	if !ok {
		return Result{}, fmt.Errorf("revert: operation %q takes nothing back", i.Op)
	}
	defer r.observe(i.Op, "revert", time.Now(), &err)
	return rev.Revert(ctx, s, i, effect)
}

func irreversible(i *Inverse) string {
	if i != nil && i.Irreversible != "" {
		return i.Irreversible
	}
	return "no inverse was recorded"
}

func (r *Registry) operation(op string) (Operation, error) {
	if o, ok := r.ops[op]; ok {
		return o, nil
	}
	if _, known := abi.Lookup(op); known {
		if r.cluster == nil && (op == abi.OpExec || strings.HasPrefix(op, "kubernetes.")) {
			return nil, abiErrorf(abi.CodeUnsupported, "%s: this runtime has no cluster; tiercel run --kubeconfig FILE gives it one", op)
		}
		return nil, abiErrorf(abi.CodeUnsupported, "this runtime is not configured for %s (it offers %s)", op, r.Names())
	}
	return nil, abiErrorf(abi.CodeUnsupported, "there is no operation %q", op)
}

// observe counts one step under a closed set of results: ok, an abi code, transient, forged or error.
func (r *Registry) observe(op, step string, start time.Time, err *error) {
	result := "ok"
	if *err != nil {
		result = "error"
		if e, ok := errors.AsType[*abi.Error](*err); ok {
			result = string(e.Code)
		} else if _, ok := Transient(*err); ok {
			result = "transient"
		} else if errors.Is(*err, ErrForged) {
			result = "forged"
		}
	}
	r.calls.WithLabelValues(op, step, result).Observe(time.Since(start).Seconds())
}

func abiErrorf(code abi.Code, format string, args ...any) *abi.Error {
	text := fmt.Sprintf(format, args...)
	if len(text) > abi.MaxText {
		text = text[:abi.MaxText]
	}
	return abi.NewError(code, text)
}

func denied(format string, args ...any) *abi.Error { return abiErrorf(abi.CodeDenied, format, args...) }

func invalid(format string, args ...any) *abi.Error {
	return abiErrorf(abi.CodeInvalid, format, args...)
}
