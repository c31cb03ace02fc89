package rules_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/load"
)

// wantComment has expectations: # want "regexp" for its own line, # want +2 "regexp" for the second line below; there may be several.
var wantComment = regexp.MustCompile(`# want (?:\+([0-9]+) )?((?:"(?:[^"\\]|\\.)*" ?)+)`)

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

var ownComment = regexp.MustCompile(`\s*# want .*`)

// Errors and warnings are told where they are: testdata/errors.txt has rules files with the expectations in their comments.
func TestErrorsInPlace(t *testing.T) {
	data, err := os.ReadFile("testdata/errors.txt")
	if err != nil {
		t.Fatal(err)
	}
	chunks := regexp.MustCompile(`(?m)^=== (.*)\n`).Split(string(data), -1)[1:]
	names := regexp.MustCompile(`(?m)^=== (.*)\n`).FindAllStringSubmatch(string(data), -1)
	for i, chunk := range chunks {
		t.Run(names[i][1], func(t *testing.T) {
			var files []rules.File
			for j, text := range strings.Split(chunk, "+++\n") {
				files = append(files, rules.File{Name: fmt.Sprintf("%d.yaml", j+1), Data: []byte(text)})
			}
			_, rep := rules.Load(files, rules.Options{Lint: true})
			wants := map[string][]*regexp.Regexp{}
			for _, f := range files {
				for n, line := range strings.Split(string(f.Data), "\n") {
					for _, m := range wantComment.FindAllStringSubmatch(line, -1) {
						off, _ := strconv.Atoi(m[1])
						at := fmt.Sprintf("%s:%d", f.Name, n+1+off)
						for _, q := range quoted.FindAllString(m[2], -1) {
							text, err := strconv.Unquote(q)
							if err != nil {
								t.Fatal(line, err)
							}
							wants[at] = append(wants[at], regexp.MustCompile(text))
						}
					}
				}
			}
			for _, p := range rep.Errors() {
				checkWanted(t, wants, p, p.Text("error"))
			}
			for _, p := range rep.Warnings() {
				checkWanted(t, wants, p, p.Text("warning"))
			}
			for at, left := range wants {
				for _, re := range left {
					t.Errorf("%s: nothing like %q", at, re)
				}
			}
		})
	}
}

// checkWanted strikes the first expectation at the problem's line that its text fulfils.
func checkWanted(t *testing.T, wants map[string][]*regexp.Regexp, p *load.Problem, text string) {
	t.Helper()
	at := fmt.Sprintf("%s:%d", p.File, p.Line)
	text = ownComment.ReplaceAllString(text, "") // else the line that is shown would fulfil it
	for i, re := range wants[at] {
		if re.MatchString(text) {
			wants[at] = append(wants[at][:i:i], wants[at][i+1:]...)
			return
		}
	}
	t.Errorf("not expected: %s", text)
}
