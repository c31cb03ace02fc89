package rulecmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/k8saudit"
	"github.com/tiercel-project/tiercel/rules/record"
)

// readEvents reads the events recorded at path; "-" is the standard input. Each line is an event of package record, or else all is audit
// JSON as the API server writes it.
func (c *command) readEvents(path string) ([]field.Event, error) {
	data, err := c.readAll(path)
	if err != nil {
		return nil, err
	}
	if !isRecord(data) {
		return auditEvents(path, data)
	}
	var events []field.Event
	in := bufio.NewScanner(bytes.NewReader(data))
	in.Buffer(nil, maxLine)
	for n := 1; in.Scan(); n++ {
		line := bytes.TrimSpace(in.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		e, err := record.Parse(line)
		if err != nil {
			return nil, &cli.Error{Err: fmt.Errorf("%s:%d: %w", path, n, err), Hint: `a recorded event is {"type":"openat","time":"…","fields":{"fd.name":"/etc/shadow"}}`}
		}
		if e.Num == 0 {
			e.Num = uint64(len(events)) + 1
		}
		events = append(events, e)
	}
	return events, in.Err()
}

func (c *command) readAll(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(c.In)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return data, nil
}

// isRecord reports whether data begins with an event of package record: an object with a type. What cannot be told is taken for one, so
// that the error names a line.
func isRecord(data []byte) bool {
	data = bytes.TrimSpace(data)
	for len(data) > 0 && data[0] == '#' {
		_, data, _ = bytes.Cut(data, []byte("\n"))
		data = bytes.TrimSpace(data)
	}
	if len(data) > 0 && data[0] == '[' { // a batch of audit events, maybe an empty one
		return false
	}
	var head struct {
		Type string `json:"type"`
		Kind string `json:"kind"`
	}
	if json.NewDecoder(bytes.NewReader(data)).Decode(&head) != nil {
		return !bytes.Contains(data, []byte(`"kind"`))
	}
	return head.Kind == ""
}

func auditEvents(path string, data []byte) ([]field.Event, error) {
	parsed, rejected, err := k8saudit.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(rejected) > 0 {
		return nil, fmt.Errorf("%s: %w", path, rejected[0])
	}
	events := make([]field.Event, len(parsed))
	for i, e := range parsed {
		e.Num = uint64(i) + 1
		events[i] = e
	}
	return events, nil
}
