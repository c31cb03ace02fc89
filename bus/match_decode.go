package bus

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// DecodeMatch is Decode and Match in one, at half their time: what Decode has found to be JSON is taken apart without encoding/json.
func DecodeMatch(h nats.Header, body []byte) (*Event, *MatchData, error) {
	e, err := Decode(h, body)
	if err != nil {
		return nil, nil, err
	}
	m := new(MatchData)
	if e.Type == TypeRuleMatched && e.IsJSON() && len(e.Data) > 0 && m.decode(e.Data) {
		return e, m, nil
	}
	m, err = e.Match() // whatever is unusual
	if err != nil {
		return nil, nil, err
	}
	return e, m, nil
}

// matchKeys are the keys of a match, targetKeys those of its target. encoding/json knows them in any case.
var (
	matchKeys  = []string{"hostname", "output", "output_fields", "priority", "rule", "source", "tags", "time", "fields", "target"}
	targetKeys = []string{
		"cluster", "node", "namespace", "pod", "podUID", "container", "containerID", "image", "imageDigest", "cgroupID", "pid", "pidStartTime",
	}
)

// members calls f with each member of a valid JSON object that has one of the keys. It returns false for what encoding/json may see
// otherwise: what is no object, a key twice, in another case or with escapes, and a value that f does not take.
func members(b []byte, keys []string, f func(key int, raw json.RawMessage) bool) bool {
	i := skipSpace(b, 0)
	if b[i] != '{' {
		return false
	}
	seen := 0
	for i = skipSpace(b, i+1); b[i] != '}'; i = skipSpace(b, i) {
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
		end := skipString(b, i)
		key, usual := index(keys, b[i+1:end-1])
		i = skipSpace(b, skipSpace(b, end)+1) // past the colon
		end = skipValue(b, i)
		if !usual || key >= 0 && (seen&(1<<key) != 0 || !f(key, b[i:end:end])) {
			return false
		}
		if i = end; key >= 0 {
			seen |= 1 << key
		}
	}
	return true
}

// index returns where a key is in keys, or -1. It is not usual if encoding/json may take it for one of them nevertheless.
func index(keys []string, key []byte) (i int, usual bool) {
	for i, k := range keys {
		if k == string(key) {
			return i, true
		}
	}
	for _, c := range key {
		if c == '\\' || c >= utf8.RuneSelf {
			return -1, false
		}
	}
	for _, k := range keys {
		if len(k) == len(key) && strings.EqualFold(k, string(key)) {
			return -1, false
		}
	}
	return -1, true
}

// decode reads valid JSON into m, which is zero, or returns false if it is unusual.
func (m *MatchData) decode(b []byte) bool {
	text := []*string{&m.Hostname, &m.Output, nil, &m.Priority, &m.Rule, &m.Source}
	return members(b, matchKeys, func(key int, raw json.RawMessage) (ok bool) {
		switch matchKeys[key] {
		case "output_fields":
			m.OutputFields = raw
		case "fields":
			m.Fields = raw
		case "tags":
			m.Tags, ok = texts(raw)
			return ok
		case "time":
			return raw[0] == '"' && m.Time.UnmarshalJSON(raw) == nil
		case "target":
			return m.Target.decode(raw)
		default:
			return setText(text[key], raw)
		}
		return true
	})
}

func (t *Target) decode(b []byte) bool {
	text := []*string{&t.Cluster, &t.Node, &t.Namespace, &t.Pod, &t.PodUID, &t.Container, &t.ContainerID, &t.Image, &t.ImageDigest}
	return members(b, targetKeys, func(key int, raw json.RawMessage) bool {
		switch targetKeys[key] {
		case "cgroupID":
			return raw[0] != 'n' && t.CgroupID.UnmarshalJSON(raw) == nil
		case "pidStartTime":
			return raw[0] != 'n' && t.PIDStartTime.UnmarshalJSON(raw) == nil
		case "pid":
			n, err := strconv.ParseInt(string(raw), 10, 32)
			t.PID = int32(n)
			return err == nil
		}
		return setText(text[key], raw)
	})
}

func setText(s *string, raw json.RawMessage) bool {
	if raw[0] != '"' {
		return false
	}
	var err error
	*s, err = unquote(raw)
	return err == nil
}

// texts reads a valid JSON array of strings.
func texts(raw json.RawMessage) (list []string, ok bool) {
	if raw[0] != '[' {
		return nil, false
	}
	list = []string{}
	for i := skipSpace(raw, 1); raw[i] != ']'; i = skipSpace(raw, i) {
		if raw[i] == ',' {
			i = skipSpace(raw, i+1)
		}
		if raw[i] != '"' {
			return nil, false
		}
		end := skipString(raw, i)
		s, err := unquote(raw[i:end])
		if err != nil {
			return nil, false
		}
		list, i = append(list, s), end
	}
	return list, true
}
