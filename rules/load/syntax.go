package load

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// yamlErrorLine is the beginning of a message of the YAML library that knows a line.
var yamlErrorLine = regexp.MustCompile(`^yaml: line ([0-9]+): `)

// cppMessages are the words of Falco's YAML library for what ours says, so that tools that read Falco's document understand ours.
var cppMessages = []struct{ ours, falcos string }{
	{"mapping values are not allowed", "illegal map value"},
	{"found character that cannot start any token", "unknown token"},
	{"did not find expected '-' indicator", "end of sequence not found"},
	{"did not find expected key", "end of map not found"},
	{"did not find expected ',' or ']'", "end of sequence flow not found"},
	{"did not find expected ',' or '}'", "end of map flow not found"},
	{"found unexpected end of stream", "illegal EOF in scalar"},
	{"tab character", "illegal tab when looking for indentation"},
	{"could not find expected ':'", "illegal map value"},
	{"unknown anchor", "the referenced anchor is not defined"},
}

// syntaxError returns the problem that err, an error of the YAML library, tells of.
func (r *reader) syntaxError(err error) *Problem {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := yamlErrorLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = strings.TrimPrefix(err.Error(), m[0])
	}
	line = min(max(line, 1), len(r.src.lines))
	if strings.Contains(msg, "tab character") { // the library names the line before
		for i := line; i <= min(line+1, len(r.src.lines)); i++ {
			if text := r.src.line(i); strings.Contains(text[:len(text)-len(strings.TrimLeft(text, " \t"))], "\t") {
				line = i
				break
			}
		}
	}
	col := r.syntaxColumn(line, msg)
	if off := badCharacter(r.src.text); off >= 0 && (strings.Contains(msg, "UTF-8") || strings.Contains(msg, "control characters")) {
		line, col = place{r.src, off}.lineCol()
	}
	falcos := msg
	for _, m := range cppMessages {
		if strings.Contains(msg, m.ours) {
			falcos = m.falcos
		}
	}
	p := place{r.src, r.src.offset(line, col)}
	sc := &scope{parent: r.root, itemType: "value for", at: p}
	problem := sc.problem(ErrYAMLParse, p, 1, msg, r.syntaxHint(line, msg))
	problem.falco = fmt.Sprintf("yaml-cpp: error at line %d, column %d: %s", line, col, falcos)
	return problem
}

// badCharacter returns where the first byte of text is that is no UTF-8, or no character YAML allows; -1 if there is none.
func badCharacter(text string) int {
	for i, c := range text {
		if c == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)) ||
			c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return i
		}
	}
	return -1
}

// syntaxColumn returns the column on the line where what msg says is, as far as the library lets one know: it gives lines only.
func (r *reader) syntaxColumn(line int, msg string) int {
	text := r.src.line(line)
	switch {
	case strings.Contains(msg, "mapping values are not allowed"):
		first := strings.Index(text+" ", ": ")
		if second := strings.Index((text + " ")[first+1:], ": "); first >= 0 && second >= 0 {
			return len([]rune(text[:first+1+second])) + 1
		}
	case strings.Contains(msg, "cannot start any token"), strings.Contains(msg, "tab character"):
		if i := strings.IndexAny(text, "\t@`%"); i >= 0 {
			return len([]rune(text[:i])) + 1
		}
	}
	return len(text) - len(strings.TrimLeft(text, " ")) + 1
}

// syntaxHint says in plain words what the YAML library means.
func (r *reader) syntaxHint(line int, msg string) string {
	switch {
	case strings.Contains(r.src.line(line), "\t") && (strings.Contains(msg, "cannot start any token") || strings.Contains(msg, "tab character")):
		return "YAML is indented with spaces, not tabs"
	case strings.Contains(msg, "mapping values are not allowed"):
		return "put a value that has \": \" in it into quotes"
	}
	return ""
}
