package capability

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// maxValue bounds the bytes of a value.
const maxValue = 256 << 10

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)*$`)

func stateKey(s Scope, key string) (string, error) {
	if len(key) > 256 || !keyPattern.MatchString(key) {
		return "", invalid("%q is not a key: 1 to 256 of letters, digits, _ = / - and single dots between them", key)
	}
	if !s.Grants.KV {
		return "", denied("kv is not granted; the grant that is missing is kv: true")
	}
	return keyPrefix(s.Function) + key, nil
}

func keyPrefix(f Function) string { return f.Hash() + "." }

// An entry is what is stored under a key: the value, when it ends, and the effect that wrote it, by which a repetition is recognised.
type entry struct {
	Value   string    `json:"value"`
	Effect  string    `json:"effect"`
	Expires time.Time `json:"expires,omitzero"`
}

// load reads an entry. One that is absent or over has revision 0 and, if something is stored all the same, its revision in stored.
func load(ctx context.Context, kv jetstream.KeyValue, key string) (e entry, revision, stored uint64, err error) {
	got, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return entry{}, 0, 0, nil
	}
	if err != nil {
		return entry{}, 0, 0, natsError("read "+key, err)
	}
	if err := json.Unmarshal(got.Value(), &e); err != nil {
		return entry{}, 0, 0, fmt.Errorf("read %s: %w", key, err)
	}
	if !e.Expires.IsZero() && !time.Now().Before(e.Expires) {
		return entry{}, 0, got.Revision(), nil
	}
	return e, got.Revision(), got.Revision(), nil
}

// natsError is for failures of the bus itself: they pass.
func natsError(doing string, err error) error {
	if errors.Is(err, nats.ErrInvalidArg) || errors.Is(err, jetstream.ErrInvalidKey) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return &TransientError{Err: fmt.Errorf("%s: %w", doing, err)}
}

// isRevision reports the refusal of a write because the revision was another one.
func isRevision(err error) bool {
	if errors.Is(err, jetstream.ErrKeyExists) {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == 10164)
}

// isFull reports the refusal of a write because the bucket has no room.
func isFull(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == 10077 && strings.Contains(api.Description, "maximum bytes")
}

func errFull(kv jetstream.KeyValue) *abi.Error {
	return abiErrorf(abi.CodeUnavailable, "the keys of all functions together fill their bucket; streams.maxBytes.%s gives it room", kv.Bucket())
}

// kvGetOp is kv.get.
type kvGetOp struct{ kv jetstream.KeyValue }

// Prepare checks the key.
func (o *kvGetOp) Prepare(_ context.Context, s Scope, request []byte) (*Prepared, error) {
	var q abi.KVGet
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	if _, err := stateKey(s, q.Key); err != nil {
		return nil, err
	}
	return &Prepared{Canonical: mustJSON(q), Summary: "read key " + q.Key}, nil
}

// Execute reads the entry.
func (o *kvGetOp) Execute(ctx context.Context, s Scope, p *Prepared, _ string) (Result, error) {
	var q abi.KVGet
	if err := recall(p.Canonical, &q); err != nil {
		return Result{}, err
	}
	key, err := stateKey(s, q.Key)
	if err != nil {
		return Result{}, err
	}
	e, revision, _, err := load(ctx, o.kv, key)
	return Result{Response: mustJSON(abi.KVEntry{Value: e.Value, Revision: revision})}, err
}

// Look is not asked of reads.
func (o *kvGetOp) Look(context.Context, Scope, *Prepared, string) (bool, Result, error) {
	return false, Result{}, errNotAWrite
}

// kvPutOp is kv.put. Absent revisions are settled when the put is prepared, so that what is sent always carries one.
type kvPutOp struct {
	kv     jetstream.KeyValue
	shares *shares
}

type putCall struct {
	Key      string    `json:"key"`
	Value    string    `json:"value"`
	Expires  time.Time `json:"expires,omitzero"`
	Any      bool      `json:"any,omitempty"` // the guest named no revision: whatever is there is replaced
	Revision uint64    `json:"revision"`
}

// putInverse puts the former entry back, or removes the key, if the effect's own entry still stands.
type putInverse struct {
	Key    string `json:"key"`
	Former *entry `json:"former,omitempty"`
}

// Prepare checks the key, the value and a revision that was given.
func (o *kvPutOp) Prepare(ctx context.Context, s Scope, request []byte) (*Prepared, error) {
	var q abi.KVPut
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	key, err := stateKey(s, q.Key)
	if err != nil {
		return nil, err
	}
	if len(q.Value) > maxValue {
		return nil, abiErrorf(abi.CodeTooLarge, "the value has %d bytes; %d are allowed", len(q.Value), maxValue)
	}
	if q.TTL < 0 || q.TTL > int64(10*365*24*time.Hour/time.Second) {
		return nil, invalid("ttlSeconds %d is not within 0 and ten years", q.TTL)
	}
	old, revision, stored, err := load(ctx, o.kv, key)
	if err != nil {
		return nil, err
	}
	if q.Revision != nil && *q.Revision != revision {
		return nil, conflictingRevision(q.Key, revision, *q.Revision)
	}
	call := putCall{Key: q.Key, Value: q.Value, Any: q.Revision == nil, Revision: stored}
	if q.TTL > 0 {
		call.Expires = time.Now().Add(time.Duration(q.TTL) * time.Second).UTC().Truncate(time.Second)
	}
	back := putInverse{Key: q.Key}
	if revision != 0 {
		back.Former = &old
	}
	if err := o.shares.check(ctx, s.Function, call.room(key, back.Former)); err != nil {
		return nil, err
	}
	return &Prepared{
		Write: true, Class: Conditional, Canonical: mustJSON(call), Summary: "write key " + q.Key,
		Inverse: &Inverse{Op: abi.OpKVPut, Request: mustJSON(back), Summary: "put back the former value of " + q.Key},
	}, nil
}

// room is how much more of the function's share the put takes than the entry before it.
func (c putCall) room(key string, former *entry) int64 {
	n := entrySize(key, mustJSON(entry{Value: c.Value, Expires: c.Expires}))
	if former != nil {
		n -= entrySize(key, mustJSON(entry{Value: former.Value, Expires: former.Expires}))
	}
	return n
}

func conflictingRevision(key string, is, said uint64) error {
	return abiErrorf(abi.CodeConflict, "key %q has revision %d, the request says %d", key, is, said)
}

// Execute writes the entry, under the revision it had when the put was prepared.
func (o *kvPutOp) Execute(ctx context.Context, s Scope, p *Prepared, effect string) (Result, error) {
	var q putCall
	if err := recall(p.Canonical, &q); err != nil {
		return Result{}, err
	}
	key, err := stateKey(s, q.Key)
	if err != nil {
		return Result{}, err
	}
	if s.Mode != Enforce {
		return Result{Response: mustJSON(abi.KVRevision{Revision: q.Revision + 1, DryRun: true}), Object: q.Key, Rehearsed: true}, nil
	}
	var back putInverse
	if p.Inverse != nil {
		if err := recall(p.Inverse.Request, &back); err != nil {
			return Result{}, err
		}
	}
	e := entry{Value: q.Value, Effect: effect, Expires: q.Expires}
	for range maxRaces {
		revision, err := update(ctx, o.kv, key, e, q.Revision)
		if err == nil {
			o.shares.add(s.Function, q.room(key, back.Former))
			return Result{Response: mustJSON(abi.KVRevision{Revision: revision}), Object: q.Key}, nil
		}
		if isFull(err) {
			return Result{}, errFull(o.kv)
		}
		if !isRevision(err) {
			return Result{}, natsError("write "+key, err)
		}
		now, revision, stored, err := load(ctx, o.kv, key)
		if err != nil {
			return Result{}, err
		}
		if now.Effect == effect {
			return Result{Response: mustJSON(abi.KVRevision{Revision: stored}), Object: q.Key, Note: "found done by an earlier attempt"}, nil
		}
		absent := revision == 0 && back.Former == nil // as it was, but what was over has been removed since
		if !q.Any && !absent {
			return Result{}, conflictingRevision(q.Key, stored, q.Revision)
		}
		q.Revision = stored
	}
	return Result{}, &TransientError{Err: fmt.Errorf("write %s: others write it all the time", key)}
}

// update writes under a revision; 0 means that the key must not exist.
func update(ctx context.Context, kv jetstream.KeyValue, key string, e entry, revision uint64) (uint64, error) {
	if revision != 0 {
		return kv.Update(ctx, key, mustJSON(e), revision) // has no TTL: a count of the share removes the entry when it is over
	}
	var opts []jetstream.KVCreateOpt
	if !e.Expires.IsZero() {
		opts = append(opts, jetstream.KeyTTL(max(0, time.Until(e.Expires)).Truncate(time.Second)+time.Second)) // in whole seconds, and not too soon
	}
	return kv.Create(ctx, key, mustJSON(e), opts...)
}

// Look reports whether the effect's entry stands.
func (o *kvPutOp) Look(ctx context.Context, s Scope, p *Prepared, effect string) (bool, Result, error) {
	var q putCall
	if err := recall(p.Canonical, &q); err != nil {
		return false, Result{}, err
	}
	key, err := stateKey(s, q.Key)
	if err != nil {
		return false, Result{}, err
	}
	e, revision, _, err := load(ctx, o.kv, key)
	if err != nil || e.Effect != effect {
		return false, Result{}, err
	}
	return true, Result{Response: mustJSON(abi.KVRevision{Revision: revision}), Object: q.Key}, nil
}

// Revert puts the former entry back.
func (o *kvPutOp) Revert(ctx context.Context, s Scope, i *Inverse, effect string) (Result, error) {
	var q putInverse
	if err := recall(i.Request, &q); err != nil {
		return Result{}, err
	}
	s.Grants.KV = true // taking back needs no grant
	key, err := stateKey(s, q.Key)
	if err != nil {
		return Result{}, err
	}
	now, revision, _, err := load(ctx, o.kv, key)
	if err != nil {
		return Result{}, err
	}
	res := Result{Object: q.Key, Rehearsed: s.Mode != Enforce}
	if now.Effect != effect || revision == 0 {
		res.Note = "left alone: the entry is not the one this effect wrote"
		return res, nil
	}
	if s.Mode != Enforce {
		return res, nil
	}
	if q.Former == nil {
		err = remove(ctx, o.kv, key, revision)
	} else {
		_, err = o.kv.Update(ctx, key, mustJSON(q.Former), revision)
	}
	if err != nil {
		err = natsError("revert "+key, err) // a lost race, too, is worth another look
	}
	return res, err
}

// kvDeleteOp is kv.delete.
type kvDeleteOp struct {
	kv     jetstream.KeyValue
	shares *shares
}

// Prepare checks the key.
func (o *kvDeleteOp) Prepare(ctx context.Context, s Scope, request []byte) (*Prepared, error) {
	var q abi.KVDelete
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	key, err := stateKey(s, q.Key)
	if err != nil {
		return nil, err
	}
	if q.Revision != nil {
		_, revision, _, err := load(ctx, o.kv, key)
		if err != nil {
			return nil, err
		}
		if revision != 0 && revision != *q.Revision {
			return nil, conflictingRevision(q.Key, revision, *q.Revision)
		}
	}
	return &Prepared{
		Write: true, Class: Convergent, Canonical: mustJSON(q), Summary: "delete key " + q.Key,
		Inverse: &Inverse{Irreversible: "a deleted key does not come back"},
	}, nil
}

// Execute deletes the entry.
func (o *kvDeleteOp) Execute(ctx context.Context, s Scope, p *Prepared, _ string) (Result, error) {
	var q abi.KVDelete
	if err := recall(p.Canonical, &q); err != nil {
		return Result{}, err
	}
	key, err := stateKey(s, q.Key)
	if err != nil {
		return Result{}, err
	}
	res := Result{Response: mustJSON(abi.Empty{}), Object: q.Key, Rehearsed: s.Mode != Enforce}
	if s.Mode != Enforce {
		return res, nil
	}
	old, revision, stored, err := load(ctx, o.kv, key)
	if err != nil {
		return Result{}, err
	}
	if stored == 0 {
		return res, nil
	}
	if q.Revision != nil && revision != 0 && revision != *q.Revision {
		return Result{}, conflictingRevision(q.Key, revision, *q.Revision)
	}
	err = remove(ctx, o.kv, key, stored)
	if isFull(err) { // the mark in its place needs room, too
		return Result{}, errFull(o.kv)
	}
	if err != nil {
		return Result{}, natsError("delete "+key, err)
	}
	o.shares.add(s.Function, -entrySize(key, mustJSON(old)))
	return res, nil
}

// Look reports whether the key is gone.
func (o *kvDeleteOp) Look(ctx context.Context, s Scope, p *Prepared, _ string) (bool, Result, error) {
	var q abi.KVDelete
	if err := recall(p.Canonical, &q); err != nil {
		return false, Result{}, err
	}
	key, err := stateKey(s, q.Key)
	if err != nil {
		return false, Result{}, err
	}
	_, revision, _, err := load(ctx, o.kv, key)
	return revision == 0, Result{Response: mustJSON(abi.Empty{}), Object: q.Key}, err
}
