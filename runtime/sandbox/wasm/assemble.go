package wasm

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// plain are the instructions without an immediate that assemble knows.
var plain = map[string]byte{
	"unreachable": opUnreachable, "else": 0x05, "end": opEnd, "return": 0x0f, "drop": 0x1a,
	"i32.eqz": 0x45, "i32.eq": 0x46, "i32.ne": 0x47, "i32.lt_u": 0x49, "i32.gt_s": 0x4a, "i32.gt_u": 0x4b,
	"i64.eq": 0x51, "i64.ne": 0x52, "i32.add": 0x6a, "i32.sub": 0x6b, "i32.or": 0x72, "i64.and": 0x83,
	"i64.shr_u": opI64ShrU, "f64.mul": 0xa2, "i32.wrap_i64": 0xa7, "f64.convert_i64_u": 0xba,
}

// memory are loads and stores, with their alignment.
var memory = map[string][2]byte{
	"i32.load": {0x28, 2}, "i64.load": {0x29, 3}, "i32.load8_u": {0x2d, 0}, "i32.store": {0x36, 2}, "i64.store": {0x37, 3}, "i32.store8": {0x3a, 0},
}

// indexed are instructions whose immediate is an index.
var indexed = map[string]byte{
	"br": 0x0c, "br_if": 0x0d, "call": opCall, "local.get": opLocalGet, "local.set": 0x21, "local.tee": opLocalTee,
	"global.get": opGlobalGet, "global.set": opGlobalSet,
}

// assemble returns a function's body. Its code is in the text format's instructions, separated by white space, without folding: blocks
// have no type ("if", "loop", "block", each with its "end"), locals and labels are numbers, functions and globals names, the immediate of
// a load or store is its offset. A text from ";;" to the end of its line is a comment.
func (x *extender) assemble(f Function) ([]byte, error) {
	b := appendU(nil, uint64(len(f.Locals)))
	for _, t := range []byte(f.Locals) {
		b = append(b, 1, t)
	}
	words := words(f.Code)
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if op, ok := plain[word]; ok {
			b = append(b, op)
			continue
		}
		switch word {
		case "block":
			b = append(b, opBlock, blockVoid)
			continue
		case "loop":
			b = append(b, opLoop, blockVoid)
			continue
		case "if":
			b = append(b, opIf, blockVoid)
			continue
		}
		if len(words) == 0 {
			return nil, fmt.Errorf("%q at the end", word)
		}
		var err error
		if b, err = x.immediate(b, word, words[0]); err != nil {
			return nil, err
		}
		words = words[1:]
	}
	return append(b, opEnd), nil
}

func (x *extender) immediate(b []byte, word, imm string) ([]byte, error) {
	n, numErr := strconv.ParseInt(imm, 0, 64)
	if op, ok := indexed[word]; ok {
		index, found := uint32(n), numErr == nil
		switch word {
		case "call":
			index, found = x.functions[imm]
		case "global.get", "global.set":
			index, found = x.globals[imm]
		}
		if !found {
			return nil, fmt.Errorf("%s %s: there is no such name", word, imm)
		}
		return appendU(append(b, op), uint64(index)), nil
	}
	if numErr != nil {
		return nil, fmt.Errorf("%s %s: not a number", word, imm)
	}
	if op, ok := memory[word]; ok {
		return appendU(append(b, op[0], op[1]), uint64(n)), nil
	}
	switch word {
	case "i32.const":
		return appendS(append(b, opI32Const), n), nil
	case "i64.const":
		return appendS(append(b, opI64Const), n), nil
	case "f64.const.bits":
		return append(b, 0x44, byte(n), byte(n>>8), byte(n>>16), byte(n>>24), byte(n>>32), byte(n>>40), byte(n>>48), byte(n>>56)), nil
	}
	return nil, fmt.Errorf("%q is no instruction that is known", word)
}

func words(code string) []string {
	var out []string
	for line := range strings.Lines(code) {
		line, _, _ = strings.Cut(line, ";;")
		out = append(out, strings.Fields(line)...)
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
