package testcase_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/testcase"
)

const event = `{"specversion":"1.0","id":"n-1","source":"/c/n/syscall","type":"dev.tiercel.rule.matched.v1","time":"2026-11-20T22:58:41Z","rule":"R","data":{"rule":"R","priority":"Notice"}}`

// Every mistake has its line.
func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no event", "-- answers --\n", "c.txtar:1: there is no event"},
		{"no JSON", "a\n-- event.json --\n{\n  \"id\": x\n}\n", "c.txtar:4: event: invalid character 'x'"},
		{"no CloudEvent", "-- event.json --\n{}\n", "c.txtar:2: event: not a CloudEvent"},
		{"config cut off", "-- event.json --\n" + event + "\n-- config.json --\n{\"a\":\n", "c.txtar:4: unexpected EOF"},
		{"config and more", "-- event.json --\n" + event + "\n-- config.json --\n{}\n{}\n", "c.txtar:4: something follows"},
		{"unknown key", "-- event.json --\n" + event + "\n-- invocation.json --\n{\"name\": 1}\n", `c.txtar:4: json: unknown field "name"`},
		{"part twice", "-- event.json --\n" + event + "\n-- log --\n-- log --\n", `c.txtar:4: part "log" is here for the second time`},
		{"no object", "-- event.json --\n" + event + "\n-- answers --\n\nhttp 7\n", "c.txtar:5: answer to http: an answer is a JSON object"},
		{"bad answer", "-- event.json --\n" + event + "\n-- answers --\nhttp {\n  \"a\": ]\n}\n", "c.txtar:5: answer to http: invalid character ']'"},
		{"answer and more", "-- event.json --\n" + event + "\n-- answers --\nhttp {\n} x\n", "c.txtar:5: answer to http: something follows"},
		{"local operation", "-- event.json --\n" + event + "\n-- answers --\nconfig {}\n", `c.txtar:4: there is no operation "config"`},
		{"unknown code", "-- event.json --\n" + event + "\n-- answers --\nhttp !notfound\n", `c.txtar:4: there is no error code "notfound" (did you mean "not_found"?)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := testcase.Parse("c.txtar", []byte(tt.text), testcase.Defaults{})
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s…", err, tt.want)
			}
			if _, ok := errors.AsType[*testcase.Error](err); !ok {
				t.Errorf("%T is no *Error", err)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	c, err := testcase.Parse("c.txtar", []byte("-- answers --\n# looks\nkv.get {\"revision\": 0}\n\nhttp {\n  \"status\": 200\n}\nhttp !timeout no answer\nhttp !{\"code\":\"conflict\",\"text\":\"x\",\"retry\":true}\n"),
		testcase.Defaults{Event: []byte(event)})
	if err != nil {
		t.Fatal(err)
	}
	want := []testcase.Answer{
		{Op: "kv.get", Response: json.RawMessage(`{"revision":0}`), Line: 3},
		{Op: "http", Response: json.RawMessage(`{"status":200}`), Line: 5},
		{Op: "http", Error: &abi.Error{Code: abi.CodeTimeout, Text: "no answer"}, Line: 8},
		{Op: "http", Error: &abi.Error{Code: abi.CodeConflict, Text: "x", Retry: true}, Line: 9},
	}
	if diff := cmp.Diff(want, c.Answers); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A case with a configuration of its own leaves the default one alone.
func TestDefaultConfig(t *testing.T) {
	def := testcase.Defaults{Event: []byte(event), Config: json.RawMessage(`{"a": 1}`)}
	for _, tt := range []struct{ text, want string }{{"-- config.json --\n{}\n", "{}"}, {"", `{"a": 1}`}} {
		c, err := testcase.Parse("c.txtar", []byte(tt.text), def)
		if err != nil || string(c.Config) != tt.want {
			t.Errorf("got %s, %v, want %s", c.Config, err, tt.want)
		}
	}
}

// A guest makes calls and has a result.
type guest struct {
	ops    []string
	result abi.Result
	fault  error
}

func (g guest) Manifest() abi.Manifest { return abi.Manifest{Name: "g"} }

func (g guest) Handle(ctx context.Context, inv sandbox.Invocation, h sandbox.Host) (abi.Result, *sandbox.Report, error) {
	for _, op := range g.ops {
		_, err := h.Call(ctx, op, []byte(`{"b":1,"a":"`+inv.Function+`"}`))
		if _, ok := errors.AsType[*abi.Error](err); err != nil && !ok {
			return abi.Result{}, &sandbox.Report{}, err
		}
	}
	return g.result, &sandbox.Report{Log: []sandbox.LogLine{{Level: abi.LevelWarn, Text: "hm"}}}, g.fault
}

func TestRun(t *testing.T) {
	const text = "-- answers --\nkv.get {}\nhttp !timeout\n-- calls --\nkv.get {\"a\": \"g\", \"b\": 1}\nhttp {\"a\": \"g\", \"b\": 1}\n-- result --\n{\"outcome\": \"skipped\"}\n-- log --\nwarn hm\n"
	skipped := abi.Result{Outcome: abi.OutcomeSkipped}
	for _, tt := range []struct {
		name  string
		guest guest
		run   string // error of Run
		diff  string // of Compare
	}{
		{"as expected", guest{ops: []string{"kv.get", "http"}, result: skipped}, "", ""},
		{"another result", guest{ops: []string{"kv.get", "http"}, result: abi.Result{Outcome: abi.OutcomeFailed}}, "", "c.txtar:8: result (-want +got):\n@@ -1,1 +1,1 @@\n-{\"outcome\": \"skipped\"}\n+{\"outcome\": \"failed\"}"},
		{"a fault", guest{ops: []string{"kv.get", "http"}, fault: &sandbox.Fault{Kind: sandbox.FaultDeadline, Text: "late"}}, "", `+{"fault": "deadline", "outcome": "failed", "text": "late"}`},
		{"a call too many", guest{ops: []string{"kv.get", "http", "kv.put"}, result: skipped}, `c.txtar:3: there is no answer to call 3, kv.put {"a": "g", "b": 1}`, ""},
		{"a call too few", guest{ops: []string{"kv.get"}, result: skipped}, "c.txtar:3: the function did not ask for this: it made 1 call", ""},
		{"another call", guest{ops: []string{"kv.put"}, result: skipped}, "c.txtar:2: call 1 is kv.put", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := testcase.Parse("c.txtar", []byte(text), testcase.Defaults{Event: []byte(event)})
			if err != nil {
				t.Fatal(err)
			}
			run, err := c.Run(t.Context(), tt.guest, sandbox.Limits{})
			if tt.run != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.run) {
					t.Errorf("got %v, want %s…", err, tt.run)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err = c.Compare(run); (err == nil) != (tt.diff == "") || err != nil && !strings.Contains(err.Error(), tt.diff) {
				t.Errorf("got %v, want %s", err, tt.diff)
			}
			c.Update(run)
			again, err := testcase.Parse("c.txtar", c.Format(), testcase.Defaults{Event: []byte(event)})
			if err != nil {
				t.Fatal(err)
			}
			if err := again.Compare(run); err != nil {
				t.Errorf("after Update: %v", err)
			}
		})
	}
}

// Whatever is in a case, it is read or refused, and what is read is read again from what is written.
func FuzzParse(f *testing.F) {
	f.Add([]byte("c\n-- answers --\nhttp {\"status\": 1}\nkv.get !timeout x\n-- config.json --\n{}\n-- event.json --\n" + event))
	f.Add([]byte("-- answers --\nhttp {\n"))
	f.Add([]byte("0\n-- --"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := testcase.Parse("c.txtar", data, testcase.Defaults{Event: []byte(event)})
		if err != nil {
			return
		}
		again, err := testcase.Parse("c.txtar", c.Format(), testcase.Defaults{Event: []byte(event)})
		if err != nil {
			t.Fatalf("%q: %v", c.Format(), err)
		}
		if len(again.Answers) != len(c.Answers) {
			t.Errorf("%d answers became %d", len(c.Answers), len(again.Answers))
		}
	})
}
