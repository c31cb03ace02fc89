package bus

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// matches are data of matches, usual and not.
var matches = []string{
	string((&MatchData{
		Hostname: "h", Output: "a \"quoted\" ünicode\ttext", OutputFields: json.RawMessage(`{"proc.name":"sh","a":[1,{"b":"}"}]}`), Priority: "Warning", Rule: "A rule",
		Source: "syscall", Tags: []string{"container", "mitre"}, Time: time.Unix(1795215521, 123456789).UTC(), Fields: json.RawMessage(`{"evt.type":"open"}`),
		Target: Target{Cluster: "c", Node: "n", Namespace: "ns", Pod: "p", PodUID: "u", Container: "x", ContainerID: "i", Image: "im", ImageDigest: "d", CgroupID: 1 << 60, PID: 7, PIDStartTime: 9},
	}).AppendJSON(nil)),
	`{}`, `[]`, `null`, `"x"`, `7`,
	`{"rule":"a","rule":"b"}`, `{"Rule":"a"}`, `{"rule":"a","RULE":"b"}`, `{"rule":null}`, `{"rule":7}`, `{"unknown":{"rule":"x"},"rule":"y"}`,
	`{"tags":null}`, `{"tags":[]}`, `{"tags":["a",null]}`, `{"tags":["a",7]}`, `{"tags":"a"}`, `{ "tags" : [ "a" , "b" ] , "rule" : "x" }`,
	`{"time":"yesterday"}`, `{"time":null}`, `{"time":"2026-11-21T17:00:00.5+02:00"}`,
	`{"target":null}`, `{"target":[]}`, `{"target":{"pid":1.5}}`, `{"target":{"pid":-3,"cgroupID":7,"pidStartTime":"8"}}`, `{"target":{"cgroupID":null}}`, `{"target":{"POD":"p"}}`,
	`{"target":{"node":"a"},"target":{"pod":"b"}}`, `{"output_fields":null,"fields":[1]}`, `{"output":"\ud800 \u00e9 \\"}`,
	`{"priorityſ":"long s","ſource":"folded"}`,
}

// What DecodeMatch reads is what encoding/json reads, or it says that it does not know.
func TestDecodeMatchIsEncodingJSON(t *testing.T) {
	for _, text := range matches {
		checkDecode(t, []byte(text))
	}
	if !new(MatchData).decode([]byte(matches[0])) {
		t.Error("a match as this program makes it is not decoded without encoding/json")
	}
}

func FuzzDecodeMatch(f *testing.F) {
	for _, text := range matches {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if json.Valid(b) {
			checkDecode(t, b)
		}
	})
}

func checkDecode(t *testing.T, b []byte) {
	t.Helper()
	var got, want MatchData
	if !got.decode(b) {
		return
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatalf("%s: decoded, although %v", b, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", b, diff)
	}
}

func BenchmarkDecodeMatch(b *testing.B) {
	e := &Event{ID: "n-1", Source: "/c/n/syscall", Type: TypeRuleMatched, Time: time.Unix(1795215521, 0), Data: json.RawMessage(matches[0])}
	body := Marshal(e)
	b.Run("together", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := DecodeMatch(nil, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("baseline=encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e, err := Decode(nil, body)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := e.Match(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
