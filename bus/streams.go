package bus

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus/quantity"
)

// Names of the streams.
const (
	StreamEvents     = "EVENTS"     // matches
	StreamJournal    = "JOURNAL"    // running invocations, one subject each
	StreamActions    = "ACTIONS"    // one sealed record per finished invocation
	StreamTimers     = "TIMERS"     // message schedules
	StreamOutcomes   = "OUTCOMES"   // CloudEvents of finished invocations
	StreamDeadLetter = "DEADLETTER" // what could not be handled
)

// Names of the key-value buckets and object stores.
const (
	BucketFunctions = "tiercel_functions" // effective specs by revision
	BucketState     = "tiercel_state"     // budgets, dedup, locks, floors, stop switch; entries may have a TTL
	BucketKV        = "tiercel_kv"        // what functions keep (kv), apart from the state so that they cannot fill it; entries may have a TTL
	StoreModules    = "tiercel_modules"   // modules and images by digest
	StoreArtifacts  = "tiercel_artifacts" // evidence
	StoreBodies     = "tiercel_bodies"    // large answers by digest
)

// Subjects of the streams, for filters and permissions.
const (
	EventsSubjects     = "tiercel.events.>"
	JournalSubjects    = "tiercel.journal.>"
	ActionsSubjects    = "tiercel.actions.>"
	TimersSubjects     = "tiercel.timers.>"
	TimersDueSubjects  = "tiercel.timers.due.>"
	OutcomesSubjects   = "tiercel.outcomes.>"
	DeadLetterSubjects = "tiercel.deadletter.>"
)

// MaxDeadLetters is how many dead letters of one function and reason are kept. The stream refuses more (ErrStreamFull) until the oldest
// has aged out or was redriven.
const MaxDeadLetters = 1000

// A Role is a part of the program; it says which streams EnsureStreams looks after.
type Role string

// Roles.
const (
	RoleSensor  Role = "sensor"  // EVENTS, tiercel_artifacts
	RoleRuntime Role = "runtime" // all
)

const (
	mib = 1 << 20
	gib = 1 << 30
	day = 24 * time.Hour
)

// A streamSpec is a stream as this program wants it. Buckets are streams too: theirs are named KV_… and OBJ_….
type streamSpec struct {
	jetstream.StreamConfig
	sensor       bool   // RoleSensor needs it
	anyDiscard   bool   // who blocks publishers may have switched the policy
	whyDenyPurge string // what a missing deny_purge or deny_delete puts in doubt
}

// streamTable is every stream and bucket with its settings. What is not said is the server's default.
func streamTable() []streamSpec {
	file := func(c jetstream.StreamConfig) jetstream.StreamConfig {
		c.Storage, c.Retention, c.Replicas = jetstream.FileStorage, jetstream.LimitsPolicy, 1
		c.MaxMsgs, c.MaxConsumers = -1, -1
		if c.MaxMsgsPerSubject == 0 {
			c.MaxMsgsPerSubject = -1
		}
		if c.Duplicates == 0 {
			c.Duplicates = 2 * time.Minute
		}
		return c
	}
	return []streamSpec{
		{StreamConfig: file(jetstream.StreamConfig{
			Name: StreamEvents, Subjects: []string{EventsSubjects}, Description: "Tiercel: matches, as CloudEvents",
			MaxBytes: gib, MaxAge: 7 * day, Discard: jetstream.DiscardOld, AllowDirect: true,
		}), sensor: true, anyDiscard: true},
		{StreamConfig: file(jetstream.StreamConfig{
			// Always read back whole from the leader, so no direct gets. A full journal refuses new claims instead of forgetting old ones.
			// The record that ends an invocation rolls its subject up and has a TTL: it takes the journal's place and refuses a second
			// claim until it goes.
			Name: StreamJournal, Subjects: []string{JournalSubjects}, Description: "Tiercel: running invocations",
			MaxBytes: 256 * mib, Discard: jetstream.DiscardNew, AllowRollup: true, AllowMsgTTL: true,
		})},
		{StreamConfig: file(jetstream.StreamConfig{
			Name: StreamActions, Subjects: []string{ActionsSubjects}, Description: "Tiercel: records of finished invocations",
			MaxBytes: gib, MaxAge: 90 * day, Discard: jetstream.DiscardOld, DenyDelete: true, DenyPurge: true, AllowDirect: true,
		}), whyDenyPurge: "records may have been removed while it was off"},
		{StreamConfig: file(jetstream.StreamConfig{
			// A stream with schedules always allows rollup and purge, so only runtimes may publish here; and it cannot refuse what does not
			// fit, so the oldest goes. The runtime's sweep over open effects is the truth, this the fast path.
			Name: StreamTimers, Subjects: []string{TimersSubjects}, Description: "Tiercel: timers of invocations",
			MaxBytes: 64 * mib, Discard: jetstream.DiscardOld, AllowMsgSchedules: true, AllowRollup: true, AllowDirect: true,
		})},
		{StreamConfig: file(jetstream.StreamConfig{
			Name: StreamOutcomes, Subjects: []string{OutcomesSubjects}, Description: "Tiercel: outcomes, as CloudEvents",
			MaxBytes: 256 * mib, MaxAge: 7 * day, Discard: jetstream.DiscardOld, AllowDirect: true,
		})},
		{StreamConfig: file(jetstream.StreamConfig{
			Name: StreamDeadLetter, Subjects: []string{DeadLetterSubjects}, Description: "Tiercel: what could not be handled",
			MaxBytes: 256 * mib, MaxAge: 30 * day, MaxMsgsPerSubject: MaxDeadLetters,
			Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, AllowDirect: true,
		})},
		{StreamConfig: file(keyValue(BucketFunctions, "Tiercel: functions", 64*mib, 16))},
		{StreamConfig: file(stateBucket(keyValue(BucketState, "Tiercel: state of the guard and the runtimes", 256*mib, 1)))},
		{StreamConfig: file(stateBucket(keyValue(BucketKV, "Tiercel: keys of functions", 256*mib, 1)))},
		{StreamConfig: file(objectStore(StoreModules, "Tiercel: modules", gib))},
		{StreamConfig: file(objectStore(StoreArtifacts, "Tiercel: evidence", gib)), sensor: true},
		{StreamConfig: file(objectStore(StoreBodies, "Tiercel: large answers", 512*mib))},
	}
}

