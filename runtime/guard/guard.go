package guard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

// A Request is what is to be decided on.
type Request struct {
	Function   *function.Function
	Revision   uint64
	Invocation string
	Event      *bus.Event
	Match      *bus.MatchData
	Now        time.Time
}

// A Decision says what to do with an event. Its zero Outcome means: run.
type Decision struct {
	Outcome journal.Outcome // skipped, refused or expired; empty: run
	Reason  string          // a short word of a closed set
	Text    string          // for people
}

// Run reports whether the function is to run.
func (d Decision) Run() bool { return d.Outcome == "" }

func (d Decision) String() string {
	if d.Run() && d.Text != "" {
		return "run, " + d.Text
	}
	if d.Run() {
		return "run"
	}
	return string(d.Outcome) + ": " + d.Text
}

// Reasons of decisions.
const (
	ReasonAge       = "maxAge"
	ReasonProtected = "protected"
	ReasonDuplicate = "duplicate"
	ReasonBudget    = "budget"
	ReasonHalted    = "halted"
)

// Config says what is never acted on.
type Config struct {
	Protected []string // namespaces. Default kube-system; the runtime adds its own
}

// A Guard is safe for concurrent use.
type Guard struct {
	cfg   Config
	kv    jetstream.KeyValue
	halts *Halts
}

// New returns a Guard that keeps what it must remember in kv, the bucket of state. halts may be nil.
func New(cfg Config, kv jetstream.KeyValue, halts *Halts) *Guard {
	if cfg.Protected == nil {
		cfg.Protected = []string{"kube-system"}
	}
	return &Guard{cfg: cfg, kv: kv, halts: halts}
}

// Decide answers for the first attempt at an invocation; later attempts act on what it claimed. An error is worth another try.
func (g *Guard) Decide(ctx context.Context, r Request) (Decision, error) {
	spec := &r.Function.Doc.Spec
	if age := r.Now.Sub(r.Event.Time); spec.MaxAge > 0 && age > spec.MaxAge.Std() {
		return Decision{journal.Expired, ReasonAge, fmt.Sprintf("the event is %s old, at most %s is allowed", age.Round(time.Second), spec.MaxAge)}, nil
	}
	if ns := r.Match.Target.Namespace; ns != "" && slices.Contains(g.protected(spec), ns) {
		return Decision{journal.Refused, ReasonProtected, fmt.Sprintf("namespace %q is protected", ns)}, nil
	}
	if h, ok := g.halts.Halted(r.Function.ID, r.Revision, r.Match.Rule); ok {
		return Decision{journal.Skipped, ReasonHalted, fmt.Sprintf("revision %d is halted for this rule since %s crashed", r.Revision, h.Invocation)}, nil
	}
	if spec.Dedup != nil {
		if d, err := g.dedup(ctx, r, spec.Dedup); err != nil || !d.Run() {
			return d, err
		}
	}
	if spec.Budget != nil {
		return g.budget(ctx, r, spec.Budget)
	}
	return Decision{}, nil
}

// DecideManual answers for an invocation that somebody asks for: what is protected stays so, nothing else holds it back or is used up.
func (g *Guard) DecideManual(r Request, by string) Decision {
	if ns := r.Match.Target.Namespace; ns != "" && slices.Contains(g.protected(&r.Function.Doc.Spec), ns) {
		return Decision{journal.Refused, ReasonProtected, fmt.Sprintf("namespace %q is protected", ns)}
	}
	return Decision{Text: "asked for by " + by}
}

func (g *Guard) protected(spec *function.Spec) []string {
	if spec.Protect != nil {
		return spec.Protect.Namespaces
	}
	return g.cfg.Protected
}

// An owned entry suppresses the events like its owner's.
type owned struct {
	Owner string `json:"owner"` // invocation
}

