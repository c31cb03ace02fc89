package javascript

import (
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// A place is where something stands: line and column, counted from 0.
type place struct{ line, column int }

// A segment of a source map says where in the source a place of the script comes from.
type segment struct{ script, source place }

// Where returns text with the positions in the script that it names, as file:line:column, replaced by those in the source.
func (p *Program) Where(text string) string {
	if p.Map == "" || !strings.Contains(text, p.File+":") {
		return text
	}
	segments := decodeMap(p.Map)
	re := regexp.MustCompile(`(^|[^\w.-])` + regexp.QuoteMeta(p.File) + `:(\d{1,7}):(\d{1,7})`)
	return re.ReplaceAllStringFunc(text, func(s string) string {
		m := re.FindStringSubmatch(s)
		line, _ := strconv.Atoi(m[2]) // digits
		column, _ := strconv.Atoi(m[3])
		at, ok := find(segments, place{line - 1, column - 1})
		if !ok {
			return s
		}
		return m[1] + p.File + ":" + strconv.Itoa(at.line+1) + ":" + strconv.Itoa(at.column+1)
	})
}

// find returns the source of the last segment that begins at a place of the script or before it, on the same line.
func find(segments []segment, at place) (place, bool) {
	i := sort.Search(len(segments), func(i int) bool {
		s := segments[i].script
		return s.line > at.line || s.line == at.line && s.column > at.column
	})
	if i == 0 || segments[i-1].script.line != at.line {
		return place{}, false
	}
	return segments[i-1].source, true
}

// decodeMap reads the mappings of a source map (revision 3) with one source. It ends at what it cannot read.
func decodeMap(mappings string) []segment {
	var out []segment
	var source place
	for line, text := range strings.Split(mappings, ";") {
		column := 0
		for _, field := range strings.Split(text, ",") {
			if field == "" {
				continue
			}
			n := decodeVLQ(field)
			if len(n) < 4 {
				return out
			}
			column += n[0]
			source.line += n[2]
			source.column += n[3]
			out = append(out, segment{place{line, column}, source})
		}
	}
	return out
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// decodeVLQ reads numbers of variable length in base 64, five bits a digit, the sign in the lowest.
func decodeVLQ(s string) []int {
	var out []int
	value, shift := 0, 0
	for i := range len(s) {
		d := strings.IndexByte(base64Digits, s[i])
		if d < 0 || shift > 30 {
			return nil
		}
		value |= (d & 31) << shift
		if d&32 != 0 {
			shift += 5
			continue
		}
		if value&1 != 0 {
			value = -value
		}
		out = append(out, value/2)
		value, shift = 0, 0
	}
	return out
}
