// Package store keeps functions and their modules: specs in the key-value bucket tiercel_functions, each with its revision and whoever
// manages it, modules by digest in the object store tiercel_modules.
//
// It checks neither documents (runtime/function) nor modules (runtime/sandbox); callers do that before. Read Store first, then Entry.
package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/function"
)

var (
	// ErrNotFound means that there is no such function or module.
	ErrNotFound = errors.New("not found")
	// ErrManaged means that another kind of manager owns the function.
	ErrManaged = errors.New("managed elsewhere")
	// ErrConflict means that somebody else changed the function at the same time.
	ErrConflict = errors.New("changed by somebody else at the same time")
	// ErrRevision means that a revision is not there to go back to.
	ErrRevision = errors.New("no such revision is stored")
)

// A Manager is who may write a function.
type Manager string

// The managers.
const (
	ByCLI Manager = "cli"
	ByDir Manager = "dir" // a directory given to the runtime
	ByCRD Manager = "crd"
)

// An Entry is a function as stored.
type Entry struct {
	ID        function.ID   `json:"id"`
	ManagedBy Manager       `json:"managedBy"`
	Origin    string        `json:"origin,omitempty"`    // file or object it came from
	Revision  uint64        `json:"revision"`            // 1, 2, … of this UID: grows with each change of document or module
	StartAt   uint64        `json:"startAt"`             // first sequence of EVENTS that is for it
	Module    string        `json:"module"`              // digest
	Manifest  *abi.Manifest `json:"manifest,omitempty"`  // of the module
	Suspended bool          `json:"suspended,omitempty"` // by command; the document's suspend is apart
	Created   time.Time     `json:"created"`
	Updated   time.Time     `json:"updated"`

	Document json.RawMessage `json:"document"`

	kv uint64 // revision of the bucket's entry
}

// Parse returns the entry's document.
func (e *Entry) Parse() (*function.Document, error) { return function.Decode(e.Document) }

// Key is the entry's key in the bucket.
func (e *Entry) Key() string { return e.ID.Token() }

// KV is the revision of the bucket's entry: it grows with every write, suspensions included.
func (e *Entry) KV() uint64 { return e.kv }

// A Store is safe for concurrent use.
type Store struct {
	js      jetstream.JetStream
	kv      jetstream.KeyValue
	modules jetstream.ObjectStore
}

// Open returns a Store on buckets that exist already.
func Open(ctx context.Context, js jetstream.JetStream) (*Store, error) {
	kv, err := js.KeyValue(ctx, bus.BucketFunctions)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", bus.BucketFunctions, err)
	}
	modules, err := js.ObjectStore(ctx, bus.StoreModules)
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", bus.StoreModules, err)
	}
	return &Store{js: js, kv: kv, modules: modules}, nil
}

