package bus

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus/quantity"
)

// TestStreamSettings writes down what the live configuration must be: changing the table needs a reason here too.
func TestStreamSettings(t *testing.T) {
	b := newBus(t)
	type settings struct {
		Subjects                                              string
		MaxBytes                                              int64
		MaxAge                                                time.Duration
		PerSubject                                            int64
		Discard                                               string
		Rollup, Schedules, TTL, DenyDelete, DenyPurge, Direct bool
	}
	want := map[string]settings{
		"EVENTS":     {"tiercel.events.>", 1 << 30, 168 * time.Hour, -1, "DiscardOld", false, false, false, false, false, true},
		"JOURNAL":    {"tiercel.journal.>", 256 << 20, 0, -1, "DiscardNew", true, false, true, false, false, false},
		"ACTIONS":    {"tiercel.actions.>", 1 << 30, 90 * 24 * time.Hour, -1, "DiscardOld", false, false, false, true, true, true},
		"TIMERS":     {"tiercel.timers.>", 64 << 20, 0, -1, "DiscardOld", true, true, false, false, false, true},
		"OUTCOMES":   {"tiercel.outcomes.>", 256 << 20, 168 * time.Hour, -1, "DiscardOld", false, false, false, false, false, true},
		"DEADLETTER": {"tiercel.deadletter.>", 256 << 20, 720 * time.Hour, 1000, "DiscardNew", false, false, false, false, false, true},

		"KV_tiercel_functions":  {"$KV.tiercel_functions.>", 64 << 20, 0, 16, "DiscardNew", true, false, false, true, false, true},
		"KV_tiercel_state":      {"$KV.tiercel_state.>", 256 << 20, 0, 1, "DiscardNew", true, false, true, true, false, false},
		"KV_tiercel_kv":         {"$KV.tiercel_kv.>", 256 << 20, 0, 1, "DiscardNew", true, false, true, true, false, false},
		"OBJ_tiercel_modules":   {"$O.tiercel_modules.C.>,$O.tiercel_modules.M.>", 1 << 30, 0, -1, "DiscardNew", true, false, false, false, false, true},
		"OBJ_tiercel_artifacts": {"$O.tiercel_artifacts.C.>,$O.tiercel_artifacts.M.>", 1 << 30, 0, -1, "DiscardNew", true, false, false, false, false, true},
		"OBJ_tiercel_bodies":    {"$O.tiercel_bodies.C.>,$O.tiercel_bodies.M.>", 512 << 20, 0, -1, "DiscardNew", true, false, false, false, false, true},
	}
	got := map[string]settings{}
	list := b.JetStream().ListStreams(t.Context())
	for info := range list.Info() {
		c := info.Config
		if c.Storage != jetstream.FileStorage || c.Replicas != 1 || c.MaxMsgs != -1 {
			t.Errorf("%s: storage %v, replicas %d, max_msgs %d", c.Name, c.Storage, c.Replicas, c.MaxMsgs)
		}
		got[c.Name] = settings{
			strings.Join(c.Subjects, ","), c.MaxBytes, c.MaxAge, c.MaxMsgsPerSubject, c.Discard.String(),
			c.AllowRollup, c.AllowMsgSchedules, c.AllowMsgTTL, c.DenyDelete, c.DenyPurge, c.AllowDirect,
		}
	}
	if list.Err() != nil {
		t.Fatal(list.Err())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEnsureStreamsIsIdempotent(t *testing.T) {
	s := startServer(t, t.TempDir())
	var wg sync.WaitGroup
	for range 4 { // four parts starting at once
		b := connect(t, s)
		wg.Go(func() {
			if err := b.EnsureStreams(t.Context(), RoleRuntime); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b := connect(t, s)
	seen := 0
	for range b.JetStream().StreamNames(t.Context()).Name() {
		seen++
	}
	if seen != 12 {
		t.Errorf("%d streams, want 12", seen)
	}
	for _, bucket := range []string{BucketFunctions, BucketState, BucketKV} { // and clients open them as buckets
		kv, err := b.KeyValue(t.Context(), bucket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Create(t.Context(), "a", []byte("1")); err != nil {
			t.Error(err)
		}
	}
	kv, err := b.KeyValue(t.Context(), BucketState)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(t.Context(), "b", []byte("1"), jetstream.KeyTTL(time.Hour)); err != nil {
		t.Errorf("entry with a TTL: %v", err)
	}
	for _, store := range []string{StoreModules, StoreArtifacts, StoreBodies} {
		os, err := b.ObjectStore(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.PutBytes(t.Context(), "x", make([]byte, 300<<10)); err != nil {
			t.Error(err)
		}
		if got, err := os.GetBytes(t.Context(), "x"); err != nil || len(got) != 300<<10 {
			t.Errorf("%s: %d bytes, %v", store, len(got), err)
		}
	}
	if _, err := b.KeyValue(t.Context(), "nothing"); err == nil {
		t.Error("a bucket that is not there was opened")
	}
}

func TestEnsureStreamsByRole(t *testing.T) {
	b := connect(t, startServer(t, t.TempDir()))
	if err := b.EnsureStreams(t.Context(), RoleSensor); err != nil {
		t.Fatal(err)
	}
	var got []string
	for n := range b.JetStream().StreamNames(t.Context()).Name() {
		got = append(got, n)
	}
	if diff := cmp.Diff([]string{"EVENTS", "OBJ_tiercel_artifacts"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEnsureStreamsRefuses: each wrong setting is an error that names stream, setting, got and want.
func TestEnsureStreamsRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, stream, setting, got, want string
		edit                             func(*jetstream.StreamConfig)
	}{
		{"rollup", StreamEvents, "allow_rollup_hdrs", "true", "false", func(c *jetstream.StreamConfig) { c.AllowRollup = true }},
		{"TTL", StreamEvents, "allow_msg_ttl", "true", "false", func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }},
		{"schedules", StreamEvents, "allow_msg_schedules", "true", "false", func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = true }},
		{"memory", StreamEvents, "storage", "Memory", "File", func(c *jetstream.StreamConfig) { c.Storage, c.MaxBytes = jetstream.MemoryStorage, 1<<20 }},
		{"work queue", StreamEvents, "retention", "WorkQueue", "Limits", func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }},
		{"subjects", StreamEvents, "subjects", "[tiercel.events.> x.y]", "[tiercel.events.>]", func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "x.y") }},
		{"no ack", StreamEvents, "no_ack", "true", "false", func(c *jetstream.StreamConfig) { c.NoAck = true }},
		{"republish", StreamActions, "republish", "copy.>", "none", func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: ">", Destination: "copy.>"}
		}},
		{"transform", StreamEvents, "subject_transform", "tiercel.events.x.>", "none", func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "tiercel.events.>", Destination: "tiercel.events.x.>"}
		}},
		{"purge", StreamActions, "deny_purge", "false", "true", func(c *jetstream.StreamConfig) { c.DenyPurge = false }},
		{"delete", StreamActions, "deny_delete", "false", "true", func(c *jetstream.StreamConfig) { c.DenyDelete = false }},
		{"cannot purge", StreamJournal, "deny_purge", "true", "false", func(c *jetstream.StreamConfig) { c.DenyPurge, c.AllowRollup = true, false }},
		{"asynchronous", StreamActions, "persist_mode", "async", "default", func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := connect(t, startServer(t, t.TempDir()))
			cfg := specOf(t, tc.stream)
			tc.edit(&cfg)
			if _, err := b.JetStream().CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			err := b.EnsureStreams(t.Context())
			se := settingError(err, tc.setting)
			if se == nil {
				t.Fatalf("got %v, want a *SettingError of %s", err, tc.setting)
			}
			if se.Stream != tc.stream || se.Setting != tc.setting || !strings.EqualFold(se.Got, tc.got) || !strings.EqualFold(se.Want, tc.want) || se.Hint == "" {
				t.Errorf("got %+v, want %s: %s is %s, want %s", se, tc.stream, tc.setting, tc.got, tc.want)
			}
			for _, part := range []string{tc.stream, tc.setting} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
			live, err := b.JetStream().Stream(t.Context(), tc.stream)
			if err != nil {
				t.Fatal(err)
			}
			if live.CachedInfo().Config.Name != tc.stream {
				t.Error("the stream was touched")
			}
		})
	}
}

