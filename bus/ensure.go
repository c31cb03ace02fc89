package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A SettingError is a setting of a live stream that is not as it must be and that EnsureStreams does not change by itself.
type SettingError struct {
	Stream    string // the stream's own name: KV_… and OBJ_… for buckets
	Setting   string // as the server's JSON names it
	Got, Want string
	Hint      string // what to do
}

func (e *SettingError) Error() string {
	return fmt.Sprintf("stream %s: %s is %s, want %s: %s", e.Stream, e.Setting, e.Got, e.Want, e.Hint)
}

// A StoreLimitError says that the streams do not fit into what the server allows.
type StoreLimitError struct {
	Need, Limit int64 // bytes
	Streams     string
}

func (e *StoreLimitError) Error() string {
	return fmt.Sprintf("streams may take %s (%s), the server's limit is %s: raise the limit or lower maxBytes of some",
		formatBytes(e.Need), e.Streams, formatBytes(e.Limit))
}

// formatBytes writes n with the largest binary unit that divides it.
func formatBytes(n int64) string {
	for _, u := range []struct {
		n    int64
		name string
	}{{gib, "Gi"}, {mib, "Mi"}, {1 << 10, "Ki"}} {
		if n >= u.n && n%u.n == 0 {
			return fmt.Sprintf("%d%s", n/u.n, u.name)
		}
	}
	return fmt.Sprintf("%d", n)
}

// EnsureStreams creates the streams and buckets that the roles need (none given: all) and verifies those that exist on the live
// configuration. Changes that lose nothing that is stored are applied and logged. It may be called any number of times, by several
// processes at once. It returns all problems: *SettingError, *StoreLimitError, or what the server said.
//
// A sensor's own credentials let it publish and no more: then RoleSensor alone logs that streams are left to the runtime, and returns nil.
// For other roles that is ErrNotPermitted.
func (b *Bus) EnsureStreams(ctx context.Context, roles ...Role) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	specs := b.cfg.Limits.specs(roles...)
	err := b.checkStoreLimit(ctx, specs)
	if errors.Is(err, ErrNotPermitted) && len(roles) == 1 && roles[0] == RoleSensor {
		b.log.LogAttrs(ctx, slog.LevelInfo, "these credentials may not look at streams; a runtime makes and checks them")
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for i := range specs {
		if err := b.ensureStream(ctx, &specs[i]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// checkStoreLimit compares what the streams may take with the account's limit, or the embedded server's.
func (b *Bus) checkStoreLimit(ctx context.Context, specs []streamSpec) error {
	info, err := b.accountInfo(ctx)
	if err != nil {
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			return fmt.Errorf("the NATS server at %s has no JetStream for this account: start it with -js, or enable it for the account: %w",
				b.nc.ConnectedUrlRedacted(), err)
		}
		return fmt.Errorf("read the account's limits: %w", err)
	}
	limit := info.Limits.MaxStore
	if b.cfg.Server != nil {
		limit = b.cfg.Server.MaxStore()
	}
	if limit < 0 || (limit == 0 && b.cfg.Server == nil) {
		return nil // unlimited, or tiered: then creating says so
	}
	var need int64
	var list []string
	for _, s := range specs {
		n := s.MaxBytes * int64(max(s.Replicas, 1))
		need += n
		list = append(list, s.shortName()+" "+formatBytes(n))
	}
	if need > limit {
		return &StoreLimitError{Need: need, Limit: limit, Streams: strings.Join(list, ", ")}
	}
	return nil
}

// accountInfo asks for the account's limits. It returns ErrNotPermitted as soon as the server says so, which it does out of line.
func (b *Bus) accountInfo(ctx context.Context) (*jetstream.AccountInfo, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-b.apiDenied:
			cancel()
		case <-stop:
		}
	}()
	info, err := b.js.AccountInfo(ctx)
	select {
	case <-b.apiDenied:
		if err != nil {
			return nil, fmt.Errorf("%w: $JS.API", ErrNotPermitted)
		}
	default:
	}
	return info, err
}

