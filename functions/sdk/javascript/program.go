package javascript

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
)

// Section is the name of the custom section that holds a Program. A function in JavaScript is stored as a module of two custom sections,
// this one first and the manifest's: so it has a digest, and its manifest is readable like that of any other.
const Section = "tiercel.javascript"

// MaxSource is how many bytes a source may have.
const MaxSource = 1 << 20

// A Program is a function's source.
type Program struct {
	File   string `json:"file"`             // its name, for stack traces
	Source string `json:"source"`           // as it was written
	Script string `json:"script,omitempty"` // what is run; empty: Source
	Map    string `json:"map,omitempty"`    // mappings of a source map from Script to Source
}

// ErrNotProgram is the error of Open for a module that is none of JavaScript.
var ErrNotProgram = errors.New("no function in JavaScript")

const header = "\x00asm\x01\x00\x00\x00"

// IsSource reports whether a file of that name is a source that can be deployed.
func IsSource(name string) bool {
	if strings.HasSuffix(name, ".d.ts") {
		return false // types for an editor
	}
	switch path.Ext(name) {
	case ".js", ".mjs", ".ts", ".mts":
		return true
	}
	return false
}

// Code is what is run.
func (p *Program) Code() string {
	if p.Script != "" {
		return p.Script
	}
	return p.Source
}

// Pack returns the program as a module with the manifest that json holds.
func (p *Program) Pack(manifestJSON []byte) ([]byte, error) {
	if len(p.Source) > MaxSource {
		return nil, fmt.Errorf("%d bytes, more than %d", len(p.Source), MaxSource)
	}
	if !utf8.ValidString(p.Source) {
		return nil, errors.New("it is not UTF-8")
	}
	content, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	body := binary.AppendUvarint(nil, uint64(len(Section)))
	body = append(append(body, Section...), content...)
	module := binary.AppendUvarint(append([]byte(header), 0), uint64(len(body)))
	module = append(module, body...)
	if len(module) > abi.MaxModule {
		return nil, fmt.Errorf("%d bytes, more than %d", len(module), abi.MaxModule)
	}
	return manifest.Append(module, manifestJSON)
}

// Open returns the program that a module holds. Errors: ErrNotProgram, or what is wrong with it.
func Open(module []byte) (*Program, error) {
	rest, found := strings.CutPrefix(string(module[:min(len(module), len(header)+6+1+len(Section))]), header+"\x00")
	size, n := binary.Uvarint([]byte(rest[:min(len(rest), 5)]))
	if !found || n <= 0 || !strings.HasPrefix(rest[n:], string(rune(len(Section)))+Section) {
		return nil, ErrNotProgram
	}
	named := 1 + len(Section) // bytes of its name, which the section's size counts too
	section := module[len(header)+1+n:]
	if size < uint64(named) || size > uint64(len(section)) {
		return nil, errors.New("the section " + Section + " is cut short")
	}
	p := new(Program)
	if err := json.Unmarshal(section[named:size], p); err != nil {
		return nil, fmt.Errorf("the section %s: %w", Section, err)
	}
	return p, nil
}
