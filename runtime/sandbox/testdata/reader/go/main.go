// A guest that reads a document, which the operation "read" answers with, by the SDK's functions and writes it again.
package main

import tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"

func main() {}

func init() { tiercel.Handle(read) }

func read(tiercel.Event) error {
	v, err := tiercel.Call("read", tiercel.Object{})
	if err != nil {
		return tiercel.Skip(err.Error())
	}
	text, err := appendCopy(nil, v)
	if err != nil {
		return err
	}
	copied, err := tiercel.ParseJSON(text)
	if err != nil {
		return err
	}
	tiercel.Report("read", copied)
	return nil
}

// appendCopy goes through a value by its kinds.
func appendCopy(dst []byte, v tiercel.Value) ([]byte, error) {
	var err error
	switch v.Kind() {
	case tiercel.Map:
		separator := byte('{')
		for key, value := range v.Fields() {
			if dst, err = tiercel.AppendJSON(append(dst, separator), key); err != nil {
				return dst, err
			}
			if dst, err = appendCopy(append(dst, ':'), value); err != nil {
				return dst, err
			}
			separator = ','
		}
		if separator == '{' {
			dst = append(dst, separator)
		}
		return append(dst, '}'), nil
	case tiercel.Array:
		separator := byte('[')
		for value := range v.Items() {
			if dst, err = appendCopy(append(dst, separator), value); err != nil {
				return dst, err
			}
			separator = ','
		}
		if separator == '[' {
			dst = append(dst, separator)
		}
		return append(dst, ']'), nil
	case tiercel.Text:
		return tiercel.AppendJSON(dst, v.String())
	case tiercel.Null:
		return append(dst, "null"...), nil
	}
	return append(dst, v.String()...), nil
}