func (b *Bus) ensureStream(ctx context.Context, want *streamSpec) error {
	var err error
	for try := range 5 { // another process may create or remove it between our two requests
		if try > 0 {
			select {
			case <-time.After(backoff(try, 10*time.Millisecond, 100*time.Millisecond)):
			case <-ctx.Done():
				return fmt.Errorf("create stream %s: %w", want.Name, ctx.Err())
			}
		}
		var st jetstream.Stream
		st, err = b.js.Stream(ctx, want.Name)
		if err == nil {
			return b.verifyStream(ctx, want, st.CachedInfo())
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("read stream %s: %w", want.Name, err)
		}
		st, err = b.js.CreateStream(ctx, want.StreamConfig)
		if err == nil {
			b.log.LogAttrs(ctx, slog.LevelInfo, "stream created", slog.String("stream", want.Name), slog.Int64("max_bytes", want.MaxBytes))
			return b.verifyStream(ctx, want, st.CachedInfo())
		}
		// While two create it at once, the server counts its size twice.
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) && errorCode(err) != errCodeStorageExceeded {
			break
		}
	}
	return createError(want, err)
}

// Codes of the server's errors that need words of ours.
const (
	errCodeSubjectOverlap     jetstream.ErrorCode = 10065
	errCodeStorageExceeded    jetstream.ErrorCode = 10047
	errCodeAccountExceeded    jetstream.ErrorCode = 10002
	errCodeReplicasNoCluster  jetstream.ErrorCode = 10074
	errCodeNoSuitablePeers    jetstream.ErrorCode = 10005
	errCodeStoreFailed        jetstream.ErrorCode = 10077
	errCodeWrongLastSequence  jetstream.ErrorCode = 10071
	errCodeWrongLastSequence2 jetstream.ErrorCode = 10164
)

func errorCode(err error) jetstream.ErrorCode {
	if e, ok := errors.AsType[*jetstream.APIError](err); ok {
		return e.ErrorCode
	}
	return 0
}

func createError(want *streamSpec, err error) error {
	hint := ""
	switch errorCode(err) {
	case errCodeSubjectOverlap:
		hint = fmt.Sprintf(": another stream has subjects of %s; remove it or its subject (nats stream ls --subject '%s')",
			strings.Join(want.Subjects, ", "), want.Subjects[0])
	case errCodeStorageExceeded, errCodeAccountExceeded:
		hint = fmt.Sprintf(": it may take %s, which the server has not left; raise its max_file_store or lower maxBytes.%s",
			formatBytes(want.MaxBytes), want.shortName())
	case errCodeReplicasNoCluster, errCodeNoSuitablePeers:
		hint = fmt.Sprintf(": %d replicas need a NATS cluster of that many servers", want.Replicas)
	}
	return fmt.Errorf("create stream %s: %w%s", want.Name, err, hint)
}

// verifyStream compares the live configuration with what is wanted and applies what may be applied.
func (b *Bus) verifyStream(ctx context.Context, want *streamSpec, info *jetstream.StreamInfo) error {
	d := differ{want: want, live: info, next: info.Config}
	d.compare()
	if len(d.errs) > 0 {
		return errors.Join(d.errs...)
	}
	if len(d.changes) == 0 {
		return nil
	}
	if _, err := b.js.UpdateStream(ctx, d.next); err != nil {
		return fmt.Errorf("update stream %s (%s): %w", want.Name, strings.Join(d.changes, ", "), err)
	}
	b.log.LogAttrs(ctx, slog.LevelInfo, "stream updated", slog.String("stream", want.Name), slog.Any("changes", d.changes))
	return nil
}

// A differ compares one live stream with its spec.
type differ struct {
	want    *streamSpec
	live    *jetstream.StreamInfo
	next    jetstream.StreamConfig // the live configuration with the changes
	changes []string
	errs    []error
}

