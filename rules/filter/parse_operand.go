package filter

// fieldOrTransform reads a field or a transformer with its arguments. It returns nil if neither stands here.
func (p *parser) fieldOrTransform() (Operand, error) {
	at := p.pos(p.off)
	if p.fieldName() {
		return p.fieldTail(p.last, at)
	}
	if p.transformer() {
		return p.transformTail(p.last, at)
	}
	return nil, nil
}

// fieldTail reads the argument of the field called name, if it has one.
func (p *parser) fieldTail(name string, at Pos) (Operand, error) {
	f := &Field{At: at, Name: name}
	var err error
	f.Arg, f.HasArg, err = p.argument()
	if err != nil {
		return nil, err
	}
	return f, nil
}

// argument reads an argument in brackets, if there is one.
func (p *parser) argument() (arg string, ok bool, err error) {
	if !p.str("[") {
		return "", false, nil
	}
	if ok, err = p.quoted(); err != nil {
		return "", false, err
	}
	if !ok && !p.bareArg() {
		return "", false, p.fail("expected a valid field argument: a quoted string or a bare string")
	}
	arg = p.last
	if !p.str("]") {
		return "", false, p.fail("expected a ']' token")
	}
	return arg, true, nil
}

// transformTail reads the arguments of the transformer called name, behind the parenthesis.
//
// FieldTransformerTail ::= FieldTransformerArg (',' FieldTransformerArg)* ')' ('[' FieldArg ']')?
func (p *parser) transformTail(name string, at Pos) (Operand, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	t := &Transform{At: at, Name: name}
	for {
		p.blank()
		arg, err := p.transformArg()
		if err != nil {
			return nil, err
		}
		t.Args = append(t.Args, arg)
		if p.blank(); !p.str(",") {
			break
		}
	}
	if !p.str(")") {
		return nil, p.fail("expected a ')' token closing the transformer")
	}
	var err error
	t.Arg, t.HasArg, err = p.argument()
	if err != nil {
		return nil, err
	}
	return t, nil
}

// FieldTransformerArg ::= FieldTransformer | Field | QuotedStr | NumValue | TransformerList
func (p *parser) transformArg() (Operand, error) {
	at := p.pos(p.off)
	if p.str("(") {
		return p.transformList(at)
	}
	arg, err := p.transformItem()
	if arg == nil && err == nil {
		err = p.fail("expected field transformer argument: field, transformer, quoted string, number, or transformer list")
	}
	return arg, err
}

// transformItem reads an argument of a transformer that is no list. It returns nil if none stands here.
func (p *parser) transformItem() (Operand, error) {
	at := p.pos(p.off)
	if p.number() {
		return &Value{At: at, Text: p.last}, nil
	}
	if ok, err := p.quoted(); err != nil {
		return nil, err
	} else if ok {
		return &Value{At: at, Text: p.last}, nil
	}
	return p.fieldOrTransform()
}

// TransformerList ::= '(' (TransformerListArg (',' TransformerListArg)*)? ')', behind the first parenthesis.
func (p *parser) transformList(at Pos) (Operand, error) {
	l := &Args{At: at}
	if p.blank(); p.str(")") {
		return l, nil
	}
	for {
		p.blank()
		item, err := p.transformItem()
		if item == nil && err == nil {
			err = p.fail("expected transformer list argument: field, transformer, quoted string, or number")
		}
		if err != nil {
			return nil, err
		}
		l.Items = append(l.Items, item)
		if p.blank(); !p.str(",") {
			break
		}
	}
	if !p.str(")") {
		return nil, p.fail("expected ')'")
	}
	return l, nil
}

// rightTransform reads val(field) or a transformer. It returns nil if neither stands here.
//
// FieldTransformerOrVal ::= FieldTransformer | 'val(' Field ')'
func (p *parser) rightTransform() (Operand, error) {
	at := p.pos(p.off)
	if p.transformer() {
		return p.transformTail(p.last, at)
	}
	if !p.call("val") {
		return nil, nil
	}
	p.blank()
	t := &Transform{At: at, Name: "val"}
	fieldAt := p.pos(p.off)
	if !p.fieldName() {
		return nil, p.fail("expected a field within 'val' transformer")
	}
	f, err := p.fieldTail(p.last, fieldAt)
	if err != nil {
		return nil, err
	}
	t.Args = []Operand{f}
	if p.blank(); !p.str(")") {
		return nil, p.fail("expected a ')' token closing the transformer")
	}
	return t, nil
}

func (p *parser) numberOrTransform() (Operand, error) {
	p.blank()
	at := p.pos(p.off)
	if t, err := p.rightTransform(); t != nil || err != nil {
		return t, err
	}
	if p.number() {
		return &Value{At: at, Text: p.last}, nil
	}
	return nil, p.fail(msgNumber)
}

func (p *parser) stringOrTransform() (Modifier, Operand, error) {
	if p.blank() {
		if mod := p.modifier(); mod != 0 {
			l, err := p.list()
			return mod, l, err
		}
	}
	if t, err := p.rightTransform(); t != nil || err != nil {
		return 0, t, err
	}
	v, err := p.value(msgString)
	if err != nil {
		return 0, nil, err
	}
	return 0, v, nil
}

// modifier takes a modifier and the blanks behind it if a list follows: a parenthesis, or a name other than and and or. Otherwise the word is
// a string like any other.
func (p *parser) modifier() Modifier {
	for mod := OneOf; mod <= AllOf; mod++ {
		before := p.lexer
		if !p.str(mod.String()) || !p.blank() {
			p.lexer = before
			continue
		}
		rest := p.rest()
		w := wordLen(rest)
		if rest != "" && rest[0] == '(' || w > 0 && rest[:w] != "and" && rest[:w] != "or" {
			return mod
		}
		p.lexer = before
	}
	return 0
}

// value reads a quoted or a bare string; msg says what was expected if there is none.
func (p *parser) value(msg string) (*Value, error) {
	at := p.pos(p.off)
	if ok, err := p.quoted(); err != nil {
		return nil, err
	} else if ok || p.bare() {
		return &Value{At: at, Text: p.last}, nil
	}
	return nil, p.fail(msg)
}

func (p *parser) listOrTransform() (Operand, error) {
	p.blank()
	if t, err := p.rightTransform(); t != nil || err != nil {
		return t, err
	}
	return p.list()
}

// ListValue ::= '(' (StrValue (',' StrValue)*)* ')' | Identifier
func (p *parser) list() (Operand, error) {
	at := p.pos(p.off)
	if p.identifier() {
		return &Value{At: at, Text: p.last}, nil
	}
	if !p.str("(") {
		return nil, p.fail(msgList)
	}
	l := &List{At: at}
	p.blank()
	if !p.str(")") {
		if err := p.listItems(l); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// listItems reads the values of a list and the parenthesis that ends it.
func (p *parser) listItems(l *List) error {
	const wantClose, wantValue = "expected a ')' token", "expected a string value"
	for msg := wantClose; ; msg = wantValue {
		p.blank()
		v, err := p.value(msg)
		if err != nil {
			return err
		}
		l.Items = append(l.Items, v)
		if p.blank(); p.str(")") {
			return nil
		}
		if !p.str(",") {
			return p.fail(wantClose)
		}
	}
}
