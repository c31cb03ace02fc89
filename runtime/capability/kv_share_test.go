package capability

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/bustest"
	"github.com/tiercel-project/tiercel/bus/quantity"
	"github.com/tiercel-project/tiercel/functions/abi"
)

func (st state) put(key, value string, ttl int64) error {
	_, _, err := st.call(abi.OpKVPut, abi.KVPut{Key: key, Value: value, TTL: ttl}, "e-"+key)
	return err
}

// fill puts new keys until one is refused, and returns how many there are and why there are no more.
func (st state) fill(prefix, value string) (int, error) {
	for n := range 1000 {
		if err := st.put(fmt.Sprintf("%s%d", prefix, n), value, 0); err != nil {
			return n, err
		}
	}
	return 1000, nil
}

func TestKVShare(t *testing.T) {
	kv := newBucket(t)
	f, g := newState(t, kv, "f"), newState(t, kv, "g")
	large := strings.Repeat("x", maxValue)
	n, err := f.fill("k", large)
	if code(err) != abi.CodeTooLarge || n != 63 {
		t.Fatalf("after %d puts: %v", n, err)
	}
	if err := f.put("k0", large[:maxValue-1], 0); err != nil {
		t.Errorf("a smaller value in place of another: %v", err)
	}
	if err := g.put("k", large, 0); err != nil {
		t.Errorf("another function: %v", err)
	}
	if err := newState(t, kv, "f").put("new", large, 0); code(err) != abi.CodeTooLarge {
		t.Errorf("in another runtime: %v", err)
	}
	if _, _, err := f.call(abi.OpKVDelete, abi.KVDelete{Key: "k1"}, "e"); err != nil {
		t.Fatal(err)
	}
	if err := f.put("new", large, 0); err != nil {
		t.Errorf("in place of a deleted key: %v", err)
	}
	for range 100 {
		if err := f.put("k2", large, 0); err != nil {
			t.Fatalf("the same key again and again: %v", err)
		}
	}
}

// Empty values are bounded too.
func TestKVShareOfKeys(t *testing.T) {
	st := newState(t, newBucket(t), "f")
	put := st.r.ops[abi.OpKVPut].(*kvPutOp)
	put.shares.max = 10 << 10
	if n, err := st.fill("k", ""); code(err) != abi.CodeTooLarge || n < 20 || n > 40 {
		t.Errorf("after %d puts: %v", n, err)
	}
}

// What is over leaves the bucket: by itself if it was new, else when the share is counted.
func TestKVShareExpires(t *testing.T) {
	kv := newBucket(t)
	st := newState(t, kv, "f")
	for range 2 {
		if err := st.put("again", "1", 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.put("new", "1", 1); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"new", "again"} {
		k, err := stateKey(st.scope, key)
		if err != nil {
			t.Fatal(err)
		}
		gone := func() bool { _, err := kv.Get(t.Context(), k); return err != nil }
		for end := time.Now().Add(20 * time.Second); !gone() && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if key == "new" {
				continue
			}
			if _, err := newShares(kv).count(t.Context(), keyPrefix(st.scope.Function)); err != nil {
				t.Fatal(err)
			}
		}
		if !gone() {
			t.Errorf("%s is still stored", key)
		}
	}
}

// However much functions keep, everything can be stopped.
func TestKVFull(t *testing.T) {
	cfg := bus.DefaultServerConfig()
	cfg.Limits.MaxBytes = map[string]quantity.Size{bus.BucketKV: 8 << 20, bus.BucketState: 8 << 20}
	b := bustest.Start(t, cfg)
	kv, err := b.KeyValue(t.Context(), bus.BucketKV)
	if err != nil {
		t.Fatal(err)
	}
	st := newState(t, kv, "f")
	for size := maxValue; size > 1; size /= 4 { // the last bytes, too
		if n, err := st.fill(fmt.Sprintf("k%d.", size), strings.Repeat("x", size)); code(err) != abi.CodeUnavailable || !strings.Contains(err.Error(), "streams.maxBytes.tiercel_kv") {
			t.Fatalf("after %d puts: %v", n, err)
		}
	}
	guards, err := b.KeyValue(t.Context(), bus.BucketState)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guards.Put(t.Context(), "guard.stop", []byte(`{"stopped":true}`)); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := ForgetKV(t.Context(), b.JetStream(), st.scope.Function); err != nil {
		t.Fatal(err)
	}
	if s, err := kv.Status(t.Context()); err != nil || s.Values() != 0 {
		t.Errorf("of a deleted function stay %d keys, %v", s.Values(), err)
	}
}