func (d *differ) refuse(setting string, got, want any, hint string) {
	d.errs = append(d.errs, &SettingError{Stream: d.want.Name, Setting: setting, Got: fmt.Sprint(got), Want: fmt.Sprint(want), Hint: hint})
}

func (d *differ) change(setting string, got, want any) {
	d.changes = append(d.changes, fmt.Sprintf("%s %v → %v", setting, got, want))
}

func (d *differ) compare() {
	d.compareIdentity()
	d.compareForbidden()
	d.compareDenials()
	d.compareLimits()
	d.compareHarmless()
}

const recreate = "remove the stream (nats stream rm %s) after saving what it holds; it is made anew at the next start"

// compareIdentity looks at what cannot be changed, or would change what the stream is.
func (d *differ) compareIdentity() {
	got, want := &d.live.Config, &d.want.StreamConfig
	hint := fmt.Sprintf(recreate, want.Name)
	gs, ws := slices.Sorted(slices.Values(got.Subjects)), slices.Sorted(slices.Values(want.Subjects))
	if !slices.Equal(gs, ws) {
		d.refuse("subjects", gs, ws, fmt.Sprintf("nats stream edit %s --subjects '%s'", want.Name, strings.Join(want.Subjects, ",")))
	}
	if got.Storage != want.Storage {
		d.refuse("storage", got.Storage, want.Storage, hint)
	}
	if got.Retention != want.Retention {
		d.refuse("retention", got.Retention, want.Retention, hint)
	}
	if got.Mirror != nil || len(got.Sources) > 0 {
		d.refuse("mirror or sources", "set", "none", "its records would not be this program's own; "+hint)
	}
}

// compareForbidden looks at features that must be off since they let publishers do more than publish, or records go elsewhere. What
// happened while they were on is unknown, so none is switched off silently.
func (d *differ) compareForbidden() {
	got, want := &d.live.Config, &d.want.StreamConfig
	hint := fmt.Sprintf(recreate, want.Name)
	for _, f := range []struct {
		setting   string
		got, want bool
		next      *bool
	}{
		{"allow_rollup_hdrs", got.AllowRollup, want.AllowRollup, &d.next.AllowRollup},
		{"allow_msg_ttl", got.AllowMsgTTL, want.AllowMsgTTL, &d.next.AllowMsgTTL},
		{"allow_msg_schedules", got.AllowMsgSchedules, want.AllowMsgSchedules, &d.next.AllowMsgSchedules},
		{"allow_msg_counter", got.AllowMsgCounter, want.AllowMsgCounter, &d.next.AllowMsgCounter},
		{"no_ack", got.NoAck, want.NoAck, &d.next.NoAck},
		{"sealed", got.Sealed, want.Sealed, &d.next.Sealed},
	} {
		switch {
		case f.got && !f.want:
			d.refuse(f.setting, true, false, hint)
		case !f.got && f.want:
			*f.next = true
			d.change(f.setting, false, true)
		}
	}
	if got.RePublish != nil {
		d.refuse("republish", got.RePublish.Destination, "none", fmt.Sprintf("nats stream edit %s --no-republish", want.Name))
	}
	if got.SubjectTransform != nil {
		d.refuse("subject_transform", got.SubjectTransform.Destination, "none", hint)
	}
	if got.PersistMode != want.PersistMode {
		d.refuse("persist_mode", got.PersistMode, want.PersistMode, "it acknowledges before it writes; "+hint)
	}
}

// compareDenials looks at the denials that make a stream append only. The server can switch them on, never off.
func (d *differ) compareDenials() {
	for _, f := range []struct {
		setting, flag string
		got, want     bool
	}{
		{"deny_delete", "--deny-delete", d.live.Config.DenyDelete, d.want.DenyDelete},
		{"deny_purge", "--deny-purge", d.live.Config.DenyPurge, d.want.DenyPurge},
	} {
		switch {
		case f.got == f.want:
		case f.got:
			d.refuse(f.setting, true, false, fmt.Sprintf(recreate, d.want.Name))
		default:
			hint := fmt.Sprintf("nats stream edit %s %s", d.want.Name, f.flag)
			if d.want.whyDenyPurge != "" {
				hint += "; " + d.want.whyDenyPurge
			}
			d.refuse(f.setting, false, true, hint)
		}
	}
}