// Digest is how modules are named: sha256: and 64 hexadecimal digits.
func Digest(module []byte) string {
	sum := sha256.Sum256(module)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// PutModule stores a module and returns its digest. One that is there already is left as it is.
func (s *Store) PutModule(ctx context.Context, module []byte) (string, error) {
	digest := Digest(module)
	if info, err := s.modules.GetInfo(ctx, digest); err == nil && info.Size == uint64(len(module)) {
		return digest, nil
	}
	if _, err := s.modules.PutBytes(ctx, digest, module); err != nil {
		return "", fmt.Errorf("store module %s: %w", digest, err)
	}
	return digest, nil
}

// Module returns the module of that digest, verified. It returns ErrNotFound if there is none.
func (s *Store) Module(ctx context.Context, digest string) ([]byte, error) {
	r, err := s.modules.Get(ctx, digest)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, fmt.Errorf("module %s: %w", digest, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", digest, err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, abi.MaxModule+1))
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", digest, err)
	}
	if got := Digest(data); got != digest {
		return nil, fmt.Errorf("module %s: the stored bytes have digest %s", digest, got)
	}
	return data, nil
}

// Get returns the function of that token. It returns ErrNotFound if there is none.
func (s *Store) Get(ctx context.Context, token string) (*Entry, error) {
	e, err := s.kv.Get(ctx, token)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fmt.Errorf("function %s: %w", token, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("function %s: %w", token, err)
	}
	return decode(e)
}

// Pinned returns the latest stored revision of a function whose configuration has that digest: the one of that number, or one that
// followed and left the configuration as it was. The bucket keeps 16 writes of a function. The error is ErrNotFound if there is none.
func (s *Store) Pinned(ctx context.Context, id function.ID, config string, revision uint64) (*Entry, error) {
	history, err := s.History(ctx, id.Token())
	if err != nil {
		return nil, err
	}
	for _, e := range history {
		doc, err := e.Parse()
		if err != nil {
			return nil, err
		}
		if e.ID == id && e.Revision >= revision && Digest(doc.Spec.Config) == config {
			return e, nil
		}
	}
	return nil, fmt.Errorf("function %s, revision %d: %w", id.Token(), revision, ErrNotFound)
}

// History returns what the bucket has of a function of that token, the latest first, deletions left out. The error is ErrNotFound if
// there is nothing.
func (s *Store) History(ctx context.Context, token string) ([]*Entry, error) {
	all, err := s.kv.History(ctx, token)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fmt.Errorf("function %s: %w", token, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("function %s: %w", token, err)
	}
	var out []*Entry
	for _, e := range slices.Backward(all) {
		if e.Operation() != jetstream.KeyValuePut {
			continue
		}
		f, err := decode(e)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func decode(e jetstream.KeyValueEntry) (*Entry, error) {
	f := new(Entry)
	if err := json.Unmarshal(e.Value(), f); err != nil {
		return nil, fmt.Errorf("function %s: %w", e.Key(), err)
	}
	f.kv = e.Revision()
	return f, nil
}

// List returns all functions, sorted by token.
func (s *Store) List(ctx context.Context) ([]*Entry, error) {
	w, err := s.kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	defer w.Stop()
	var out []*Entry
	for {
		select {
		case e := <-w.Updates():
			if e == nil {
				slices.SortFunc(out, func(a, b *Entry) int { return strings.Compare(a.Key(), b.Key()) })
				return out, nil
			}
			f, err := decode(e)
			if err != nil {
				return nil, err
			}
			out = append(out, f)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// A Change is one message of Watch.
type Change struct {
	Token string
	Entry *Entry // nil: deleted
	Err   error  // the entry cannot be read
	Ready bool   // everything that was there at the start has been told; the other fields are empty
}

// Watch calls f with every function there is, then with one Change that has Ready set, then with each change, until ctx ends. It returns
// nil then.
func (s *Store) Watch(ctx context.Context, f func(Change)) error {
	w, err := s.kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch functions: %w", err)
	}
	defer w.Stop()
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("watch functions: the watch ended")
			case e == nil:
				f(Change{Ready: true})
			case e.Operation() != jetstream.KeyValuePut:
				f(Change{Token: e.Key()})
			default:
				entry, err := decode(e)
				f(Change{Token: e.Key(), Entry: entry, Err: err})
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// An Applied says what Apply did.
type Applied string

// What Apply did.
const (
	Created   Applied = "created"
	Updated   Applied = "updated"
	Unchanged Applied = "unchanged"
)

// Apply stores a checked document with the digest of its module, which is stored already. A new function begins with the events
// published from now on. It returns ErrManaged if another manager owns the function and ErrConflict after lost races.
func (s *Store) Apply(ctx context.Context, d *function.Document, module string, m *abi.Manifest, by Manager, origin string) (*Entry, Applied, error) {
	token := d.Metadata.Token()
	for range 5 {
		e, how, err := s.apply(ctx, token, d, module, m, by, origin)
		if !errors.Is(err, ErrConflict) {
			return e, how, err
		}
	}
	return nil, "", fmt.Errorf("function %s: %w", token, ErrConflict)
}

func (s *Store) apply(ctx context.Context, token string, d *function.Document, module string, m *abi.Manifest, by Manager, origin string) (*Entry, Applied, error) {
	old, err := s.Get(ctx, token)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, "", err
	}
	now, doc := time.Now().UTC(), d.Encode()
	if old == nil {
		start, err := s.nextSequence(ctx)
		if err != nil {
			return nil, "", err
		}
		e := &Entry{
			ID: function.ID{Tenant: d.Metadata.Namespace, Name: d.Metadata.Name, UID: ulid.Make().String()}, ManagedBy: by, Origin: origin,
			Revision: 1, StartAt: start, Module: module, Manifest: m, Created: now, Updated: now, Document: doc,
		}
		return e, Created, s.write(ctx, e)
	}
	if old.ManagedBy != by {
		return nil, "", fmt.Errorf("function %s: %w: it is managed by %s (%s)", token, ErrManaged, old.ManagedBy, old.Origin)
	}
	if string(old.Document) == string(doc) && old.Module == module && old.Origin == origin {
		return old, Unchanged, nil
	}
	e := *old
	e.Document, e.Module, e.Manifest, e.Origin, e.Updated = doc, module, m, origin, now
	e.Revision++
	return &e, Updated, s.write(ctx, &e)
}

// Rollback stores what a revision was, or with 0 the one before the current, as a new revision, and returns its number and the entry. It
// returns ErrNotFound, ErrRevision, ErrManaged or ErrConflict.
func (s *Store) Rollback(ctx context.Context, token string, revision uint64, by Manager) (from uint64, e *Entry, err error) {
	now, err := s.Get(ctx, token)
	if err != nil {
		return 0, nil, err
	}
	if now.ManagedBy != by {
		return 0, nil, fmt.Errorf("function %s: %w: it is managed by %s (%s)", token, ErrManaged, now.ManagedBy, now.Origin)
	}
	if revision == 0 {
		revision = now.Revision - 1
	}
	history, err := s.History(ctx, token)
	if err != nil {
		return 0, nil, err
	}
	var there []uint64
	for _, old := range history {
		if old.ID != now.ID || old.Revision == now.Revision || slices.Contains(there, old.Revision) {
			continue
		}
		if there = append(there, old.Revision); old.Revision != revision {
			continue
		}
		e := *now
		e.Document, e.Module, e.Manifest, e.Origin, e.Updated = old.Document, old.Module, old.Manifest, old.Origin, time.Now().UTC()
		e.Revision++
		return revision, &e, s.write(ctx, &e)
	}
	return 0, nil, fmt.Errorf("function %s: revision %d: %w; there are %v", token, revision, ErrRevision, there)
}

// nextSequence is the sequence that the next event will have.
func (s *Store) nextSequence(ctx context.Context) (uint64, error) {
	stream, err := s.js.Stream(ctx, bus.StreamEvents)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", bus.StreamEvents, err)
	}
	return stream.CachedInfo().State.LastSeq + 1, nil
}

// write stores e if the bucket still has what e was made from.
func (s *Store) write(ctx context.Context, e *Entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("function %s: %w", e.Key(), err)
	}
	if e.kv == 0 {
		e.kv, err = s.kv.Create(ctx, e.Key(), b)
	} else {
		e.kv, err = s.kv.Update(ctx, e.Key(), b, e.kv)
	}
	if errors.Is(err, jetstream.ErrKeyExists) {
		return fmt.Errorf("function %s: %w", e.Key(), ErrConflict)
	}
	if err != nil {
		return fmt.Errorf("function %s: %w", e.Key(), err)
	}
	return nil
}

// Suspend stops or resumes a function by command; it makes no revision. Whoever manages the function, this is allowed.
func (s *Store) Suspend(ctx context.Context, token string, suspend bool) (*Entry, error) {
	for range 5 {
		e, err := s.Get(ctx, token)
		if err != nil || e.Suspended == suspend {
			return e, err
		}
		e.Suspended, e.Updated = suspend, time.Now().UTC()
		if err = s.write(ctx, e); !errors.Is(err, ErrConflict) {
			return e, err
		}
	}
	return nil, fmt.Errorf("function %s: %w", token, ErrConflict)
}

// Delete removes a function; its modules stay. It returns ErrManaged if another manager owns it.
func (s *Store) Delete(ctx context.Context, token string, by Manager) (*Entry, error) {
	e, err := s.Get(ctx, token)
	if err != nil {
		return nil, err
	}
	if e.ManagedBy != by {
		return nil, fmt.Errorf("function %s: %w: it is managed by %s (%s)", token, ErrManaged, e.ManagedBy, e.Origin)
	}
	err = s.kv.Delete(ctx, token, jetstream.LastRevision(e.kv))
	if errors.Is(err, jetstream.ErrKeyExists) {
		return nil, fmt.Errorf("function %s: %w", token, ErrConflict)
	}
	if err != nil {
		return nil, fmt.Errorf("delete function %s: %w", token, err)
	}
	return e, nil
}