// keyValue is the stream of a key-value bucket, as clients make it.
func keyValue(bucket, description string, maxBytes, history int64) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "KV_" + bucket, Subjects: []string{"$KV." + bucket + ".>"}, Description: description,
		MaxBytes: maxBytes, MaxMsgsPerSubject: history, Discard: jetstream.DiscardNew,
		AllowRollup: true, DenyDelete: true, AllowDirect: true,
	}
}

// stateBucket lets entries have a time to live, whose end watchers see, and has them read from the leader: a stop switch that a replica
// does not know yet would not stop, and a function would not find what it has just put.
func stateBucket(c jetstream.StreamConfig) jetstream.StreamConfig {
	c.AllowMsgTTL, c.SubjectDeleteMarkerTTL, c.AllowDirect = true, time.Minute, false
	return c
}

// objectStore is the stream of an object store, as clients make it.
func objectStore(bucket, description string, maxBytes int64) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "OBJ_" + bucket, Subjects: []string{"$O." + bucket + ".C.>", "$O." + bucket + ".M.>"}, Description: description,
		MaxBytes: maxBytes, Discard: jetstream.DiscardNew, AllowRollup: true, AllowDirect: true,
	}
}

// Limits changes the sizes of streams and buckets, which are named as the constants name them.
type Limits struct {
	Replicas int                      `yaml:"replicas"` // of every stream. 1 to 5. Default 1.
	MaxBytes map[string]quantity.Size `yaml:"maxBytes"` // on disk. Positive.
	MaxAge   map[string]time.Duration `yaml:"maxAge"`   // positive, or 0 for no limit
}

// Validate returns all that is wrong with l.
func (l *Limits) Validate() error {
	var errs []string
	if l.Replicas < 0 || l.Replicas > 5 {
		errs = append(errs, fmt.Sprintf("replicas: %d is not in 1 to 5", l.Replicas))
	}
	names := make([]string, 0, 12)
	for _, s := range streamTable() {
		names = append(names, s.shortName())
	}
	for _, n := range slices.Sorted(maps.Keys(l.MaxBytes)) {
		if !slices.Contains(names, n) {
			errs = append(errs, fmt.Sprintf("maxBytes: %q is none of %s", n, strings.Join(names, ", ")))
		} else if l.MaxBytes[n] <= 0 {
			errs = append(errs, fmt.Sprintf("maxBytes.%s: %d is not positive", n, l.MaxBytes[n]))
		}
	}
	for _, n := range slices.Sorted(maps.Keys(l.MaxAge)) {
		if !slices.Contains(names, n) {
			errs = append(errs, fmt.Sprintf("maxAge: %q is none of %s", n, strings.Join(names, ", ")))
		} else if l.MaxAge[n] < 0 {
			errs = append(errs, fmt.Sprintf("maxAge.%s: %v is negative", n, l.MaxAge[n]))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("streams: %s", strings.Join(errs, "; "))
}

// shortName is the name that users know: the bucket's, without the prefix of its stream.
func (s *streamSpec) shortName() string {
	return strings.TrimPrefix(strings.TrimPrefix(s.Name, "KV_"), "OBJ_")
}

// specs is the table with l applied, for the roles given (none: all).
func (l *Limits) specs(roles ...Role) []streamSpec {
	all := len(roles) == 0 || slices.Contains(roles, RoleRuntime)
	var specs []streamSpec
	for _, s := range streamTable() {
		if !all && !s.sensor {
			continue
		}
		if l.Replicas > 0 {
			s.Replicas = l.Replicas
		}
		if n, ok := l.MaxBytes[s.shortName()]; ok {
			s.MaxBytes = int64(n)
		}
		if d, ok := l.MaxAge[s.shortName()]; ok {
			s.MaxAge = d
			if d > 0 {
				s.Duplicates = min(s.Duplicates, d)
			}
		}
		specs = append(specs, s)
	}
	return specs
}

// TotalBytes is the room on disk that all streams and buckets may take together, once per replica.
func (l *Limits) TotalBytes() int64 {
	var n int64
	for _, s := range l.specs() {
		n += s.MaxBytes
	}
	return n
}