// compareLimits looks at limits. One is raised, and lowered if nothing that is stored would go.
func (d *differ) compareLimits() {
	got, want, state := &d.live.Config, &d.want.StreamConfig, &d.live.State
	d.limit("max_bytes", &d.next.MaxBytes, want.MaxBytes, int64(state.Bytes), formatBytes)
	d.limit("max_msgs", &d.next.MaxMsgs, want.MaxMsgs, int64(state.Msgs), nil)
	oldest := int64(0)
	if state.Msgs > 0 {
		oldest = int64(time.Since(state.FirstTime))
	}
	age := int64(d.next.MaxAge)
	d.limit("max_age", &age, int64(want.MaxAge), oldest, func(n int64) string { return time.Duration(n).String() })
	d.next.MaxAge = time.Duration(age)
	used := int64(0)
	if state.Msgs > 0 {
		used = int64(state.Msgs) - int64(state.NumSubjects) + 1 // at most so many share a subject
	}
	d.limit("max_msgs_per_subject", &d.next.MaxMsgsPerSubject, want.MaxMsgsPerSubject, used, nil)
	if got.MaxMsgSize > 0 {
		d.next.MaxMsgSize = -1
		d.change("max_msg_size", got.MaxMsgSize, -1)
	}
}

// limit compares a limit of which 0 and below mean none; used is what the stream has of it.
func (d *differ) limit(setting string, next *int64, want, used int64, format func(int64) string) {
	norm := func(n int64) int64 { return max(n, 0) }
	if norm(*next) == norm(want) {
		return
	}
	show := func(n int64) string {
		switch {
		case n <= 0:
			return "unlimited"
		case format != nil:
			return format(n)
		}
		return fmt.Sprint(n)
	}
	if want > 0 && used > want {
		d.refuse(setting, show(*next), show(want), fmt.Sprintf(
			"lowering it would remove records; do it yourself (nats stream edit %s) or configure at least %s", d.want.Name, show(used)))
		return
	}
	d.change(setting, show(*next), show(want))
	*next = want
}

// compareHarmless looks at what may be set at any time.
func (d *differ) compareHarmless() {
	want := &d.want.StreamConfig
	set := func(setting string, same bool, got, w any, apply func()) {
		if !same {
			apply()
			d.change(setting, got, w)
		}
	}
	n := &d.next
	if !d.want.anyDiscard {
		set("discard", n.Discard == want.Discard, n.Discard, want.Discard, func() { n.Discard = want.Discard })
	}
	set("discard_new_per_subject", n.DiscardNewPerSubject == want.DiscardNewPerSubject, n.DiscardNewPerSubject, want.DiscardNewPerSubject,
		func() { n.DiscardNewPerSubject = want.DiscardNewPerSubject })
	set("duplicate_window", n.Duplicates == want.Duplicates, n.Duplicates, want.Duplicates, func() { n.Duplicates = want.Duplicates })
	set("num_replicas", n.Replicas == want.Replicas, n.Replicas, want.Replicas, func() { n.Replicas = want.Replicas })
	set("max_consumers", n.MaxConsumers <= 0, n.MaxConsumers, -1, func() { n.MaxConsumers = -1 })
	set("allow_direct", n.AllowDirect == want.AllowDirect, n.AllowDirect, want.AllowDirect, func() { n.AllowDirect = want.AllowDirect })
	set("subject_delete_marker_ttl", n.SubjectDeleteMarkerTTL == want.SubjectDeleteMarkerTTL, n.SubjectDeleteMarkerTTL,
		want.SubjectDeleteMarkerTTL, func() { n.SubjectDeleteMarkerTTL = want.SubjectDeleteMarkerTTL })
	set("description", n.Description == want.Description, n.Description, want.Description, func() { n.Description = want.Description })
}