// dedup makes an entry for the event's key, or finds who owns it.
func (g *Guard) dedup(ctx context.Context, r Request, cfg *function.Dedup) (Decision, error) {
	key := dedupKey(r, cfg)
	mine, err := json.Marshal(owned{r.Invocation})
	if err != nil {
		return Decision{}, err
	}
	for range 5 {
		_, err := g.kv.Create(ctx, key, mine, jetstream.KeyTTL(cfg.Window.Std()))
		if err == nil {
			return Decision{}, nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return Decision{}, fmt.Errorf("dedup: %w", err)
		}
		e, err := g.kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // it ended in between
		}
		if err != nil {
			return Decision{}, fmt.Errorf("dedup: %w", err)
		}
		var o owned
		if err := json.Unmarshal(e.Value(), &o); err != nil {
			return Decision{}, fmt.Errorf("dedup: entry %s: %w", key, err)
		}
		if o.Owner == r.Invocation {
			return Decision{}, nil
		}
		return Decision{journal.Skipped, ReasonDuplicate, fmt.Sprintf("%s handles the same within %s", o.Owner, cfg.Window)}, nil
	}
	return Decision{}, errors.New("dedup: the entry keeps changing")
}

// Settle tells the guard how an invocation that ran ended: one that came to nothing suppresses no others.
func (g *Guard) Settle(ctx context.Context, r Request, outcome journal.Outcome) error {
	cfg := r.Function.Doc.Spec.Dedup
	if cfg == nil || outcome == journal.Succeeded || outcome == journal.Ineffective {
		return nil
	}
	key := dedupKey(r, cfg)
	e, err := g.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("dedup: %w", err)
	}
	var o owned
	if err := json.Unmarshal(e.Value(), &o); err != nil {
		return fmt.Errorf("dedup: entry %s: %w", key, err)
	}
	if o.Owner != r.Invocation {
		return nil
	}
	err = g.kv.Purge(ctx, key, jetstream.LastRevision(e.Revision()))
	if errors.Is(err, jetstream.ErrKeyExists) {
		return nil // another's by now
	}
	if err != nil {
		return fmt.Errorf("dedup: %w", err)
	}
	return nil
}

func dedupKey(r Request, cfg *function.Dedup) string {
	parts := []string{r.Function.ID.UID}
	for _, k := range cfg.Key {
		parts = append(parts, k, function.Attribute(r.Event, r.Match, k))
	}
	return key("dedup", r.Function.ID, parts)
}

// A spent entry is one use of a budget.
type spent struct {
	Invocation string    `json:"invocation"`
	Time       time.Time `json:"time"`
}

// budget takes one of at most Max uses, or finds that there is none left.
func (g *Guard) budget(ctx context.Context, r Request, cfg *function.Budget) (Decision, error) {
	scope := ""
	switch cfg.Scope {
	case "namespace":
		scope = r.Match.Target.Namespace
	case "node":
		scope = r.Match.Target.Node
	case "rule":
		scope = r.Match.Rule
	}
	k := key("budget", r.Function.ID, []string{r.Function.ID.UID, cfg.Scope, scope})
	for range 20 {
		d, err := g.spend(ctx, k, r, cfg)
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return d, err
		}
	}
	return Decision{}, errors.New("budget: the entry keeps changing")
}

func (g *Guard) spend(ctx context.Context, k string, r Request, cfg *function.Budget) (Decision, error) {
	var uses []spent
	var revision uint64
	e, err := g.kv.Get(ctx, k)
	switch {
	case err == nil:
		revision = e.Revision()
		if err := json.Unmarshal(e.Value(), &uses); err != nil {
			return Decision{}, fmt.Errorf("budget: entry %s: %w", k, err)
		}
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return Decision{}, fmt.Errorf("budget: %w", err)
	}
	uses = slices.DeleteFunc(uses, func(s spent) bool { return r.Now.Sub(s.Time) >= cfg.Per.Std() })
	if slices.ContainsFunc(uses, func(s spent) bool { return s.Invocation == r.Invocation }) {
		return Decision{}, nil
	}
	if len(uses) >= cfg.Max {
		return Decision{journal.Skipped, ReasonBudget, fmt.Sprintf("%d of %d actions per %s are used up", len(uses), cfg.Max, cfg.Per)}, nil
	}
	b, err := json.Marshal(append(uses, spent{r.Invocation, r.Now}))
	if err != nil {
		return Decision{}, err
	}
	if revision == 0 {
		_, err = g.kv.Create(ctx, k, b)
	} else {
		_, err = g.kv.Update(ctx, k, b, revision)
	}
	return Decision{}, err
}

// key is the name of an entry in the bucket of state: what it is, whose, and a hash of the rest.
func key(kind string, id function.ID, parts []string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return "guard." + kind + "." + id.Token() + "." + hex.EncodeToString(sum[:12])
}
