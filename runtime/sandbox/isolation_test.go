package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// isolationEvents is how many events each language gets: 2,000, or what TIERCEL_ISOLATION_EVENTS says (make isolation: 100,000).
func isolationEvents(t *testing.T) int {
	s := os.Getenv("TIERCEL_ISOLATION_EVENTS")
	if s == "" {
		return 2000
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1000 {
		t.Fatalf("TIERCEL_ISOLATION_EVENTS=%q is no number of at least 1000", s)
	}
	return n
}

// isolationModule makes the guest of a language: testdata/isolation holds the same one in each.
func isolationModule(t testing.TB, e *sandbox.Engine, language string) *sandbox.Module {
	t.Helper()
	dir := filepath.Join("testdata", "isolation")
	if language == "javascript" {
		source, err := os.ReadFile(filepath.Join(dir, "isolation.js"))
		if err != nil {
			t.Fatal(err)
		}
		return pack(t, e, "isolation.js", string(source))
	}
	for _, d := range []string{filepath.Join(dir, language), "../../functions/sdk/go", "../../functions/abi"} {
		noteSources(d)
	}
	bin, err := functions.Build(t.Context(), filepath.Join(dir, language))
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, e, bin)
}

// Nothing of an event is there for the next: no counter, no text, no byte. The guest says what it finds; and memory and globals of the
// instances that wait are compared with the sealed state fully, 300 times and after every event that grew memory or left something running.
func testIsolation(t *testing.T, language string) {
	n := isolationEvents(t)
	e := newEngine(t, 2)
	m := isolationModule(t, e, language)
	defer m.Close()
	inv := sandbox.Invocation{ID: "i", Function: language, Time: time.Unix(1, 0), Limits: sandbox.Limits{Timeout: time.Minute, Memory: 32 << 20}}
	var compared, instances, faults, special int
	began := time.Now()
	for i := range n {
		subject := "plain"
		switch {
		case i%1000 == 500:
			subject = "grow"
		case i%100 == 50:
			subject = "leave"
		}
		inv.Event = fmt.Appendf(nil, `{"specversion":"1.0","id":"event-%08d","source":"/c/n/syscall","type":"t","subject":%q,"time":"2026-11-21T01:02:03Z","data":{"target":{}}}`, i, subject)
		res, _, err := m.Handle(t.Context(), inv, &answers{})
		if _, isFault := errors.AsType[*sandbox.Fault](err); isFault && subject == "grow" {
			faults++ // its runtime wants more than it may have
		} else if err != nil {
			t.Fatalf("event %d, %s: %v", i, subject, err)
		} else if err := foundNothing(res.Data); err != nil {
			t.Fatalf("event %d, %s: %v", i, subject, err)
		}
		after := i%1000 == 501 || i%100 == 51
		if i%max(n/300, 1) == 0 || subject != "plain" || after {
			compared++
			k, diffs := m.Differences()
			instances += k
			if len(diffs) > 0 {
				t.Fatalf("event %d, %s: not as sealed: %v", i, subject, diffs)
			}
		}
		if subject != "plain" {
			special++
		}
	}
	if instances < compared/2 {
		t.Errorf("%d comparisons found %d instances", compared, instances)
	}
	t.Logf("%s: %d events in %v, %d of them grew memory or left something (%d faults), %d instances compared with the sealed state: nothing found",
		language, n, time.Since(began).Round(time.Millisecond), special, faults, instances)
}

// foundNothing checks what the guest reports.
func foundNothing(data []byte) error {
	var found struct{ Calls, Last, Kept any }
	if err := json.Unmarshal(data, &found); err != nil {
		return err
	}
	if calls := fmt.Sprint(found.Calls); calls != "1" || found.Last != "" || (found.Kept != "" && found.Kept != 0.0) {
		return fmt.Errorf("the guest found %s", data)
	}
	return nil
}

func TestIsolation(t *testing.T) {
	for _, language := range []string{"go", "javascript"} {
		t.Run(language, func(t *testing.T) { testIsolation(t, language) })
	}
}
