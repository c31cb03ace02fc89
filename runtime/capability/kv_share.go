package capability

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
)

const (
	maxShare   = 16 << 20         // bytes that a function may keep
	entryCost  = 256              // bytes that an entry counts for beside its key and value, so that empty ones are bounded too
	countEvery = time.Minute      // after which other runtimes' writes are looked for
	countAgain = 10 * time.Second // between two counts of a share that is full
	maxExpired = 1000             // entries that one count removes, as a guest waits for it
)

// shares knows how much of the bucket each function takes: counted when it first puts something, then kept up to date with what is
// written here, and counted again now and then.
type shares struct {
	kv  jetstream.KeyValue
	max int64

	mu sync.Mutex
	of map[string]share // by prefix of the keys; guarded by mu
}

type share struct {
	used    int64
	counted time.Time
}

func newShares(kv jetstream.KeyValue) *shares {
	return &shares{kv: kv, max: maxShare, of: map[string]share{}}
}

// entrySize is what an entry takes of its function's share.
func entrySize(key string, value []byte) int64 { return int64(len(key) + len(value) + entryCost) }

// check returns an *abi.Error if a function's share has no room for so many more bytes.
func (s *shares) check(ctx context.Context, f Function, more int64) error {
	if more <= 0 {
		return nil
	}
	prefix := keyPrefix(f)
	s.mu.Lock()
	sh, ok := s.of[prefix]
	s.mu.Unlock()
	if age := time.Since(sh.counted); !ok || age > countEvery || sh.used+more > s.max && age > countAgain {
		used, err := s.count(ctx, prefix)
		if err != nil {
			return natsError("count the keys of "+f.Name, err)
		}
		sh = share{used, time.Now()}
		s.mu.Lock()
		for p, old := range s.of {
			if time.Since(old.counted) > countEvery {
				delete(s.of, p)
			}
		}
		s.of[prefix] = sh
		s.mu.Unlock()
	}
	if sh.used+more > s.max {
		return abiErrorf(abi.CodeTooLarge, "the function keeps %d bytes and the put takes %d more; %d are allowed: delete keys, or give them a time to live", sh.used, more, s.max)
	}
	return nil
}

// add notes what a write changed. Several puts at one time may go beyond the share together, by as much as they hold.
func (s *shares) add(f Function, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh, ok := s.of[keyPrefix(f)]; ok {
		sh.used += n
		s.of[keyPrefix(f)] = sh
	}
}

// count reads all a function keeps, the marks of deleted keys included, and removes what is over.
func (s *shares) count(ctx context.Context, prefix string) (int64, error) {
	w, err := s.kv.Watch(ctx, prefix+">")
	if err != nil {
		return 0, err
	}
	defer func() { _ = w.Stop() }()
	var used int64
	over := map[string]jetstream.KeyValueEntry{}
	for {
		select {
		case got, ok := <-w.Updates():
			if !ok {
				return 0, fmt.Errorf("watch %s: the watch ended", prefix)
			}
			if got == nil {
				return used - s.removeAll(ctx, over), nil
			}
			used += entrySize(got.Key(), got.Value())
			var e entry
			if got.Operation() == jetstream.KeyValuePut && len(over) < maxExpired && json.Unmarshal(got.Value(), &e) == nil &&
				!e.Expires.IsZero() && time.Now().After(e.Expires) {
				over[got.Key()] = got
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// removeAll removes entries that nobody has written since, and returns what they took. What cannot be removed stays and counts.
func (s *shares) removeAll(ctx context.Context, over map[string]jetstream.KeyValueEntry) (freed int64) {
	for key, e := range over {
		if remove(ctx, s.kv, key, e.Revision()) == nil {
			freed += entrySize(key, e.Value())
		}
	}
	return freed
}

// remove removes an entry of that revision. The mark that is left in its place goes after a minute.
func remove(ctx context.Context, kv jetstream.KeyValue, key string, revision uint64) error {
	return kv.Purge(ctx, key, jetstream.LastRevision(revision), jetstream.PurgeTTL(time.Minute))
}

// ForgetKV removes all that a function keeps.
func ForgetKV(ctx context.Context, js jetstream.StreamManager, f Function) error {
	stream, err := js.Stream(ctx, "KV_"+bus.BucketKV)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+bus.BucketKV+"."+keyPrefix(f)+">"))
	}
	if err != nil {
		return fmt.Errorf("remove the keys of %s: %w", f.Name, err)
	}
	return nil
}