// settingError finds the error about one setting among those joined.
func settingError(err error, setting string) *SettingError {
	if j, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		for _, err := range j.Unwrap() {
			if se := settingError(err, setting); se != nil {
				return se
			}
		}
		return nil
	}
	if se, ok := errors.AsType[*SettingError](err); ok && se.Setting == setting {
		return se
	}
	return nil
}

func specOf(t *testing.T, name string) jetstream.StreamConfig {
	t.Helper()
	for _, s := range streamTable() {
		if s.Name == name {
			return s.StreamConfig
		}
	}
	t.Fatalf("no stream %s", name)
	return jetstream.StreamConfig{}
}

// TestEnsureStreamsUpdates: what loses nothing is applied to the live stream, and the operator's own settings stay.
func TestEnsureStreamsUpdates(t *testing.T) {
	b := connect(t, startServer(t, t.TempDir()))
	cfg := specOf(t, StreamEvents)
	cfg.MaxBytes, cfg.MaxAge, cfg.MaxMsgs, cfg.MaxMsgSize = 10<<20, time.Hour, 5, 1000
	cfg.Duplicates, cfg.Description, cfg.AllowDirect, cfg.MaxConsumers = time.Minute, "", false, 3
	cfg.Metadata = map[string]string{"owner": "ops"}
	if _, err := b.JetStream().CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := b.JetStream().Stream(t.Context(), StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	got, want := st.CachedInfo().Config, specOf(t, StreamEvents)
	if got.MaxBytes != want.MaxBytes || got.MaxAge != want.MaxAge || got.MaxMsgs != -1 || got.MaxMsgSize != -1 || got.Duplicates != want.Duplicates ||
		got.Description != want.Description || !got.AllowDirect || got.MaxConsumers != -1 {
		t.Errorf("got %+v", got)
	}
	if got.Metadata["owner"] != "ops" {
		t.Errorf("metadata %v lost the operator's", got.Metadata)
	}
}

// TestEnsureStreamsShrinks: a limit is lowered while nothing stored exceeds it, and refused otherwise.
func TestEnsureStreamsShrinks(t *testing.T) {
	s := startServer(t, t.TempDir())
	b := connect(t, s)
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	limited := func(bytes int64, age time.Duration) *Bus {
		cfg := DefaultConfig()
		cfg.Server = s
		cfg.Limits = Limits{MaxBytes: map[string]quantity.Size{StreamEvents: quantity.Size(bytes)}, MaxAge: map[string]time.Duration{StreamEvents: age}}
		b, err := Connect(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	if err := limited(10<<20, time.Hour).EnsureStreams(t.Context()); err != nil {
		t.Fatalf("empty stream: %v", err)
	}
	for range 3 {
		if _, err := b.JetStream().Publish(t.Context(), "tiercel.events.a.b.c.d.e", make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	err := limited(2000, time.Nanosecond*100_000_000).EnsureStreams(t.Context())
	se, ok := errors.AsType[*SettingError](err)
	if !ok || se.Setting != "max_bytes" || se.Want != "2000" || !strings.Contains(se.Hint, "would remove records") {
		t.Errorf("got %v, want max_bytes to be refused", err)
	}
	st, err := b.JetStream().Stream(t.Context(), StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if c := st.CachedInfo().Config; c.MaxBytes != 10<<20 || c.MaxAge != time.Hour || st.CachedInfo().State.Msgs != 3 {
		t.Errorf("max_bytes %d, max_age %v, %d messages: the refusal changed something", c.MaxBytes, c.MaxAge, st.CachedInfo().State.Msgs)
	}
}

func TestStoreLimit(t *testing.T) {
	s := startServer(t, t.TempDir(), func(c *ServerConfig) { c.MaxStore = 1 << 30 })
	b := connect(t, s)
	err := b.EnsureStreams(t.Context())
	se, ok := errors.AsType[*StoreLimitError](err)
	if !ok || se.Limit != 1<<30 || se.Need != (&Limits{}).TotalBytes() {
		t.Fatalf("got %v, want a *StoreLimitError", err)
	}
	for _, want := range []string{"the server's limit is 1Gi", "EVENTS 1Gi", "tiercel_state 256Mi", "tiercel_kv 256Mi"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	for range b.JetStream().StreamNames(t.Context()).Name() {
		t.Error("a stream was made all the same")
	}
}

func TestSubjectTaken(t *testing.T) {
	b := connect(t, startServer(t, t.TempDir()))
	if _, err := b.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "MINE", Subjects: []string{"tiercel.>"}}); err != nil {
		t.Fatal(err)
	}
	err := b.EnsureStreams(t.Context(), RoleSensor)
	if err == nil || !strings.Contains(err.Error(), "create stream EVENTS") || !strings.Contains(err.Error(), "another stream has subjects") {
		t.Errorf("got %v", err)
	}
}

func TestReplicasWithoutCluster(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Limits = Limits{Replicas: 3}
	cfg.Server = startServer(t, t.TempDir(), func(c *ServerConfig) { c.MaxStore = 1 << 40 })
	b, err := Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	err = b.EnsureStreams(t.Context(), RoleSensor)
	if err == nil || !strings.Contains(err.Error(), "3 replicas need a NATS cluster") {
		t.Errorf("got %v", err)
	}
}

// TestForeignHeaders: what publishers of events must not be able to do, the server refuses on the live streams.
func TestForeignHeaders(t *testing.T) {
	b := newBus(t)
	for _, tc := range []struct{ name, subject, header, value string }{
		{"rollup of events", "tiercel.events.a.b.c.d.e", "Nats-Rollup", "all"},
		{"events that vanish", "tiercel.events.a.b.c.d.e", "Nats-TTL", "1s"},
		{"scheduled events", "tiercel.events.a.b.c.d.e", "Nats-Schedule", "@at 2030-01-01T00:00:00Z"},
		{"rollup of actions", "tiercel.actions.a.b.c", "Nats-Rollup", "all"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := b.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: tc.subject, Header: nats.Header{tc.header: {tc.value}, "Nats-Schedule-Target": {tc.subject + "x"}}, Data: []byte("x")})
			if err == nil {
				t.Error("accepted")
			}
		})
	}
	st, err := b.JetStream().Stream(t.Context(), StreamActions)
	if err != nil {
		t.Fatal(err)
	}
	ack, err := b.JetStream().Publish(t.Context(), "tiercel.actions.a.b.c", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := st.DeleteMsg(t.Context(), ack.Sequence); err == nil {
		t.Error("a sealed record was deleted")
	}
	if err := st.Purge(t.Context()); err == nil {
		t.Error("sealed records were purged")
	}
}
