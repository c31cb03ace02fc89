package filter

import (
	"fmt"

	"github.com/tiercel-project/tiercel/rules/spell"
)

// MaxDepth is how deep parentheses and transformers may nest in a condition.
const MaxDepth = 1000

// Parse reads a condition. The error is an *Error.
func Parse(text string) (Expr, error) {
	p := &parser{lexer: lexer{text: text, at: Pos{Line: 1, Col: 1}}}
	if text == "" {
		return nil, p.errorAt(0, "filter input string is empty")
	}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.off != len(text) {
		return nil, p.unexpected()
	}
	return e, nil
}

// ParseOperand reads a field or a transformer from the front of text, and returns how many bytes that took. The error is an *Error.
func ParseOperand(text string) (Operand, int, error) {
	p := &parser{lexer: lexer{text: text, at: Pos{Line: 1, Col: 1}}}
	o, err := p.fieldOrTransform()
	if err != nil {
		return nil, 0, err
	}
	if o == nil {
		return nil, 0, p.errorAt(0, "expected a field or a transformer")
	}
	return o, p.off, nil
}

// A parser is a recursive descent over the grammar; its methods are named after the productions.
type parser struct {
	lexer
	depth int
}

func (p *parser) fail(msg string) error { return p.errorAt(p.off, msg) }

// unexpected says that the input does not go on as it should, with what the word in its place may have been meant to be.
func (p *parser) unexpected() error {
	err := p.errorAt(p.off, fmt.Sprintf("unexpected token after '%s', expecting 'or', 'and'", p.last))
	if rest := p.rest(); rest != "" && rest[0] == '(' {
		err.Near = spell.Nearest(p.last, append(Transformers(), "val"))
	} else if w := wordLen(rest); w > 0 {
		err.Near = spell.Nearest(rest[:w], []string{"and", "or"})
	}
	return err
}

// enter counts one more level of nesting; leave one less.
func (p *parser) enter() error {
	if p.depth++; p.depth > MaxDepth {
		return p.fail(fmt.Sprintf("exceeded max depth limit of %d", MaxDepth))
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// OrExpr ::= AndExpr ('or' OrExprTail)*
func (p *parser) or() (Expr, error) {
	at := p.pos(p.off)
	exprs, err := p.sequence("or", p.and)
	switch {
	case err != nil:
		return nil, err
	case len(exprs) > 1:
		return &Or{At: at, Exprs: exprs}, nil
	}
	return exprs[0], nil
}

// AndExpr ::= NotExpr ('and' AndExprTail)*
func (p *parser) and() (Expr, error) {
	at := p.pos(p.off)
	exprs, err := p.sequence("and", p.not)
	switch {
	case err != nil:
		return nil, err
	case len(exprs) > 1:
		return &And{At: at, Exprs: exprs}, nil
	}
	return exprs[0], nil
}

// sequence reads parts joined by word. Behind word stands a blank and a part, or a condition in parentheses.
func (p *parser) sequence(word string, part func() (Expr, error)) ([]Expr, error) {
	p.blank()
	e, err := part()
	if err != nil {
		return nil, err
	}
	exprs := []Expr{e}
	for p.blank(); p.str(word); p.blank() {
		switch {
		case p.blank():
			e, err = part()
		case p.str("("):
			e, err = p.parenthesised()
		default:
			err = p.fail(fmt.Sprintf("expected blank or '(' after '%s'", word))
		}
		if err != nil {
			return nil, err
		}
		exprs = append(exprs, e)
	}
	return exprs, nil
}

// NotExpr ::= ('not ')* NotExprTail
func (p *parser) not() (e Expr, err error) {
	p.blank()
	at, negated := p.pos(p.off), false
	for p.lexer.not() {
		negated = !negated
	}
	if p.str("not(") {
		negated = !negated
		e, err = p.parenthesised()
	} else {
		e, err = p.check()
	}
	if err == nil && negated {
		e = &Not{At: at, Expr: e}
	}
	return e, err
}

// parenthesised reads the rest of a condition in parentheses, behind the first.
func (p *parser) parenthesised() (Expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	p.blank()
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	p.blank()
	if !p.str(")") {
		return nil, p.fail("expected a ')' token")
	}
	return e, nil
}

// Check ::= Field Condition | FieldTransformer Condition | Identifier | '(' Expr ')'
func (p *parser) check() (Expr, error) {
	p.blank()
	at := p.pos(p.off)
	if p.str("(") {
		return p.parenthesised()
	}
	left, err := p.fieldOrTransform()
	if err != nil {
		return nil, err
	}
	if left != nil {
		return p.condition(left)
	}
	if p.identifier() {
		return &Ident{At: at, Name: p.last}, nil
	}
	return nil, p.fail("expected a '(' token, a field check, or an identifier")
}

// Condition ::= 'exists' | NumOp … | StrOp … | ListOp …
func (p *parser) condition(left Operand) (Expr, error) {
	p.blank()
	c := &Check{At: left.Pos(), Left: left, OpPos: p.pos(p.off)}
	var ok bool
	var err error
	if c.Op, ok = p.op(unaryOps, false); ok {
		return c, nil
	} else if c.Op, ok = p.op(numOps, false); ok {
		c.Right, err = p.numberOrTransform()
	} else if c.Op, ok = p.op(strOps, true); ok {
		c.Mod, c.Right, err = p.stringOrTransform()
	} else if c.Op, ok = p.op(listOps, false); ok {
		c.Right, err = p.listOrTransform()
	} else {
		err = p.unknownOp()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (p *parser) unknownOp() error {
	err := p.errorAt(p.off, msgOperator)
	rest := p.rest()
	w := wordLen(rest)
	if w == 0 {
		w = prefixLen(rest, func(c byte) bool { return c == '!' || c == '~' || c == '&' || c == '|' })
	}
	names := make([]string, 0, len(opNames))
	for _, op := range Operators() {
		names = append(names, op.String())
	}
	if w > 0 {
		err.Near = spell.Nearest(rest[:w], names)
	}
	return err
}
